package index

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestWords(t *testing.T) {
	for text, want := range map[string]string{
		"The Rivers of Málaga": "the river of malaga", "cities, CITY's; glass bus": "city city glass bus", "O'Brien’s 'quoted' dogs'": "obrien quoted dog",
		"1,234.5 km²": "1 234 5 km2", "x_y-z": "x y z", "東京 Tower": "東 京 tower", "Straße ﬁn": "strasse fin", "": "", "...": "", "\xff\xfea": "a", "gas shoes": "gas shoe",
	} {
		if got := strings.Join(words(text), " "); got != want {
			t.Errorf("%q: %q, expected %q", text, got, want)
		}
	}
}

// Spellings of one name are one word, whatever letters of its language they keep.
func TestWordsSpellings(t *testing.T) {
	for _, same := range [][]string{
		{"Łódź", "Lodz", "ŁÓDŹ"}, {"Straße", "STRASSE", "STRAẞE"}, {"ʻIolani", "Iolani", "'Iolani", "‘Iolani"}, {"Hawaiʻi", "Hawai‘i", "Hawai'i", "Hawaii"},
		{"Ὀδυσσεύς", "ΟΔΥΣΣΕΥΣ", "Οδυσσευς"}, {"København", "KØBENHAVN", "Kobenhavn"}, {"Þór", "thor"}, {"Ærø", "AERO"}, {"Œuvre", "oeuvre"},
		{"Đặng", "Dang"}, {"Diyarbakır", "DIYARBAKIR", "Diyarbakir", "DİYARBAKIR"}, {"Ħamrun", "hamrun"}, {"al-Masʿūdī", "Al-Masudi"},
	} {
		for _, s := range same[1:] {
			if key(s) != key(same[0]) || key(s) == "" {
				t.Errorf("%q is %q, %q is %q", same[0], key(same[0]), s, key(s))
			}
		}
	}
	for text, name := range map[string]bool{"ʻIolani": true, "ʻiolani": false, "‘Iolani": true, "łódź": false} {
		if got := query(text); len(got) != 1 || got[0].name != name {
			t.Errorf("%q: %+v, expected a name: %v", text, got, name)
		}
	}
}

// Folding a folded text changes nothing: what is indexed and what is asked for meet.
func TestWordsIdempotent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		first := words(rapid.OneOf(rapid.String(), rapid.StringMatching(`[A-Za-zÀ-ÿ'’ ]{0,40}`)).Draw(t, "text"))
		for _, w := range first {
			if w == "" || strings.ContainsAny(w, "\"'’‘ \n") {
				t.Fatalf("word %q", w)
			}
		}
	})
}

func join(terms []asked) string {
	var out []string
	for _, a := range terms {
		out = append(out, a.word)
	}
	return strings.Join(out, " ")
}

func TestQueryTerms(t *testing.T) {
	for text, want := range map[string]string{
		"What is the capital of Karvon?": "capital karvon", "who is the": "who is the", "river rivers River": "river", "": "",
		strings.Repeat("ab1 ", 10000): "ab1",
	} {
		if got := join(query(text)); got != want {
			t.Errorf("%.40q: %q, expected %q", text, got, want)
		}
	}
	var many strings.Builder
	for i := range 1000 {
		many.WriteString(strings.Repeat("x", i%30+1) + " ")
	}
	if n := len(query(many.String())); n > maxTerms {
		t.Errorf("%d terms", n)
	}
}

// Passages hold every word of the text once, in order, under its heading, and none is too long.
func TestSplitProperty(t *testing.T) {
	sentence := rapid.StringMatching(`[A-Z][a-z]{0,9}( [a-z0-9]{1,9}){0,60}[.!?]`)
	rapid.Check(t, func(t *rapid.T) {
		var text strings.Builder
		var all []string
		under := map[string][]string{}
		for i, section := range append([]string{""}, rapid.SliceOfNDistinct(rapid.StringMatching(`[A-Z][a-z]{1,9}`), 0, 3, rapid.ID).Draw(t, "sections")...) {
			if i > 0 {
				text.WriteString("\n## " + section + "\n")
			}
			for _, s := range rapid.SliceOfN(sentence, 0, 12).Draw(t, "sentences") {
				text.WriteString(s + rapid.SampledFrom([]string{" ", "\n", "\n\n"}).Draw(t, "gap"))
				all = append(all, strings.Fields(s)...)
				under[section] = append(under[section], strings.Fields(s)...)
			}
		}
		var got []string
		gotUnder := map[string][]string{}
		for _, p := range Split(Doc{Title: "T", URL: "u", Text: text.String()}) {
			w := strings.Fields(p.Text)
			if len(w) == 0 || len(w) > maxWords || p.Title != "T" || p.URL != "u" {
				t.Fatalf("passage %+v of %d words", p, len(w))
			}
			got = append(got, w...)
			gotUnder[p.Section] = append(gotUnder[p.Section], w...)
		}
		if !slices.Equal(got, all) {
			t.Fatalf("words %v, expected %v", got, all)
		}
		for s, w := range gotUnder {
			if !slices.Equal(w, under[s]) {
				t.Fatalf("section %q: %v, expected %v", s, w, under[s])
			}
		}
	})
}

func TestSplitBounds(t *testing.T) {
	for name, text := range map[string]string{
		"one word":    strings.Repeat("é", 100_000),
		"no sentence": strings.Repeat("word ", 10_000),
		"not UTF-8":   strings.Repeat("\xbf", 10_000),
	} {
		for _, p := range Split(Doc{Title: "T", Text: text}) {
			if n := len(strings.Fields(p.Text)); n > maxWords || len(p.Text) > maxWords*(maxWordBytes+1) {
				t.Errorf("%s: a passage of %d words, %d bytes", name, n, len(p.Text))
			}
		}
	}
	if got := Split(Doc{Title: "T", Text: " \n## Heading\n\n"}); len(got) != 0 {
		t.Errorf("a text without words gave %+v", got)
	}
	// A sentence is not cut at an initial or an abbreviation, and passages end at sentences.
	text := strings.Repeat("Mr. J. Lume lived in Karvon until 1702. ", 60)
	for i, p := range Split(Doc{Title: "T", Text: text}) {
		if !strings.HasPrefix(p.Text, "Mr. J. Lume") || !strings.HasSuffix(p.Text, "1702.") {
			t.Errorf("passage %d begins %.20q and ends %q", i, p.Text, p.Text[len(p.Text)-10:])
		}
	}
}

func TestRank(t *testing.T) {
	rank := func(text string, p []Passage, k int) []Passage {
		out, err := Rank(t.Context(), text, p, k)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	page := []Passage{{Text: "The firm was founded in Oslo."}, {Text: "Its revenue in 2020 was 41 million."}, {Text: "Revenue fell."}, {Text: "Contact us."}}
	got := rank("revenue of 2020", page, 2)
	if len(got) != 2 || got[0].Text != page[1].Text || got[1].Text != page[2].Text || got[0].Score <= got[1].Score {
		t.Errorf("%+v", got)
	}
	if got := rank("zebra", page, 3); got != nil {
		t.Errorf("%+v", got)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if got, err := Rank(ended, "revenue", page, 3); !errors.Is(err, context.Canceled) {
		t.Errorf("%+v, %v", got, err)
	}
	if got := rank("", page, 3); got != nil {
		t.Errorf("%+v", got)
	}
	same := []Passage{{Text: "a river"}, {Text: "b river"}, {Text: "c river"}}
	if got := rank("river", same, 3); len(got) != 3 || got[0].Text != "a river" || got[2].Text != "c river" {
		t.Errorf("ties in another order: %+v", got)
	}
}
