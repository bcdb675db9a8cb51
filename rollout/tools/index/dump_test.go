package index

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// testdata/mini.xml is made for this test, in the form of a MediaWiki export; the .bz2 is the same, compressed.
func TestDump(t *testing.T) {
	want := []Doc{
		{
			Title: "Karvon", URL: "https://wiki.example.org/wiki/Karvon",
			Text: "Karvon (Karvôn) is a city in the land of Bel on the river Miro. It has 41,300 inhabitants & a harbour of 5 km.\n" +
				"## History\nFounded in 1702 by Ada Lume, see her page.\nThe first bridge, 1750",
		},
		{Title: "Carvon", Redirect: "Karvon"},
		{Title: "Miro (river)", URL: "https://wiki.example.org/wiki/Miro_%28river%29", Text: "The Miro is a river of 310 km."},
	}
	for _, name := range []string{"mini.xml", "mini.xml.bz2"} {
		got, err := readAll(t, filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

// What was joined is read to the end of the last part, and nothing but parts may stand there.
func TestDumpJoined(t *testing.T) {
	dir := t.TempDir()
	plain, packed := testFile(t, "mini.xml"), testFile(t, "mini.xml.bz2")
	sum := bytes.Clone(packed)
	sum[len(sum)-3] ^= 0x10 // in the checksum of the whole stream
	for _, c := range []struct {
		name, ext, want string // "" for documents twice
		data            []byte
	}{
		{"two", ".xml", "", slices.Concat(plain, []byte("\n \n\ufeff"), plain)},
		{"two packed", ".xml.bz2", "", slices.Concat(packed, packed)},
		{"text", ".xml", `found "garbage" outside of <mediawiki>`, slices.Concat(plain, []byte("\ngarbage"))},
		{"element", ".xml", "the root element is <html>", slices.Concat(plain, []byte("<html/>"))},
		{"half", ".xml", "torn", slices.Concat(plain, plain[:len(plain)/2])},
		{"cut", ".xml.bz2", "torn", packed[:len(packed)-4]},
		{"junk", ".xml.bz2", "bzip2", slices.Concat(packed, []byte("junk"))},
		{"sum", ".xml.bz2", "checksum", sum},
	} {
		path := filepath.Join(dir, "x"+c.ext)
		if err := os.WriteFile(path, c.data, 0o600); err != nil {
			t.Fatal(err)
		}
		docs, err := readAll(t, path)
		switch {
		case c.want == "" && (err != nil || len(docs) != 6 || docs[0] != docs[3]):
			t.Errorf("%s: %d documents, %v", c.name, len(docs), err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path)):
			t.Errorf("%s: %v, expected %q", c.name, err, c.want)
		}
	}
}

func testFile(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// A wiki's own names of files and categories, and redirects in its language, are known from the dump.
func TestDumpOfAnotherLanguage(t *testing.T) {
	page := func(title, text string) string {
		return "<page><title>" + title + "</title><ns>0</ns><revision><text>" + text + "</text></revision></page>"
	}
	const info = `<siteinfo><base>https://de.example.org/wiki/Start</base><namespaces><namespace key="-2">Medium</namespace><namespace key="0" /><namespace key="1">Diskussion</namespace>` +
		`<namespace key="6" case="first-letter">Datei</namespace><namespace key="14">Kategorie</namespace></namespaces></siteinfo>`
	d := dumpOf("<mediawiki>" + info + page("Berg", "[[Datei:b.jpg|mini|Ein [[Bild]]]]Ein Berg ist [[hoch]].[[Diskussion:Berg|Mehr]] [[ kategorie :Gelände]][[File:x.png]][[:Kategorie:Alpen|Alpen]]") +
		page("Hügel", "#WEITERLEITUNG [[Berg]]") + page("Anhöhe", "#redirect[[Berg]] {{x}}") + page("山", "#重定向 [[Berg]]") + page("Liste", "#Berg [[a]]\n#[[b]]") + "</mediawiki>" +
		"<mediawiki>" + page("Hill", "[[Datei:b.jpg|seen]]") + "</mediawiki>")
	for _, want := range []Doc{{Title: "Berg", URL: "https://de.example.org/wiki/Berg", Text: "Ein Berg ist hoch.Mehr Alpen"},
		{Title: "Hügel", Redirect: "Berg"}, {Title: "Anhöhe", Redirect: "Berg"}, {Title: "山", Redirect: "Berg"}, {Title: "Liste", URL: "https://de.example.org/wiki/Liste", Text: "Berg a\nb"},
		{Title: "Hill", Text: "seen"}} {
		if got, err := d.Next(t.Context()); err != nil || got != want {
			t.Errorf("found %+v, %v, expected %+v", got, err, want)
		}
	}
	if doc, err := d.Next(t.Context()); err != io.EOF {
		t.Errorf("found %+v, %v, expected the end", doc, err)
	}
}

func dumpOf(text string) *dump {
	return newDump("x.xml", &countingFile{}, strings.NewReader(text))
}

func TestDumpRefuses(t *testing.T) {
	page := func(inner string) string { return "<mediawiki><page>" + inner + "</page></mediawiki>" }
	for name, c := range map[string]struct{ text, want string }{
		"torn":         {"<mediawiki><page><title>A</title><ns>0</ns><revision><text>half a", `page "A"`},
		"no end":       {"<mediawiki><page><title>A</title><ns>1</ns></page>", "torn"},
		"empty":        {"", "torn"},
		"another root": {"<html><body></body></html>", "expected <mediawiki>"},
		"no xml":       {"title,text\na,b", "outside of <mediawiki>"},
		"a page alone": {"<page><title>A</title></page>", "expected <mediawiki>"},
		"torn, joined": {"<mediawiki><siteinfo/><mediawiki></mediawiki>", "the dump before it is torn"},
		"end alone":    {"</mediawiki>", "without a start"},
		"no title":     {page("<ns>0</ns>"), "without <title>"},
		"nested":       {page("<title>A<b>c</b></title>"), "<b> within <title>"},
		"bad entity":   {page("<title>A</title><text>&nbsp;</text>"), `page "A"`},
		"encoding":     {`<?xml version="1.0" encoding="ISO-8859-1"?><mediawiki/>`, `"ISO-8859-1": expected UTF-8`},
		"mismatched":   {page("<title>A</ns>"), "ends with"},
	} {
		_, err := dumpOf(c.text).Next(t.Context())
		if err == nil || err == io.EOF || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "x.xml, line ") {
			t.Errorf("%s: %v, expected %q", name, err, c.want)
		}
	}
}

// endless repeats a piece for ever.
type endless struct {
	head  io.Reader
	piece string
}

func (e endless) Read(p []byte) (int, error) {
	if n, err := e.head.Read(p); err == nil {
		return n, nil
	}
	n := 0
	for n+len(e.piece) <= len(p) {
		n += copy(p[n:], e.piece)
	}
	return n, nil
}

// A page's whole history may be larger than one document: only its last revision is kept.
func TestDumpFullHistory(t *testing.T) {
	var b strings.Builder
	b.WriteString("<mediawiki><page><title>A</title><ns>0</ns>")
	for i := range 40 {
		fmt.Fprintf(&b, "<revision><id>%d</id><text>%s of %d.</text></revision>", i, strings.Repeat("word ", 1<<10), i)
	}
	b.WriteString("</page></mediawiki>")
	d := dumpOf(b.String())
	d.budget.limit, d.budget.left = 1<<14, 1<<14
	if doc, err := d.Next(t.Context()); err != nil || !strings.HasSuffix(doc.Text, "word of 39.") || len(doc.Text) > 6<<10 {
		t.Errorf("%d bytes, %v", len(doc.Text), err)
	}
}

// A page without end is refused before it fills the memory.
func TestDumpBoundsPages(t *testing.T) {
	for name, piece := range map[string]string{"text": "word ", "comments": "<!-- -->", "siteinfo": "<a/>", "attributes": " a='b'"} {
		head := "<mediawiki><page><title>A</title><ns>0</ns><revision><text>"
		switch name {
		case "siteinfo":
			head = "<mediawiki><siteinfo>"
		case "attributes":
			head = "<mediawiki><page "
		}
		d := newDump("x.xml", &countingFile{}, endless{strings.NewReader(head), piece})
		d.budget.limit, d.budget.left = 1<<16, 1<<16
		if _, err := d.Next(t.Context()); err == nil || !strings.Contains(err.Error(), "more than") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPlain(t *testing.T) {
	for source, want := range map[string]string{
		"'''bold''' and ''italic'' and '''''both''''' don't":                 "bold and italic and both don't",
		"[[a]] [[b|c]] [[d|''e'' f]]s":                                       "a c e fs",
		"[[File:x.jpg|thumb|a [[link]] in it]]after":                         "after",
		"[[Category:X]][[:Category:Y|Y]]":                                    "Y",
		"[http://x.example] [https://x.example text] [1]":                    " text [1]",
		"{{a}}{{b|{{c}}|d}}x{{convert|3|km|mi}} {{lang|fr|mot}}":             "x3 km mot",
		"a{{unclosed\n== Next ==\ntext":                                      "a\n## Next\ntext",
		"{{Infobox\n| a =\n{|\n| b\n}}\ntext":                                "text", // a table without end in a template
		"{{Infobox\n| a =\n{|\n| b\n|}}\ntext":                               "text", // braces go before tables
		"{{Infobox\n{|\n| b\n|}\n}}\ntext":                                   "text",
		"{|\n| {{a|\n{|\n}}\n|}\ntext":                                       "text",
		"{{Infobox|[[File:x.jpg|thumb}}text [[a]]":                           "text a",
		"{{a|[http://x.example}}text]":                                       "text]",
		"Born {{birth date|1900|1|2}} in X":                                  "Born 2 January 1900 in X",
		"{{Birth_date and age|df=yes|1900|12|31}}":                           "31 December 1900",
		"{{death date and age|1980|5|6|1900|1|2}}":                           "6 May 1980",
		"{{start date|1999|03}}, {{end date|2001}}":                          "March 1999, 2001",
		"{{birth-date|2 January 1900}} {{birth year|1900}}":                  "2 January 1900 1900",
		"{{start date|1999|13|45}} {{end date|now|1|2}}":                     "1999 now",
		"{{birth date}} {{birthday|1|2}} {{start|1}}":                        "",
		"{{convert|5|to|10|km|mi}} {{cvt|3|-|4|ft}} {{convert|5}}":           "5 to 10 km 3 - 4 ft 5",
		"{{lang|fr|''mot''}} {{langx|fr|mot|x}} {{lang-fr|mot}}":             "mot mot mot",
		"{{circa|1900}} {{c.|1850|1860}}":                                    "c. 1900 c. 1850 – 1860",
		"{{As of|2020}}, it grew, and {{since|2001|5}}":                      "As of 2020, it grew, and Since 2001-5",
		"{{US$|5 million}} {{ill|Foo Bar|de|Foo}} {{flag|France}}":           "US$5 million Foo Bar France",
		"{{nihongo|Tokyo Tower|東京タワー}} is a tower. {{blockquote|So it is.}}": "Tokyo Tower is a tower. So it is.",
		"{{nowrap|[[a|b]] {{convert|5|km}}}} {{nowrap|{{x}}}}":               "b 5 km",
		"{|\n| a\n{|\n| b\n|}\n|}\nc":                                        "c",
		"a<ref name=x/>b<ref>c</ref>d<REF>e</REF>f":                          "abdf",
		"a<!-- b\n== c == -->d":                                              "ad",
		"x < y and 2 > 1":                                                    "x < y and 2 > 1",
		"a<br/>b <b>c</b>":                                                   "a b c",
		"&amp;lt; &nbsp;&eacute;":                                            "&lt; é",
		"* a\n# b\n:: c\n----\n__TOC__":                                      "a\nb\nc",
		"__NOTOC__ a\n__NOEDITSECTION__'''b''' c__TOC__":                     "a\nb c",
		"__INHALTSVERZEICHNIS__a\n__ABSCHNITTE_NICHT_BEARBEITEN__b\n__目次__c": "a\nb\nc",
		"the method __init__ and __len__":                                    "the method __init__ and __len__",
		"== A ==\nx\n=== References ===\ny\n== B ==\nz":                      "## A\nx\n## B\nz",
		"{x} {{{1}}} }} ]] '":                                                "{x} '",
		"==not a heading\n=":                                                 "==not a heading\n=",
		"":                                                                   "",
	} {
		want = strings.Join(strings.FieldsFunc(want, func(c rune) bool { return c == '\r' }), "")
		if got := plain(source); strings.TrimSpace(got) != strings.TrimSpace(want) {
			t.Errorf("%q: %q, expected %q", source, got, want)
		}
	}
}

// What is written small, or by a template, is a part of its number: 10<sup>6</sup> is not 106.
func TestPlainNumbers(t *testing.T) {
	checkPlain(t, map[string]string{
		"10<sup>6</sup> km<SUP class=x>2</SUP>, H<sub>2</sub>O":            "10^6 km^2, H2O",
		"10<sup>−3</sup> 10<sup>&minus;3</sup> (x)<sup>+2</sup>":           "10^−3 10^−3 (x)^+2",
		"10<sup>{{minus}}3</sup> {{nowrap|10<sup>6</sup>}}":                "10^−3 10^6",
		"19<sup>th</sup> <sup>14</sup>C a<sup/>2 x<sup></sup>":             "19th 14C a2 x",
		"5<sup>1</sup>/<sub>2</sub> 5<sup>1</sup>&frasl;<sub>2</sub>":      "5 1/2 5 1⁄2",
		"10{{sup|6}} CO{{sub|2}} {{sup|14}}C 19{{sup|th}} 2{{e|6}}":        "10^6 CO2 14C 19th 2×10^6",
		"1990{{snd}}1995, 1990{{ndash}}95, 5{{nbsp}}km":                    "1990 – 1995, 1990–95, 5 km",
		"a{{spaced ndash}}b{{mdash}}c{{Spaced_ndash}}d":                    "a – b—c – d",
		"3{{×}}4{{times}}5{{middot}}6 co{{shy}}op":                         "3×4×5·6 coop",
		"1990{{unknown}}1995 a{{unknown}}[[b]] a{{unknown}}. a{{x}}{{y}}b": "1990 1995 a b a. a b",
		"{{frac|3|1|2}} {{fraction|5|1|4}} {{frac|1|2}} {{frac|8}}":        "3 1/2 5 1/4 1/2 1/8",
		"3{{frac|1|2}} ({{frac|1|2}}) a{{frac|1|2}}":                       "3 1/2 (1/2) a1/2",
		"{{convert|6|ft|2|in|m}} {{convert|10|st|5.5|lb|kg|1}}":            "6 ft 2 in 10 st 5.5 lb",
		"{{convert|6|ft|m|2}} {{convert|6|ft|2}}":                          "6 ft 6 ft",
		"{{convert|10|+/-|2|km}} {{convert|10|±|2|km|mi}}":                 "10 ± 2 km 10 ± 2 km",
		"{{val|6.02|e=23}} {{val|6.02|0.01|e=-23|u=kg}} {{val|e=9|ul=m}}":  "6.02×10^23 (6.02 ± 0.01)×10^-23 kg 10^9 m",
		"{{val|1.2}} {{val|1.2|0.1}} {{val|1.2|(3)}} {{val|1.2|3|4}}":      "1.2 1.2 ± 0.1 1.2(3) 1.2 +3 −4",
		"{{formatnum:1,234}} {{formatnum: 1234.5 |R}}":                     "1,234 1234.5",
	})
}

// What parts a page is found in the forms that authors write it in, and parts words.
func TestPlainParts(t *testing.T) {
	checkPlain(t, map[string]string{
		"a\n:{|\n| b\n|}\nc\n : {|\n| d\n |}\ne":                                     "a\nc\ne",
		"a\n {| class=x\n| b\n{{c|\n :{|\n}}\n  |}\nd":                               "a\nd",
		"a\n== References ==<!-- x -->\nb\n== C ==\nd":                               "a\n## C\nd",
		"==History==<ref name=x>a ''b'' == c</ref>\nd":                               "## History\nd",
		"== History == <!-- x\ny --> \na":                                            "## History\na",
		"==History== <ref>x</ref><!-- y -->\na":                                      "## History\na",
		"== ''The'' [[a|River]]<ref>b</ref> ==\nc":                                   "## The River\nc",
		"== *NSYNC ==\na":                                                            "## *NSYNC\na",
		"==a== b\n==c==<b>d</b>\n==":                                                 "==a== b\n==c==d\n==",
		"== Notes ==\na\n=== Works cited ===\nb\n==== C ====\nd\n== E ==\nf":         "## E\nf",
		"== A ==\na\n=== Sources ===\nb\n==== C ====\nd\n=== E ===\nf":               "## A\na\n## E\nf",
		"=== Sources ===\na\n== B ==\nb\n=== C ===\nc":                               "## B\nb\n## C\nc",
		"[[:Category:Cats|cats]] [[:File:Foo.png|the picture]] [[:fr:Chat]] [[x]]":   "cats the picture fr:Chat x",
		"[[File:a.png|thumb|see [[:Category:B|c]] and [[d]]]]e [[ image:f.png]]g":    "e g",
		"a<ref>b</ref >c<ref name=x>d</REF\n>e<references><ref>f</ref></references>": "ace",
		"a<ref>b</references>c</ref>d<ref>e":                                         "ade",
		"if n<m then\n\nx is y. If p>q z":                                            "if n<m then\nx is y. If p>q z",
		"sorted if a[i]<b for every pair. The end. x>y":                              "sorted if a[i]<b for every pair. The end. x>y",
		"a<p\n\nb > c": "a<p\nb > c",
		"a<br clear=all>b<ol reversed>c</ol>d<BR />e<br clear all>f":             "a b c d e f",
		"x<foo>y</foo> <nowiki>z</nowiki>":                                       "x<foo>y</foo> z",
		"a<nowiki>{{b}} [[c]] <ref>d</ref></NoWiki >e<nowiki/>{{x}}f<nowiki>{{g": "a{{b}} [[c]] <ref>d</ref>e f",
		"i<n--> and <!-- gone -->b":                                              "i<n--> and b",
		"x<blockquote>a</blockquote>b<hr>c<div>d</div>e<td>f</td>g<HR/>h":        "x a b c d e f g h",
		"<b>a</b>b<span class=x>c</span>d<small>e</small>f<link rel=x>g":         "abcdefg",
	})
}

// An apostrophe beside markup stays one, by MediaWiki's rule for lines that leave italics and bold open.
func TestPlainApostrophes(t *testing.T) {
	checkPlain(t, map[string]string{
		"''Time'''s cover":          "Time's cover",
		"l'''homme''":               "l'homme",
		"'''L''''Étoile''":          "L'Étoile",
		"'''a''' ''b''":             "a b",
		"''''a''''":                 "'a'",
		"'''''a'''b''":              "ab",
		"'''''''a'''''":             "''a",
		"''a''' b '''c''' d":        "a' b c d", // the first behind a word
		"''a '''b '''c d'''e":       "a b c d'e",
		"''dit '''l'''un l'''autre": "dit lun l'autre", // behind a single letter
		"''a\n'''b":                 "a\nb",
		"don't 'a' '''b'''":         "don't 'a' b",
	})
}

// Words that a template is given under a name, and what stands for a parameter that it is not given.
func TestPlainParameters(t *testing.T) {
	checkPlain(t, map[string]string{
		"{{lang|en|text=hello}} {{Quote|text=So ''it'' is.|author=A}} {{blockquote |1= a = b |source=x}}": "hello So it is. a = b",
		"{{nowrap|1=x = 2}} {{lang|1=fr|2=mot}}":                                                          "x = 2 mot",
		"{{{1|}}}x {{{name|''y''}}} {{nowrap|{{{1|a}}}}} {{{2}}}":                                         "x y a",
		"{{unknown|{{{1|}}}}}z": "z",
	})
}

// checkPlain checks what plain makes of sources.
func checkPlain(t *testing.T, wants map[string]string) {
	t.Helper()
	for source, want := range wants {
		if got := plain(source); got != want {
			t.Errorf("%q: %q, expected %q", source, got, want)
		}
	}
}

// Unbalanced markup is read once: four times as much takes about four times as long, where a pass that goes over the rest for each piece takes sixteen.
func TestPlainIsLinear(t *testing.T) {
	const small, factor = 48 << 10, 4
	least := func(text string) time.Duration {
		best := time.Duration(math.MaxInt64)
		for range 3 {
			start := time.Now()
			plain(text)
			best = min(best, time.Since(start))
		}
		return best
	}
	for _, piece := range []string{"{{nowrap|", "{{nowrap|{{nowrap|{{nowrap|a}}}}}}", strings.Repeat("{{small|", 29) + strings.Repeat("}}", 29), "{{", "}}", "[[", "]]", "[[a|", "{|\n", "<ref>", "<", "<!--", "'", "[http://", "==", "== a ==\n", "&", "{{a|", "[[File:", "<ref ", "<ref></references>", "<ref></ref", "==<ref", "==<!--\n", "a<sup>", "1<sup>1", ":{|\n", "a{{b}}", "== {{small|a}} ==\n"} {
		text := strings.Repeat(piece, small/len(piece))
		long := strings.Repeat(text, factor)
		var one, four time.Duration
		for range 5 { // a busy machine may be in the way for once
			if one, four = least(text), least(long); four <= 2*factor*one {
				break
			}
		}
		if four > 2*factor*one {
			t.Errorf("%.40q: %v for %d bytes, %v for %d", piece, one, len(text), four, len(long))
		}
	}
}

func FuzzPlain(f *testing.F) {
	f.Add("{{a|[[b]]}} '''c''' <ref>d</ref>\n== e ==\n{| f |}")
	f.Add("[[File:a|[[b]]<!--{{")
	f.Fuzz(func(t *testing.T, source string) {
		if got := plain(source); len(got) > 10*len(source)+10 {
			t.Errorf("%d bytes became %d", len(source), len(got))
		}
	})
}

func FuzzDump(f *testing.F) {
	mini, err := os.ReadFile("testdata/mini.xml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(mini)
	f.Add([]byte("<mediawiki><page><title>A</title><text>b</text></page></mediawiki>"))
	f.Fuzz(func(t *testing.T, data []byte) {
		d := newDump("x", &countingFile{}, bytes.NewReader(data))
		for {
			doc, err := d.Next(t.Context())
			if err != nil {
				return
			}
			if doc.Title == "" {
				t.Error("a page without a title")
			}
		}
	})
}

// BenchmarkDump is the speed of reading a dump, in MB of XML.
func BenchmarkDump(b *testing.B) {
	mini, err := os.ReadFile("testdata/mini.xml")
	if err != nil {
		b.Fatal(err)
	}
	text := string(mini)
	at, end := strings.Index(text, "<page>"), strings.LastIndex(text, "</page>")+len("</page>")
	var all strings.Builder
	all.WriteString(text[:at])
	for range 500 {
		all.WriteString(text[at:end])
	}
	all.WriteString(text[end:])
	b.SetBytes(int64(all.Len()))
	for b.Loop() {
		d := dumpOf(all.String())
		for {
			if _, err := d.Next(b.Context()); err == io.EOF {
				break
			} else if err != nil {
				b.Fatal(fmt.Errorf("dump: %w", err))
			}
		}
	}
}
