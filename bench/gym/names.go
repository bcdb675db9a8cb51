package gym

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// Syllables of invented names: a first one, sometimes a middle one, and a last one. A byte-level tokenizer of a thousand or
// two tokens learns them, so that a name never seen is still two to five tokens. No last one ends in s, which searching
// takes for a plural.
var (
	firstSyllables  = strings.Fields("Bal Bor Cal Dal Dor El Fal Fen Gal Gor Hal Jor Kal Kel Lan Lor Mal Mer Nor Ol Pal Per Quin Ral Ros Sal Sel Tal Tor Ul Val Vor Wes Yor Zan Zel")
	middleSyllables = strings.Fields("a be da di ka le li mo na ni pa ra ri sa ta ve vi za")
	lastSyllables   = strings.Fields("bar dan den dim fan gan gor han kan lin lor mar men mir nan nor pan ran rin ron tan ten tor van ven vik wen zan zar zor")
)

// namer draws names that no other thing of the world bears.
type namer struct {
	rng  *rand.Rand
	used map[string]bool
}

// maxDraws bounds the search for an unused name; a world uses a tenth of the names there are.
const maxDraws = 1000

func (n *namer) name() (string, error) {
	for range maxDraws {
		name := firstSyllables[n.rng.IntN(len(firstSyllables))]
		if n.rng.IntN(2) == 0 {
			name += middleSyllables[n.rng.IntN(len(middleSyllables))]
		}
		name += lastSyllables[n.rng.IntN(len(lastSyllables))]
		if !n.used[name] {
			n.used[name] = true
			return name, nil
		}
	}
	return "", fmt.Errorf("gym: found no unused name in %d draws", maxDraws)
}

func (n *namer) names(count int) ([]string, error) {
	out := make([]string, count)
	for i := range out {
		var err error
		if out[i], err = n.name(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Split is one half of the world.
type Split int

// The halves: what a planner is trained on, and what it is measured on.
const (
	Train Split = iota
	HeldOut
	nSplits
)

// String gives the name that configs and suites use.
func (s Split) String() string {
	if s == HeldOut {
		return "heldout"
	}
	return "train"
}

// ParseSplit reads "train" or "heldout".
func ParseSplit(name string) (Split, bool) {
	for s := range nSplits {
		if s.String() == name {
			return s, true
		}
	}
	return 0, false
}

// owns reports whether a number belongs to a half: three in ten are held out, whatever the seed. A multiplicative hash
// (Knuth, TAOCP 3, 6.4) spreads them over all digits, so that no digit is missing from either half.
func (s Split) owns(n int) bool {
	return uint32(n)*2654435769>>16%10 < 3 == (s == HeldOut)
}

// number draws a number of the half in low..high, which span at least ten.
func (s Split) number(rng *rand.Rand, low, high int) int {
	for {
		if n := low + rng.IntN(high-low+1); s.owns(n) {
			return n
		}
	}
}
