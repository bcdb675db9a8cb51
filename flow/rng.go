package flow

import (
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
)

// DeriveSeed returns the seed of the random stream that the labels name under the run's seed: the first eight bytes,
// little endian, of SHA-256 over the seed (8 bytes, little endian) and each label (its length in 8 bytes, then its
// bytes). Streams of different labels are unrelated, so that what one part of a run draws never moves what another
// draws; and since lengths are hashed, ("a", "bc") and ("ab", "c") differ.
//
// The values are part of what makes a run repeatable: this function never changes.
func DeriveSeed(seed uint64, labels ...string) uint64 {
	h := sha256.New()
	var word [8]byte
	put := func(v uint64) {
		binary.LittleEndian.PutUint64(word[:], v)
		h.Write(word[:])
	}
	put(seed)
	for _, l := range labels {
		put(uint64(len(l)))
		h.Write([]byte(l))
	}
	var sum [sha256.Size]byte
	return binary.LittleEndian.Uint64(h.Sum(sum[:0]))
}

// NewRand returns the generator of a seed: PCG-DXSM (O'Neill 2014), whose two words of state are the seed and
// DeriveSeed(seed, "pcg"). It is not safe for concurrent use; give each goroutine a derived seed of its own.
func NewRand(seed uint64) *rand.Rand {
	return rand.New(rand.NewPCG(seed, DeriveSeed(seed, "pcg")))
}
