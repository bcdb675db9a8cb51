package main

import (
	"testing"

	"afctl/flow"
	"afctl/flow/oracle"
	"afctl/kernels/cpu"
)

// TestDeviceLoss: the loss as the device computes it passes the oracle, and the oracle sees what is wrong with one that differs.
func TestDeviceLoss(t *testing.T) {
	b, err := cpu.New(cpu.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	loss := deviceLoss(b)
	if err := oracle.Check(loss, oracle.Float32Tolerance); err != nil {
		t.Error(err)
	}
	for name, spoil := range map[string]func(o *flow.Objective, out *oracle.Outputs){
		"policy loss": func(_ *flow.Objective, out *oracle.Outputs) { out.PolicyLoss *= 1.001 },
		"gradient":    func(_ *flow.Objective, out *oracle.Outputs) { out.DLogits[3] += 1e-3 },
		"lp":          func(_ *flow.Objective, out *oracle.Outputs) { out.LogProb[0] -= 1e-3 },
	} {
		err := oracle.Check(func(o flow.Objective, in oracle.Inputs) (oracle.Outputs, error) {
			out, err := loss(o, in)
			if err == nil {
				spoil(&o, &out)
			}
			return out, err
		}, oracle.Float32Tolerance)
		if err == nil {
			t.Errorf("a wrong %s passes", name)
		}
	}
}
