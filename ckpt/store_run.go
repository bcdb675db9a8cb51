package ckpt

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"afctl/flow"
)

// PutTasks stores tasks, all or none. One that is there already must ask the same and be scored alike, since trajectories refer to it; its Meta
// (which file and row it came from) stays.
func (s *Store) PutTasks(ctx context.Context, tasks []flow.Task) error {
	if s.write == nil {
		return s.errorf("put tasks: %w", ErrReadOnly)
	}
	rows := make([][]any, len(tasks))
	for i, t := range tasks {
		var columns [3]string
		for j, v := range []any{t.Answers, t.Choices, t.Meta} {
			var err error
			if columns[j], err = encodeJSON(v); err != nil {
				return s.errorf("put task %q: %w", t.ID, err)
			}
		}
		rows[i] = []any{t.ID, t.Question, columns[0], t.Scorer, columns[1], columns[2]}
	}
	err := s.write.do(ctx, false, func(c *writeConn) error {
		for i, row := range rows {
			if err := putTask(c, row); err != nil {
				return fmt.Errorf("task %q: %w", tasks[i].ID, err)
			}
		}
		return nil
	})
	if err != nil {
		return s.errorf("put tasks: %w", err)
	}
	return nil
}

func putTask(c *writeConn, row []any) error {
	_, err := c.exec(`INSERT INTO tasks (id, question, answers, scorer, choices, meta) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO NOTHING`, row...)
	if err != nil {
		return err
	}
	var same bool
	err = c.row(`SELECT EXISTS (SELECT 1 FROM tasks WHERE id = ? AND question = ? AND answers = ? AND scorer = ?
		AND choices = ?)`, row[:5], &same)
	if err == nil && !same {
		err = errors.New("a task with this id and another content is in the store: give the tasks ids of their own")
	}
	return err
}

// Tasks yields the stored tasks in the order of their ids. An error ends the sequence.
func (s *Store) Tasks(ctx context.Context) iter.Seq2[flow.Task, error] {
	return func(yield func(flow.Task, error) bool) {
		err := s.snapshot(ctx, func(tx *sql.Tx) error {
			return eachRow(ctx, tx, `SELECT id, question, answers, scorer, choices, meta FROM tasks ORDER BY id`, nil,
				func(rows *sql.Rows) (bool, error) {
					var t flow.Task
					var answers, choices, meta []byte
					err := rows.Scan(&t.ID, &t.Question, &answers, &t.Scorer, &choices, &meta)
					if err == nil {
						err = errors.Join(json.Unmarshal(answers, &t.Answers), json.Unmarshal(choices, &t.Choices),
							json.Unmarshal(meta, &t.Meta))
					}
					if err != nil {
						return false, fmt.Errorf("task %q: %w", t.ID, err)
					}
					return yield(t, nil), nil
				})
		})
		if err != nil {
			yield(flow.Task{}, s.errorf("read tasks: %w", err))
		}
	}
}

// MetricsLine is the line of metrics.jsonl of an optimizer step.
type MetricsLine struct {
	Step int
	JSON []byte
}

// PutMetrics stores the metrics of a step, a JSON object, in place of earlier ones of the step. They are durable when
// it returns, and so is all that was committed before.
func (s *Store) PutMetrics(ctx context.Context, step int, line []byte) error {
	if s.write == nil {
		return s.errorf("put metrics: %w", ErrReadOnly)
	}
	text := strings.TrimSuffix(string(line), "\n")
	var err error
	if !jsontext.Value(text).IsValid() || step < 0 {
		err = errors.New("expected a step >= 0 and a JSON value")
	} else {
		err = s.write.do(ctx, true, func(c *writeConn) error {
			_, err := c.exec(`INSERT INTO metrics (step, line) VALUES (?, ?)
				ON CONFLICT (step) DO UPDATE SET line = excluded.line`, step, text)
			return err
		})
	}
	if err != nil {
		return s.errorf("put metrics of step %d: %w", step, err)
	}
	return nil
}

// Metrics yields the stored lines in the order of their steps. An error ends the sequence.
func (s *Store) Metrics(ctx context.Context) iter.Seq2[MetricsLine, error] {
	return func(yield func(MetricsLine, error) bool) {
		err := s.snapshot(ctx, func(tx *sql.Tx) error {
			return eachRow(ctx, tx, `SELECT step, line FROM metrics ORDER BY step`, nil, func(rows *sql.Rows) (bool, error) {
				var m MetricsLine
				if err := rows.Scan(&m.Step, &m.JSON); err != nil {
					return false, err
				}
				return yield(m, nil), nil
			})
		})
		if err != nil {
			yield(MetricsLine{}, s.errorf("read metrics: %w", err))
		}
	}
}

// Policy is one version of the policy: Step optimizer steps had been done when it came to be.
type Policy struct {
	Version     int
	AdapterHash string
	Step        int
}

// PutPolicy notes which adapter a policy version is. A version that is there already must be the same. It is durable
// when PutPolicy returns, and so is all that was committed before.
func (s *Store) PutPolicy(ctx context.Context, version int, adapterHash string, step int) error {
	if s.write == nil {
		return s.errorf("put policy: %w", ErrReadOnly)
	}
	err := s.write.do(ctx, true, func(c *writeConn) error {
		_, err := c.exec(`INSERT INTO policy_versions (version, adapter_hash, step) VALUES (?, ?, ?)
			ON CONFLICT (version) DO NOTHING`, version, adapterHash, step)
		if err != nil {
			return err
		}
		var there Policy
		err = c.row(`SELECT adapter_hash, step FROM policy_versions WHERE version = ?`, []any{version},
			&there.AdapterHash, &there.Step)
		if err == nil && (there.AdapterHash != adapterHash || there.Step != step) {
			err = fmt.Errorf("found adapter %s of step %d, given %s of step %d: a resume begins with Rewind",
				there.AdapterHash, there.Step, adapterHash, step)
		}
		return err
	})
	if err != nil {
		return s.errorf("put policy version %d: %w", version, err)
	}
	return nil
}

// Policies returns the policy versions in their order.
func (s *Store) Policies(ctx context.Context) (policies []Policy, err error) {
	err = s.snapshot(ctx, func(tx *sql.Tx) error {
		return eachRow(ctx, tx, `SELECT version, adapter_hash, step FROM policy_versions ORDER BY version`, nil,
			func(rows *sql.Rows) (bool, error) {
				var p Policy
				err := rows.Scan(&p.Version, &p.AdapterHash, &p.Step)
				policies = append(policies, p)
				return true, err
			})
	})
	if err != nil {
		return nil, s.errorf("read policy versions: %w", err)
	}
	return policies, nil
}

// Rewind makes the store what it was when at.Step optimizer steps had been done, as a resume from a checkpoint needs:
// trajectories, metrics and policy versions of later steps are dropped. The rollouts of the step in flight stay, those
// that PutTrajectory got for step at.Step+1 of PhaseTrain, if they were made by the policy at: version and adapter
// hash must match. kept is their number; the resumed step asks Trajectories for them and solves what is missing.
// A checkpoint between the inner epochs of an update has its rollouts at a step <= at.Step, and they stay anyway.
func (s *Store) Rewind(ctx context.Context, at Policy) (kept int, err error) {
	if s.write == nil {
		return 0, s.errorf("rewind: %w", ErrReadOnly)
	}
	err = s.write.do(ctx, false, func(c *writeConn) error {
		for _, drop := range []struct {
			query string
			args  []any
		}{
			{`DELETE FROM trajectories WHERE step > ?1 AND
				NOT (phase = ?2 AND step = ?1 + 1 AND policy_version = ?3 AND adapter_hash = ?4)`,
				[]any{at.Step, PhaseTrain, at.Version, at.AdapterHash}},
			{`DELETE FROM metrics WHERE step > ?`, []any{at.Step}},
			{`DELETE FROM policy_versions WHERE step > ?`, []any{at.Step}},
		} {
			if _, err := c.exec(drop.query, drop.args...); err != nil {
				return err
			}
		}
		return c.row(`SELECT count(*) FROM trajectories WHERE step > ?`, []any{at.Step}, &kept)
	})
	if err != nil {
		return 0, s.errorf("rewind to step %d: %w", at.Step, err)
	}
	return kept, nil
}
