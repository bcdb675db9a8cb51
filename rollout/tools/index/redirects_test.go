package index

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// A redirect's title finds the document that it leads to, over others where need be; what leads nowhere, or too far, is counted.
func TestRedirects(t *testing.T) {
	docs := []Doc{{Title: "Zelm city", Redirect: "Zelm"}, {Title: "ZELM", Redirect: "Zelm city"}, {Title: "Zelm", Text: "A town on a hill."},
		{Title: "C++", Text: "A language with classes."}, {Title: "C", Redirect: "C (language)"}, {Title: "C (language)", Text: "A language."},
		{Title: "Here", Redirect: "There"}, {Title: "There", Redirect: "Here"}, {Title: "Self", Redirect: "Self"}, {Title: "Gone", Redirect: "Category:Towns"},
		{Title: "Mercury", Text: "A metal."}, {Title: "MERCURY", Redirect: "Zelm"}, {Title: "Zelms", Redirect: "zelm"}} // a title, to the letter
	for i := range maxSteps {
		target := "Zelm"
		if i > 0 {
			target = fmt.Sprintf("Step%d", i)
		}
		docs = append(docs, Doc{Title: fmt.Sprintf("Step%d", i+1), Redirect: target})
	}
	docs = append(docs, Doc{Title: "Too far", Redirect: fmt.Sprintf("Step%d", maxSteps)})
	path := filepath.Join(t.TempDir(), "x.db")
	var last Progress
	if err := Build(t.Context(), path, Docs(docs), func(p Progress) { last = p }); err != nil {
		t.Fatal(err)
	}
	if want := (Progress{Docs: 4, Passages: 4, Names: 4 + maxSteps, Lost: 6}); last != want {
		t.Errorf("found %+v, expected %+v", last, want)
	}
	ix, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer ix.Close()
	for query, want := range map[string]string{"Zelm city": "Zelm", "zelm CITY": "Zelm", "ZELM": "Zelm", fmt.Sprintf("Step%d", maxSteps): "Zelm", "C": "C (language), C++",
		"C++": "C++, C (language)", "MERCURY": "Zelm, Mercury", "mercury": "Mercury, Zelm", "Here": "", "Gone": "", "Too far": ""} {
		if got := find(t, ix, query, 3); strings.Join(titles(got), ", ") != want {
			t.Errorf("%q: %q, expected %q", query, titles(got), want)
		}
	}
}

// Where a redirect of a dump leads is written in several ways.
func TestDumpRedirects(t *testing.T) {
	for _, c := range []struct{ page, want string }{
		{`<redirect title="Zelm" /><revision><text>#REDIRECT [[Other]]</text></revision>`, "Zelm"},
		{`<revision><text>#REDIRECT [[:zelm_on  Miro#History|x]]</text></revision>`, "Zelm on Miro"},
		{`<redirect /><revision><text>#redirect: [[élan]]</text></revision>`, "Élan"},
	} {
		doc, err := dumpOf("<mediawiki><page><title>A</title><ns>0</ns>" + c.page + "</page></mediawiki>").Next(t.Context())
		if want := (Doc{Title: "A", Redirect: c.want}); err != nil || doc != want {
			t.Errorf("%s: %+v, %v, expected %+v", c.page, doc, err, want)
		}
	}
	const exact = "<mediawiki><siteinfo><case>case-sensitive</case></siteinfo><page><title>A</title><ns>0</ns><text>#REDIRECT [[zelm]]</text></page></mediawiki>"
	if doc, err := dumpOf(exact).Next(t.Context()); err != nil || doc.Redirect != "zelm" {
		t.Errorf("where titles begin with any letter: %+v, %v", doc, err)
	}
}
