package ckpt

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/go-json-experiment/json"
	sqlite3 "modernc.org/sqlite/lib"

	"afctl/flow"
)

// Phases: rollouts that an update trains on, and those of evaluations. Any other is taken for an evaluation's.
const (
	PhaseTrain = "train"
	PhaseEval  = "eval"
)

// trajectoryRow is a trajectory as it lies in the store: encoded by the caller, so that the writer only writes.
type trajectoryRow struct {
	columns []any
	turns   [][]any // without the trajectory's id
	steps   [][]any
}

// PutTrajectory stores a rollout and returns when it is committed. step is, in phase PhaseTrain, the number (from 1) of
// the first optimizer step that trains on it; in other phases, the optimizer steps that were done when it was made.
// A trajectory of the same phase, step, group and sample is replaced. Its task must be in the store. Numbers that are
// not finite are refused: the reward of a rollout that has none is nil.
func (s *Store) PutTrajectory(ctx context.Context, step int, phase string, t *flow.Trajectory) error {
	if s.write == nil {
		return s.errorf("put trajectory: %w", ErrReadOnly)
	}
	row, err := encodeTrajectory(step, phase, t)
	if err == nil {
		err = s.write.do(ctx, false, row.put)
	}
	if sqliteCode(err) == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY {
		err = fmt.Errorf("task %q is not in the store: PutTasks comes first: %w", t.Task, err)
	}
	if err != nil {
		return s.errorf("put trajectory (phase %s, step %d, group %q, sample %d): %w", phase, step, t.Group, t.Sample, err)
	}
	return nil
}

func encodeTrajectory(step int, phase string, t *flow.Trajectory) (*trajectoryRow, error) {
	if phase == "" || step < 0 || t.Sample < 0 {
		return nil, errors.New("expected a phase, a step >= 0 and a sample >= 0")
	}
	sampling, err := encodeJSON(t.Sampling)
	if err != nil {
		return nil, fmt.Errorf("sampling: %w", err)
	}
	var reward any
	if t.Reward != nil {
		if err := finite("reward", *t.Reward); err != nil {
			return nil, err
		}
		reward = *t.Reward
	}
	if err := finite("total_ms", t.TotalMS); err != nil {
		return nil, err
	}
	row := &trajectoryRow{columns: []any{
		phase, step, t.Group, t.Sample, t.Task, reward, t.Failure, t.PolicyVersion, t.AdapterHash, t.Retries, t.TotalMS,
		sampling, t.Answer, t.FailureDetail, t.Analysis,
	}}
	token := func(id int32) uint32 { return uint32(id) }
	for i, u := range t.Turns {
		var logProbs any
		if len(u.LogProbs) > 0 {
			logProbs = encodeWords(u.LogProbs, math.Float32bits)
		}
		row.turns = append(row.turns, []any{i, string(u.Stop), encodeWords(u.Prompt, token), encodeWords(u.Action, token), logProbs})
	}
	for i, p := range t.Steps {
		if err := errors.Join(finite("tool_ms", p.ToolMS), finite("total_ms", p.TotalMS)); err != nil {
			return nil, fmt.Errorf("steps[%d]: %w", i, err)
		}
		var args any
		if p.Args != nil {
			args = string(p.Args)
		}
		row.steps = append(row.steps, []any{
			i, p.Turn, p.Tool, p.ErrorKind, string(p.Verdict), p.ToolMS, p.TotalMS, p.Tokens,
			p.Justification, p.Context, p.SubGoal, args, p.Result, p.Error, p.VerdictNote,
		})
	}
	return row, nil
}

// put writes the row within a transaction.
func (r *trajectoryRow) put(c *writeConn) error {
	// The key's columns are the first ones; turns and steps go with the trajectory.
	if _, err := c.exec(`DELETE FROM trajectories WHERE phase = ? AND step = ? AND group_id = ? AND sample = ?`, r.columns[:4]...); err != nil {
		return err
	}
	result, err := c.exec(`INSERT INTO trajectories (phase, step, group_id, sample, task, reward, failure, policy_version,
		adapter_hash, retries, total_ms, sampling, answer, failure_detail, analysis)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, r.columns...)
	if err != nil {
		return err
	}
	id, err := result.LastInsertId()
	if err != nil {
		return err
	}
	for _, turn := range r.turns {
		if _, err := c.exec(`INSERT INTO turns (trajectory, turn, stop, prompt, action, logprobs) VALUES (?, ?, ?, ?, ?, ?)`,
			append([]any{id}, turn...)...); err != nil {
			return err
		}
	}
	for _, step := range r.steps {
		if _, err := c.exec(`INSERT INTO agent_steps (trajectory, seq, turn, tool, error_kind, verdict, tool_ms, total_ms, tokens,
			justification, context, sub_goal, args, result, error, verdict_note)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, append([]any{id}, step...)...); err != nil {
			return err
		}
	}
	return nil
}

// finite refuses what SQLite would store as NULL (NaN), and infinities with it.
func finite(name string, x float64) error {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return fmt.Errorf("%s: found %v, expected a finite number", name, x)
	}
	return nil
}

// encodeJSON returns the same text for the same value, and keeps nil apart from empty.
func encodeJSON(v any) (string, error) {
	b, err := json.Marshal(v, json.Deterministic(true), json.FormatNilSliceAsNull(true), json.FormatNilMapAsNull(true))
	return string(b), err
}

// encodeWords turns elements into little-endian words, never nil.
func encodeWords[T any](elements []T, word func(T) uint32) []byte {
	b := make([]byte, 4*len(elements))
	for i, e := range elements {
		binary.LittleEndian.PutUint32(b[4*i:], word(e))
	}
	return b
}

// decodeWords is the reverse; nil for none.
func decodeWords[T any](b []byte, element func(uint32) T) ([]T, error) {
	if len(b)%4 != 0 {
		return nil, fmt.Errorf("found %d bytes, expected a multiple of 4", len(b))
	}
	if len(b) == 0 {
		return nil, nil
	}
	out := make([]T, len(b)/4)
	for i := range out {
		out[i] = element(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return out, nil
}
