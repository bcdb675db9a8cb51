package gym

import (
	"fmt"
	"math/rand/v2"
	"sync"

	"afctl/bench/gym/frozen"
	"afctl/bench/score"
	"afctl/flow"
	"afctl/rollout"
	"afctl/rollout/tools"
	"afctl/rollout/tools/index"
)

// DefaultSeed is the seed of the world that the embedded planner was made in.
const DefaultSeed = 1

// World is one gym: what there is, and the tools to find it out.
type World struct {
	// Seed is the integer that the world follows from.
	Seed   uint64
	halves [nSplits]half
	tools  *rollout.Registry
	index  *index.Index
}

// half is everything of one split. Relations never leave it.
type half struct {
	countries []country
	cities    []city
	people    []person
	books     []book
	firms     []firm
	sites     []site
	// The things without an article, which only their own page knows.
	lostCities []city
	lostBooks  []book
	lostFirms  []firm
}

type country struct{ name, capital, currency string }

type city struct {
	name, country, river string
	founded              int
}

type person struct {
	name, craft, birthplace string
	born                    int
}

type book struct{ name, author string }

type firm struct{ name, seat string }

// site is a web page that counts two things.
type site struct {
	name, url string
	things    [2]string
	counts    [2]int
}

// sizes of a half: how many there are of each.
type sizes struct {
	countries, rivers, cities, people, books, firms, sites, lost int
}

var splitSizes = [nSplits]sizes{
	Train:   {countries: 80, rivers: 60, cities: 240, people: 240, books: 160, firms: 160, sites: 160, lost: 80},
	HeldOut: {countries: 60, rivers: 40, cities: 160, people: 160, books: 100, firms: 100, sites: 100, lost: 60},
}

// Years of events, and what pages count.
const (
	firstYear, lastYear = 1600, 1899
	maxCount            = 999
)

// New makes the world of a seed: about 2,300 names, their articles and pages. Close it.
func New(seed uint64) (*World, error) {
	w := &World{Seed: seed}
	n := &namer{rng: flow.NewRand(flow.DeriveSeed(seed, "gym.world")), used: make(map[string]bool)}
	for s := range nSplits {
		var err error
		if w.halves[s], err = newHalf(s, n); err != nil {
			return nil, err
		}
	}
	ix, err := index.BuildMemory(w.articles())
	if err != nil {
		return nil, fmt.Errorf("gym: %w", err)
	}
	w.index = ix
	if w.tools, err = w.newTools(); err != nil {
		ix.Close()
		return nil, err
	}
	return w, nil
}

// Embedded gives the world of DefaultSeed, made at the first call and shared; it stays open as long as the program runs.
var Embedded = sync.OnceValues(func() (*World, error) { return New(DefaultSeed) })

// Close releases the index.
func (w *World) Close() error { return w.index.Close() }

// newTools gives the tools in the order of the planner's prompt.
func (w *World) newTools() (*rollout.Registry, error) {
	pages, err := tools.NewMapPages(w.pages()...)
	if err != nil {
		return nil, fmt.Errorf("gym: %w", err)
	}
	known := make(map[string]frozen.Country)
	for _, h := range w.halves {
		for _, c := range h.countries {
			known[c.name] = frozen.Country{Capital: c.capital, Currency: c.currency}
		}
	}
	return rollout.NewRegistry(
		tools.NewBaseGenerator(frozen.NewModel(known)),
		tools.NewCalculator(),
		// The first passage is the article of that name, if there is one: more would only lengthen the memory.
		tools.NewWikipediaSearch(w.index, 1),
		tools.NewWebSearch(pages),
	)
}

// Tools are the gym's tools: the product's own, on this world.
func (w *World) Tools() *rollout.Registry { return w.tools }

// Solver ties a planner to the frozen modules, the tools and the rule scorer.
func (w *World) Solver(p rollout.Planner, o rollout.Options) *rollout.Solver {
	return &rollout.Solver{
		Slots:   rollout.Slots{Planner: p, Executor: frozen.Executor{}, Verifier: frozen.Verifier{}, Generator: frozen.Generator{}},
		Tools:   w.tools,
		Score:   score.Rule,
		Options: o,
	}
}

func newHalf(s Split, n *namer) (half, error) {
	size := splitSizes[s]
	list, err := n.names(size.rivers + 2*size.countries + size.cities + size.people + size.books + size.firms + size.sites + 3*size.lost)
	if err != nil {
		return half{}, err
	}
	rivers, list := list[:size.rivers], list[size.rivers:]
	next := func() string {
		name := list[0]
		list = list[1:]
		return name
	}
	rng := n.rng
	var h half
	for range size.countries {
		h.countries = append(h.countries, country{next(), next(), currencies[s][rng.IntN(len(currencies[s]))]})
	}
	newCity := func() city {
		return city{next(), pick(rng, h.countries).name, pick(rng, rivers), s.number(rng, firstYear, lastYear)}
	}
	for range size.cities {
		h.cities = append(h.cities, newCity())
	}
	for range size.people {
		h.people = append(h.people, person{next(), pick(rng, crafts), pick(rng, h.cities).name, s.number(rng, firstYear, lastYear)})
	}
	for range size.books {
		h.books = append(h.books, book{next(), pick(rng, h.people).name})
	}
	for range size.firms {
		h.firms = append(h.firms, firm{next(), pick(rng, h.cities).name})
	}
	for range size.sites {
		x := site{name: next()}
		x.url = frozen.Site(x.name) + "/" + pick(rng, paths)
		first := rng.IntN(len(things))
		second := (first + 1 + rng.IntN(len(things)-1)) % len(things)
		x.things = [2]string{things[first], things[second]}
		x.counts = [2]int{s.number(rng, 20, maxCount), s.number(rng, 20, maxCount)}
		h.sites = append(h.sites, x)
	}
	for range size.lost {
		// What they are related to may have an article, but no article names them.
		h.lostCities = append(h.lostCities, newCity())
		h.lostBooks = append(h.lostBooks, book{next(), pick(rng, h.people).name})
		h.lostFirms = append(h.lostFirms, firm{next(), pick(rng, h.cities).name})
	}
	return h, nil
}

func pick[T any](rng *rand.Rand, list []T) T { return list[rng.IntN(len(list))] }

// Names returns everything of a half that a question or an article can name, in the order in which it was made.
func (w *World) Names(s Split) []string {
	h := &w.halves[s]
	var names []string
	for _, c := range h.countries {
		names = append(names, c.name, c.capital)
	}
	for _, list := range [][]city{h.cities, h.lostCities} {
		for _, c := range list {
			names = append(names, c.name, c.river)
		}
	}
	for _, p := range h.people {
		names = append(names, p.name)
	}
	for _, list := range [][]book{h.books, h.lostBooks} {
		for _, b := range list {
			names = append(names, b.name)
		}
	}
	for _, list := range [][]firm{h.firms, h.lostFirms} {
		for _, f := range list {
			names = append(names, f.name)
		}
	}
	for _, x := range h.sites {
		names = append(names, x.name)
	}
	return names
}
