package rollout

import (
	"regexp"
	"strings"

	"afctl/flow"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// conclusion is the label that a verdict follows.
var conclusion = regexp.MustCompile(`(?i)\b(?:conclusion|verdict|decision|stop[ _]signal)\b\s*(?:is\s*)?[:：=\x{2013}\x{2014}-]+\s*`)

var wordPattern = regexp.MustCompile(`[\p{L}\p{N}]+(?:['’][\p{L}]+)?`)

// clause splits a phrase where a negation ends.
var clause = regexp.MustCompile(`[.,;:!?()\n]+`)

// negations turn the STOP or CONTINUE that one of the next negationReach words is into its denial.
var negations = map[string]bool{
	"not": true, "no": true, "never": true, "cannot": true, "without": true, "neither": true, "nor": true,
	"don't": true, "doesn't": true, "shouldn't": true, "mustn't": true, "can't": true, "won't": true, "dont": true,
	"isn't": true, "avoid": true, "against": true, "non": true,
}

var (
	// asked is a question, which says nothing; deniedStop a STOP that is denied behind it, ifStop one under a condition.
	asked      = regexp.MustCompile(`[^.!?\n]*\?`)
	deniedStop = regexp.MustCompile(`(?i)\bstop\s+(?:(?:is|was|would|should|must|may|can|will)(?:\s+be)?\s+(?:not|never)|(?:is|was|would|should|must|ca|wo)n['’]t|cannot)\b`)
	ifStop     = regexp.MustCompile(`(?i)\bstop\b.*\b(?:if|unless)\b`)
)

const negationReach = 5

// ParseVerdict reads a verifier's answer. STOP has to be said: as {"verdict": "STOP"} or {"stop_signal": true}, after
// the last "Conclusion:", "Verdict:" or "Decision:", or as a line of its own at the end or the beginning of what follows
// that label or of all, in any markdown and case; in a longer text only an upper-case word counts. "Do not stop" is CONTINUE.
// Where STOP and CONTINUE are both said, or neither, the verdict cannot be read: ok is false, and CONTINUE is what it
// counts as, since a needless turn costs less than a missing one.
func ParseVerdict(text string) (v flow.Verdict, ok bool) {
	text = strings.ToValidUTF8(text, "\uFFFD")
	for object := range jsonObjects(text) {
		if verdict, found := verdictFromJSON(object); found {
			v, ok = verdict, true
		}
	}
	if ok {
		return v, true
	}
	text = strings.NewReplacer("*", "", "_", " ", "`", "", "#", "", "\r", "\n").Replace(text)
	if all := conclusion.FindAllStringIndex(text, -1); len(all) > 0 {
		text = strings.TrimSpace(text[all[len(all)-1][1]:])
		line, _, _ := strings.Cut(text, "\n")
		if verdict, found := readVerdict(line, true); found {
			return verdict, true
		}
	}
	lines := strings.FieldsFunc(text, func(c rune) bool { return c == '\n' })
	for _, i := range []int{len(lines) - 1, 0} {
		if i < 0 {
			break
		}
		if words := wordPattern.FindAllString(lines[i], 2); len(words) == 1 {
			if verdict, found := readVerdict(words[0], true); found {
				return verdict, true
			}
		}
	}
	return readVerdict(text, false)
}

// readVerdict looks for the words in a phrase. In lower case they count only as the first word of a labelled phrase,
// or where they are denied: prose is full of bus stops.
func readVerdict(phrase string, labelled bool) (flow.Verdict, bool) {
	var stop, goOn, denied bool
	first := labelled
	for _, part := range clause.Split(asked.ReplaceAllString(phrase, ""), -1) {
		if ifStop.MatchString(part) {
			continue
		}
		if deniedStop.MatchString(part) {
			part, denied = deniedStop.ReplaceAllString(part, " "), true
		}
		negated := 0 // words that the last negation still reaches
		for _, word := range wordPattern.FindAllString(part, -1) {
			lower := strings.ReplaceAll(strings.ToLower(word), "’", "'")
			said := first || word == strings.ToUpper(word)
			switch {
			case negations[lower]:
				negated = negationReach + 1
			case lower == "stop" && negated > 0:
				denied = true
			case lower == "stop", first && lower == "true":
				stop = stop || said
			case lower == "continue" && negated > 0:
				// "no need to continue" is a hint, not a verdict
			case lower == "continue", first && lower == "false":
				goOn = goOn || said
			}
			negated = max(negated-1, 0)
			first = false
		}
	}
	switch {
	case stop && !goOn && !denied:
		return flow.VerdictStop, true
	case !stop && (goOn || denied):
		return flow.VerdictContinue, true
	}
	return flow.VerdictContinue, false
}

func verdictFromJSON(object jsontext.Value) (flow.Verdict, bool) {
	var fields map[string]jsontext.Value
	if json.Unmarshal(object, &fields) != nil {
		return flow.VerdictContinue, false
	}
	for _, key := range []string{"verdict", "conclusion", "decision", "stop_signal", "stop"} {
		v, ok := fields[key]
		if !ok {
			continue
		}
		if v.Kind() == '"' || strings.HasPrefix(key, "stop") {
			return readVerdict(jsonText(v), true)
		}
	}
	return flow.VerdictContinue, false
}

// reason is the "why" of a verdict in JSON; a verdict in prose gives none.
func reason(text string) string {
	why := ""
	for object := range jsonObjects(text) {
		var fields map[string]jsontext.Value
		if json.Unmarshal(object, &fields) == nil && fields["why"] != nil {
			why = jsonText(fields["why"])
		}
	}
	return clipBytes(why, maxNote)
}
