package flow

import (
	stdjson "encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// tokens makes the inputs of the objective for every target of an update.
func tokens(t *rapid.T, u *Update) []TokenIn {
	ins := make([]TokenIn, len(u.Weight))
	for k := range ins {
		ins[k] = drawToken(t)
		ins[k].Advantage = u.Advantage[k]
		if u.Objective.TISCap == 0 && k%3 == 0 {
			ins[k].LS = math.NaN()
		}
	}
	return ins
}

// TestLossIsTheSumOfItsTerms: as metrics put it together.
func TestLossIsTheSumOfItsTerms(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := drawObjective(t)
		u, err := NewUpdate(drawTrajectories(t), o)
		if err != nil {
			t.Fatal(err)
		}
		var sums TokenSums
		loss := 0.0
		for k, in := range tokens(t, u) {
			out := o.Token(in)
			sums.Observe(u.Weight[k], in, out)
			loss += u.Weight[k] * out.Loss
		}
		if m := u.Metrics(sums); !gocmp.Equal(float64(m.Loss), loss, cmpopts.EquateApprox(1e-12, 1e-12)) { // values up to exp(20)
			t.Fatalf("loss %v is not the sum of its terms, %v", loss, m.Loss)
		}
	})
}

func sameNumber(a, b Number) bool { return a == b || a != a && b != b }

// TestMetricsByHand: every value that follows from an update.
func TestMetricsByHand(t *testing.T) {
	o := DefaultObjective()
	o.KL, o.Entropy = 0.5, 0.25
	ts := []Trajectory{rollout("a", 0, 1, 1, 1), rollout("a", 1, 0, 2), failed("a", 2, "timeout"), rollout("b", 0, 0, 1)}
	for i := range ts {
		for j := range ts[i].Turns {
			ts[i].Turns[j].LogProbs = nil
		}
	}
	u := mustUpdate(t, ts, o)
	m := u.Metrics(TokenSums{Policy: 1, KL: 2, Entropy: 4, Tokens: 5, Ratio: 6, RatioMax: 1.5, ClipLow: 1, ClipHigh: 2})
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"step":0,"loss":1,"policy_loss":1,"kl":2,"entropy":4,"ratio/mean":1.2,"ratio/max":1.5,` +
		`"clip/low":0.2,"clip/high":0.4,"mismatch/mean":null,"mismatch/max":null,"mismatch/k3":null,` +
		`"reward/mean":0.3333333333333333,"reward/std":0.5773502691896258,"turns/mean":1.3333333333333333,"turns/max":2,` +
		`"group/zero_signal":0.5,"group/incomplete":0.5,"groups":2,"rollouts":3,"failed":1,"action_tokens":5,` +
		`"forest/tokens":0,"forest/unshared_tokens":9,"grad_norm":null,"lr":null,"skipped_steps":0,` +
		`"tokens_per_second":null,"seconds/rollout":null,"seconds/reference":null,"seconds/update":null,` +
		`"seconds/publish":null,"seconds/checkpoint":null,"policy_version":0,"adapter_hash":""}`
	if string(b) != want {
		t.Errorf("found\n%s\nexpected\n%s", b, want)
	}
	std, err := stdjson.Marshal(m)
	if err != nil || string(std) != want {
		t.Errorf("encoding/json writes\n%s\n%v", std, err)
	}
	var back Metrics
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(m, back, gocmp.Comparer(sameNumber)); diff != "" {
		t.Errorf("read back:\n%s", diff)
	}

	o.KL, o.Entropy = 0, 0 // trap 14: what has no coefficient and may be missing stays out of the loss
	if got := mustUpdate(t, ts, o).Metrics(TokenSums{Policy: 1, KL: math.NaN(), Entropy: math.NaN(), Tokens: 5}); got.Loss != 1 {
		t.Errorf("kl and entropy off and not known: loss %v, expected 1", got.Loss)
	}

	for name := range m.Scalars() {
		if name != "step" {
			t.Errorf("first scalar is %s", name)
		}
		break
	}
	m.GradNorm = Number(math.Inf(1))
	var names []string
	for name, v := range m.Scalars() {
		if !finite(v) {
			t.Errorf("%s is %v", name, v)
		}
		names = append(names, name)
	}
	if s := strings.Join(names, " "); !strings.HasPrefix(s, "step loss policy_loss kl entropy ratio/mean ratio/max clip/low clip/high reward/mean") ||
		!strings.HasSuffix(s, "skipped_steps policy_version") {
		t.Errorf("scalars are %s", s)
	}
}

// TestEqualRewards: their mean is the reward itself and they do not deviate, whatever a sum of them rounds to.
func TestEqualRewards(t *testing.T) {
	var ts []Trajectory
	for i := range 10 {
		ts = append(ts, rollout("a", i, 0.1, 1))
	}
	if m := mustUpdate(t, ts, DefaultObjective()).Metrics(TokenSums{}); m.RewardMean != 0.1 || m.RewardStd != 0 {
		t.Errorf("rewards of 0.1: mean %v, deviation %v", m.RewardMean, m.RewardStd)
	}
}

// TestMismatch: signed mean, largest magnitude, and k3, over the tokens that have ls.
func TestMismatch(t *testing.T) {
	u := mustUpdate(t, []Trajectory{rollout("a", 0, 1, 3), rollout("a", 1, 0, 1)}, DefaultObjective())
	var s TokenSums
	for _, ls := range []float64{-1.5, -0.2, math.NaN()} {
		in := TokenIn{LP: -1, LO: -1, LR: -1, LS: ls}
		s.Observe(0.25, in, u.Objective.Token(in))
	}
	k3 := (math.Exp(0.5) - 0.5 - 1 + math.Exp(-0.8) + 0.8 - 1) / 2
	m := u.Metrics(s)
	if !near(float64(m.MismatchMean), -0.15, 1e-12) || m.MismatchMax != 0.8 || !near(float64(m.MismatchK3), k3, 1e-12) || m.RatioMean != 1 || m.RatioMax != 1 {
		t.Errorf("found %+v", m)
	}
}

// TestClipCounts: tokens whose ratio left the trust region in the direction of their advantage, and the sums of one with it.
func TestClipCounts(t *testing.T) {
	o := DefaultObjective()
	o.ClipLow, o.ClipHigh = 0.2, 0.2
	var s TokenSums
	for _, lp := range []float64{-1.5, -0.5, -0.5, -1} {
		for _, a := range []float64{-1, 0, 1} {
			in := TokenIn{LP: lp, LO: -1, LR: -1, LS: -1, Advantage: a}
			s.Observe(1, in, o.Token(in))
		}
	}
	if s.ClipLow != 1 || s.ClipHigh != 2 || s.Tokens != 12 || s.RatioMax != math.Exp(0.5) {
		t.Errorf("found %+v", s)
	}
	o.ClipLow, o.ClipHigh = 0, 0 // a ratio at the bound is not beyond it: the first update is not clipped
	for _, a := range []float64{-1, 1} {
		if out := o.Token(TokenIn{LP: -1, LO: -1, LR: -1, LS: -1, Advantage: a}); out.ClipLow || out.ClipHigh {
			t.Errorf("a ratio of 1 at an advantage of %v is clipped", a)
		}
	}
}

// TestRewardStd: the sample deviation of two rewards, and none of one.
func TestRewardStd(t *testing.T) {
	ts := []Trajectory{rollout("a", 0, 1, 1), rollout("a", 1, 0, 1)}
	if m := mustUpdate(t, ts, DefaultObjective()).Metrics(TokenSums{}); !near(float64(m.RewardStd), math.Sqrt(0.5), 1e-12) {
		t.Errorf("of 1 and 0: %v", m.RewardStd)
	}
	if m := mustUpdate(t, ts[:1], DefaultObjective()).Metrics(TokenSums{}); m.RewardStd == m.RewardStd {
		t.Errorf("of one reward: %v", m.RewardStd)
	}
}

// TestTrap13NoTokens: an update that skips all its groups has metrics, and none of them is a NaN in the file.
func TestTrap13NoTokens(t *testing.T) {
	o := DefaultObjective()
	o.SkipZeroSignal = true
	u := mustUpdate(t, []Trajectory{rollout("a", 0, 1, 3), rollout("a", 1, 1, 1)}, o)
	if len(Forests(u.Sequences, 0)) != 0 || len(u.Warnings) != 1 {
		t.Errorf("sequences %v, warnings %q", u.Sequences, u.Warnings)
	}
	m := u.Metrics(TokenSums{})
	if m.Loss != 0 || m.GroupZeroSignal != 1 || m.ActionTokens != 4 || m.RatioMax == m.RatioMax {
		t.Errorf("found %+v", m)
	}
	if b, err := json.Marshal(m); err != nil || strings.Contains(string(b), "NaN") {
		t.Errorf("%s, %v", b, err)
	}
}
