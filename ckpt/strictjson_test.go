package ckpt

import (
	"strings"
	"testing"

	"afctl/flow/strictjson"

	"github.com/go-json-experiment/json/jsontext"
)

type strictTarget struct {
	Reward *float64 `json:"reward"`
	Turns  []struct {
		Prompt []int32 `json:"prompt"`
	} `json:"turns"`
	Named map[string]struct {
		Size int `json:"size"`
	} `json:"named"`
	Vocab map[string]int32 `json:"vocab"`
}

// Keys are exact at every depth, come once, and errors say where.
func TestDecodeJSON(t *testing.T) {
	const bothWays = ""
	for _, test := range []struct {
		data             string
		refused, ignored string // parts of the message when unknown keys are refused, and ignored; "" for success
	}{
		{`{"reward":1,"turns":[{"prompt":[1,2]}],"named":{"Size":{"size":1}},"vocab":{"a":1,"A":2}}`, bothWays, bothWays},
		{`{"reward":1,"other":{"reward":2}}`, `f.json:1:13: /other`, ""},
		{`{"reward":1,"REWARD":2}`, `/REWARD`, `/REWARD: found the key "REWARD", expected "reward"`},
		{"{\"reward\":1,\n \"turns\":[{\"Prompt\":[1]}]}", `/turns/0/Prompt`, `f.json:2:`},
		{`{"named":{"x":{"SIZE":1}}}`, `/named/x/SIZE`, `/named/x/SIZE`},
		{`{"reward":1,"reward":2}`, `reward`, `reward`},
		{`{"vocab":{"a":1,"a":2}}`, `/vocab`, `/vocab`},
		{`{"other":{"a":1,"a":2}}`, `other`, `/other`},
		{`{"reward":"1"}`, `/reward: found a string, expected a number`, `/reward: found a string, expected a number`},
		{`{"turns":[{"prompt":[1,2.5]}]}`, `/turns/0/prompt/1: found 2.5, expected a whole number`, `2.5`},
		{`{"turns":[{"prompt":[3000000000]}]}`, `/turns/0/prompt/0`, `3000000000`},
		{`{"reward":1e999}`, `/reward`, `/reward`},
		{`{"reward":NaN}`, `f.json:1:`, `f.json:1:`},
		{`{"reward":1} {}`, `f.json:1:14`, `f.json:1:14`},
		{`{"reward":1`, `f.json:1:12`, `f.json:1:12`},
		{"{\"reward\":1,\"\xff\":1}", `f.json:1:`, `f.json:1:`},
		{ByteOrderMark + `{"reward":1}`, bothWays, bothWays},
		{ByteOrderMark + `{"reward":"1"}`, `f.json:1:11: /reward`, `f.json:1:11: /reward`},
		{``, `f.json:1:1`, `f.json:1:1`},
		{`[]`, `found a list, expected an object`, `found a list, expected an object`},
	} {
		for unknown, want := range map[strictjson.Unknown]string{strictjson.RefuseUnknown: test.refused, strictjson.IgnoreUnknown: test.ignored} {
			var v strictTarget
			err := DecodeJSON("f.json", []byte(test.data), &v, unknown)
			switch {
			case (err == nil) != (want == ""):
				t.Errorf("%s (ignore unknown %v): error %v, expected %q", test.data, unknown, err, want)
			case err != nil && (!strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "f.json:")):
				t.Errorf("%s (ignore unknown %v): %q is not in the message: %v", test.data, unknown, want, err)
			}
		}
	}
}

// A value that a message quotes is on one line, however the file has it.
func TestQuotedValuesAreOnOneLine(t *testing.T) {
	const list = "[\n    0,\n    1\n  ]"
	for _, text := range []string{`"init_lora_weights": `, `"layer_replication": `} {
		_, err := parseAdapterConfig("f", []byte(`{"peft_type": "LORA", "r": 4, "lora_alpha": 8, `+text+list+`}`))
		if err == nil || !strings.Contains(err.Error(), "found [0,1]") {
			t.Errorf("%s: error %v, expected one with [0,1]", text, err)
		}
	}
	for _, key := range []string{"type", "rope_theta"} {
		if _, _, err := readRope(map[string]jsontext.Value{key: jsontext.Value(list)}); err == nil || !strings.Contains(err.Error(), "found [0,1]") {
			t.Errorf("%s: error %v, expected one with [0,1]", key, err)
		}
	}
}
