package ckpt

import (
	"fmt"

	"afctl/flow/strictjson"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// StateFormat is the version of the checkpoint format that is written, and the newest that can be read.
const StateFormat = 1

// State is where a run stands: with the tensors beside it, all that is needed to go on with the bits that an
// undisturbed run gives. There is no state of random generators in it, since there is none: every stream is derived
// anew from the seed and the numbers of step, group, sample and turn (flow.DeriveSeed).
type State struct {
	Format        int        `json:"format"`         // StateFormat; Save fills it in
	Step          int        `json:"step"`           // optimizer steps done, the skipped ones included
	Epoch         int        `json:"epoch"`          // inner epochs done of the update in flight; 0 between updates
	PolicyVersion int        `json:"policy_version"` // of the policy that the next rollouts are made by
	AdamStep      int        `json:"adam_step"`      // steps that AdamW's bias correction counts
	ScheduleStep  int        `json:"schedule_step"`  // position in the learning rate's schedule
	SkippedSteps  int        `json:"skipped_steps"`  // for a gradient that was not finite
	Seed          uint64     `json:"seed"`           // of the run
	Data          DataCursor `json:"data"`

	Base        BaseModel      `json:"base"`
	AdapterHash string         `json:"adapter_hash"` // Adapter.Hash, or HashTensors of all weights where those are trained
	ConfigHash  string         `json:"config_hash"`  // of the effective config without its paths
	InputsHash  string         `json:"inputs_hash"`  // of what those name: training tasks, templates, starting adapter, what tools answer from
	Engine      EngineIdentity `json:"engine"`
}

// DataCursor is the place in the stream of tasks.
type DataCursor struct {
	Tasks int `json:"tasks"` // tasks consumed of the run
	Epoch int `json:"epoch"` // passes over all tasks that are complete
}

// BaseModel says which model is trained. Path is for people; Hash decides.
type BaseModel struct {
	Path string `json:"path"`
	Hash string `json:"hash"`
}

// EngineIdentity is what a run's bits depend on beside seed and data: they repeat only where it is equal.
type EngineIdentity struct {
	DType    string `json:"dtype"`
	Threads  int    `json:"threads"`
	Backend  string `json:"backend"`  // such as "cpu"
	Products string `json:"products"` // the library of dense products, with its version
}

// check refuses what no run can be in.
func (s *State) check() error {
	for _, f := range []struct {
		name  string
		value int
	}{
		{"step", s.Step}, {"epoch", s.Epoch}, {"policy_version", s.PolicyVersion}, {"adam_step", s.AdamStep},
		{"schedule_step", s.ScheduleStep}, {"skipped_steps", s.SkippedSteps}, {"data.tasks", s.Data.Tasks},
		{"data.epoch", s.Data.Epoch}, {"engine.threads", s.Engine.Threads},
	} {
		if f.value < 0 {
			return fmt.Errorf("state: %s: found %d, expected a number >= 0", f.name, f.value)
		}
	}
	if s.Epoch > s.Step {
		return fmt.Errorf("state: epoch: found %d, expected at most the %d steps done", s.Epoch, s.Step)
	}
	return nil
}

// marshal returns the bytes of state.json: keys in the order of the fields, two spaces a level.
func (s State) marshal() ([]byte, error) {
	s.Format = StateFormat
	data, err := json.Marshal(s, jsontext.WithIndent("  "))
	if err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	return append(data, '\n'), nil
}

// parseState reads state.json. The version is looked at first, before any other key can be unknown. *VersionError for
// one that is newer.
func parseState(file string, data []byte) (s State, err error) {
	var head struct {
		Format *int `json:"format"`
	}
	if err := DecodeJSON(file, data, &head, strictjson.IgnoreUnknown); err != nil {
		return s, err
	}
	switch {
	case head.Format == nil:
		return s, fmt.Errorf("%s: %w: format is missing", file, ErrForeign)
	case *head.Format > StateFormat:
		return s, &VersionError{File: file, Found: *head.Format, Known: StateFormat}
	case *head.Format < StateFormat:
		return s, fmt.Errorf("%s: found format version %d, expected %d", file, *head.Format, StateFormat)
	}
	if err := DecodeJSON(file, data, &s, strictjson.RefuseUnknown); err != nil {
		return s, err
	}
	if err := s.check(); err != nil {
		return s, fmt.Errorf("%s: %w", file, err)
	}
	return s, nil
}

// ReadState reads the state of a checkpoint; fs.ErrNotExist where the folder is none.
func ReadState(dir string) (State, error) {
	f, err := openFolder(dir, "a checkpoint")
	if err != nil {
		return State{}, err
	}
	data, err := f.read(stateFile, maxConfigBytes)
	if err != nil {
		return State{}, err
	}
	return parseState(f.path(stateFile), data)
}
