package frozen

import (
	"regexp"
	"strings"
	"sync"
)

// Kind is what a question asks for.
type Kind int

// Kinds of questions.
const (
	Capital    Kind = iota // of a country
	Currency               // of a country
	Arithmetic             // the value of an expression
	CityCountry
	BookAuthor
	FirmSeat
	Figure           // how many of a thing a page reports
	BirthRiver       // the river of a person's birthplace
	AuthorBirthplace // of a book
	SeatCountry      // of a firm
	PersonAge        // in a year
	CityAge          // in a year
	nKinds
)

// Question is a question taken apart. Which fields are set goes by Kind.
type Question struct {
	Kind Kind
	Name string // the country, city, person, book or firm that it is about
	Year string
	URL  string
	// Thing is what a page counts, in the plural.
	Thing string
	Expr  string
}

// phrasings are the ways to ask for each kind, with the fields of Question in braces. Short: a small planner reads them.
var phrasings = [nKinds][]string{
	Capital:          {"What is the capital of {name}?", "Name the capital of {name}.", "Which city is the capital of {name}?"},
	Currency:         {"What is the currency of {name}?", "Name the currency of {name}.", "Which currency does {name} use?"},
	Arithmetic:       {"What is {expr}?", "Compute {expr}.", "Work out {expr}."},
	CityCountry:      {"In which country is the city {name}?", "Which country is the city {name} in?", "Name the country of the city {name}."},
	BookAuthor:       {"Who wrote the book {name}?", "Who is the author of the book {name}?", "Name the author of the book {name}."},
	FirmSeat:         {"In which city is the firm {name} based?", "Where is the firm {name} based?", "Name the seat of the firm {name}."},
	Figure:           {"How many {thing} does {url} report?", "What number of {thing} does {url} give?", "By {url}, how many {thing} are there?"},
	BirthRiver:       {"Which river runs through the birthplace of {name}?", "On which river is the birthplace of {name}?", "Name the river at the birthplace of {name}."},
	AuthorBirthplace: {"Where was the author of the book {name} born?", "In which city was the author of the book {name} born?", "Name the birthplace of the author of the book {name}."},
	SeatCountry:      {"In which country is the seat of the firm {name}?", "Which country is the seat of the firm {name} in?", "Name the country of the seat of the firm {name}."},
	PersonAge:        {"How old was {name} in {year}?", "What was the age of {name} in {year}?", "How old did {name} get in {year}?"},
	CityAge:          {"How old was the city {name} in {year}?", "What was the age of the city {name} in {year}?", "How old did the city {name} get in {year}?"},
}

// Phrasings is the number of ways to ask for a kind.
func (k Kind) Phrasings() int { return len(phrasings[k]) }

// fields gives the placeholders with their values and what their values look like.
func (q *Question) fields() []field {
	return []field{
		{"{name}", &q.Name, `[A-Z][a-z]+`}, {"{year}", &q.Year, `\d+`}, {"{url}", &q.URL, `[a-z]+\.test/[a-z]+`},
		{"{thing}", &q.Thing, `[a-z]+`}, {"{expr}", &q.Expr, `[-+*()0-9 ]+`},
	}
}

type field struct {
	placeholder string
	value       *string
	pattern     string
}

// Text asks the question in the i-th of its phrasings.
func (q Question) Text(i int) string {
	text := phrasings[q.Kind][i]
	for _, f := range q.fields() {
		text = strings.Replace(text, f.placeholder, *f.value, 1)
	}
	return text
}

// form is a phrasing that reads questions.
type form struct {
	kind    Kind
	pattern *regexp.Regexp
	fields  []int // of Question.fields, by group of the pattern
}

var forms = sync.OnceValue(func() []form {
	var all []form
	for kind, texts := range phrasings {
		for _, text := range texts {
			f := form{kind: Kind(kind)}
			pattern := regexp.QuoteMeta(text)
			for rest := text; ; {
				open := strings.IndexByte(rest, '{')
				if open < 0 {
					break
				}
				rest = rest[open:]
				for i, field := range (&Question{}).fields() {
					if strings.HasPrefix(rest, field.placeholder) {
						f.fields = append(f.fields, i)
						pattern = strings.Replace(pattern, regexp.QuoteMeta(field.placeholder), "("+field.pattern+")", 1)
					}
				}
				rest = rest[1:]
			}
			f.pattern = regexp.MustCompile("^" + pattern + "$")
			all = append(all, f)
		}
	}
	return all
})

// Parse takes a question apart by its form; false for one of no known form.
func Parse(text string) (Question, bool) {
	for _, f := range forms() {
		m := f.pattern.FindStringSubmatch(text)
		if m == nil {
			continue
		}
		q := Question{Kind: f.kind}
		fields := q.fields()
		for group, i := range f.fields {
			*fields[i].value = m[group+1]
		}
		return q, true
	}
	return Question{}, false
}
