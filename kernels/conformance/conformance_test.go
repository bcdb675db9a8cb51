package conformance_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"afctl/kernels"
	"afctl/kernels/conformance"
	"afctl/kernels/cpu"
)

// broken is a right back end with something wrong: the operation that a test sets.
type broken struct {
	kernels.Backend
	convert      func(y, x kernels.Tensor) error
	linear       func(a kernels.Linear) error
	rmsNorm      func(y, rstd, x, w kernels.Tensor, eps float64) error
	attention    func(o, lse, q, k, v kernels.Tensor, p kernels.Plan, scale float64) error
	newPlan      func(h kernels.Heads) (kernels.Plan, error)
	logProbs     func(a kernels.LogProbs) error
	loss         func(a kernels.Loss, sums *kernels.LossSums) error
	sample       func(h kernels.Tensor, w kernels.Matrix, temperature, u []float64, tokens []int32, lp []float32) error
	adamW        func(a kernels.AdamW) error
	attentionDKV func(dk, dv kernels.Tensor) error
}

func (b *broken) Convert(y, x kernels.Tensor) error {
	if b.convert != nil {
		return b.convert(y, x)
	}
	return b.Backend.Convert(y, x)
}

func (b *broken) Linear(a kernels.Linear) error {
	if b.linear != nil {
		return b.linear(a)
	}
	return b.Backend.Linear(a)
}

func (b *broken) RMSNorm(y, rstd, x, w kernels.Tensor, eps float64) error {
	if b.rmsNorm != nil {
		return b.rmsNorm(y, rstd, x, w, eps)
	}
	return b.Backend.RMSNorm(y, rstd, x, w, eps)
}

func (b *broken) Attention(o, lse, q, k, v kernels.Tensor, p kernels.Plan, scale float64) error {
	if b.attention != nil {
		return b.attention(o, lse, q, k, v, p, scale)
	}
	return b.Backend.Attention(o, lse, q, k, v, p, scale)
}

func (b *broken) NewPlan(h kernels.Heads) (kernels.Plan, error) {
	if b.newPlan != nil {
		return b.newPlan(h)
	}
	return b.Backend.NewPlan(h)
}

// orphans plans for runs without parents.
type orphans struct{ kernels.Plan }

func (p orphans) Forest(runs []kernels.Run, rows []int32) {
	runs = append([]kernels.Run(nil), runs...)
	for i := range runs {
		runs[i].Parent, runs[i].Depth = -1, 0
	}
	p.Plan.Forest(runs, rows)
}

func (b *broken) AttentionBack(dq, dk, dv, dout, o, lse, q, k, v kernels.Tensor, p kernels.Plan, scale float64) error {
	err := b.Backend.AttentionBack(dq, dk, dv, dout, o, lse, q, k, v, p, scale)
	if err == nil && b.attentionDKV != nil {
		return b.attentionDKV(dk, dv)
	}
	return err
}

func (b *broken) LogProbs(a kernels.LogProbs) error {
	if b.logProbs != nil {
		return b.logProbs(a)
	}
	return b.Backend.LogProbs(a)
}

func (b *broken) Loss(a kernels.Loss, sums *kernels.LossSums) error {
	if b.loss != nil {
		return b.loss(a, sums)
	}
	return b.Backend.Loss(a, sums)
}

func (b *broken) Sample(h kernels.Tensor, w kernels.Matrix, temperature, u []float64, tokens []int32, lp []float32) error {
	if b.sample != nil {
		return b.sample(h, w, temperature, u, tokens, lp)
	}
	return b.Backend.Sample(h, w, temperature, u, tokens, lp)
}

func (b *broken) AdamW(a kernels.AdamW) error {
	if b.adamW != nil {
		return b.adamW(a)
	}
	return b.Backend.AdamW(a)
}

// The suite notices what it is there for: each mistake fails cases of the names given, and the back end without it does not fail more of them.
func TestSuiteNotices(t *testing.T) {
	good, err := cpu.New(cpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer good.Close()
	suite := conformance.Cases()
	failing := func(b kernels.Backend, prefix string) map[string]bool {
		names := make(map[string]bool)
		for _, c := range suite {
			if strings.HasPrefix(c.Name, prefix) {
				first, err := c.Run(b)
				second, _ := c.Run(b)
				if err != nil || first != second {
					names[c.Name] = true
				}
			}
		}
		return names
	}
	calls := 0
	for _, m := range []struct {
		name, prefix string
		b            broken
	}{
		{"a bias left out", "linear/", broken{linear: func(a kernels.Linear) error { a.Bias = kernels.Tensor{}; return good.Linear(a) }}},
		{"what was there is overwritten, not added to", "linear/", broken{linear: func(a kernels.Linear) error { a.Add = false; return good.Linear(a) }}},
		{"the rows of a batch in other bits than alone", "exact/linear/", broken{linear: func(a kernels.Linear) error {
			if a.X.Rows == 1 { // the low-rank part first, then the rest: another order of the same sum
				u := a.U
				a.U = kernels.Tensor{}
				if err := good.Linear(a); err != nil || u.None() || a.Y.DType != kernels.F32 {
					return err
				}
				return good.Linear(kernels.Linear{Y: a.Y, X: u, W: a.B, Add: true})
			}
			return good.Linear(a)
		}}},
		{"eps left out", "rmsnorm/", broken{rmsNorm: func(y, rstd, x, w kernels.Tensor, _ float64) error { return good.RMSNorm(y, rstd, x, w, 0) }}},
		{"one element too many", "convert/", broken{convert: func(y, x kernels.Tensor) error {
			if y.Rows > 0 && y.Cols == x.Cols {
				y.Cols, x.Cols = y.Cols+1, x.Cols+1
			}
			return good.Convert(y, x)
		}}},
		{"an input written to", "convert/", broken{convert: func(y, x kernels.Tensor) error {
			err := good.Convert(y, x)
			if err == nil && y.Rows > 1 {
				return good.Zero(x.RowRange(1, 2))
			}
			return err
		}}},
		{"a shape not refused", "shapes/convert/", broken{convert: func(y, x kernels.Tensor) error { return nil }}},
		{"a child that does not see its parents", "attention/", broken{newPlan: func(h kernels.Heads) (kernels.Plan, error) {
			p, err := good.NewPlan(h)
			return orphans{p}, err
		}, attention: func(o, lse, q, k, v kernels.Tensor, p kernels.Plan, scale float64) error {
			return good.Attention(o, lse, q, k, v, p.(orphans).Plan, scale)
		}}},
		{"a gradient of the values that is lost", "attention/", broken{attentionDKV: func(_, dv kernels.Tensor) error {
			if dv.Rows > 3 {
				return good.Zero(dv.RowRange(3, 4))
			}
			return nil
		}}},
		{"the temperature left out", "logprobs/", broken{logProbs: func(a kernels.LogProbs) error {
			if a.Temperature > 0 {
				a.Temperature = 1
			}
			return good.LogProbs(a)
		}}},
		{"the KL left out", "loss/", broken{loss: func(a kernels.Loss, sums *kernels.LossSums) error { a.Params.KL = 0; return good.Loss(a, sums) }}},
		{"draws a little too cold", "sample.frequencies/", broken{sample: func(h kernels.Tensor, w kernels.Matrix, temperature, u []float64, tokens []int32, lp []float32) error {
			cold := make([]float64, len(temperature))
			for i, t := range temperature {
				cold[i] = 0.9 * t
			}
			return good.Sample(h, w, cold, u, tokens, lp)
		}}},
		{"draws not by their u", "sample/", broken{sample: func(h kernels.Tensor, w kernels.Matrix, temperature, u []float64, tokens []int32, lp []float32) error {
			other := make([]float64, len(u))
			for i := range u {
				other[i] = u[len(u)-1-i]
			}
			return good.Sample(h, w, temperature, other, tokens, lp)
		}}},
		{"the clip's factor left out", "adamw/", broken{adamW: func(a kernels.AdamW) error { a.GradScale = 1; return good.AdamW(a) }}},
		{"other bits the second time", "adamw/", broken{adamW: func(a kernels.AdamW) error {
			if calls++; calls%2 == 0 {
				a.Beta2 += 1e-7
			}
			return good.AdamW(a)
		}}},
	} {
		t.Run(m.name, func(t *testing.T) {
			m.b.Backend = good
			without, with := failing(good, m.prefix), failing(&m.b, m.prefix)
			noticed := 0
			for name := range with {
				if !without[name] {
					noticed++
				}
			}
			if noticed == 0 {
				t.Errorf("no case of %s... noticed", m.prefix)
			}
		})
	}
}

// Check runs every case twice, on a user's machine too, and ends with its context.
func TestCheck(t *testing.T) {
	good, err := cpu.New(cpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer good.Close()
	ctx, cancel := context.WithCancel(t.Context())
	calls, after := 0, -1
	b := &broken{Backend: good, rmsNorm: func(y, rstd, x, w kernels.Tensor, eps float64) error {
		if calls++; calls%2 == 0 {
			eps *= 1 + 1e-4
		}
		return good.RMSNorm(y, rstd, x, w, eps)
	}}
	err = conformance.Check(ctx, b, func(name string, err error) {
		if after++; err != nil && !strings.Contains(err.Error(), "the second time") {
			t.Errorf("%s: %v", name, err)
		} else if err != nil {
			cancel()
			after = 0
		}
	})
	if !errors.Is(err, context.Canceled) || after != 0 {
		t.Errorf("%v: what is wrong the second time passes, or %d cases ran after the end", err, after)
	}
}

// Names are what a case is called by, and what its random stream is made from.
func TestNamesAreUnique(t *testing.T) {
	seen := make(map[string]bool)
	for _, c := range conformance.Cases() {
		if seen[c.Name] || strings.ContainsAny(c.Name, "\n\t") {
			t.Errorf("two cases are called %q", c.Name)
		}
		seen[c.Name] = true
	}
}

// A back end that does not promise exact rows is not asked for them.
func TestRowsExactIsAskedOfThoseThatPromiseIt(t *testing.T) {
	asked := func(b kernels.Backend) (n int) {
		for _, c := range conformance.Cases() {
			if c.RowsExact && c.Applies(b) {
				n++
			}
		}
		return n
	}
	if n := asked(inexact{}); n != 0 {
		t.Errorf("found %d cases of exact rows for a back end that has none", n)
	}
	if asked(&broken{}) == 0 { // has no method RowsExact
		t.Error("found no case of exact rows for a back end that has made no exception")
	}
}

type inexact struct{ kernels.Backend }

func (inexact) RowsExact() bool { return false }
