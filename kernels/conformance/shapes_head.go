package conformance

import (
	"math"

	"afctl/kernels"
)

// headMisfits: three rows of 16 with two targets each under 20 tokens.
func headMisfits() []misfit {
	const n = 2 * sT
	type H = kernels.LogProbs
	targets := func(o *operands) kernels.Targets { return kernels.Targets{First: o.i(sT + 1), Tokens: o.i(n)} }
	list := misfits("logprobs", func(o *operands) H {
		return H{H: o.f(sT, sD), W: o.w(kernels.F32, sV, sD), Targets: targets(o), Temperature: 1, LP: o.f(1, n), Entropy: o.f(1, sT), LSE: o.f(1, sT), EW: o.f(sT, sD), ELW: o.f(sT, sD)}
	}, func(p *probe, a H) error { return p.LogProbs(a) }, []change[H]{
		{"h width", func(o *operands, a *H) { a.H = o.f(sT, sD-1) }},
		{"h bf16 for W f32", func(o *operands, a *H) { a.H = o.b(sT, sD) }},
		{"h ids", func(o *operands, a *H) { a.H = o.tensor(kernels.I32, sT, sD) }},
		{"lp count", func(o *operands, a *H) { a.LP = o.f(1, n-1) }},
		{"lp bf16", func(o *operands, a *H) { a.LP = o.b(1, n) }},
		{"entropy count", func(o *operands, a *H) { a.Entropy = o.f(1, sT-1) }},
		{"entropy bf16", func(o *operands, a *H) { a.Entropy = o.b(1, sT) }},
		{"lse count", func(o *operands, a *H) { a.LSE = o.f(1, sT+1) }},
		{"lse bf16", func(o *operands, a *H) { a.LSE = o.b(1, sT) }},
		{"ew width", func(o *operands, a *H) { a.EW = o.f(sT, 2*sD) }},
		{"ew rows", func(o *operands, a *H) { a.EW = o.f(sT-1, sD) }},
		{"ew bf16", func(o *operands, a *H) { a.EW = o.b(sT, sD) }},
		{"ew stride", func(o *operands, a *H) { a.EW = o.wide(sT, sD) }},
		{"elw width", func(o *operands, a *H) { a.ELW = o.f(sT, 2*sD) }},
		{"elw without ew", func(o *operands, a *H) { a.EW = kernels.Tensor{} }},
		{"temperature 0", func(o *operands, a *H) { a.Temperature = 0 }},
		{"temperature below 0", func(o *operands, a *H) { a.Temperature = -1 }},
		{"temperature NaN", func(o *operands, a *H) { a.Temperature = nan() }},
		{"temperature without an inverse", func(o *operands, a *H) { a.Temperature = 1e-39 }},
		{"first count", func(o *operands, a *H) { a.Targets.First = o.i(sT) }},
		{"first float", func(o *operands, a *H) { a.Targets.First = o.f(1, sT+1) }},
		{"tokens float", func(o *operands, a *H) { a.Targets.Tokens = o.f(1, n) }},
		{"rows of lp", func(o *operands, a *H) { a.LP = o.f(2, n) }},
		{"rows of entropy", func(o *operands, a *H) { a.Entropy = o.f(2, sT) }},
		{"rows of lse", func(o *operands, a *H) { a.LSE = o.f(2, sT) }},
		{"rows of first", func(o *operands, a *H) { a.Targets.First = o.tensor(kernels.I32, 2, sT+1) }},
		{"rows of tokens", func(o *operands, a *H) { a.Targets.Tokens = o.tensor(kernels.I32, 2, n) }},
		{"no W", func(o *operands, a *H) { a.W = nil }},
		{"W of another back end", func(o *operands, a *H) { a.W = foreign{sV, sD} }},
		{"W that was freed", func(o *operands, a *H) { o.p.FreeMatrix(a.W) }},
	})
	type B = kernels.LogProbsBack
	back := func(o *operands) B {
		return B{DH: o.f(sT, sD), G: o.f(1, n), DEntropy: o.f(1, sT), W: o.w(kernels.F32, sV, sD), Targets: targets(o), Temperature: 1, Entropy: o.f(1, sT), LSE: o.f(1, sT),
			EW: o.f(sT, sD), ELW: o.f(sT, sD), H: o.f(sT, sD)}
	}
	both := []change[B]{
		{"g count", func(o *operands, a *B) { a.G = o.f(1, n-1) }},
		{"g bf16", func(o *operands, a *B) { a.G = o.b(1, n) }},
		{"dentropy count", func(o *operands, a *B) { a.DEntropy = o.f(1, sT-1) }},
		{"dentropy bf16", func(o *operands, a *B) { a.DEntropy = o.b(1, sT) }},
		{"entropy count", func(o *operands, a *B) { a.Entropy = o.f(1, sT-1) }},
		{"first count", func(o *operands, a *B) { a.Targets.First = o.i(sT) }},
		{"tokens float", func(o *operands, a *B) { a.Targets.Tokens = o.f(1, n) }},
		{"rows of g", func(o *operands, a *B) { a.G = o.f(2, n) }},
		{"rows of dentropy", func(o *operands, a *B) { a.DEntropy = o.f(2, sT) }},
		{"rows of entropy", func(o *operands, a *B) { a.Entropy = o.f(2, sT) }},
		{"rows of first", func(o *operands, a *B) { a.Targets.First = o.tensor(kernels.I32, 2, sT+1) }},
		{"rows of tokens", func(o *operands, a *B) { a.Targets.Tokens = o.tensor(kernels.I32, 2, n) }},
		{"temperature 0", func(o *operands, a *B) { a.Temperature = 0 }},
		{"no W", func(o *operands, a *B) { a.W = nil }},
		{"W of another back end", func(o *operands, a *B) { a.W = foreign{sV, sD} }},
		{"W that was freed", func(o *operands, a *B) { o.p.FreeMatrix(a.W) }},
	}
	list = append(list, misfits("logprobsback", back, func(p *probe, a B) error { return p.LogProbsBack(a) }, append([]change[B]{
		{"dh width", func(o *operands, a *B) { a.DH = o.f(sT, sD-1) }},
		{"dh ids", func(o *operands, a *B) { a.DH = o.tensor(kernels.I32, sT, sD) }},
		{"ew rows", func(o *operands, a *B) { a.EW = o.f(sT+1, sD) }},
		{"ew bf16", func(o *operands, a *B) { a.EW = o.b(sT, sD) }},
		{"no ew", func(o *operands, a *B) { a.EW = kernels.Tensor{} }},
		{"elw rows", func(o *operands, a *B) { a.ELW = o.f(sT-1, sD) }},
		{"dentropy without elw", func(o *operands, a *B) { a.ELW = kernels.Tensor{} }},
	}, both...))...)
	type W struct {
		B
		dw kernels.Tensor
	}
	weight := []change[W]{
		{"dw rows", func(o *operands, a *W) { a.dw = o.f(sV-1, sD) }},
		{"dw width", func(o *operands, a *W) { a.dw = o.f(sV, sD-1) }},
		{"dw bf16", func(o *operands, a *W) { a.dw = o.b(sV, sD) }},
		{"h width", func(o *operands, a *W) { a.H = o.f(sT, sD-1) }},
		{"h ids", func(o *operands, a *W) { a.H = o.tensor(kernels.I32, sT, sD) }},
		{"h bf16 for W f32", func(o *operands, a *W) { a.H = o.b(sT, sD) }},
		{"lse count", func(o *operands, a *W) { a.LSE = o.f(1, sT-1) }},
		{"rows of lse", func(o *operands, a *W) { a.LSE = o.f(2, sT) }},
	}
	for _, c := range both {
		weight = append(weight, change[W]{c.what, func(o *operands, a *W) { c.make(o, &a.B) }})
	}
	return append(list, misfits("logprobsgradweight", func(o *operands) W { return W{back(o), o.f(sV, sD)} }, func(p *probe, a W) error { return p.LogProbsGradWeight(a.dw, a.B) }, weight)...)
}

// hostMisfits: what works on flat arrays and on the host's.
func hostMisfits() []misfit {
	type L = kernels.Loss
	list := misfits("loss", func(*operands) L {
		return L{Index: []int32{0, 1}, Weight: make([]float64, 2), Advantage: make([]float64, 2), LO: make([]float32, 2), LR: make([]float32, 2), LS: make([]float32, 2),
			LP: make([]float32, 2), Entropy: make([]float32, 2), DLP: make([]float32, 2)}
	}, func(p *probe, a L) error {
		var sums kernels.LossSums
		err := p.Loss(a, &sums)
		for _, g := range a.DLP {
			if g != 0 || sums.Count != 0 {
				p.failf("refused, and yet written to")
			}
		}
		return err
	}, []change[L]{
		{"lp", func(_ *operands, a *L) { a.LP = a.LP[1:] }}, {"entropy", func(_ *operands, a *L) { a.Entropy = nil }}, {"dlp", func(_ *operands, a *L) { a.DLP = a.DLP[1:] }},
		{"advantage", func(_ *operands, a *L) { a.Advantage = a.Advantage[1:] }}, {"lo", func(_ *operands, a *L) { a.LO = a.LO[1:] }},
		{"lr", func(_ *operands, a *L) { a.LR = a.LR[1:] }}, {"ls", func(_ *operands, a *L) { a.LS = a.LS[1:] }},
		{"index past the last", func(_ *operands, a *L) { a.Index[1] = 2 }}, {"index before the first", func(_ *operands, a *L) { a.Index[0] = -1 }},
	})
	type S struct {
		h              kernels.Tensor
		w              kernels.Matrix
		temperature, u []float64
		tokens         []int32
		lp             []float32
	}
	list = append(list, misfits("sample", func(o *operands) S {
		return S{o.f(sT, sD), o.w(kernels.F32, sV, sD), make([]float64, sT), make([]float64, sT), make([]int32, sT), make([]float32, sT)}
	}, func(p *probe, a S) error { return p.Sample(a.h, a.w, a.temperature, a.u, a.tokens, a.lp) }, []change[S]{
		{"h width", func(o *operands, a *S) { a.h = o.f(sT, sD-1) }},
		{"h bf16 for W f32", func(o *operands, a *S) { a.h = o.b(sT, sD) }},
		{"h ids", func(o *operands, a *S) { a.h = o.tensor(kernels.I32, sT, sD) }},
		{"temperatures", func(_ *operands, a *S) { a.temperature = a.temperature[1:] }}, {"draws", func(_ *operands, a *S) { a.u = a.u[1:] }},
		{"tokens", func(_ *operands, a *S) { a.tokens = a.tokens[1:] }}, {"log-probs", func(_ *operands, a *S) { a.lp = nil }},
		{"W of another back end", func(o *operands, a *S) { a.w = foreign{sV, sD} }},
		{"no W", func(_ *operands, a *S) { a.w = nil }}, {"W that was freed", func(o *operands, a *S) { o.p.FreeMatrix(a.w) }},
		{"a temperature below 0", func(_ *operands, a *S) { a.temperature[1] = -1 }}, {"no temperature", func(_ *operands, a *S) { a.temperature[0] = nan() }},
		{"a temperature without an inverse", func(_ *operands, a *S) { a.temperature[1] = 1e-39 }}, {"an endless temperature", func(_ *operands, a *S) { a.temperature[0] = math.Inf(1) }},
	})...)
	type A = kernels.AdamW
	list = append(list, misfits("adamw", func(o *operands) A {
		return A{P: o.f(1, 7), G: o.f(1, 7), M: o.f(1, 7), V: o.f(1, 7), Step: 1, LR: 1, Beta1: 0.9, Beta2: 0.9, Eps: 1, GradScale: 1}
	}, func(p *probe, a A) error { return p.AdamW(a) }, []change[A]{
		{"g count", func(o *operands, a *A) { a.G = o.f(1, 6) }}, {"m bf16", func(o *operands, a *A) { a.M = o.b(1, 7) }},
		{"v not dense", func(o *operands, a *A) { a.V = o.wide(7, 1) }}, {"step 0", func(_ *operands, a *A) { a.Step = 0 }},
	})...)
	type X struct {
		t kernels.Tensor
		w kernels.Matrix
	}
	sum := func(p *probe, a X) error { _, err := p.SumSquares(a.t); return err }
	list = append(list, misfits("sumsquares", func(*operands) X { return X{} }, sum, []change[X]{
		{"bf16", func(o *operands, a *X) { a.t = o.b(1, 7) }}, {"not dense", func(o *operands, a *X) { a.t = o.wide(7, 1) }}})...)
	moved := []change[X]{
		{"count", func(o *operands, a *X) { a.t = o.f(1, 8) }}, {"not dense", func(o *operands, a *X) { a.t = o.wide(7, 1) }},
		{"ids", func(o *operands, a *X) { a.t = o.i(7) }},
	}
	list = append(list, misfits("upload", func(*operands) X { return X{} }, func(p *probe, a X) error { return p.Upload(a.t, make([]float32, 7)) }, moved)...)
	list = append(list, misfits("download", func(*operands) X { return X{} }, func(p *probe, a X) error { return p.Download(make([]float32, 7), a.t) }, moved)...)
	ids := []change[X]{{"count", func(o *operands, a *X) { a.t = o.i(8) }}, {"floats", func(o *operands, a *X) { a.t = o.f(1, 7) }}}
	list = append(list, misfits("upload ids", func(*operands) X { return X{} }, func(p *probe, a X) error { return p.UploadI32(a.t, make([]int32, 7)) }, ids)...)
	list = append(list, misfits("download ids", func(*operands) X { return X{} }, func(p *probe, a X) error { return p.DownloadI32(make([]int32, 7), a.t) }, ids)...)
	dense := []change[X]{
		{"rows", func(o *operands, a *X) { a.t = o.f(sN-1, sK) }}, {"width", func(o *operands, a *X) { a.t = o.f(sN, sK+1) }}, {"bf16", func(o *operands, a *X) { a.t = o.b(sN, sK) }},
		{"not dense", func(o *operands, a *X) { a.t = o.wide(sN, sK) }}, {"of another back end", func(_ *operands, a *X) { a.w = foreign{sN, sK} }},
		{"no W", func(_ *operands, a *X) { a.w = nil }}, {"W that was freed", func(o *operands, a *X) { o.p.FreeMatrix(a.w) }},
	}
	fits := func(o *operands) X { return X{o.f(sN, sK), o.w(kernels.F32, sN, sK)} }
	list = append(list, misfits("pack", fits, func(p *probe, a X) error { return p.Pack(a.w, a.t, 1) }, dense)...)
	list = append(list, misfits("unpack", fits, func(p *probe, a X) error { return p.Unpack(a.t, a.w) }, dense)...)
	type F struct {
		w          kernels.Matrix
		from, rows int
		src        []byte
		s          kernels.Source
	}
	list = append(list, misfits("load", func(o *operands) F {
		return F{o.w(kernels.F32, sN, sK), 1, sN - 1, make([]byte, 4*(sN-1)*sK), kernels.SourceF32}
	}, func(p *probe, a F) error {
		return p.Load(a.w, a.from, a.rows, a.src, a.s)
	}, []change[F]{
		{"unknown source", func(_ *operands, a *F) { a.s, a.src = 2, a.src[:len(a.src)/2] }}, {"source below 0", func(_ *operands, a *F) { a.s = -1 }},
		{"bytes", func(_ *operands, a *F) { a.src = a.src[4:] }}, {"from before the first", func(_ *operands, a *F) { a.from = -1 }},
		{"rows past the last", func(_ *operands, a *F) { a.from = 2 }}, {"rows", func(_ *operands, a *F) { a.rows, a.src = -1, nil }},
		{"no W", func(_ *operands, a *F) { a.w = nil }}, {"W that was freed", func(o *operands, a *F) { o.p.FreeMatrix(a.w) }},
		{"W of another back end", func(_ *operands, a *F) { a.w = foreign{sN, sK} }},
	})...)
	type D struct {
		d    kernels.DType
		n, k int
	}
	list = append(list, misfits("newmatrix", func(*operands) D { return D{kernels.F32, 2, 2} }, func(p *probe, a D) error { _, err := p.NewMatrix(a.d, a.n, a.k); return err }, []change[D]{
		{"no outputs", func(_ *operands, a *D) { a.n = 0 }}, {"inputs", func(_ *operands, a *D) { a.k = -1 }}, {"ids", func(_ *operands, a *D) { a.d = kernels.I32 }}})...)
	return append(list, misfits("alloc", func(*operands) D { return D{kernels.F32, 2, 2} }, func(p *probe, a D) error { _, err := p.Alloc(a.d, a.n, a.k); return err }, []change[D]{
		{"rows", func(_ *operands, a *D) { a.n = -1 }}, {"width", func(_ *operands, a *D) { a.k = -1 }}, {"no type", func(_ *operands, a *D) { a.d = 9 }}})...)
}
