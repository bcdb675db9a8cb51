package rollout

import (
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestParseArguments(t *testing.T) {
	for name, c := range map[string]struct {
		text, want string
		calls      int
	}{
		"json":                {`{"q": "a", "k": 3}`, `{"q": "a", "k": 3}`, 1},
		"json fenced":         {"```json\n{\"q\": \"a\"}\n```", `{"q": "a"}`, 1},
		"json in prose":       {"The arguments are {\"q\": \"a\"}. Done.", `{"q": "a"}`, 1},
		"json twice":          {`{"q": "a"} {"q": "b"}`, `{"q": "a"}`, 2},
		"json nested":         {`{"q": "a", "o": {"x": [1]}}`, `{"q": "a", "o": {"x": [1]}}`, 1},
		"json of code":        {`{"q": "tool.execute(q=1)"}`, `{"q": "tool.execute(q=1)"}`, 1},
		"behind formulas":     {strings.Repeat(`\frac{1}{2}`, 2*maxObjectTries) + `{"q": "a"}`, `{"q": "a"}`, 1},
		"no arguments":        {"{ }", "{ }", 1},
		"set notation":        {"For the set {1, 2}: {\"q\": \"a\"}", `{"q": "a"}`, 1},
		"qwen":                {"<tool_call>\n{\"name\": \"Search\", \"arguments\": {\"q\": \"a\", \"k\": 3}}\n</tool_call>", `{"q": "a", "k": 3}`, 1},
		"qwen's tags":         {"<tool_call>\n{\"q\": \"a\"}\n</tool_call>", `{"q": "a"}`, 1},
		"no tags":             {`{"name": "a", "arguments": {"b": 1}}`, `{"name": "a", "arguments": {"b": 1}}`, 1},
		"call":                {`execution = tool.execute(q="a", k=3)`, `{"k":3,"q":"a"}`, 1},
		"call bare":           {`tool.execute(q='a')`, `{"q":"a"}`, 1},
		"call as a command":   {`{"analysis": "a", "explanation": "b", "command": "execution = tool.execute(q='a')"}`, `{"q":"a"}`, 1},
		"command of the tool": {`{"command": "ls -l", "q": "a"}`, `{"command": "ls -l", "q": "a"}`, 1},
		"call fenced":         {"Command:\n```python\nexecution = tool.execute(q=\"a\")\n```\nDone.", `{"q":"a"}`, 1},
		"call lines":          {"execution = tool.execute(\n    q=\"a\",\n    k=3,\n)", `{"k":3,"q":"a"}`, 1},
		"call triple":         {"execution = tool.execute(q=\"\"\"a\nb\"\"\")", `{"q":"a\nb"}`, 1},
		"call names":          {"query = \"a\"\nk = 3\nexecution = tool.execute(q=query + \" b\", k=k)", `{"k":3,"q":"a b"}`, 1},
		"call twice":          {"execution = tool.execute(q=\"a\")\nexecution = tool.execute(q=\"b\")", `{"q":"a"}`, 2},
		"call prose":          {"Here:\nexecution = tool.execute(q=\"a\")\nThis searches for a.\nIt's good.", `{"q":"a"}`, 1},
		"call values":         {`tool.execute(a=True, b=None, c=-1.5, d=[1, "x"], e={"k": (1, 2)})`, `{"a":true,"b":null,"c":-1.5,"d":[1,"x"],"e":{"k":[1,2]}}`, 1},
		"call big":            {`tool.execute(n=123456789012345678901234567890)`, `{"n":123456789012345678901234567890}`, 1},
		"call big minus":      {`tool.execute(n=-99999999999999999999, m=[+99999999999999999999, -(-99999999999999999999), -9223372036854775808])`, `{"m":[99999999999999999999,99999999999999999999,-9223372036854775808],"n":-99999999999999999999}`, 1},
		"call big name":       {"k = -99999999999999999999\ntool.execute(n=k)", `{"n":-99999999999999999999}`, 1},
		"call braces":         {`execution = tool.execute(q="\\frac{a}{b} {x}")`, `{"q":"\\frac{a}{b} {x}"}`, 1},
		"call comment":        {"# search\nexecution = tool.execute(q=\"a\")  # now", `{"q":"a"}`, 1},
		"call in line":        {"The command is `execution = tool.execute(q='It said \"a (b\"', k=3)`. It's done.", `{"k":3,"q":"It said \"a (b\""}`, 1},
		"call labelled":       {"Command: execution = tool.execute(\n    q=\"it's\"\n)\nThat's it.", `{"q":"it's"}`, 1},
		"call imports":        {"import json\nexecution = tool.execute(q=\"a\")\nprint(execution)", `{"q":"a"}`, 1},
		"call printed":        {"print(tool.execute(q=\"a\"))", `{"q":"a"}`, 1},
		"call f-string":       {"execution = tool.execute(q=f\"a b\", r=F'c')", `{"q":"a b","r":"c"}`, 1},
		"call not f":          {"execution = tool.execute(q=\"if 'f' then f'x'\")", `{"q":"if 'f' then f'x'"}`, 1},
		"call appended":       {"q = \"a\"\nq += \" b\"\nexecution = tool.execute(q=q)", `{"q":"a b"}`, 1},
		"call crlf":           {"```python\r\nq = 'a'\r\nexecution = tool.execute(\r\n  q=q)\r\n```\r\n", `{"q":"a"}`, 1},
		"only mentioned":      {"The arguments of tool.execute:\n{\"q\": \"a\"}", `{"q": "a"}`, 1},
		"latex":               {`{"q": "Solve \(x^2 = \sqrt{3}\) \\ \"now\""}`, `{"q": "Solve \\(x^2 = \\sqrt{3}\\) \\ \"now\""}`, 1},
		"latex fraction":      {`{"q": "\frac{1}{2} \times \alpha\n\u00e9"}`, `{"q": "\\frac{1}{2} \\times \\alpha\n\u00e9"}`, 1},
		"escapes":             {`{"q": "a\tb\\frac\r\n"}`, `{"q": "a\tb\\frac\r\n"}`, 1},
		"escaped quote":       {`{"q": "it\'s"}`, `{"q":"it's"}`, 1},
		"json over lines":     {"{\"q\": \"a\nb\", \"k\": 3}", `{"q": "a\nb", "k": 3}`, 1},
		"latex over lines":    {"{\"q\":\r\n\"\\(x\\)\n\"}", "{\"q\":\r\n" + `"\\(x\\)\n"}`, 1},
		"python":              {"```python\n{'q': 'it\\'s', 'k': None, 'b': True,}\n```", `{"b":true,"k":null,"q":"it's"}`, 1},
		"call of fences":      {"```\nnothing\n```\nThen\n```python\ntool.execute(q=\"a\")\n```\nDone.", `{"q":"a"}`, 1},
		"call of another":     {"db.execute(q=\"b\")\ntool.execute(q=\"a\")", `{"q":"a"}`, 1},
		"json behind a fence": {"```python tool.execute(x)\n{\"q\": \"a\"}\n```", `{"q": "a"}`, 1},
	} {
		t.Run(name, func(t *testing.T) {
			args, calls, err := ParseArguments(c.text)
			if err != nil || string(args) != c.want || calls != c.calls {
				t.Errorf("got %s, %d calls, %v; expected %s, %d calls", args, calls, err, c.want, c.calls)
			}
		})
	}
}

// What is not plain data is refused, and nothing of it is computed.
func TestParseArgumentsRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":     "I do not know.",
		"no value":    "tool.execute(q=query)",
		"function":    `tool.execute(q=open("/etc/passwd").read())`,
		"import":      `tool.execute(q=__import__("os").environ["KEY"])`,
		"lambda":      "tool.execute(q=(lambda: 1)())",
		"loop":        "tool.execute(q=[x for x in range(1000000000)])",
		"in a list":   `tool.execute(q=["a", open("x")])`,
		"in a dict":   `tool.execute(q={"a": open("x")})`,
		"repeat":      `tool.execute(q="a" * 1000000000)`,
		"power":       "tool.execute(q=9 << 999999999)",
		"inverted":    "tool.execute(q=~99999999999999999999)",
		"positional":  `tool.execute("a")`,
		"twice":       `tool.execute(q="a", q="b")`,
		"spread":      `tool.execute(**args)`,
		"bytes":       `tool.execute(q=b"a")`,
		"unfinished":  `execution = tool.execute(q="a`,
		"other":       `x = tool.execute_all(q="a")`,
		"other tool":  `other.tool.execute(q="a")`,
		"rebound":     "q = \"a\"\nq = [1].pop()\ntool.execute(q=q)",
		"augmented":   "q = \"a\"\nq *= 3\ntool.execute(q=q)",
		"f-string":    `tool.execute(q=f"{x}")`,
		"f-string 2":  `tool.execute(q=f"a", r=f"{x}")`,
		"dict twice":  `tool.execute(q={"a": 1, "a": 2})`,
		"method":      `my.tool.execute(q="a")`,
		"python call": `{'q': open('/etc/passwd').read()}`,
		"python set":  `{'a', 'b'}`,
		"nested deep": "tool.execute(q=" + strings.Repeat("(", 5000) + "1" + strings.Repeat(")", 5000) + ")",
		"too long":    `tool.execute(q="` + strings.Repeat("a", maxArgs) + `")`,
	} {
		t.Run(name, func(t *testing.T) {
			if args, _, err := ParseArguments(text); err == nil {
				t.Errorf("read as %.100s", args)
			}
		})
	}
}

// Names cannot be used to grow a value without end.
func TestParseArgumentsBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString("a = \"xxxxxxxxxxxxxxxx\"\n")
	for range 100 {
		b.WriteString("a = a + a\n")
	}
	b.WriteString("tool.execute(q=a)")
	args, _, err := ParseArguments(b.String())
	if len(args) > maxArgs+100 {
		t.Errorf("%d bytes (%v)", len(args), err)
	}
	b.Reset()
	b.WriteString("a = [1]\n")
	for range 100 {
		b.WriteString("a = [a, a]\n")
	}
	if _, _, err := ParseArguments(b.String() + "tool.execute(q=a)"); err == nil {
		t.Error("a list of 2^100 elements was read")
	}
}

// A call form of any strings gives exactly those strings.
func TestParseArgumentsProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := map[string]string{}
		var parts []string
		for _, name := range rapid.SliceOfNDistinct(rapid.StringMatching(`a_[a-z_]{1,5}`), 1, 4, rapid.ID).Draw(t, "names") {
			value := rapid.String().Draw(t, "value")
			want[name] = strings.ToValidUTF8(value, "\uFFFD")
			quoted, err := json.Marshal(want[name]) // a JSON string is a Starlark string, escapes of \/ aside
			if err != nil {
				t.Fatal(err)
			}
			parts = append(parts, name+" = "+string(quoted))
		}
		sep := rapid.SampledFrom([]string{", ", ",\n  "}).Draw(t, "sep")
		args, calls, err := ParseArguments("execution = tool.execute(" + strings.Join(parts, sep) + ")")
		var got map[string]string
		if err == nil {
			err = json.Unmarshal(args, &got)
		}
		if err != nil || calls != 1 || len(got) != len(want) {
			t.Fatalf("%s, %v", args, err)
		}
		for k, v := range want {
			if got[k] != v {
				t.Fatalf("%s: %q, expected %q", k, got[k], v)
			}
		}
	})
}

// A JSON object reads as it is meant, whether the breaks within its strings are escaped or not.
func TestJSONOverLines(t *testing.T) {
	breaks := strings.NewReplacer(`\n`, "\n", `\r`, "\r", `\t`, "\t")
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.MapOfN(rapid.StringMatching(`[a-z]{1,4}`), rapid.StringOf(rapid.SampledFrom([]rune("ab{}[]\"':,/é\n\r\t"))), 1, 4).Draw(t, "object")
		escaped, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		args, calls, err := ParseArguments("Here: " + breaks.Replace(string(escaped)))
		var got map[string]string
		if err == nil {
			err = json.Unmarshal(args, &got)
		}
		if err != nil || calls != 1 || !maps.Equal(got, want) {
			t.Fatalf("%q: %s, %d calls, %v", escaped, args, calls, err)
		}
	})
}

func TestValidate(t *testing.T) {
	spec := fakeTool{name: "Search"}.Spec()
	for _, c := range []struct{ args, want string }{
		{`{"q": "a"}`, ""},
		{`{"q": "a", "k": 2}`, ""},
		{`{}`, "q"},
		{`{"Q": "a"}`, "Q"},
		{`{"q": 1}`, "q: got number, want string"},
		{`{"q": "a", "k": "3"}`, "k: got string, want integer"},
		{`{"q": ""}`, "q"},
		{`{"q": "a", "q": "b"}`, "duplicate"},
		{`["a"]`, "a list"},
		{`"a"`, "a string"},
		{`{"q": "a"`, "no JSON object"},
		{``, "no JSON"},
	} {
		err := spec.Validate(json.RawMessage(c.args))
		var bad *ToolError
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.args, err)
		case c.want != "" && (!errors.As(err, &bad) || bad.Kind != KindBadArgs || !strings.Contains(bad.Message, c.want)):
			t.Errorf("%s: %v, expected a bad_args with %q", c.args, err, c.want)
		}
	}
}

func FuzzParseArguments(f *testing.F) {
	f.Add(`{"q": "a"}`)
	f.Add(`execution = tool.execute(q="a", k=[1, {"x": -2}])`)
	f.Add("```python\nx = \"a\"\nexecution = tool.execute(\n q=x + x)\n```")
	f.Add("tool.execute(\xff\"\"\"")
	f.Add("Command: `tool.execute(q=f'a')` {'k': (1,)}")
	spec := fakeTool{name: "Search"}.Spec()
	f.Fuzz(func(t *testing.T, text string) {
		args, calls, err := ParseArguments(text)
		if err != nil {
			return
		}
		if calls < 1 || !json.Valid(args) || !utf8.Valid(args) {
			t.Errorf("%d calls, arguments %q", calls, args)
		}
		_ = spec.Validate(args)
	})
}
