package score

import (
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
)

// Origin says which mark an answer was found by; a marked answer is meant as the whole answer, unmarked text is prose.
type Origin int

// Origins in the order they are looked for.
const (
	Tagged    Origin = iota // <answer> … </answer>
	Boxed                   // \boxed{…}
	Announced               // "the final answer is …", "Answer: …", "答案：…"
	Unmarked                // the whole text
)

var (
	openTag   = regexp.MustCompile(`(?i)<\s*(?:final[_\s-]?)?answer\s*>`)
	closeTag  = regexp.MustCompile(`(?i)<\s*/\s*(?:final[_\s-]?)?answer\s*>`)
	boxCmd    = regexp.MustCompile(`\\f?boxed\s*\{|\\fbox\s*\{`)
	wholeText = regexp.MustCompile(`^(?:[\s$]|\\\()*\\(?:text|mathrm|mathbf|textbf)\s*\{([^{}]*)\}(?:[\s$.]|\\\))*$`)
	// announce ends where the answer begins, behind a heading on the next line. A negated announcement ("the answer is not 5") keeps its "not".
	announce = regexp.MustCompile(`(?i)(?:(?:\b|_)(?:final[\s_]+)?answer["'*]*` + toQuestion + `|答案)\s*(?:\**\s*[:：=]|\s+[–—-]\s|\bis\b\s*:?|\bwould be\b|\bmust be\b)\s*|` +
		`(?m:^)[ \t#]*(?:the[ \t]+)?(?:final[ \t]+)?answer[ \t]*\r?\n\s*`)
	// remark is a sentence that judges an answer given elsewhere. Names, letters and figures behind "this answer is" are an answer.
	remark = regexp.MustCompile(`(?i)` + sentence + `\b(?:(?:this|that|your|each|every)\s+(?:final\s+)?answer\s+is\s+(?-i:[a-z])|answer` + toQuestion + `\s+is\s+` +
		`(?:(?:not|also|indeed|thus|therefore|probably|likely|definitely|certainly|clearly|fully)\s+)*(?:(?:in)?correct|right|wrong|final|exact|` +
		`(?:in)?accurate|(?:un)?reasonable|(?:in)?consistent|based|supported|confirmed|verified|rounded|in\s+(?:its\s+)?(?:simplest|lowest))\b)` +
		sentence + `(?:[.!?](?:\s|$)|\n|$)`)
	// correction is what goes on to a better answer: "my answer is wrong, it is 5", "the answer is exact: 5".
	correction = regexp.MustCompile(`(?i)\b(?:wrong|incorrect|not\s+(?:correct|right))\b.*\w|answer\s+is\b.*[:=]`)
	thisAnswer = regexp.MustCompile(`(?i)\bthis\s+(?:final\s+)?answer\b`)
	// leadIn is all that may stand before the announcement of a text that is one.
	leadIn = regexp.MustCompile(`(?i)^(?:so|thus|therefore|hence|the|my|correct|right|final|[\s,*#"'])*$`)
	// explanation begins a line that speaks of the answer in the line before it.
	explanation = regexp.MustCompile(`(?im)^\W*(?:explanation|reasoning|rationale|justification|sources?|confidence)\W*:`)
	item        = regexp.MustCompile(`^[-•][ \t]+`)
)

// toQuestion is what may stand between "answer" and "is".
const toQuestion = `(?:\s+(?:to|for|of)\s+(?:(?:the|this|that|your|our|my)\s+)?(?:\w+\s+){0,2}?(?:question|problem|task|query|puzzle|exercise)(?:\s+(?:\d+|above|asked|posed))?)?`

// sentence ends before punctuation, unless that is within a number or a name.
const sentence = `(?:[^.!?\n]|[.!?]\S)*`

// Extract returns the part of a reply that is its answer: the last <answer> element that holds anything (where none is
// closed, it runs to the end), else the last \boxed{}, else what follows the last "answer is" or "answer:" on its line (or
// on the next, if that line ends there, as a heading "Final Answer" does), else the whole text. What is said of an answer
// ("this answer is correct") announces none. Marks nest: a box within a tag is opened too. Markdown's emphasis is left out, and LaTeX's of a whole answer.
func Extract(text string) (string, Origin) {
	text = plain(tail(text))
	origin := Unmarked
	if inner, ok := lastTag(text); ok {
		text, origin = inner, Tagged
	}
	if inner, ok := lastBox(text); ok {
		text, origin = inner, min(origin, Boxed)
	} else if origin == Unmarked {
		text = withoutRemarks(text)
		if at := announce.FindAllStringIndex(text, -1); at != nil {
			if line := lineFrom(text, at[len(at)-1][1]); line != "" {
				text, origin = line, Announced
			}
		}
		if at := explanation.FindStringIndex(text); origin == Unmarked && at != nil && oneLine(text[:at[0]]) {
			text = text[:at[0]]
		}
	}
	return strings.Trim(wholeText.ReplaceAllString(text, "$1"), " \t\r\n*`"), origin
}

// tail is as much of a text as is looked at.
func tail(text string) string {
	cut := max(0, len(text)-MaxAnswer)
	for cut > 0 && cut < len(text) && !utf8.RuneStart(text[cut]) {
		cut++
	}
	return text[cut:]
}

// display is a formula, or a block of code, that begins behind a line of its own.
var display = regexp.MustCompile("(?s)^(?:\\\\\\[[ \\t]*\\r?\\n(.*?)\\\\\\]|\\$\\$[ \\t]*\\r?\\n(.*?)\\$\\$|```\\w*[ \\t]*\\r?\\n(.*?)```|" +
	`\\begin\{(?:align|equation|gather)\*?\}(.*?)\\end\{)`)

// jsonText is a string among the members of an object.
var jsonText = regexp.MustCompile(`^("(?:[^"\\\n]|\\.)*")\s*[,}]`)

// lineFrom is the first line from there on that is not blank, or the formula that it opens. A line of its own may have a bullet.
func lineFrom(text string, from int) string {
	const gaps = " \t\r\n*"
	line := strings.TrimLeft(text[from:], gaps)
	before := text[:len(text)-len(line)]
	if strings.Contains(before[len(strings.TrimRight(before, gaps)):], "\n") {
		line = item.ReplaceAllString(line, "")
	}
	if m := display.FindStringSubmatch(line); m != nil {
		return strings.TrimSpace(m[1] + m[2] + m[3] + m[4])
	}
	if m := jsonText.FindStringSubmatch(line); m != nil {
		var inner string
		if json.Unmarshal([]byte(m[1]), &inner) == nil {
			return strings.TrimSpace(inner)
		}
	}
	line, _, _ = strings.Cut(line, "\n")
	return strings.TrimSpace(line)
}

// oneLine reports whether a text is one line, but for blank ones.
func oneLine(text string) bool {
	text = strings.TrimSpace(text)
	return text != "" && !strings.Contains(text, "\n")
}

// claims are what an answer may claim: what Extract finds in it, and where that is an announcement itself (<answer>The answer is Paris</answer>),
// what it announces. Beside a truth that reads like one ("The Answer Is Never"), also the whole, and what follows each announcement.
func claims(answer, truth string) []string {
	found, origin := Extract(answer)
	if at := announce.FindStringIndex(found); origin < Announced && at != nil && leadIn.MatchString(found[:at[0]]) {
		if line := lineFrom(found, at[1]); line != "" {
			return []string{found, line}
		}
	}
	if origin != Announced || !announce.MatchString(truth) {
		return []string{found}
	}
	text := plain(tail(answer))
	out := []string{found, strings.TrimSpace(text)}
	for _, at := range announce.FindAllStringIndex(text, maxAnnouncements) {
		out = append(out, lineFrom(text, at[1]))
	}
	return out
}

// maxAnnouncements bounds the work on a hostile answer.
const maxAnnouncements = 8

// withoutRemarks ends a line where a remark stands. Alone, "the answer is right" announces all the same; of "this answer" it does
// only where nothing else is said. A sentence that announces beside it ("my answer is final: the answer is 5") stays.
func withoutRemarks(text string) string {
	rest := remark.ReplaceAllStringFunc(text, func(s string) string {
		if len(announce.FindAllStringIndex(s, 2)) > 1 || correction.MatchString(s) {
			return s
		}
		return "\n"
	})
	if announce.MatchString(rest) || thisAnswer.MatchString(text) && strings.TrimSpace(rest) != "" {
		return rest
	}
	return text
}

// Emphasis begins behind a word, punctuation or a mark that begins a line, and ends before a space or punctuation: 2*3*4 and a_1 are none, nor
// is 4 *3* 2. A bullet before it is no minus sign.
var (
	emphasized = regexp.MustCompile("(?m)(^[ \\t]*)[-•][ \\t]+(\\*\\*|`)")
	emphasis   = regexp.MustCompile("(^|[\\n(\"'>|{]|[A-Za-z:.,;=$][ \\t]+|(?m:^)[^\\w\\s$*_`\\\\(\\[{]{1,3}[ \\t]+)(?:\\*{1,3}([^\\s*](?:[^*\\n]*[^\\s*])?)\\*{1,3}\\B|_{1,3}([^\\s_](?:[^_\\n]*[^\\s_])?)_{1,3}\\b|`([^`\\n]+)`)")
	htmlMark   = regexp.MustCompile(`(?i)</?(?:b|i|u|em|strong|code|p|br)\s*/?>`)
)

// plain leaves the marks of emphasis out, and those of other scripts as they are typed elsewhere.
func plain(text string) string {
	text = emphasized.ReplaceAllString(text, "$1$2")
	return emphasis.ReplaceAllString(htmlMark.ReplaceAllString(halfwidth(text), " "), "$1$2$3$4")
}

// lastTag returns the content of the last element that is closed and holds anything, else of the last that is not closed;
// a reply may name the tag in a sentence ("in the <answer> format"), before its answer or behind it.
func lastTag(text string) (string, bool) {
	opens := openTag.FindAllStringIndex(text, -1)
	unclosed, end := "", len(text)
	for i := len(opens) - 1; i >= 0; i-- {
		inner := text[opens[i][1]:end]
		closed := closeTag.FindStringIndex(inner)
		if closed != nil {
			inner = inner[:closed[0]]
		}
		switch {
		case strings.TrimSpace(inner) == "":
		case closed != nil:
			return inner, true
		case unclosed == "":
			unclosed = inner
		}
		end = opens[i][0]
	}
	return unclosed, opens != nil
}

// lastBox returns the content of the last \boxed{…} whose braces balance.
func lastBox(text string) (string, bool) {
	at := boxCmd.FindAllStringIndex(text, -1)
	for i := len(at) - 1; i >= 0; i-- {
		depth := 1
		for j := at[i][1]; j < len(text); j++ {
			switch text[j] {
			case '\\':
				j++ // an escaped brace is text
			case '{':
				depth++
			case '}':
				if depth--; depth == 0 {
					return text[at[i][1]:j], true
				}
			}
		}
	}
	return "", false
}
