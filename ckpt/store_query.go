package ckpt

import (
	"context"
	"database/sql"
	"fmt"
	"iter"
	"math"

	"github.com/go-json-experiment/json"

	"afctl/flow"
)

// Query chooses trajectories. The zero Query is all of them.
type Query struct {
	Phase    string // "" is every phase
	From, To int    // From <= step < To; To 0 is no bound
}

// where returns the condition of a query and its arguments.
func (q Query) where() (string, []any) {
	condition, args := "step >= ?", []any{q.From}
	add := func(c string, arg any) { condition, args = condition+" AND "+c, append(args, arg) }
	if q.Phase != "" {
		add("phase = ?", q.Phase)
	}
	if q.To != 0 {
		add("step < ?", q.To)
	}
	return condition, args
}

// Trajectories yields the trajectories that q chooses, in the order of phase, step, group and sample, whatever the order
// in which they were stored. All of them are as of the moment in which the loop begins. An error ends the sequence.
// Lists without an element come back nil.
func (s *Store) Trajectories(ctx context.Context, q Query) iter.Seq2[*flow.Trajectory, error] {
	return func(yield func(*flow.Trajectory, error) bool) {
		err := s.snapshot(ctx, func(tx *sql.Tx) error {
			return eachTrajectory(ctx, tx, q, func(t *flow.Trajectory) bool { return yield(t, nil) })
		})
		if err != nil {
			yield(nil, s.errorf("read trajectories: %w", err))
		}
	}
}

// snapshot runs read in a transaction, so that its queries agree with each other.
func (s *Store) snapshot(ctx context.Context, read func(tx *sql.Tx) error) error {
	tx, err := s.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	defer tx.Rollback() // nothing was written; an error here says what read has said
	return read(tx)
}

// eachTrajectory calls yield until it returns false. An error is never one of yield's.
func eachTrajectory(ctx context.Context, tx *sql.Tx, q Query, yield func(*flow.Trajectory) bool) error {
	turns, err := tx.PrepareContext(ctx, `SELECT stop, prompt, action, logprobs FROM turns WHERE trajectory = ? ORDER BY turn`)
	if err != nil {
		return err
	}
	defer turns.Close()
	steps, err := tx.PrepareContext(ctx, `SELECT turn, tool, error_kind, verdict, tool_ms, total_ms, tokens, justification,
		context, sub_goal, args, result, error, verdict_note FROM agent_steps WHERE trajectory = ? ORDER BY seq`)
	if err != nil {
		return err
	}
	defer steps.Close()

	condition, args := q.where()
	return eachRow(ctx, tx, `SELECT id, group_id, sample, task, reward, failure, policy_version, adapter_hash, retries, total_ms,
		sampling, answer, failure_detail, analysis FROM trajectories WHERE `+condition+`
		ORDER BY phase, step, group_id, sample`, args, func(rows *sql.Rows) (bool, error) {
		id, t, err := scanTrajectory(rows)
		if err != nil {
			return false, err
		}
		if t.Turns, err = scanAll(ctx, turns, id, scanTurn); err != nil {
			return false, fmt.Errorf("turns of trajectory %d: %w", id, err)
		}
		if t.Steps, err = scanAll(ctx, steps, id, scanStep); err != nil {
			return false, fmt.Errorf("steps of trajectory %d: %w", id, err)
		}
		return yield(t), nil
	})
}

// eachRow calls row for every row of a query until it returns false or an error.
func eachRow(ctx context.Context, tx *sql.Tx, query string, args []any, row func(*sql.Rows) (bool, error)) error {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close() // says nothing that Err does not; and who leaves a loop early is not to be called again
	for rows.Next() {
		if more, err := row(rows); err != nil || !more {
			return err
		}
	}
	return rows.Err()
}

// scanAll collects the rows that belong to a trajectory; nil for none.
func scanAll[T any](ctx context.Context, query *sql.Stmt, id int64, scan func(*sql.Rows) (T, error)) (all []T, err error) {
	rows, err := query.QueryContext(ctx, id)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, rows.Err()
}

func scanTrajectory(rows *sql.Rows) (id int64, t *flow.Trajectory, err error) {
	t = new(flow.Trajectory)
	var sampling []byte
	if err := rows.Scan(&id, &t.Group, &t.Sample, &t.Task, &t.Reward, &t.Failure, &t.PolicyVersion, &t.AdapterHash,
		&t.Retries, &t.TotalMS, &sampling, &t.Answer, &t.FailureDetail, &t.Analysis); err != nil {
		return 0, nil, err
	}
	if err := json.Unmarshal(sampling, &t.Sampling); err != nil {
		return 0, nil, fmt.Errorf("sampling of trajectory %d: %w", id, err)
	}
	return id, t, nil
}

func scanTurn(rows *sql.Rows) (t flow.Turn, err error) {
	var stop string
	var prompt, action, logProbs sql.RawBytes // valid until the next row, and decoded before
	if err := rows.Scan(&stop, &prompt, &action, &logProbs); err != nil {
		return t, err
	}
	t.Stop = flow.StopReason(stop)
	token := func(word uint32) int32 { return int32(word) }
	if t.Prompt, err = decodeWords(prompt, token); err != nil {
		return t, fmt.Errorf("prompt: %w", err)
	}
	if t.Action, err = decodeWords(action, token); err != nil {
		return t, fmt.Errorf("action: %w", err)
	}
	if t.LogProbs, err = decodeWords(logProbs, math.Float32frombits); err != nil {
		return t, fmt.Errorf("logprobs: %w", err)
	}
	return t, nil
}

func scanStep(rows *sql.Rows) (p flow.Step, err error) {
	var verdict string
	var args sql.NullString
	err = rows.Scan(&p.Turn, &p.Tool, &p.ErrorKind, &verdict, &p.ToolMS, &p.TotalMS, &p.Tokens, &p.Justification,
		&p.Context, &p.SubGoal, &args, &p.Result, &p.Error, &p.VerdictNote)
	p.Verdict = flow.Verdict(verdict)
	if args.Valid {
		p.Args = []byte(args.String)
	}
	return p, err
}

// Count says how many rollouts of a phase and step are stored.
type Count struct {
	Phase    string
	Step     int
	Rollouts int
	Failed   int // rollouts without a reward, of these
}

// Counts returns what there is, in the order of phase and step.
func (s *Store) Counts(ctx context.Context) (counts []Count, err error) {
	err = s.snapshot(ctx, func(tx *sql.Tx) error {
		return eachRow(ctx, tx, `SELECT phase, step, count(*), count(*) - count(reward) FROM trajectories
			GROUP BY phase, step ORDER BY phase, step`, nil, func(rows *sql.Rows) (bool, error) {
			var c Count
			err := rows.Scan(&c.Phase, &c.Step, &c.Rollouts, &c.Failed)
			counts = append(counts, c)
			return true, err
		})
	})
	if err != nil {
		return nil, s.errorf("count trajectories: %w", err)
	}
	return counts, nil
}
