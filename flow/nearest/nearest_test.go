package nearest

import "testing"

func TestName(t *testing.T) {
	keys := []string{"flow.kl", "flow.kl_estimator", "flow.epochs", "flow.group_size", "flow.temperature", "lora.r", "lora.rslora", "checkpoint.every"}
	for found, want := range map[string]string{
		"flow.tempp":       "flow.temperature",
		"flow.temp":        "flow.temperature",
		"flow.temprature":  "flow.temperature",
		"flow.TEMPERATURE": "flow.temperature",
		"flow.lk":          "flow.kl",
		"flow.kll":         "flow.kl",
		"flow.kl_est":      "flow.kl_estimator",
		"flow.eps":         "flow.epochs",
		"flow.groups":      "flow.group_size",
		"flow.group":       "flow.group_size",
		"lora.rank":        "lora.r",
		"checkpoint.ever":  "checkpoint.every",
		"":                 "lora.r",
	} {
		if got := Name(found, keys); got != want {
			t.Errorf("%q: %q, expected %q", found, got, want)
		}
	}
	if got := Name("A", []string{"b", "a"}); got != "a" {
		t.Errorf("letter case counts: %q", got)
	}
	if got := Name("abcd", []string{"abxy", "bcd"}); got != "bcd" {
		t.Errorf("a character dropped at the front costs more than two replaced: %q", got)
	}
	if got := Name("a", nil); got != "" {
		t.Errorf("of nothing: %q", got)
	}
}
