// Package nearest finds what a reader meant by a name that is none: the "did you mean" of error messages.
package nearest

// Name returns the known name that a reader of found most likely meant: the one at the smallest edit distance
// (letter case ignored), the first of known on a tie; "" where known is empty. A known name that goes on where found
// ends is nearer than edits make it, as abbreviations are: flow.temp is flow.temperature, not flow.kl.
func Name(found string, known []string) string {
	best, bestDistance := "", -1
	for _, k := range known {
		if d := editDistance(fold(found), fold(k)); bestDistance < 0 || d < bestDistance {
			best, bestDistance = k, d
		}
	}
	return best
}

// longest bounds the cost of a name from a hostile file: names of ours are far shorter.
const longest = 64

// fold lower-cases ASCII and cuts the name at longest runes.
func fold(name string) []rune {
	rs := []rune(name[:min(len(name), 4*longest)])
	rs = rs[:min(len(rs), longest)]
	for i, r := range rs {
		if 'A' <= r && r <= 'Z' {
			rs[i] = r + 'a' - 'A'
		}
	}
	return rs
}

// edit and goOn are the costs of a character that is added, dropped or replaced, and of one that b has after all of a.
const edit, goOn = 4, 1

// editDistance is Levenshtein's from a to b but for the cheaper end, with one row of the table at a time.
func editDistance(a, b []rune) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j * edit
	}
	for i, ra := range a {
		diagonal := row[0]
		row[0] = (i + 1) * edit
		for j, rb := range b {
			replace := diagonal
			if ra != rb {
				replace += edit
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+edit, diagonal+edit)
		}
	}
	best := row[len(b)]
	for j, d := range row {
		best = min(best, d+(len(b)-j)*goOn)
	}
	return best
}
