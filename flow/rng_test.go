package flow

import "testing"

// TestSeedsAreForEver: these values are in every run that was ever seeded. The first three are the leading bytes of
// SHA-256, little endian, of 8 zero bytes; of the seed 1; and of the seed 1, the length 1 and "a".
func TestSeedsAreForEver(t *testing.T) {
	for _, c := range []struct {
		seed   uint64
		labels []string
		want   uint64
	}{
		{0, nil, 0x7a0b81a1f57055af},
		{1, nil, 0xa63f41d436a19f7c},
		{1, []string{"a"}, 0x3f581868451e4cc7},
		{1, []string{"planner", "3"}, 0x73443f198d316541},
	} {
		if got := DeriveSeed(c.seed, c.labels...); got != c.want {
			t.Errorf("DeriveSeed(%d, %q) = %#x, expected %#x", c.seed, c.labels, got, c.want)
		}
	}
	if DeriveSeed(1, "a", "bc") == DeriveSeed(1, "ab", "c") {
		t.Error("labels run together")
	}
	r := NewRand(1)
	for i, want := range []uint64{0xb1990d6bb23edf24, 0x17f72166f75ace8d, 0xd5588a2e6fac1599} {
		if got := r.Uint64(); got != want {
			t.Errorf("draw %d of NewRand(1) is %#x, expected %#x", i, got, want)
		}
	}
}
