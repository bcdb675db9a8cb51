package conformance

import (
	"fmt"
	"math"
	"math/rand/v2"

	"afctl/kernels"
	"afctl/kernels/ref"
)

// headShape is a head over rows of D under V tokens. spread is the standard deviation of the logits; sorted puts the largest logits last, so that a running maximum moves
// in every tile.
type headShape struct {
	rows, d, v  int
	temperature float64
	spread      float64
	sorted      bool
}

var headShapes = []headShape{
	{0, 8, 5, 1, 1, false}, {1, 1, 1, 0.7, 1, false}, {1, 16, 17, 1.5, 2, false}, {3, 8, 255, 0.7, 2, false}, {5, 15, 256, 1, 3, false}, {2, 24, 257, 1, 2, true},
	{49, 64, 300, 0.7, 2, false}, {17, 130, 1000, 1.3, 3, true}, {100, 17, 65, 0.3, 1, false}, {130, 24, 520, 1, 2, false}, {4, 32, 700, 1, 60, true},
}

// mostTargets is how many a row may have.
const mostTargets = 40

var headKinds = [][2]kernels.DType{{kernels.F32, kernels.F32}, {kernels.F32, kernels.BF16}, {kernels.BF16, kernels.BF16}}

type headInput struct {
	h, w, g, dent    []float64
	first, tokens    []int32
	lp, entropy, lse expected
	ew, elw          expected
	dh, dhPlain      map[kernels.DType]expected // with and without the entropy's gradient
	dw, dwPlain      expected
	dwBefore         []float64
}

func logProbCases() []Case {
	var cases []Case
	for i, s := range headShapes {
		for _, kind := range headKinds {
			cases = append(cases, headCase(s, kind, spare(i%3*16)))
		}
	}
	for _, kind := range headKinds {
		cases = append(cases, cancellingCase(kind))
	}
	return cases
}

// cancellingCase has turns that several rollouts share, whose gradients cancel: nothing is left of them.
func cancellingCase(kind [2]kernels.DType) Case {
	s := headShape{rows: 3, d: 24, v: 300, temperature: 0.7, spread: 2}
	type input struct{ h, w, dw []float64 }
	return newCase(s.name("logprobs.cancelling", kind), func(r *rand.Rand) (in input) {
		in.h, in.w = s.weights(r, kind)
		in.dw = normals(r, kernels.F32, s.v*s.d, 1)
		return in
	}, func(p *probe, in input) {
		targets := kernels.Targets{First: p.ints([]int32{0, 0, 6, 6}), Tokens: p.ints([]int32{299, 299, 299, 299, 299, 299})}
		h, w := p.in("h", kind[0], s.rows, s.d, 0, in.h), p.matrix(kind[1], s.v, s.d, in.w)
		lp, entropy, lse := p.out("lp", kernels.F32, 1, 6, 0), p.out("entropy", kernels.F32, 1, s.rows, 0), p.out("lse", kernels.F32, 1, s.rows, 0)
		ew := p.expected("ew", s, 0)
		p.must(p.LogProbs(kernels.LogProbs{H: h.Tensor, W: w, Targets: targets, Temperature: s.temperature, LP: lp.Tensor, Entropy: entropy.Tensor, LSE: lse.Tensor, EW: ew.Tensor}))
		dh, dw := p.out("dh", kernels.F32, s.rows, s.d, 0), p.buffer("dw", kernels.F32, s.v, s.d, 0, in.dw)
		g := p.in("g", kernels.F32, 1, 6, 0, all([]float64{1, 3e-5, 7e-3, -1, -3e-5, -7e-3}, func(x float64) float64 { return stored(kernels.F32, x) }))
		back := kernels.LogProbsBack{DH: dh.Tensor, G: g.Tensor, W: w, Targets: targets, Temperature: s.temperature, LSE: lse.Tensor, EW: ew.Tensor, H: h.Tensor}
		p.must(p.LogProbsBack(back))
		p.expect(dh, exactly(make([]float64, s.rows*s.d)))
		p.must(p.LogProbsGradWeight(dw.Tensor, back))
		p.expect(dw, exactly(in.dw))
	})
}

func (s headShape) name(op string, kind [2]kernels.DType) string {
	n := fmt.Sprintf("%s/h%v.w%v/rows%d.D%d.V%d.temp%v.spread%v", op, kind[0], kind[1], s.rows, s.d, s.v, s.temperature, s.spread)
	if s.sorted {
		n += ".sorted"
	}
	return n
}

// weights makes h and W whose logits have the shape's spread.
func (s headShape) weights(r *rand.Rand, kind [2]kernels.DType) (h, w []float64) {
	dev := math.Sqrt(s.spread) / math.Pow(float64(s.d), 0.25)
	h, w = normals(r, kind[0], s.rows*s.d, dev), normals(r, kind[1], s.v*s.d, dev)
	if s.sorted { // the first column dominates and grows with the token
		for i := range s.rows {
			h[i*s.d] = stored(kind[0], math.Abs(h[i*s.d])+dev)
		}
		for v := range s.v {
			w[v*s.d] = stored(kind[1], dev*float64(s.d)*float64(v)/float64(s.v))
		}
	}
	return h, w
}

// errors returns the absolute error of a log-prob, and the relative one of a probability-weighted sum over the vocabulary: a logit is a chain over D, scaled;
// a row's sum goes over tiles of at most 256 tokens and is rescaled where the maximum moves; bf16 products round the weights.
func (s headShape) errors(h, w []float64, kind [2]kernels.DType) (lp, sum float64) {
	most := 0.0
	for _, z := range ref.Linear(abs(h), abs(w), s.rows, s.v, s.d) {
		most = math.Max(most, z/s.temperature)
	}
	lp = 2*most*(chain(s.d)+4*unitF32) + expError*float64(2+(s.v+255)/256) + chain(min(s.v, 256))
	sum = 2*lp + chain(s.v) + expError
	if kind[0] == kernels.BF16 {
		sum += unitBF16
	}
	return lp, sum
}

func (s headShape) prepare(r *rand.Rand, kind [2]kernels.DType) (in headInput) {
	in.h, in.w = s.weights(r, kind)
	in.first = []int32{0}
	for i := range s.rows { // none, one or many targets, some repeated, the vocabulary's ends among them
		targets := []int{1, 0, 4, 1, 1, 0, mostTargets, 2}[i%8]
		if s.rows == 2 {
			targets = 0 // a batch without any
		}
		for range targets {
			in.tokens = append(in.tokens, []int32{0, int32(s.v) - 1, r.Int32N(int32(s.v)), int32(s.v) / 2, int32(s.v) / 2}[len(in.tokens)%5])
		}
		in.first = append(in.first, int32(len(in.tokens)))
	}
	in.g, in.dent = normals(r, kernels.F32, len(in.tokens), 1), normals(r, kernels.F32, s.rows, 1)
	in.dwBefore = normals(r, kernels.F32, s.v*s.d, 1)
	out := ref.LogProbs(in.h, in.w, in.first, in.tokens, s.d, s.temperature)
	lpError, sumError := s.errors(in.h, in.w, kind)
	one := fill(len(out.LP), 1)
	in.lp, in.lse = near(out.LP, one, lpError, kernels.F32), near(out.LSE, fill(s.rows, 1), lpError, kernels.F32)
	in.entropy = near(out.Entropy, all(out.Entropy, func(h float64) float64 { return 2*h + 2 }), lpError, kernels.F32)
	// Magnitudes of p, p log p and dloss/dlogit.
	p, pl := make([]float64, len(out.LogP)), make([]float64, len(out.LogP))
	dz, dzPlain := make([]float64, len(p)), make([]float64, len(p))
	for i, lp := range out.LogP {
		row := i / s.v
		p[i] = math.Exp(lp)
		pl[i] = p[i] * (1 - lp)
		for t := in.first[row]; t < in.first[row+1]; t++ {
			dzPlain[i] += math.Abs(in.g[t]) * p[i] / s.temperature
			if int(in.tokens[t]) == i%s.v {
				dzPlain[i] += math.Abs(in.g[t]) / s.temperature
			}
		}
		dz[i] = dzPlain[i] + math.Abs(in.dent[row])*(pl[i]+p[i]*out.Entropy[row])/s.temperature
	}
	wAbs, hAbs := abs(in.w), abs(in.h)
	in.ew = near(out.EW, ref.LinearBack(p, wAbs, s.rows, s.v, s.d), sumError, kernels.F32)
	in.elw = near(out.ELW, ref.LinearBack(pl, wAbs, s.rows, s.v, s.d), sumError, kernels.F32)
	in.dh, in.dhPlain = make(map[kernels.DType]expected), make(map[kernels.DType]expected)
	dh, dw := ref.LogProbsBack(out, in.h, in.w, in.first, in.tokens, s.d, s.temperature, in.g, in.dent)
	dhPlain, dwPlain := ref.LogProbsBack(out, in.h, in.w, in.first, in.tokens, s.d, s.temperature, in.g, nil)
	for _, d := range floats {
		in.dh[d] = near(dh, ref.LinearBack(dz, wAbs, s.rows, s.v, s.d), sumError+chain(mostTargets+4), d)
		in.dhPlain[d] = near(dhPlain, ref.LinearBack(dzPlain, wAbs, s.rows, s.v, s.d), sumError+chain(mostTargets+4), d)
	}
	magnitude := func(dz []float64) []float64 {
		return plus(abs(in.dwBefore), ref.GradWeight(dz, hAbs, s.rows, s.v, s.d))
	}
	in.dw = near(plus(in.dwBefore, dw), magnitude(dz), 2*lpError+chain(s.rows+mostTargets+4)+expError, kernels.F32)
	in.dwPlain = near(plus(in.dwBefore, dwPlain), magnitude(dzPlain), 2*lpError+chain(s.rows+mostTargets+4)+expError, kernels.F32)
	return in
}

func headCase(s headShape, kind [2]kernels.DType, gap spare) Case {
	return newCase(s.name("logprobs", kind), func(r *rand.Rand) headInput { return s.prepare(r, kind) }, func(p *probe, in headInput) {
		n := len(in.tokens)
		w := p.matrix(kind[1], s.v, s.d, in.w)
		targets := kernels.Targets{First: p.ints(in.first), Tokens: p.ints(in.tokens)}
		h := p.in("h", kind[0], s.rows, s.d, gap, in.h)
		head := func(what string) (a kernels.LogProbs, lp, entropy, lse *buffer) {
			lp, entropy, lse = p.out("lp "+what, kernels.F32, 1, n, 0), p.out("entropy "+what, kernels.F32, 1, s.rows, 0), p.out("lse "+what, kernels.F32, 1, s.rows, 0)
			return kernels.LogProbs{H: h.Tensor, W: w, Targets: targets, Temperature: s.temperature, LP: lp.Tensor, Entropy: entropy.Tensor, LSE: lse.Tensor}, lp, entropy, lse
		}
		// Without what the gradient needs, with what that of log-probs needs, with all: the same bits.
		a, lp, entropy, lse := head("alone")
		p.must(p.LogProbs(a))
		p.expect(entropy, in.entropy)
		p.expect(lse, in.lse)
		values := p.expect(lp, in.lp)
		a, lp, _, _ = head("with ew")
		a.EW = p.expected("ew", s, gap).Tensor
		p.must(p.LogProbs(a))
		p.same("lp with ew", p.read(lp), values)
		a, lp, entropy, lse = head("with ew and elw")
		ew, elw := p.expected("ew", s, gap), p.expected("elw", s, gap)
		a.EW, a.ELW = ew.Tensor, elw.Tensor
		p.must(p.LogProbs(a))
		p.same("lp with ew and elw", p.read(lp), values)
		p.expect(entropy, in.entropy)
		p.expect(ew, in.ew)
		p.expect(elw, in.elw)

		back := kernels.LogProbsBack{G: p.in("g", kernels.F32, 1, n, 0, in.g).Tensor, W: w, Targets: targets, Temperature: s.temperature, Entropy: entropy.Tensor,
			LSE: lse.Tensor, EW: ew.Tensor, ELW: elw.Tensor, H: h.Tensor}
		dent := p.in("dentropy", kernels.F32, 1, s.rows, 0, in.dent)
		for _, d := range floats {
			dh := p.out("dh", d, s.rows, s.d, gap)
			back.DH, back.DEntropy = dh.Tensor, kernels.Tensor{}
			p.must(p.LogProbsBack(back))
			p.expect(dh, in.dhPlain[d])
			back.DEntropy = dent.Tensor
			p.must(p.LogProbsBack(back))
			p.expect(dh, in.dh[d])
		}
		dw := p.buffer("dw", kernels.F32, s.v, s.d, gap, in.dwBefore)
		p.must(p.LogProbsGradWeight(dw.Tensor, back))
		p.expect(dw, in.dw)
		back.DEntropy, back.Entropy = kernels.Tensor{}, kernels.Tensor{}
		dw = p.buffer("dw of log-probs alone", kernels.F32, s.v, s.d, 0, in.dwBefore)
		p.must(p.LogProbsGradWeight(dw.Tensor, back))
		p.expect(dw, in.dwPlain)
	})
}

// expected is a tensor for expected weights: rows are a multiple of 16 apart, and the columns up to the next multiple of 16 may be used.
func (p *probe) expected(name string, s headShape, gap spare) *buffer {
	pad := -s.d & 15
	b := p.out(name, kernels.F32, s.rows, s.d, gap+spare(pad))
	b.scratch = pad
	return b
}
