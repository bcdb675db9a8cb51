package flow

// Nearest returns the known name that a reader of found most likely meant: the one at the smallest edit distance
// (Levenshtein, letter case ignored), the first of known on a tie; "" where known is empty.
func Nearest(found string, known []string) string {
	best, bestDistance := "", -1
	for _, k := range known {
		if d := editDistance(fold(found), fold(k)); bestDistance < 0 || d < bestDistance {
			best, bestDistance = k, d
		}
	}
	return best
}

// longestName bounds the cost of a name from a hostile file: names of ours are far shorter.
const longestName = 64

// fold lower-cases ASCII and cuts the name at longestName runes.
func fold(name string) []rune {
	rs := []rune(name[:min(len(name), 4*longestName)])
	rs = rs[:min(len(rs), longestName)]
	for i, r := range rs {
		if 'A' <= r && r <= 'Z' {
			rs[i] = r + 'a' - 'A'
		}
	}
	return rs
}

// editDistance is Levenshtein's, with one row of the table at a time.
func editDistance(a, b []rune) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i, ra := range a {
		diagonal := row[0]
		row[0] = i + 1
		for j, rb := range b {
			replace := diagonal
			if ra != rb {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
