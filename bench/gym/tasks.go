package gym

import (
	"fmt"
	"math/rand/v2"
	"strconv"

	"afctl/bench/gym/frozen"
	"afctl/flow"
)

// MetaSplit is the key of Task.Meta for the split, beside flow.MetaFamily.
const MetaSplit = "split"

// Families of tasks, in the order of reports.
const (
	Common     = "common"
	Arithmetic = "arithmetic"
	Lookup     = "lookup"
	Page       = "page"
	TwoHop     = "two-hop"
	LookupMath = "lookup+math"
	Recover    = "recover"
)

// Families lists them.
func Families() []string {
	return []string{Common, Arithmetic, Lookup, Page, TwoHop, LookupMath, Recover}
}

// asked is a question with its answer.
type asked struct {
	q      frozen.Question
	answer string
}

// Tasks returns the first n tasks that Draw gives.
func (w *World) Tasks(s Split, n int, seed uint64) []flow.Task {
	draw := w.Draw(s, seed)
	tasks := make([]flow.Task, max(n, 0))
	for i := range tasks {
		tasks[i] = draw()
	}
	return tasks
}

// Draw returns what draws tasks of a half without end, one at a call, the families in turn in an order of their own in every round, so
// that any n are balanced. The same seed gives the same tasks. Task.ID is distinct among them; a question comes twice only where a
// family has no other left, which its ID then counts.
func (w *World) Draw(s Split, seed uint64) func() flow.Task {
	rng := flow.NewRand(flow.DeriveSeed(seed, "gym.tasks", strconv.FormatUint(w.Seed, 10), s.String()))
	h := &w.halves[s]
	cities, people := byName(h.cities), byName(h.people)
	families := Families()
	seen := map[string]int{}
	repeats := map[string]int{} // by family
	next := 0
	return func() flow.Task {
		i := next % len(families)
		next++
		if i == 0 {
			rng.Shuffle(len(families), func(a, b int) { families[a], families[b] = families[b], families[a] })
		}
		// A family that is nearly used up repeats a question rather than search on; one that has done so often is not searched again.
		draws := maxDraws
		if repeats[families[i]] == maxRepeats {
			draws = 1
		}
		var text string
		var a asked
		for range draws {
			a = h.ask(families[i], s, rng, cities, people)
			text = a.q.Text(rng.IntN(a.q.Kind.Phrasings()))
			if seen[text] == 0 {
				break
			}
		}
		seen[text]++
		id := fmt.Sprintf("gym-%d-%s-%s", w.Seed, s, text)
		if seen[text] > 1 {
			id = fmt.Sprintf("%s #%d", id, seen[text])
			repeats[families[i]] = min(repeats[families[i]]+1, maxRepeats)
		}
		return flow.Task{
			ID: id, Question: text, Answers: []string{a.answer}, Scorer: "exact",
			Meta: map[string]string{flow.MetaFamily: families[i], MetaSplit: s.String()},
		}
	}
}

// maxRepeats is more than any run of the repository's configs comes to (620, of the questions about countries among 7,680 tasks), whose tasks
// stay what they are.
const maxRepeats = 1000

func (h *half) ask(family string, s Split, rng *rand.Rand, cities map[string]city, people map[string]person) asked {
	switch family {
	case Common:
		c := pick(rng, h.countries)
		if rng.IntN(2) == 0 {
			return asked{frozen.Question{Kind: frozen.Capital, Name: c.name}, c.capital}
		}
		return asked{frozen.Question{Kind: frozen.Currency, Name: c.name}, c.currency}
	case Arithmetic:
		expr, value := expression(s, rng)
		return asked{frozen.Question{Kind: frozen.Arithmetic, Expr: expr}, strconv.Itoa(value)}
	case Lookup:
		return lookup(rng, h.cities, h.books, h.firms)
	case Recover:
		return lookup(rng, h.lostCities, h.lostBooks, h.lostFirms)
	case Page:
		x, i := pick(rng, h.sites), rng.IntN(2)
		return asked{frozen.Question{Kind: frozen.Figure, URL: x.url, Thing: x.things[i]}, strconv.Itoa(x.counts[i])}
	case TwoHop:
		switch rng.IntN(3) {
		case 0:
			p := pick(rng, h.people)
			return asked{frozen.Question{Kind: frozen.BirthRiver, Name: p.name}, cities[p.birthplace].river}
		case 1:
			b := pick(rng, h.books)
			return asked{frozen.Question{Kind: frozen.AuthorBirthplace, Name: b.name}, people[b.author].birthplace}
		}
		f := pick(rng, h.firms)
		return asked{frozen.Question{Kind: frozen.SeatCountry, Name: f.name}, cities[f.seat].country}
	}
	// LookupMath
	kind, name, from := frozen.PersonAge, "", 0
	if rng.IntN(2) == 0 {
		p := pick(rng, h.people)
		name, from = p.name, p.born
	} else {
		c := pick(rng, h.cities)
		kind, name, from = frozen.CityAge, c.name, c.founded
	}
	year := s.number(rng, from+5, from+90)
	return asked{frozen.Question{Kind: kind, Name: name, Year: strconv.Itoa(year)}, strconv.Itoa(year - from)}
}

// lookup asks for the one relation of a city, book or firm.
func lookup(rng *rand.Rand, cities []city, books []book, firms []firm) asked {
	switch rng.IntN(3) {
	case 0:
		c := pick(rng, cities)
		return asked{frozen.Question{Kind: frozen.CityCountry, Name: c.name}, c.country}
	case 1:
		b := pick(rng, books)
		return asked{frozen.Question{Kind: frozen.BookAuthor, Name: b.name}, b.author}
	}
	f := pick(rng, firms)
	return asked{frozen.Question{Kind: frozen.FirmSeat, Name: f.name}, f.seat}
}

// expression is a sum of three numbers of the half, and its value.
func expression(s Split, rng *rand.Rand) (string, int) {
	a, b, c := s.number(rng, 100, maxCount), s.number(rng, 12, 99), s.number(rng, 12, maxCount)
	switch rng.IntN(5) {
	case 0:
		return fmt.Sprintf("%d * %d - %d", a, b, c), a*b - c
	case 1:
		return fmt.Sprintf("%d * %d + %d", a, b, c), a*b + c
	case 2:
		return fmt.Sprintf("%d + %d * %d", c, b, a), c + b*a
	case 3:
		return fmt.Sprintf("(%d - %d) * %d", a, b, c), (a - b) * c
	}
	return fmt.Sprintf("(%d + %d) * %d", a, c, b), (a + c) * b
}
