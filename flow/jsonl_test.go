package flow

import (
	stdjson "encoding/json"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	gocmp "github.com/google/go-cmp/cmp"
)

const oneLine = `{"group":"q1","sample":0,"reward":1.0,"turns":[{"prompt":[1,2],"action":[3],"logprobs":[-0.5]},{"prompt":[1],"action":[2]}]}`

func TestParseTrajectory(t *testing.T) {
	got, err := ParseTrajectory([]byte(oneLine))
	if err != nil {
		t.Fatal(err)
	}
	want := Trajectory{Group: "q1", Reward: ptr(1.0), Turns: []Turn{
		{Prompt: []int32{1, 2}, Action: []int32{3}, LogProbs: []float32{-0.5}},
		{Prompt: []int32{1}, Action: []int32{2}},
	}}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for _, line := range []string{`{"group":"a"}`, `{"group":"a","reward":null,"sample":null}`} {
		got, err := ParseTrajectory([]byte(line))
		if err != nil || !got.Failed() || got.Sample != -1 {
			t.Errorf("%s: found %+v, %v", line, got, err)
		}
	}
}

// TestParseTrajectoryReadsWhatIsStored: every field of a trajectory, as either JSON package writes it.
func TestParseTrajectoryReadsWhatIsStored(t *testing.T) {
	full := Trajectory{
		Task: "t", Group: "g", Sample: 3, Reward: ptr(0.25), Answer: "a\u2028b",
		Turns:         []Turn{{Prompt: []int32{1}, Action: []int32{2}, LogProbs: []float32{-0.1}, Stop: StopEOS}},
		PolicyVersion: 7, AdapterHash: "ab", Analysis: "x", Retries: 1, TotalMS: 2.5,
		Sampling: Sampling{Temperature: 0.7, TopK: 1, TopP: 0.5, MinP: 0.1, FrequencyPenalty: 1, PresencePenalty: 2,
			RepeatPenalty: 3, MaxTokens: 4, Seed: 1<<64 - 1},
		Steps: []Step{{Turn: 1, Justification: "j", Context: "c", SubGoal: "s", Tool: "Calculator", Args: []byte(`{"A":1}`),
			Result: "r", ErrorKind: "parse", Error: "e", Verdict: VerdictStop, VerdictNote: "n", ToolMS: 1, TotalMS: 2, Tokens: 3}},
		Failure: "f", FailureDetail: "d",
	}
	a, err := json.Marshal(full)
	if err != nil {
		t.Fatal(err)
	}
	b, err := stdjson.Marshal(full)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range [][]byte{a, b} {
		got, err := ParseTrajectory(line)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if diff := gocmp.Diff(full, got); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	}
}

// TestTrap33StrictJSON: what a lenient reader takes for something else is refused, and the message says where and what.
func TestTrap33StrictJSON(t *testing.T) {
	for line, want := range map[string]string{
		`{"group":"a","REWARD":1}`:                                       `REWARD: unknown key; did you mean "reward"?`,
		`{"group":"a","Sample":1}`:                                       `Sample: unknown key; did you mean "sample"?`,
		`{"group":"a","rewrad":1}`:                                       `rewrad: unknown key; did you mean "reward"?`,
		`{"group":"a","reward":1,"reward":0}`:                            `reward: found twice`,
		`{"group":"a","turns":[{"prompt":[1],"prompt":[2]}]}`:            `turns[0].prompt: found twice`,
		`{"group":"a","turns":[{"prompt":[1]},{"Action":[1]}]}`:          `turns[1].Action: unknown key; did you mean "action"?`,
		`{"group":"a","turns":[{"prompt":[1],"logprob":[1]}]}`:           `turns[0].logprob: unknown key; did you mean "logprobs"?`,
		`{"group":"a","sampling":{"topp":1}}`:                            `sampling.topp: unknown key; did you mean "top_p"?`,
		`{"group":"a","steps":[{"toolms":1}]}`:                           `steps[0].toolms: unknown key; did you mean "tool_ms"?`,
		`{"group":"a","turns":[{"prompt":[1,null]}]}`:                    `turns[0].prompt[1]: found null`,
		`{"group":"a","turns":[{"logprobs":[null]}]}`:                    `turns[0].logprobs[0]: found null`,
		`{"group":"a","turns":[{"prompt":[1.5]}]}`:                       `turns[0].prompt[0]: found 1.5, expected a whole number`,
		`{"group":"a","turns":[{"prompt":[2147483648]}]}`:                `turns[0].prompt[0]: found 2147483648, expected a whole number of 32 bits`,
		`{"group":"a","turns":{}}`:                                       `turns: found an object, expected a list`,
		`{"group":"a","reward":"1"}`:                                     `reward: found a string, expected a number`,
		`{"group":"a","reward":true}`:                                    `reward: found a boolean, expected a number`,
		`{"group":"a","reward":1e999}`:                                   `reward: found 1e999, expected a number of 64 bits`,
		`{"group":"a","sample":-1}`:                                      `sample: found -1, expected a number from 0`,
		`{"group":1}`:                                                    `group: found a number, expected a string`,
		`{"reward":1}`:                                                   `group: found none`,
		`{"group":"a"} {}`:                                               `line: not JSON`,
		`{"group":"a"`:                                                   `line: not JSON`,
		``:                                                               `line: not JSON`,
		`[]`:                                                             `line: found a list, expected an object`,
		`{"group":"` + "\xff" + `"}`:                                     `group: not JSON`,
		`{"group":"a","` + strings.Repeat("x", 1e6) + `":1}`:             strings.Repeat("x", 64) + `...: unknown key`,
		`{"group":"a","turns":[{"x":` + strings.Repeat("[", 1e5) + `]}]`: `turns[0].x: unknown key`,
	} {
		_, err := ParseTrajectory([]byte(line))
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%.80s:\nfound    %v\nexpected %s", line, err, want)
		}
	}
}

// FuzzParseTrajectory: whatever is read can be written, and reads back the same; and NewUpdate takes it or says why.
func FuzzParseTrajectory(f *testing.F) {
	for _, line := range []string{oneLine, `{"group":"a"}`, `{"group":"a","steps":[{"args":{"x":[1,null]}}],"reward":-0.0}`,
		`{"group":"a","sample":9007199254740993,"turns":[{"prompt":[0],"action":[0],"logprobs":[-1e-45]}],"reward":1e308}`} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		first, err := ParseTrajectory(line)
		if err != nil {
			return
		}
		if u, err := NewUpdate([]Trajectory{first}, DefaultObjective()); err == nil {
			for _, forest := range Forests(u.Sequences, 16) {
				if err := forest.validate(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if first.Sample < 0 { // was not given: -1 is our mark, no value of the format
			first.Sample = 0
		}
		b, err := json.Marshal(first)
		if err != nil {
			t.Fatal(err)
		}
		second, err := ParseTrajectory(b)
		if err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		c, err := json.Marshal(second)
		if err != nil || string(b) != string(c) {
			t.Fatalf("%s\n%s\n%v", b, c, err)
		}
	})
}

// BenchmarkParseTrajectory reads a rollout of three turns of 1,700 tokens.
func BenchmarkParseTrajectory(b *testing.B) {
	t := rollout("q1", 0, 1, 200, 200, 200)
	for i := range t.Turns {
		t.Turns[i].Prompt = make([]int32, 1500)
		for k := range t.Turns[i].Prompt {
			t.Turns[i].Prompt[k] = int32(k * 97 % 150000)
		}
	}
	line, err := json.Marshal(t)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseTrajectory(line); err != nil {
			b.Fatal(err)
		}
	}
}

// TestParseTemperature: a temperature of 0 is none that log-probs have a ratio at; one that is not there was not recorded.
func TestParseTemperature(t *testing.T) {
	for sampling, want := range map[string]string{
		``:                                   "",
		`,"sampling":{}`:                     "",
		`,"sampling":{"top_k":0}`:            "",
		`,"sampling":{"temperature":0.7}`:    "",
		`,"sampling":{"temperature":0}`:      "sampling.temperature: found 0",
		`,"sampling":{"temperature":-0.0}`:   "sampling.temperature: found 0",
		`,"sampling":{"\u0074emperature":0}`: "sampling.temperature: found 0",
		`,"sampling":{"temperature":null}`:   "",
	} {
		tr, err := ParseTrajectory([]byte(`{"group":"a","reward":1,"turns":[{"prompt":[1],"action":[2]}]` + sampling + `}`))
		if strings.Contains(sampling, "0.7") && tr.Sampling.Temperature != 0.7 {
			t.Errorf("%s: read as %+v", sampling, tr.Sampling)
		}
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: found error %v, expected %q", sampling, err, want)
		}
	}
}
