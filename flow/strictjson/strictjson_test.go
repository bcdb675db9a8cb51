package strictjson

import (
	"errors"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
)

type part struct {
	Size uint8 `json:"size"`
}

type target struct {
	part                    // its keys are the target's own
	Name    string          `json:"name"`
	Tokens  []int32         `json:"tokens"`
	Weights []float32       `json:"weights"`
	Parts   map[string]part `json:"parts"`
	Pair    *part           `json:"pair"`
	List    []part          `json:"list"`
	Done    bool            `json:"done"`
}

// What is wrong is named with its place, and nothing wrong is passed over.
func TestDecode(t *testing.T) {
	const fine = ""
	for data, want := range map[string]string{
		`{"name":"x","size":3,"tokens":[1,2],"weights":[1e3],"parts":{"A":{"size":1},"a":{"size":2}},"pair":{"size":1}}`: fine,
		`{"name":null,"pair":null,"parts":null}`: fine,
		`{"nam":"x"}`:                            `nam: unknown key; did you mean "name"?`,
		`{"Size":1}`:                             `Size: unknown key; did you mean "size"?`,
		`{"parts":{"a":{"sise":1}}}`:             `parts.a.sise: unknown key; did you mean "size"?`,
		`{"name":"x","name":"x"}`:                `name: found twice, expected once`,
		`{"parts":{"a":{},"a":{}}}`:              `parts.a: found twice, expected once`,
		`{"tokens":[1,null]}`:                    `tokens[1]: found null, expected a whole number`,
		`{"weights":[null]}`:                     `weights[0]: found null, expected a number`,
		`{"tokens":[1,2,2147483648]}`:            `tokens[2]: found 2147483648, expected a whole number of 32 bits`,
		`{"tokens":[0.5]}`:                       `tokens[0]: found 0.5, expected a whole number of 32 bits`,
		`{"weights":[1e39]}`:                     `weights[0]: found 1e39, expected a number of 32 bits`,
		`{"pair":{"size":-1}}`:                   `pair.size: found -1, expected a whole number from 0 of 8 bits`,
		`{"tokens":"1"}`:                         `tokens: found a string, expected a list`,
		`{"name":["x"]}`:                         `name: found a list, expected a string`,
		`{"pair":[]}`:                            `pair: found a list, expected an object`,
		`{"name":true}`:                          `name: found a boolean, expected a string`,
		`{"done":1}`:                             `done: found a number, expected a boolean`,
		`[]`:                                     `line: found a list, expected an object`,
		`{"tokens":[1,`:                          `tokens: not JSON: `,
		`{} {}`:                                  `line: not JSON: `,
		``:                                       `line: not JSON: `,
		"{\"name\":\"\xff\"}":                    `name: not JSON: `,
		`{"` + strings.Repeat("x", 999) + `":1}`: strings.Repeat("x", 64) + `...: unknown key; did you mean "done"?`,
	} {
		var v target
		err := Decode([]byte(data), &v, RefuseUnknown, NoNull[int32](), NoNull[float32]())
		var at *Error
		switch {
		case err == nil && want == fine:
		case err == nil || want == fine || err.Error() != want && !(strings.HasSuffix(want, ": ") && strings.HasPrefix(err.Error(), want)):
			t.Errorf("%.99s: error %v, expected %q", data, err, want)
		case !errors.As(err, &at) || at.Offset < 0 || at.Offset > int64(len(data)):
			t.Errorf("%.99s: %v is at no place", data, err)
		}
	}
}

// Where keys of others may stand, one that a field's differs from in case alone is none of them.
func TestIgnoreUnknown(t *testing.T) {
	for data, want := range map[string]string{
		`{"other":{"Name":1},"name":"x"}`:  "",
		`{"NAME":"x"}`:                     `NAME: found the key "NAME", expected "name": case counts`,
		`{"Size":1}`:                       `Size: found the key "Size", expected "size"`,
		`{"parts":{"Name":{"SIZE":1}}}`:    `parts.Name.SIZE: found the key "SIZE", expected "size"`,
		`{"list":[{"size":1},{"SIZE":1}]}`: `list[1].SIZE: found the key "SIZE", expected "size"`,
		`{"other":{"a":1,"a":1}}`:          `other.a: found twice`,
	} {
		var v target
		if err := Decode([]byte(data), &v, IgnoreUnknown); (err == nil) != (want == "") || err != nil && !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: error %v, expected %q", data, err, want)
		}
	}
}

// Explain leaves alone what is explained, and what is none of the library's.
func TestExplain(t *testing.T) {
	var v target
	explained := Decode([]byte(`{"name":1}`), &v, RefuseUnknown)
	for _, data := range []string{`{"name":1}`, `{"name":`, `{"NAME":"x"}`, `{"name":"x","name":"y"}`} {
		once := Decode([]byte(data), &v, IgnoreUnknown)
		if again := Explain(once); once == nil || again != once {
			t.Errorf("%v became %v", once, again)
		}
	}
	if own := errors.New("own"); Explain(own) != own || Explain(nil) != nil {
		t.Error("an error that is none of the library's changed")
	}
	if err := Explain(json.Unmarshal([]byte(`{"name":1}`), &v)); err.Error() != explained.Error() {
		t.Errorf("%v, expected %v", err, explained)
	}
}
