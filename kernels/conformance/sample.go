package conformance

import (
	"fmt"
	"math"
	"math/rand/v2"

	"afctl/kernels"
	"afctl/kernels/ref"
)

type sampleInput struct {
	h, w, temperature, u []float64
	logits               []float64
	tolerance            []float64 // of a log-prob in each row
}

func sampleCases() []Case {
	var cases []Case
	for _, kind := range headKinds {
		for _, s := range []headShape{{rows: 40, d: 8, v: 37, spread: 2}, {rows: 60, d: 17, v: 300, spread: 3}, {rows: 50, d: 24, v: 1025, spread: 2}, {rows: 3, d: 4, v: 1, spread: 1}, {rows: 0, d: 8, v: 20, spread: 1}} {
			cases = append(cases, sampleCase(s, kind))
		}
		for _, temperature := range []float64{0.4, 1, 2.5} {
			cases = append(cases, frequencyCase(kind, temperature))
		}
		for _, v := range []int{2, 17, 255, 257, 600} {
			cases = append(cases, edgeCase(kind, v))
		}
	}
	return cases
}

// sampleCase draws at several temperatures in one call and checks each token against the inverse of the cumulative distribution, and its log-prob against
// LogProbs.
func sampleCase(s headShape, kind [2]kernels.DType) Case {
	temperatures := []float64{1, 0, 0.7, 2, 0.05}
	return newCase(fmt.Sprintf("sample/h%v.w%v/rows%d.D%d.V%d", kind[0], kind[1], s.rows, s.d, s.v), func(r *rand.Rand) (in sampleInput) {
		in.h, in.w = s.weights(r, kind)
		in.logits = ref.Linear(in.h, in.w, s.rows, s.v, s.d)
		for i := range s.rows {
			in.temperature = append(in.temperature, temperatures[i%len(temperatures)])
			in.u = append(in.u, []float64{r.Float64(), r.Float64(), r.Float64(), 0, 1 - 0x1p-53, 0.5, r.Float64()}[i%7])
			at := s
			if at.temperature = in.temperature[i]; at.temperature == 0 {
				at.temperature = 1
			}
			at.rows = 1
			lp, _ := at.errors(in.h[i*s.d:(i+1)*s.d], in.w, kind)
			in.tolerance = append(in.tolerance, lp)
		}
		return in
	}, func(p *probe, in sampleInput) {
		h, w := p.in("h", kind[0], s.rows, s.d, 3, in.h), p.matrix(kind[1], s.v, s.d, in.w)
		tokens, lp := p.draw(h.Tensor, w, in.temperature, in.u)
		first := make([]int32, s.rows+1)
		for i, token := range tokens {
			first[i+1] = int32(i) + 1
			p.checkDraw(i, in.logits[i*s.v:(i+1)*s.v], in.temperature[i], in.u[i], token, float64(lp[i]), in.tolerance[i])
		}
		for _, t := range temperatures {
			if t == 0 {
				t = 1
			}
			out := p.out("lp", kernels.F32, 1, s.rows, 0)
			p.must(p.LogProbs(kernels.LogProbs{H: h.Tensor, W: w, Targets: kernels.Targets{First: p.ints(first), Tokens: p.ints(tokens)}, Temperature: t, LP: out.Tensor,
				Entropy: p.out("entropy", kernels.F32, 1, s.rows, 0).Tensor, LSE: p.out("lse", kernels.F32, 1, s.rows, 0).Tensor}))
			want := p.read(out)
			for i := range want {
				if drawn := in.temperature[i]; drawn == t || (drawn == 0 && t == 1) {
					p.sameRow(fmt.Sprintf("log-prob of row %d, drawn and computed", i), lp[i], want[i], in.tolerance[i])
				}
			}
		}
	})
}

// sameRow compares two results of one row: their bits where the back end promises them, else within what each may be off.
func (p *probe) sameRow(what string, got, want float32, tolerance float64) {
	if rowsExact(p.Backend) {
		p.same(what, []float32{got}, []float32{want})
	} else if off := math.Abs(float64(got) - float64(want)); !(off <= 2*tolerance) {
		p.failf("%s: found %v, expected %v within %.3g", what, got, want, 2*tolerance)
	}
}

// draw samples one token per row of h.
func (p *probe) draw(h kernels.Tensor, w kernels.Matrix, temperature, u []float64) (tokens []int32, lp []float32) {
	tokens, tokensDone := onHost[int32](p, "tokens", h.Rows)
	lp, lpDone := onHost[float32](p, "log-probs of draws", h.Rows)
	p.must(p.Sample(h, w, temperature, u, tokens, lp))
	tokensDone()
	lpDone()
	p.note(lp)
	for _, t := range tokens {
		p.note([]float32{float32(t)})
	}
	return tokens, lp
}

// checkDraw checks one token: u is between the cumulative probabilities below and up to it, give or take what the probabilities may be off; at temperature 0 no logit is
// larger.
func (p *probe) checkDraw(row int, logits []float64, temperature, u float64, token int32, lp, tolerance float64) {
	if token < 0 || int(token) >= len(logits) {
		p.failf("row %d: found token %d of a vocabulary of %d", row, token, len(logits))
	}
	at := temperature
	if at == 0 {
		at = 1
	}
	sum, below, top := 0.0, 0.0, math.Inf(-1)
	for _, z := range logits {
		top = math.Max(top, z/at)
	}
	for v, z := range logits {
		e := math.Exp(z/at - top)
		sum += e
		if v < int(token) {
			below += e
		}
	}
	mass := math.Exp(logits[token]/at-top) / sum
	if want := math.Log(mass); !(math.Abs(lp-want) <= tolerance+unitF32*math.Abs(want)) {
		p.failf("row %d, token %d at temperature %v: found log-prob %v, expected %v within %.3g", row, token, temperature, lp, want, tolerance)
	}
	if temperature == 0 {
		if logits[token] < top-tolerance {
			p.failf("row %d, greedy: found token %d with logit %v, expected one with the largest, %v", row, token, logits[token], top)
		}
		return
	}
	// A log-prob off by tolerance moves a cumulative probability by at most as much.
	if below /= sum; !(below-tolerance <= u && u <= below+mass+tolerance) || !(lp > math.Inf(-1)) {
		p.failf("row %d, u %v at temperature %v: found token %d, whose part of the distribution is %v to %v", row, u, temperature, token, below, below+mass)
	}
}

// draws is the sample size of a frequency case, rarest the least expected count of a bin (rarer tokens share one), quantile the normal quantile of a chance of
// 1e-6 that a right sampler fails for a random seed; the seed is fixed.
const (
	draws    = 20000
	rarest   = 5
	quantile = 4.75
)

// frequencyCase draws many times from one distribution, random u, and compares the frequencies with softmax by Pearson's chi-square.
func frequencyCase(kind [2]kernels.DType, temperature float64) Case {
	s := headShape{rows: 1, d: 8, v: 45, spread: 1.5, temperature: temperature}
	return newCase(s.name("sample.frequencies", kind), func(r *rand.Rand) (in sampleInput) {
		in.h, in.w = s.weights(r, kind)
		in.logits = ref.LogProbs(in.h, in.w, []int32{0, 0}, nil, s.d, temperature).LogP
		in.h = take(in.h, make([]int32, draws), s.d)
		in.temperature = fill(draws, temperature)
		in.u = all(in.temperature, func(float64) float64 { return r.Float64() })
		return in
	}, func(p *probe, in sampleInput) {
		tokens, _ := p.draw(p.in("h", kind[0], draws, s.d, 0, in.h).Tensor, p.matrix(kind[1], s.v, s.d, in.w), in.temperature, in.u)
		counts := make([]float64, s.v)
		for _, t := range tokens {
			counts[t]++
		}
		chi, bins, rareCount, rareMass := 0.0, 0, 0.0, 0.0
		bin := func(count, mass float64) {
			if mass > 0 {
				chi += (count - mass) * (count - mass) / mass
				bins++
			}
		}
		for v, lp := range in.logits {
			if mass := draws * math.Exp(lp); mass >= rarest {
				bin(counts[v], mass)
			} else {
				rareCount, rareMass = rareCount+counts[v], rareMass+mass
			}
		}
		bin(rareCount, rareMass)
		// Wilson & Hilferty 1931: the cube root of chi-square over its degrees of freedom is nearly normal.
		free := float64(bins - 1)
		if limit := free * math.Pow(1-2/(9*free)+quantile*math.Sqrt(2/(9*free)), 3); chi > limit {
			p.failf("chi-square of %d draws in %d bins: found %.1f, expected at most %.1f", draws, bins, chi, limit)
		}
	})
}

// edgeCase: one token with all the mass, wherever it stands and whatever u is; tokens of probability 0 at both ends, never drawn; never one past the vocabulary.
func edgeCase(kind [2]kernels.DType, v int) Case {
	const d = 4
	return newCase(fmt.Sprintf("sample.edges/h%v.w%v/V%d", kind[0], kind[1], v), func(r *rand.Rand) (in sampleInput) {
		// Logits: -2000 where W's first column is -2000, else +-1: exp(-1999) is 0 in any float.
		in.w = make([]float64, v*d)
		for t := range v {
			in.w[t*d] = -2000
		}
		in.h = make([]float64, 3*d)
		for i := range 3 {
			in.h[i*d] = 1
		}
		in.temperature, in.u = fill(3, 1), []float64{0, 0.5, 1 - 0x1p-53}
		return in
	}, func(p *probe, in sampleInput) {
		h := p.in("h", kind[0], 3, d, 0, in.h)
		draw := func(masses map[int]float64) []int32 {
			w := append([]float64(nil), in.w...)
			for t, z := range masses {
				w[t*d] = z
			}
			tokens, _ := p.draw(h.Tensor, p.matrix(kind[1], v, d, w), in.temperature, in.u)
			return tokens
		}
		for _, t := range []int{0, v / 2, v - 1} {
			for i, got := range draw(map[int]float64{t: 0}) {
				if int(got) != t {
					p.failf("all mass on token %d of %d, u %v: found token %d", t, v, in.u[i], got)
				}
			}
		}
		if v < 16 {
			return
		}
		for i, got := range draw(map[int]float64{3: 0, v - 4: 0}) { // half and half
			if want := []int32{3, int32(v) - 4, int32(v) - 4}[i]; got != want && !(i == 1 && got == 3) {
				p.failf("mass on tokens 3 and %d of %d, u %v: found token %d, expected %d", v-4, v, in.u[i], got, want)
			}
		}
		tokens, lp := p.draw(h.Tensor, p.matrix(kind[1], v, d, fill(v*d, -1)), []float64{0, 0, 0}, in.u)
		for i, got := range tokens { // all logits equal
			if got != 0 || math.Abs(float64(lp[i])+math.Log(float64(v))) > chain(v)+expError {
				p.failf("greedy among %d equal logits: found token %d with %v, expected the first with %v", v, got, lp[i], -math.Log(float64(v)))
			}
		}
	})
}
