package main

import (
	"reflect"
	"slices"
	"testing"

	"afctl/ckpt"
)

// TestDefaults: who names nothing trains by the method's own numbers.
func TestDefaults(t *testing.T) {
	c := DefaultConfig()
	for path, want := range map[string]any{
		"trainable": "lora", "flow.group_size": 8, "flow.clip_low": 0.2, "flow.clip_high": 0.3, "flow.dual_clip": 0.0, "flow.kl": 0.001, "flow.kl_estimator": "k3",
		"flow.aggregation": "flow", "flow.advantage_std": "sample", "flow.advantage_eps": 1e-6, "flow.advantage_over": "rollouts", "flow.temperature": 0.7,
		"flow.tis_cap": 0.0, "flow.entropy": 0.0, "flow.epochs": 1, "flow.skip_zero_signal": false,
		"optimizer.lr": 1e-5, "optimizer.beta1": 0.9, "optimizer.beta2": 0.999, "optimizer.eps": 1e-8, "optimizer.weight_decay": 0.01, "optimizer.max_grad_norm": 1.0,
		"optimizer.schedule": "constant", "optimizer.warmup_steps": 0, "engine.dtype": "f32", "lora.r": 16, "lora.alpha": 32.0, "lora.rslora": false,
		"rollout.max_turns": 3, "run.tasks_per_step": 32,
	} {
		k, known := findKey(path)
		if !known {
			t.Errorf("%s is no key", path)
			continue
		}
		if v := k.value(&c); !v.Equal(reflect.ValueOf(want).Convert(k.typ)) {
			t.Errorf("%s is %v, expected %v", path, v, want)
		}
	}
	if !slices.Equal(c.LoRA.Targets, ckpt.Projections) {
		t.Errorf("lora.targets are %v, expected all projections, %v", c.LoRA.Targets, ckpt.Projections)
	}
	c.Tasks.Train = "tasks.jsonl"
	if n := c.evalTurns(); n != 10 {
		t.Errorf("%d turns in evaluation, expected 10", n)
	}
}
