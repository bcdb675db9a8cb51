package rollout

import (
	"iter"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// maxObjectTries bounds how many opening braces of a text are tried as the start of an object: prose and LaTeX have
// many, and each try may read to the end.
const maxObjectTries = 64

// jsonObjects gives the JSON objects that stand in a text, in order, fenced or not, none inside another.
func jsonObjects(text string) iter.Seq[jsontext.Value] {
	return func(yield func(jsontext.Value) bool) {
		for range maxObjectTries {
			i := strings.IndexByte(text, '{')
			if i < 0 {
				return
			}
			text = text[i:]
			d := jsontext.NewDecoder(strings.NewReader(text))
			v, err := d.ReadValue()
			if err != nil {
				text = text[1:]
				continue
			}
			text = text[d.InputOffset():]
			if !yield(v) {
				return
			}
		}
	}
}
