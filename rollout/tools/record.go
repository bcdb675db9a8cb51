package tools

import (
	"bytes"
	"context"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"afctl/ckpt"
	"afctl/flow/strictjson"
	"afctl/rollout"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/sys/unix"
)

// KindNotRecorded is the kind of a replayed call that the record does not hold.
const KindNotRecorded = "not_recorded"

// recordHead is the first line of a record. Another format has another number.
const recordHead = `{"format":1}`

// entry is each line after it: what one tool gave for one set of arguments.
type entry struct {
	Tool   string         `json:"tool"`
	Args   jsontext.Value `json:"args"` // without white space, keys in order; numbers as they were written
	Text   string         `json:"text,omitzero"`
	Data   jsontext.Value `json:"data,omitzero"`
	Kind   string         `json:"error_kind,omitzero"` // not empty: a *rollout.ToolError
	Detail string         `json:"error,omitzero"`
}

func (e *entry) result() (rollout.Result, error) {
	if e.Kind != "" {
		return rollout.Result{}, &rollout.ToolError{Kind: e.Kind, Message: e.Detail}
	}
	return rollout.Result{Text: e.Text, Data: stdjson.RawMessage(e.Data)}, nil
}

// callKey names a call: the tool and its arguments, however they were written.
func callKey(tool string, args stdjson.RawMessage) (string, jsontext.Value, error) {
	v := jsontext.Value(bytes.Clone(args))
	if err := v.Format(jsontext.SpaceAfterColon(false), jsontext.SpaceAfterComma(false), jsontext.Multiline(false), jsontext.ReorderRawObjects(true)); err != nil {
		return "", nil, &rollout.ToolError{Kind: rollout.KindBadArgs, Message: err.Error()}
	}
	return tool + "\x00" + string(v), v, nil
}

// Recorder records the results of tools in a JSON Lines file, so that a run can be replayed without any call out. While
// it records, a tool is a function of its arguments: what a call gave first is what it gives again, within this record.
// Errors that may pass (transient ones, and calls that were cut) are not recorded. It is safe for concurrent use.
//
// The first line is {"format":1}; each after it holds "tool", "args", and what came of them: "text" and "data", or "error_kind" and "error".
type Recorder struct {
	mu      sync.Mutex
	f       *os.File
	known   map[string]entry
	failure error // of a write: nothing is recorded after it
}

// NewRecorder opens a record, to go on where it ends, and refuses one that another recorder has open. A last line that was torn off is
// dropped.
func NewRecorder(path string) (*Recorder, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("tool record: %w", err)
	}
	known, err := resume(path, f)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("tool record: %w", err)
	}
	return &Recorder{f: f, known: known}, nil
}

// resume makes f this recorder's own and cuts it behind its last whole line.
func resume(path string, f *os.File) (map[string]entry, error) {
	switch err := ckpt.Lock(f); {
	case errors.Is(err, unix.EWOULDBLOCK):
		return nil, fmt.Errorf("%s: another run records in it; wait for it to end, or choose another file", path)
	case err != nil:
		return nil, fmt.Errorf("lock %s: %w: it must be on a file system with file locks", path, err)
	}
	known, whole, err := readRecord(path, f)
	if err != nil {
		return nil, err
	}
	if whole > int64(len(recordHead)) {
		return known, f.Truncate(whole)
	}
	if err := f.Truncate(0); err != nil { // new, or torn within its first line
		return nil, err
	}
	_, err = f.WriteString(recordHead + "\n")
	return known, err
}

// Close syncs and closes the file; its error, or that of the first write that failed, means that the record is not whole.
func (r *Recorder) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return errors.Join(r.failure, r.f.Sync(), r.f.Close())
}

// Wrap is a tool that records.
func (r *Recorder) Wrap(t rollout.Tool) rollout.Tool { return &recorded{t.Spec(), t, r} }

type recorded struct {
	spec rollout.ToolSpec
	tool rollout.Tool
	r    *Recorder
}

func (t *recorded) Spec() rollout.ToolSpec { return t.spec }

func (t *recorded) Execute(ctx context.Context, args stdjson.RawMessage) (rollout.Result, error) {
	key, canonical, err := callKey(t.spec.Name, args)
	if err != nil {
		return rollout.Result{}, err
	}
	t.r.mu.Lock()
	e, ok := t.r.known[key]
	t.r.mu.Unlock()
	if ok {
		return e.result()
	}
	result, err := t.tool.Execute(ctx, args)
	e = entry{Tool: t.spec.Name, Args: canonical, Text: strings.ToValidUTF8(result.Text, "\uFFFD"), Data: jsontext.Value(result.Data)}
	var transient *rollout.TransientError
	var own *rollout.ToolError
	switch {
	case err == nil:
	case ctx.Err() != nil, errors.As(err, &transient):
		return result, err
	case errors.As(err, &own):
		e = entry{Tool: e.Tool, Args: canonical, Kind: own.Kind, Detail: own.Message}
	default:
		e = entry{Tool: e.Tool, Args: canonical, Kind: rollout.KindFailed, Detail: err.Error()}
	}
	return t.r.record(key, e)
}

// record keeps the first result of a call, whoever of several callers was first.
func (r *Recorder) record(key string, e entry) (rollout.Result, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if first, ok := r.known[key]; ok {
		return first.result()
	}
	if r.failure == nil {
		line, err := json.Marshal(e, json.Deterministic(true), jsontext.AllowInvalidUTF8(true))
		if err == nil {
			_, err = r.f.Write(append(line, '\n'))
		}
		if err != nil {
			r.failure = fmt.Errorf("tool record %s: %w", r.f.Name(), err)
		}
	}
	if r.failure != nil {
		return rollout.Result{}, r.failure
	}
	r.known[key] = e
	return e.result()
}

// Replayer answers calls from a record. It is safe for concurrent use.
type Replayer struct{ known map[string]entry }

// NewReplayer reads a record, which has its first line at least.
func NewReplayer(path string) (*Replayer, error) {
	f, err := ckpt.OpenRegular(path)
	if err != nil {
		return nil, fmt.Errorf("tool record: %w", err)
	}
	defer f.Close()
	known, whole, err := readRecord(path, f)
	if err == nil && whole <= int64(len(recordHead)) {
		err = fmt.Errorf("%s: found no whole line, expected %s, with which a record begins: record into it first", path, recordHead)
	}
	if err != nil {
		return nil, fmt.Errorf("tool record: %w", err)
	}
	return &Replayer{known}, nil
}

// Tool is a tool of that spec which only replays: it makes no call out, and a call that was not recorded is an error of
// KindNotRecorded.
func (r *Replayer) Tool(spec rollout.ToolSpec) rollout.Tool { return &replayed{spec, r} }

type replayed struct {
	spec rollout.ToolSpec
	r    *Replayer
}

func (t *replayed) Spec() rollout.ToolSpec { return t.spec }

func (t *replayed) Execute(_ context.Context, args stdjson.RawMessage) (rollout.Result, error) {
	key, canonical, err := callKey(t.spec.Name, args)
	if err != nil {
		return rollout.Result{}, err
	}
	e, ok := t.r.known[key]
	if !ok {
		return rollout.Result{}, fail(KindNotRecorded, fmt.Sprintf("the record holds no call of %s with %s", t.spec.Name, clipRunes(string(canonical))))
	}
	return e.result()
}

// entryStart is what every line after the first begins with.
const entryStart = `{"tool":"`

// maxRecordLine bounds one line of a record in bytes.
const maxRecordLine = 64 << 20

// readRecord reads all whole lines, and tells how many bytes they are. What follows the last line break was torn off.
func readRecord(path string, r io.Reader) (known map[string]entry, whole int64, err error) {
	known = map[string]entry{}
	lines := ckpt.NewLines(r, maxRecordLine)
	for {
		line, err := lines.Next()
		n := lines.N
		if err == io.EOF {
			return known, lines.Offset, nil
		}
		if err == nil && line[len(line)-1] != '\n' {
			start := entryStart
			if n == 1 {
				start = recordHead
			}
			if m := min(len(line), len(start)); string(line[:m]) != start[:m] || n == 1 && len(line) > m { // somebody else's, which nothing may be cut off
				return nil, 0, fmt.Errorf("%s:%d: found %q, expected a line of a record, which begins with %s", path, n, line[:m], start)
			}
			return known, lines.Offset, nil
		}
		if err != nil {
			return nil, 0, fmt.Errorf("%s:%d: %w", path, n, err)
		}
		if n == 1 {
			if text := strings.TrimSpace(string(line)); text != recordHead {
				return nil, 0, fmt.Errorf("%s:1: found %.100q, expected %s in a line of its own, with which a record begins", path, text, recordHead)
			}
			continue
		}
		var e entry
		if err := ckpt.DecodeJSONLine(path, n, line, &e, strictjson.RefuseUnknown); err != nil {
			return nil, 0, err
		}
		switch {
		case e.Tool == "":
			return nil, 0, fmt.Errorf("%s:%d: /tool: missing, null or empty, expected a tool's name", path, n)
		case len(e.Args) == 0:
			return nil, 0, fmt.Errorf("%s:%d: /args: missing, expected an object", path, n)
		}
		key, _, err := callKey(e.Tool, stdjson.RawMessage(e.Args))
		if err != nil {
			return nil, 0, fmt.Errorf("%s:%d: /args: %w", path, n, err)
		}
		if _, twice := known[key]; twice {
			return nil, 0, fmt.Errorf("%s:%d: a second result of %.100q with the same arguments, expected one", path, n, e.Tool)
		}
		known[key] = e
	}
}
