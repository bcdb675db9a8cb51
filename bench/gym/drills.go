package gym

import (
	"iter"
	"math/rand/v2"
	"strconv"
	"strings"

	"afctl/flow"
)

// Lines of a drill, and the names in each.
const (
	drillLines             = 3
	fewestNames, mostNames = 5, 9
)

// Drills gives n texts to learn copying from: names and numbers in a line, and again in other orders. Which comes next nobody can know; how it goes on
// once begun, everybody who has seen it can. That is what copying a name is that stands among others, and demonstrations are too rarely of it. Names and
// numbers of w's held-out half are in none of them. The same world, n and seed give the same texts.
func Drills(w *World, n int, seed uint64) iter.Seq[string] {
	return func(yield func(string) bool) {
		mentions := w.mentions()
		rng := flow.NewRand(flow.DeriveSeed(seed, "gym.drills"))
		for range n {
			names := &namer{rng: rng, used: make(map[string]bool)}
			list := make([]string, fewestNames+rng.IntN(mostNames-fewestNames+1))
			for i := range list {
				list[i] = drillItem(names, mentions, rng)
			}
			var b strings.Builder
			for range drillLines {
				rng.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
				b.WriteString(strings.Join(list, " "))
				b.WriteByte('\n')
			}
			if !yield(b.String()) {
				return
			}
		}
	}
}

// drillItem is a name, three times in four, or a number.
func drillItem(names *namer, mentions func(string) bool, rng *rand.Rand) string {
	if rng.IntN(4) != 0 {
		for {
			name, err := names.name()
			if err != nil {
				break // never in a short list
			}
			if !mentions(name) {
				return name
			}
		}
	}
	return strconv.Itoa(Train.number(rng, firstYear, lastYear))
}
