package ckpt

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
)

// The specification says what the code does: the schema to the letter, the keys of the state, and the versions.
func TestFormatDocument(t *testing.T) {
	data, err := os.ReadFile("FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	doc := string(data)
	if !strings.Contains(doc, "```sql"+schemaV1+"```") {
		t.Error("the schema of FORMAT.md is not schemaV1")
	}
	want := []string{
		fmt.Sprintf("| checkpoint | %d |", StateFormat), fmt.Sprintf("| run store | %d |", len(storeMigrations)),
		fmt.Sprintf("%#x", storeApplicationID), optimizerFile, updateFile, sumsFile, FirstMoment, SecondMoment,
	}
	var keys func(prefix string, v reflect.Type)
	keys = func(prefix string, v reflect.Type) {
		for f := range v.Fields() {
			key := prefix + f.Tag.Get("json")
			if f.Type.Kind() == reflect.Struct {
				keys(key+".", f.Type)
			} else {
				want = append(want, "`"+key+"`")
			}
		}
	}
	keys("", reflect.TypeFor[State]())
	for _, s := range want {
		if !strings.Contains(doc, s) {
			t.Errorf("FORMAT.md does not mention %s", s)
		}
	}
}
