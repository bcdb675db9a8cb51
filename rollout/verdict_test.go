package rollout

import (
	"testing"

	"afctl/flow"
)

func TestParseVerdict(t *testing.T) {
	const (
		stop   = flow.VerdictStop
		goOn   = flow.VerdictContinue
		unread = flow.Verdict("unreadable")
	)
	for _, c := range []struct {
		text string
		want flow.Verdict
	}{
		{"STOP", stop}, {"CONTINUE", goOn}, {"stop", stop}, {"Stop.", stop}, {"continue", goOn}, {"**STOP**", stop},
		{"Conclusion: STOP", stop}, {"Conclusion: CONTINUE", goOn}, {"conclusion: stop", stop}, {"**Conclusion:** STOP", stop},
		{"**Conclusion: STOP**", stop}, {"### Conclusion\n\nAll is there.\n\nSTOP", stop}, {"Conclusion:\n\nSTOP", stop},
		{"Conclusion - `STOP`", stop}, {"Conclusion — stop", stop}, {"Verdict: Stop", stop}, {"Decision is: STOP", stop},
		{"It is all there.\nConclusion: STOP", stop}, {"It is all there.\n\nSTOP", stop}, {"STOP\nIt is all there.", stop},
		{`{"verdict": "STOP"}`, stop}, {`{"verdict": "CONTINUE"}`, goOn}, {`{"stop_signal": true}`, stop}, {`{"stop_signal": false}`, goOn},
		{"```json\n{\"why\": \"do not stop early\", \"verdict\": \"STOP\"}\n```", stop}, {`{"analysis": "STOP", "verdict": "continue"}`, goOn},
		{`{"why": "one could stop", "stop_signal": false}`, goOn},
		// Negations.
		{"do not stop", goOn}, {"Do not stop.", goOn}, {"Don't STOP", goOn}, {"don’t stop", goOn}, {"We should not STOP here.", goOn},
		{"Conclusion: do not stop", goOn}, {"Conclusion: we cannot STOP yet", goOn}, {"There is no reason to STOP.", goOn},
		{`{"verdict": "do not stop"}`, goOn}, {"Never STOP before checking. CONTINUE", goOn},
		{"Is anything missing? No. STOP", stop}, {"Nothing more is needed, no: STOP", stop},
		// Both words.
		{"Conclusion: CONTINUE, do not STOP", goOn}, {"Conclusion: STOP (do not continue)", stop}, {"Conclusion: STOP, no need to continue", stop},
		{"Conclusion: STOP is not appropriate", goOn}, {"Conclusion: STOP isn't right, CONTINUE", goOn}, {"Verdict: STOP? No.", unread}, {"Should we STOP? Yes, STOP.", stop},
		{"I would STOP if there was more. There is not.", unread}, {"This is non-STOP work", goOn}, {"Conclusion: STOP because no information is missing", stop},
		{"Conclusion: STOP. If more is asked, begin anew.", stop}, {"Conclusion: STOP - not a single gap is left", stop},
		{"Conclusion: STOP or CONTINUE", unread}, {"STOP? Or CONTINUE?", unread}, {"First I thought CONTINUE.\nConclusion: STOP", stop},
		{"Conclusion: STOP\nNo wait.\nConclusion: CONTINUE", goOn},
		// A label whose line holds no verdict, before one that stands below.
		{"Conclusion: All of it is there.\n\n**STOP**", stop}, {"Conclusion:\n\nAll of it is there.\nThe verdict stands below.\n\nContinue.", goOn}, {"STOP\nVerdict: unclear", unread},
		{"The decision-making is done.\n\nSTOP", stop}, {"Verdict: STOP or CONTINUE.\nBoth are possible.", unread}, {"Conclusion: It is all there, so we can STOP.\n\nCONTINUE", stop},
		// Neither, or not said.
		{"", unread}, {"The bus stop is in Oslo.", unread}, {"I think that we should stop.", unread}, {"Conclusion: the stop is in Oslo", unread},
		{`{"error": "rate limit"}`, unread}, {"Everything is answered.", unread}, {"NONSTOP", unread}, {`{"verdict": 1}`, unread},
	} {
		v, ok := ParseVerdict(c.text)
		if !ok && v != goOn {
			t.Errorf("%q: unreadable counts as %q, expected CONTINUE", c.text, v)
		}
		if !ok {
			v = unread
		}
		if v != c.want {
			t.Errorf("%q: %s, expected %s", c.text, v, c.want)
		}
	}
}

// Every word that denies does.
func TestNegations(t *testing.T) {
	for word := range negations {
		if v, _ := ParseVerdict("Conclusion: " + word + " STOP"); v != flow.VerdictContinue {
			t.Errorf("%s STOP: %s", word, v)
		}
	}
}

func FuzzParseVerdict(f *testing.F) {
	f.Add("Conclusion: STOP")
	f.Add(`{"verdict": "do not stop"}`)
	f.Add("verdict:\xff{{{")
	f.Fuzz(func(t *testing.T, text string) {
		if v, ok := ParseVerdict(text); v != flow.VerdictStop && v != flow.VerdictContinue || v == flow.VerdictStop && !ok {
			t.Errorf("verdict %q, ok %v", v, ok)
		}
	})
}
