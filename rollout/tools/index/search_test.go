package index

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func memory(t testing.TB, docs ...Doc) *Index {
	t.Helper()
	ix, err := BuildMemory(docs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ix.Close() })
	return ix
}

func titles(ps []Passage) []string {
	out := make([]string, len(ps))
	for i, p := range ps {
		out[i] = p.Title
	}
	return out
}

func find(t testing.TB, ix *Index, query string, k int) []Passage {
	t.Helper()
	ps, err := ix.Search(context.Background(), query, k)
	if err != nil {
		t.Fatalf("%q: %v", query, err)
	}
	return ps
}

// Titles that are one but for their punctuation come in the order of how much they are what was asked for.
func TestTitleToTheLetter(t *testing.T) {
	ix := memory(t, Doc{Title: "C++", Text: "A language."}, Doc{Title: "c", Text: "A letter."}, Doc{Title: "C", Text: "Another language."}, Doc{Title: "C#", Text: "A third."})
	for query, want := range map[string]string{"C": "C", "c": "c", "C#": "C#", "c#": "C#", " c++ ": "C++", "C!": "C++"} {
		if got := find(t, ix, query, 1); len(got) != 1 || got[0].Title != want {
			t.Errorf("%q: found %v, expected %s", query, titles(got), want)
		}
	}
}

func TestSearch(t *testing.T) {
	docs := []Doc{
		{Title: "Belland", Text: "Belland is a country. Its largest city is Karvon, its longest river the Miro. Karvon, Karvon and Karvon again."},
		{Title: "Karvon", Text: "It is a city on the river Miro, founded in 1702 by Ada Lume.\n## Harbour\nThe harbour has five docks."},
		{Title: "Miro", Text: "A river of 310 km that passes the city of Karvon."},
		{Title: "Karvon Falls", Text: "A waterfall in the north."},
		{Title: "Ada Lume", Text: "She was born in Sel in 1671.", URL: "https://wiki.example.org/Ada_Lume"},
	}
	for i := range 40 {
		docs = append(docs, Doc{Title: fmt.Sprintf("City %d", i), Text: "It is a city in a country on a river, with a harbour."})
	}
	ix := memory(t, docs...)
	if ix.Docs() != 45 || ix.Passages() != 46 {
		t.Errorf("%d documents, %d passages", ix.Docs(), ix.Passages())
	}
	for query, want := range map[string]string{
		"Karvon": "Karvon", "karvon?": "Karvon", "KARVÓN": "Karvon", "`Karvon`": "Karvon", "who founded Karvon": "Karvon", "Karvon falls": "Karvon Falls",
		"harbour of Karvon": "Karvon", "how long is the Miro": "Miro", "when was Ada Lume born": "Ada Lume", "Lumes": "Ada Lume",
	} {
		got := find(t, ix, query, 3)
		if len(got) == 0 || got[0].Title != want {
			t.Errorf("%q: %v, expected %s first", query, titles(got), want)
		}
	}
	if got := find(t, ix, "harbour of Karvon", 1); got[0].Section != "Harbour" || got[0].Text != "The harbour has five docks." {
		t.Errorf("%+v", got)
	}
	if got := find(t, ix, "Ada Lume", 1); got[0].URL != docs[4].URL || got[0].Score <= 0 {
		t.Errorf("%+v", got)
	}
	// A capital that begins a sentence is that of a word, not of a name.
	for _, query := range []string{"Founders of Karvon", "Discography of Ada Lume"} {
		if got := find(t, ix, query, 3); len(got) == 0 {
			t.Errorf("%q: nothing", query)
		}
	}
	// A name that is not there finds nothing, whatever else the query says.
	for _, query := range []string{"Zanzor", "Zanzor river", "Zanzor of the river", "Zanzor Karvon", "Founders of Zanzor", "river of Zanzor", "the city of Zanzor in the country", "", "???", "   "} {
		if got := find(t, ix, query, 3); len(got) != 0 {
			t.Errorf("%q: %v, expected nothing", query, titles(got))
		}
	}
	if got := find(t, ix, "Karvon", 0); len(got) != 0 {
		t.Errorf("k = 0: %v", titles(got))
	}
	if got := find(t, ix, "the city", 100); len(got) < 40 {
		t.Errorf("k = 100: %d passages", len(got))
	}
	// Ties go by order.
	if got := find(t, ix, "harbour country river", 3); !slices.Equal(titles(got), []string{"City 0", "City 1", "City 2"}) {
		t.Errorf("%v", titles(got))
	}
}

// A document whose title the query is comes first, however well others match.
func TestExactTitleFirst(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom([]string{"Aba", "Bel", "Aba Bel", "Bel Aba", "Cor"})
		text := rapid.StringMatching(`((Aba|Bel|Cor|Dun) ){1,12}`)
		var docs []Doc
		for _, title := range rapid.SliceOfNDistinct(name, 1, 5, rapid.ID).Draw(t, "titles") {
			docs = append(docs, Doc{Title: title, Text: text.Draw(t, "text")})
		}
		ix, err := BuildMemory(docs)
		if err != nil {
			t.Fatal(err)
		}
		defer ix.Close()
		want := docs[rapid.IntRange(0, len(docs)-1).Draw(t, "which")].Title
		ps, err := ix.Search(context.Background(), rapid.SampledFrom([]string{want, strings.ToLower(want), `"` + want + `"?`}).Draw(t, "query"), 3)
		if err != nil || len(ps) == 0 || ps[0].Title != want {
			t.Fatalf("%q: %v, %v", want, titles(ps), err)
		}
	})
}

// The search that looks only at what the heavy terms find gives what a search over all terms gives.
func TestPruningChangesNothing(t *testing.T) {
	word := rapid.SampledFrom([]string{"aba", "bel", "cor", "dun", "eel", "fir", "gul", "hob", "city", "city", "city", "river", "river"})
	rapid.Check(t, func(t *rapid.T) {
		var docs []Doc
		for i := range rapid.IntRange(3, 25).Draw(t, "docs") {
			docs = append(docs, Doc{Title: fmt.Sprintf("t%d", i), Text: strings.Join(rapid.SliceOfN(word, 1, 8).Draw(t, "text"), " ")})
		}
		ix, err := BuildMemory(docs)
		if err != nil {
			t.Fatal(err)
		}
		defer ix.Close()
		ctx := context.Background()
		text := strings.Join(rapid.SliceOfN(word, 1, 5).Draw(t, "query"), " ")
		got, err := ix.Search(ctx, text, len(docs))
		if err != nil {
			t.Fatal(err)
		}
		terms, err := ix.weigh(ctx, query(text))
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, w := range terms {
			// What stands in most passages has no weight to FTS5, beside a rest of 1e-6 that only orders ties.
			if 2*w.df <= ix.passages || len(terms) == 1 {
				all = append(all, w.word)
			}
		}
		if len(all) == 0 {
			return
		}
		hits, err := ix.bm25(ctx, strings.Join(all, " OR "), len(docs))
		if err != nil {
			t.Fatal(err)
		}
		scores := map[string]float64{}
		for _, h := range hits {
			p, err := ix.read(ctx, h)
			if err != nil {
				t.Fatal(err)
			}
			if coverage(&p, terms) >= minCoverage {
				scores[p.Title] = p.Score
			}
		}
		// bm25 adds up in the order of the expression, so that scores agree to rounding, and to FTS5's rest.
		const tolerance = 1e-4
		found := map[string]bool{}
		for _, p := range got {
			found[p.Title] = true
			if want, ok := scores[p.Title]; ok && (p.Score-want > tolerance || want-p.Score > tolerance) {
				t.Fatalf("%q: %s scores %v, expected %v", text, p.Title, p.Score, want)
			}
		}
		for title := range scores {
			if !found[title] {
				t.Fatalf("%q: %s is missing in %v", text, title, titles(got))
			}
		}
	})
}

// Any text is a query: none is an error, and none means anything to the database.
func FuzzSearch(f *testing.F) {
	ix := memory(f, Doc{Title: "Karvon", Text: "A city."}, Doc{Title: "C++", Text: "A language AND more."}, Doc{Title: "AND", Text: "A word; {x} \"y\"."})
	for _, q := range []string{`"`, `""`, `karvon AND`, `NOT karvon`, `title:karvon`, `karvon*`, `^karvon`, `{title}: x`, `NEAR(a b, 5)`, `a OR`, `(`, `-a`, `+`, `'; DROP TABLE passages; --`, "\x00", "\xff", `\frac{a}{b}`, "½ ² ǅ ﬁ", "İ"} {
		f.Add(q)
	}
	f.Fuzz(func(t *testing.T, q string) {
		ps, err := ix.Search(context.Background(), q, 3)
		if err != nil {
			t.Errorf("%q: %v", q, err)
		}
		if len(ps) > 3 {
			t.Errorf("%d passages", len(ps))
		}
	})
}

// Operators of FTS5 are words like any others.
func TestQuerySyntaxIsData(t *testing.T) {
	ix := memory(t, Doc{Title: "Karvon", Text: "A city."}, Doc{Title: "Miro", Text: "A river."})
	for _, q := range []string{`karvon NOT city`, `title:karvon`, `"karvon`, `karvon*`, `(karvon`, `{karvon}`, `karvon AND`} {
		if got := find(t, ix, q, 2); len(got) == 0 || got[0].Title != "Karvon" {
			t.Errorf("%q: %v", q, titles(got))
		}
	}
}

func TestSearchConcurrently(t *testing.T) {
	path := t.TempDir() + "/a b%20?#.db"
	if err := Build(t.Context(), path, Docs(manyDocs(300)), nil); err != nil {
		t.Fatal(err)
	}
	file, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for name, ix := range map[string]*Index{"file": file, "memory": memory(t, manyDocs(300)...)} {
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Go(func() {
				for i := range 40 {
					want := fmt.Sprintf("Name%d", (g*40+i)%300)
					ps, err := ix.Search(context.Background(), "country of "+want, 1)
					if err != nil || len(ps) != 1 || ps[0].Title != want {
						t.Errorf("%s: %s: %v, %v", name, want, titles(ps), err)
					}
				}
			})
		}
		wg.Wait()
	}
}

// Searches that are cut at any moment fail with the context's error, and the index, in memory too, stays whole.
func TestSearchCanceled(t *testing.T) {
	ix := memory(t, manyDocs(2000)...)
	cut := 0
	for i := range 300 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*3*time.Microsecond)
		if _, err := ix.Search(ctx, fmt.Sprintf("Land%d Flow%d city", i%50, i), 3); errors.Is(err, context.DeadlineExceeded) {
			cut++
		} else if err != nil {
			t.Fatal(err)
		}
		cancel()
		if got := find(t, ix, "Name7", 1); len(got) != 1 || got[0].Title != "Name7" {
			t.Fatalf("after %d searches that were cut: %v", cut, titles(got))
		}
	}
	if cut == 0 {
		t.Error("no search was cut")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := memory(t, manyDocs(3)...).Search(ctx, "Name1", 1); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func manyDocs(n int) []Doc {
	docs := make([]Doc, n)
	for i := range docs {
		docs[i] = Doc{Title: fmt.Sprintf("Name%d", i), Text: fmt.Sprintf("Name%d is a city in the country of Land%d, on the river Flow%d. It has %d inhabitants and was founded in %d.", i, i%50, i%300, i*7919%100003, 1000+i%900)}
	}
	return docs
}

// BenchmarkBuildMemory is the world of 5,000 short documents: to stay below 500 ms.
func BenchmarkBuildMemory(b *testing.B) {
	docs := manyDocs(5000)
	for b.Loop() {
		ix, err := BuildMemory(docs)
		if err != nil {
			b.Fatal(err)
		}
		ix.Close()
	}
}

func BenchmarkSearch(b *testing.B) {
	ix := memory(b, manyDocs(5000)...)
	for name, query := range map[string]string{"title": "Name%d", "words": "country of Name%d", "common": "city on the river Flow%d"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				find(b, ix, fmt.Sprintf(query, i%5000), 3)
			}
		})
	}
}
