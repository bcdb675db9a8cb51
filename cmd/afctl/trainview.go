package main

import (
	"fmt"
	"io"

	"afctl/bench/eval"
	"afctl/flow"
)

// plainView prints a line per step.
type plainView struct{ w io.Writer }

func newTrainView(w io.Writer, c *Config) trainView { return &plainView{w} }

func (v *plainView) BeginRollouts(step, total int) {}
func (v *plainView) Rollout(t *flow.Trajectory)    {}
func (v *plainView) Metrics(m flow.Metrics) {
	fmt.Fprintf(v.w, "step %d reward %.3f kl %.4f turns %.2f norm %.3f mismatch %.2g rollout %.2f ref %.2f upd %.2f ckpt %.3f\n", m.Step, m.RewardMean, m.KL, m.TurnsMean, m.GradNorm, m.MismatchMax, m.SecondsRollout, m.SecondsReference, m.SecondsUpdate, m.SecondsCheckpoint)
}
func (v *plainView) BeginEval(step, total int) {}
func (v *plainView) Eval(step int, s eval.Summary) {
	fmt.Fprintf(v.w, "eval at step %d: %.3f\n", step, s.All.Accuracy.Mean)
}
func (v *plainView) Note(text string) { fmt.Fprintln(v.w, text) }
func (v *plainView) Close()           {}
