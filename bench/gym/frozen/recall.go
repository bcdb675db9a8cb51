package frozen

import (
	"encoding/json"
	"regexp"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"

	"afctl/flow"
	"afctl/rollout/tools"
)

// Names of the gym's tools.
const (
	BaseGenerator   = tools.NameBaseGenerator
	Calculator      = tools.NameCalculator
	WikipediaSearch = tools.NameWikipediaSearch
	WebSearch       = tools.NameWebSearch
)

// Facts are what memory says of one thing; empty where it says nothing.
type Facts struct {
	Country, River, Founded string // of a city
	Birthplace, Born        string // of a person
	Author                  string // of a book
	Seat                    string // of a firm
	Capital, Currency       string // of a country
}

// Memory is what the results of a solve say, whoever is asked about them. Where two results differ, the later one counts.
type Memory struct {
	about   map[string]Facts
	figures map[string]string // by address and thing
	value   string            // the last that the Calculator gave
	valueAt int               // in which step, from 0
	factAt  map[string]int    // in which step something was said of a name
}

// About gives what is known of a name.
func (m *Memory) About(name string) Facts { return m.about[name] }

// The sentences in which encyclopedia, pages and the frozen model state facts.
var (
	statesCity     = regexp.MustCompile(`[Cc]ity in ([A-Z][a-z]+) on the river ([A-Z][a-z]+), founded in (\d+)`)
	statesBirth    = regexp.MustCompile(`[Bb]orn in (?:(\d+) in ([A-Z][a-z]+)|([A-Z][a-z]+) in (\d+))`)
	statesAuthor   = regexp.MustCompile(`[Bb]ook by ([A-Z][a-z]+)`)
	statesSeat     = regexp.MustCompile(`[Ff]irm based in ([A-Z][a-z]+)`)
	statesFigure   = regexp.MustCompile(`(\d+) ([a-z]+)`)
	statesCapital  = regexp.MustCompile(`^The capital of ([A-Z][a-z]+) is ([A-Z][a-z]+)\.$`)
	statesCurrency = regexp.MustCompile(`^The currency of ([A-Z][a-z]+) is the ([a-z]+)\.$`)
)

// Recall reads the successful steps of a solve.
func Recall(steps []flow.Step) Memory {
	m := Memory{about: make(map[string]Facts), figures: make(map[string]string), valueAt: -1, factAt: make(map[string]int)}
	for i := range steps {
		s := &steps[i]
		if s.ErrorKind != "" {
			continue
		}
		switch s.Tool {
		case Calculator:
			m.value, m.valueAt = s.Result, i
		case BaseGenerator:
			m.readFact(s.Result, i)
		case WikipediaSearch, WebSearch:
			for line := range strings.SplitSeq(s.Result, "\n") {
				if name, text, ok := strings.Cut(line, ": "); ok {
					m.readArticle(name, text, i)
				}
			}
			if s.Tool == WebSearch {
				m.readFigures(s.Args, s.Result)
			}
		}
	}
	return m
}

func (m *Memory) put(name string, f Facts, step int) {
	m.about[name] = f
	m.factAt[name] = step
}

func (m *Memory) readFact(text string, step int) {
	if x := statesCapital.FindStringSubmatch(text); x != nil {
		f := m.about[x[1]]
		f.Capital = x[2]
		m.put(x[1], f, step)
	} else if x := statesCurrency.FindStringSubmatch(text); x != nil {
		f := m.about[x[1]]
		f.Currency = x[2]
		m.put(x[1], f, step)
	}
}

func (m *Memory) readArticle(name, text string, step int) {
	f := m.about[name]
	if x := statesCity.FindStringSubmatch(text); x != nil {
		f.Country, f.River, f.Founded = x[1], x[2], x[3]
	} else if x := statesBirth.FindStringSubmatch(text); x != nil {
		f.Born, f.Birthplace = x[1]+x[4], x[2]+x[3]
	} else if x := statesAuthor.FindStringSubmatch(text); x != nil {
		f.Author = x[1]
	} else if x := statesSeat.FindStringSubmatch(text); x != nil {
		f.Seat = x[1]
	} else {
		return
	}
	m.put(name, f, step)
}

func (m *Memory) readFigures(args json.RawMessage, text string) {
	var a struct {
		URL string `json:"url"`
	}
	if err := jsonv2.Unmarshal(args, &a); err != nil {
		return
	}
	address, err := tools.NormalURL(a.URL)
	if err != nil {
		return
	}
	for _, x := range statesFigure.FindAllStringSubmatch(text, -1) {
		m.figures[address+" "+x[2]] = x[1]
	}
}

// Answer gives what memory says to a question; false where it lacks something.
func (m *Memory) Answer(q Question) (string, bool) {
	var answer string
	about := m.about[q.Name]
	switch q.Kind {
	case Capital:
		answer = about.Capital
	case Currency:
		answer = about.Currency
	case Arithmetic:
		answer = m.value
	case CityCountry:
		answer = about.Country
	case BookAuthor:
		answer = about.Author
	case FirmSeat:
		answer = about.Seat
	case Figure:
		if address, err := tools.NormalURL(q.URL); err == nil {
			answer = m.figures[address+" "+q.Thing]
		}
	case BirthRiver:
		answer = m.about[about.Birthplace].River
	case AuthorBirthplace:
		answer = m.about[about.Author].Birthplace
	case SeatCountry:
		answer = m.about[about.Seat].Country
	case PersonAge, CityAge:
		// A sum made before the year was known is none of it.
		if (about.Born != "" || about.Founded != "") && m.valueAt > m.factAt[q.Name] {
			answer = m.value
		}
	}
	return answer, answer != ""
}
