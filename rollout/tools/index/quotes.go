package index

import "strings"

// MediaWiki reads two apostrophes as italics, three as bold, five as both, and what is more in a run as itself. Where a line leaves italics and bold
// open, a bold run of it is an apostrophe and italics: "''Time'''s cover" is Time's cover.

// quotes reads a run of apostrophes.
func (w *wikitext) quotes() {
	if w.i >= w.quotesTo {
		w.readQuotes()
	}
	n := quoteRun(w.s[w.i:])
	own := n - quoteMark(n)
	if w.i == w.loneBold {
		own++
	}
	w.emit(strings.Repeat("'", own))
	w.i += n
}

func quoteRun(s string) int { return len(s) - len(strings.TrimLeft(s, "'")) }

// quoteMark is how many of a run's apostrophes are markup.
func quoteMark(n int) int {
	switch {
	case n == 1:
		return 0
	case n == 4:
		return 3
	}
	return min(n, 5)
}

// readQuotes looks at the rest of a line from its first run on. Of its bold runs one behind a word of a single letter comes first, then one behind
// any other, then one behind a space.
func (w *wikitext) readQuotes() {
	end := strings.IndexByte(w.s[w.i:], '\n')
	if end < 0 {
		end = len(w.s) - w.i
	}
	line := w.s[:w.i+end]
	w.quotesTo, w.loneBold = len(line), -1
	italics, bolds := 0, 0
	single, several, space := -1, -1, -1
	for from, at := strings.LastIndexByte(w.s[:w.i], '\n')+1, w.i; at < len(line); {
		n := quoteRun(line[at:])
		mark := quoteMark(n)
		if mark == 2 || mark == 5 {
			italics++
		}
		if mark == 3 || mark == 5 {
			bolds++
		}
		if before := line[from : at+n-mark]; mark == 3 {
			switch {
			case strings.HasSuffix(before, " "):
				space = firstOf(space, at)
			case len(before) > 1 && before[len(before)-2] == ' ':
				single = firstOf(single, at)
			default:
				several = firstOf(several, at)
			}
		}
		if mark > 0 {
			from = at + n
		}
		next := strings.IndexByte(line[at+n:], '\'')
		if next < 0 {
			break
		}
		at += n + next
	}
	if italics%2 == 1 && bolds%2 == 1 {
		w.loneBold = firstOf(single, firstOf(several, space))
	}
}

// firstOf is a place, or another where there is none.
func firstOf(place, other int) int {
	if place >= 0 {
		return place
	}
	return other
}
