package gym

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"afctl/bench/gym/frozen"
	"afctl/flow"
	"afctl/rollout/tools"
	"afctl/rollout/tools/index"
)

// Words of the world that are no names. Currencies are answers, so each half has its own.
var (
	crafts     = strings.Fields("baker carver dyer glazier mason miner painter potter smith tailor tanner weaver")
	things     = strings.Fields("barns bells boats bridges carts mills ovens ponds towers wells")
	paths      = strings.Fields("count facts list notes report survey")
	currencies = [nSplits][]string{
		Train:   strings.Fields("dinar florin groat guilder kroner mark penny pistole rial shekel taler thaler"),
		HeldOut: strings.Fields("batz denar ducat escudo lira obol real stater"),
	}
)

// The sentences in which articles and pages state facts; frozen.Recall reads them.
func (c city) text() string {
	return fmt.Sprintf("A city in %s on the river %s, founded in %d.", c.country, c.river, c.founded)
}

func (p person) text() string {
	// Half of the articles put the place first, so that a planner has to read.
	if p.born%2 == 0 {
		return fmt.Sprintf("A %s born in %d in %s.", p.craft, p.born, p.birthplace)
	}
	return fmt.Sprintf("A %s born in %s in %d.", p.craft, p.birthplace, p.born)
}

func (b book) text() string { return fmt.Sprintf("A book by %s.", b.author) }
func (f firm) text() string { return fmt.Sprintf("A firm based in %s.", f.seat) }

func (x site) text() string {
	return fmt.Sprintf("%d %s and %d %s.", x.counts[0], x.things[0], x.counts[1], x.things[1])
}

// articles is the encyclopedia.
func (w *World) articles() []index.Doc {
	var docs []index.Doc
	add := func(title, text string) { docs = append(docs, index.Doc{Title: title, Text: text}) }
	for _, h := range w.halves {
		for _, c := range h.cities {
			add(c.name, c.text())
		}
		for _, p := range h.people {
			add(p.name, p.text())
		}
		for _, b := range h.books {
			add(b.name, b.text())
		}
		for _, f := range h.firms {
			add(f.name, f.text())
		}
	}
	return docs
}

// pages is the web: the pages that count things, the sites of what has no article, and old sites of what has one. Those
// are outdated: each says what an article says of another of its kind. Who believes one, or goes on from it, has a wrong
// answer.
func (w *World) pages() []tools.Page {
	var pages []tools.Page
	add := func(url, title, text string) { pages = append(pages, tools.Page{URL: url, Title: title, Text: text}) }
	old := func(name, text string) { add(frozen.Site(name), name, "Long ago: "+text) }
	rng := flow.NewRand(flow.DeriveSeed(w.Seed, "gym.pages"))
	for _, h := range w.halves {
		cities, people := byName(h.cities), byName(h.people)
		for _, x := range h.sites {
			add(x.url, x.name, x.text())
		}
		for _, c := range h.lostCities {
			add(frozen.Site(c.name), c.name, c.text())
		}
		for _, b := range h.lostBooks {
			add(frozen.Site(b.name), b.name, b.text())
		}
		for _, f := range h.lostFirms {
			add(frozen.Site(f.name), f.name, f.text())
		}
		oldCities, oldPeople := make(map[string]city), make(map[string]person)
		for _, c := range h.cities {
			o := another(rng, h.cities, func(o city) bool {
				return o.country != c.country && o.river != c.river && o.founded != c.founded
			})
			oldCities[c.name] = o
			old(c.name, o.text())
		}
		for _, p := range h.people {
			river := cities[p.birthplace].river
			o := another(rng, h.people, func(o person) bool {
				return cities[o.birthplace].river != river && oldCities[o.birthplace].river != river && o.born != p.born
			})
			oldPeople[p.name] = o
			old(p.name, o.text())
		}
		for _, b := range h.books {
			birthplace := people[b.author].birthplace
			old(b.name, another(rng, h.books, func(o book) bool {
				return people[o.author].birthplace != birthplace && oldPeople[o.author].birthplace != birthplace
			}).text())
		}
		for _, f := range h.firms {
			country := cities[f.seat].country
			old(f.name, another(rng, h.firms, func(o firm) bool {
				return cities[o.seat].country != country && oldCities[o.seat].country != country
			}).text())
		}
	}
	return pages
}

// another draws until what is drawn leads to other answers; nearly every draw does.
func another[T any](rng *rand.Rand, list []T, differs func(T) bool) T {
	for {
		if x := pick(rng, list); differs(x) {
			return x
		}
	}
}

func (c city) key() string   { return c.name }
func (p person) key() string { return p.name }

func byName[T interface{ key() string }](list []T) map[string]T {
	m := make(map[string]T, len(list))
	for _, x := range list {
		m[x.key()] = x
	}
	return m
}
