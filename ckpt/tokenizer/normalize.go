package tokenizer

import (
	"slices"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// maxMarks is how many combining marks in a row are left to package norm. It inserts a U+034F after 30 of them (the
// Stream-Safe Text Format), which is not NFC; a mark decomposes into three at most.
const maxMarks = 9

// normalizeNFC returns text in Unicode's Normalization Form C. Bytes that are no UTF-8 stay as they are.
func normalizeNFC(text string) string {
	if norm.NFC.IsNormalString(text) {
		return text
	}
	marks := 0
	for i, r := range text {
		if r < 0x300 || norm.NFC.PropertiesString(text[i:]).LeadCCC() == 0 { // its own class is 0 for marks that always decompose, as U+0F73
			marks = 0
		} else if marks++; marks > maxMarks {
			return composeByDefinition(text)
		}
	}
	return norm.NFC.String(text)
}

// unit is a character, or a byte that is none, with its canonical combining class.
type unit struct {
	text  string
	class uint8
}

// composeByDefinition is NFC as the Unicode Standard defines it (section 3.11): decompose, order the marks, compose.
func composeByDefinition(text string) string {
	var units []unit
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		if r == utf8.RuneError && size == 1 {
			units = append(units, unit{text[i : i+1], 0})
		} else {
			for _, part := range norm.NFD.String(text[i : i+size]) {
				s := string(part)
				units = append(units, unit{s, norm.NFD.PropertiesString(s).CCC()})
			}
		}
		i += size
	}
	for i := 0; i < len(units); i++ {
		start := i
		for i < len(units) && units[i].class != 0 {
			i++
		}
		slices.SortStableFunc(units[start:i], func(a, b unit) int { return int(a.class) - int(b.class) })
	}
	out := make([]byte, 0, len(text))
	starter := unit{} // not yet written; the marks after it that did not compose wait in marks
	var marks []unit
	flush := func() {
		out = append(out, starter.text...)
		for _, m := range marks {
			out = append(out, m.text...)
		}
		starter, marks = unit{}, marks[:0]
	}
	for _, u := range units {
		blocked := starter.text == "" || len(marks) > 0 && marks[len(marks)-1].class >= u.class
		if !blocked {
			if one := norm.NFC.String(starter.text + u.text); utf8.ValidString(one) && utf8.RuneCountInString(one) == 1 {
				starter.text = one
				continue
			}
		}
		if u.class == 0 {
			flush()
			starter = u
		} else {
			marks = append(marks, u)
		}
	}
	flush()
	return string(out)
}
