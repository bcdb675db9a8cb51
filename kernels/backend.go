package kernels

// Matrix is a weight W [N, K] in a back end's own layout. N outputs, K inputs.
type Matrix interface {
	Dims() (n, k int)
	DType() DType
	// Bytes is the memory that the matrix takes.
	Bytes() int
}

// Source is the element type of host bytes that a matrix is loaded from.
type Source int32

// Sources, by the numbers of DType where it has the type; its 2 is of ids, which are no weights. A half source is widened, or rounded where the
// matrix is BF16.
const (
	SourceF32  Source = 0
	SourceBF16 Source = 1
	SourceF16  Source = 3
)

// size returns the bytes of one element; 0 for what is no source.
func (s Source) size() int {
	switch s {
	case SourceF32:
		return 4
	case SourceBF16, SourceF16:
		return 2
	}
	return 0
}

// Linear is y = x W^T (+ Bias) (+ U B^T) (+ y): a dense product with what belongs to it. U B^T is the low-rank update
// (Hu et al. 2021): U = x A^T [T, R] by a product before, B [N, R] with the scale folded in.
type Linear struct {
	Y    Tensor // [T, N] f32, or bf16 without Add; overwritten, or added to
	X    Tensor // [T, K] f32, or bf16 with a bf16 W
	W    Matrix // [N, K]
	Bias Tensor // [1, N] f32, or none
	U    Tensor // [T, R] in X's dtype, or none
	B    Matrix // [N, R], with U
	Add  bool
}

// LinearBack is dx = dy W (+ DU A) (+ dx).
type LinearBack struct {
	DX  Tensor // [T, K] f32, or bf16 without Add
	DY  Tensor // [T, N]
	W   Matrix // [N, K]
	DU  Tensor // [T, R] in DY's dtype, or none
	A   Matrix // [R, K], with DU
	Add bool
}

// Targets are rows of the head's input with the tokens that each predicts: row i has targets First[i]..First[i+1] of Tokens.
type Targets struct {
	First  Tensor // [1, rows+1] i32
	Tokens Tensor // [1, N] i32
}

// LogProbs is the head: log-probs of target tokens, never with [rows, V] in memory.
type LogProbs struct {
	H           Tensor // [rows, D], normed hidden states
	W           Matrix // [V, D]
	Targets     Targets
	Temperature float64
	LP          Tensor // [1, N] f32 out: log softmax(h W^T / temperature) at the token
	Entropy     Tensor // [1, rows] f32 out, nats
	LSE         Tensor // [1, rows] f32 out
	// EW [rows, D] f32 out: sum_v p_v W_v. None where no gradient is wanted. Its rows are in whole vectors: its stride is a multiple of 16, and the
	// columns from D to the next multiple are there, also in the last row, and may be overwritten. So are ELW's.
	EW Tensor
	// ELW [rows, D] f32 out: sum_v p_v log(p_v) W_v. None where the entropy has no gradient.
	ELW Tensor
}

// LogProbsBack is the gradient of the head by its input, from what LogProbs kept.
type LogProbsBack struct {
	DH          Tensor // [rows, D] f32 or bf16, overwritten
	G           Tensor // [1, N] f32: dloss/dlp; those of neighbours of a row that are the same token are summed in float64, and may cancel
	DEntropy    Tensor // [1, rows] f32: dloss/dH, or none
	W           Matrix
	Targets     Targets
	Temperature float64
	Entropy     Tensor
	LSE         Tensor // for the weight's gradient
	EW, ELW     Tensor
	H           Tensor // for the weight's gradient
}

// KLEstimator chooses the estimator of the KL; the numbers are those of Schulman's names.
type KLEstimator int32

// Estimators.
const (
	K1 KLEstimator = 1
	K2 KLEstimator = 2
	K3 KLEstimator = 3
)

// LossParams are the options of the objective (flow.Objective has their meaning). DualClip and TISCap 0 are off. The entropy's coefficient is not among
// them: its gradient goes by LogProbsBack.DEntropy.
type LossParams struct {
	ClipLow, ClipHigh, DualClip, KL, TISCap float64
	KLEstimator                             KLEstimator
}

// LossSums are the sums over targets that metrics need; fields as in the documentation of flow.TokenSums.
type LossSums struct {
	Policy, KL, Entropy                 float64
	Ratio, ClipLow, ClipHigh            float64
	Mismatch, MismatchK3, MismatchCount float64
	RatioMax, MismatchMax               float64
	Count                               float64
}

// Loss is the objective over targets. The arrays are host memory, as flow keeps those over the update (some bytes per target, which a device with
// memory of its own can copy): Index[i] is target i's place in Weight, Advantage, LO, LR and LS. LP and Entropy are in target order (Entropy that of the target's row).
type Loss struct {
	Params            LossParams
	Index             []int32
	Weight, Advantage []float64
	LO, LR            []float32 // under the policy as the update began, under the reference
	LS                []float32 // as the sampler reported it; nil, or NaN where missing
	LP, Entropy       []float32
	DLP               []float32 // out: dloss/dlp
}

// AdamW is one optimizer step over a flat array: p *= 1 - LR*WeightDecay, then Adam with bias correction from Step 1.
type AdamW struct {
	P, G, M, V                         Tensor // [1, n] f32
	Step                               int
	LR, Beta1, Beta2, Eps, WeightDecay float64
	GradScale                          float64 // the clip's factor
}

// RowsExact is what a back end says of itself whose rows may depend on their batch, as where a library makes its products: one without this method
// promises what "Exactness" says in the package documentation.
type RowsExact interface {
	// RowsExact reports whether an output row has the same bits whatever else is in the batch.
	RowsExact() bool
}

// Backend is a device with the operations on it. Shapes and dtypes are checked; what index tensors hold (tokens, positions, rows, slots, Targets.First) is the
// caller's to keep within bounds. See the package documentation for what holds of all.
type Backend interface {
	// Name is what the user chooses it by, such as "cpu"; Describe is one line for a reader: device, threads, instruction set, product library.
	Name() string
	Describe() string
	// Close ends it, after which nothing else is called.
	Close() error

	// Alloc gives zeroed memory, 64-byte aligned, and a tensor that is not none where it has no elements. Free returns it.
	Alloc(d DType, rows, cols int) (Tensor, error)
	Free(t Tensor)
	// Upload and Download copy between host and a dense tensor; f32 only converts to and from bf16 tensors.
	Upload(dst Tensor, src []float32) error
	UploadI32(dst Tensor, src []int32) error
	Download(dst []float32, src Tensor) error
	DownloadI32(dst []int32, src Tensor) error
	Zero(t Tensor) error

	// NewMatrix allocates W [n, k], zero. Load fills rows from..from+rows from dense host bytes; Pack fills all of it from a dense f32
	// tensor times scale; Unpack gives it back as dense f32.
	NewMatrix(d DType, n, k int) (Matrix, error)
	Load(w Matrix, from, rows int, src []byte, s Source) error
	Pack(w Matrix, src Tensor, scale float64) error
	Unpack(dst Tensor, w Matrix) error
	FreeMatrix(w Matrix)

	// Gather is x[t] = W[tokens[t]], GatherBack dw[tokens[t]] += dx[t] in a fixed order. tokens [1, T] i32, x f32 or bf16, dw, dx f32.
	Gather(x Tensor, w Matrix, tokens Tensor) error
	GatherBack(dw, dx, tokens Tensor) error
	// Select is y[i] = x[rows[i]], converting; ScatterAdd y[rows[i]] += x[i], rows distinct, y f32.
	Select(y, x, rows Tensor) error
	ScatterAdd(y, x, rows Tensor) error
	// Convert is y = x between f32 and bf16; y is not x.
	Convert(y, x Tensor) error

	// RMSNorm: y = x * rstd * w, rstd[t] = 1/sqrt(mean x[t]^2 + eps) (Zhang & Sennrich 2019, eq. 4). x, y f32 or bf16; w [1, D], rstd [1, T]
	// f32. RMSNormBack: dx [T, D] f32 from dy f32, added to dx where add; dw [1, D] added to, or none.
	RMSNorm(y, rstd, x, w Tensor, eps float64) error
	RMSNormBack(dx, dw, dy, x, w, rstd Tensor, add bool) error

	Linear(a Linear) error
	LinearBack(a LinearBack) error
	// GradWeight: dw [N, K] f32 += scale * dy^T x, the sum over rows in a fixed order. GradBias: db [1, N] += sum over rows of dy.
	GradWeight(dw, dy, x Tensor, scale float64) error
	GradBias(db, dy Tensor) error

	// RoPE rotates x [T, heads*dh] in place by positions [1, T] i32 (Su et al. 2021; halves as Hugging Face pairs them); table [positions, dh]
	// f32 holds dh/2 cosines and then dh/2 sines per position. inverse is the backward pass.
	RoPE(x, positions, table Tensor, dh int, inverse bool) error

	// NewPlan makes an empty plan, NewKV memory for `slots` tokens, zero. A KV that was freed is refused, and freed again for nothing.
	NewPlan(h Heads) (Plan, error)
	FreePlan(p Plan)
	NewKV(d DType, slots int, h Heads) (KV, error)
	FreeKV(kv KV)
	// KVPut stores rows of k, v [T, K*Dh] at slots [1, T] i32, KVZero zeroes all.
	KVPut(kv KV, k, v, slots Tensor) error
	KVZero(kv KV) error
	// Attention: o[t,h] = sum_j p_j v_j, p = softmax(q.k * scale) over the rows of k, v [T, K*Dh] that the plan of a forest gives query t;
	// q, o [queries, H*Dh] in the dtype of k and v; lse [queries, H] f32; scale at least 0. AttentionKV is the same over the slots of kv, with the
	// same bits for the same keys.
	Attention(o, lse, q, k, v Tensor, p Plan, scale float64) error
	AttentionKV(o, lse, q Tensor, kv KV, p Plan, scale float64) error
	// AttentionBack writes dq, dk, dv from dout; a back end may use o and lse of the forward pass, or compute them again.
	AttentionBack(dq, dk, dv, dout, o, lse, q, k, v Tensor, p Plan, scale float64) error

	// SwiGLU: act = silu(gate) * up (Shazeer 2020). SwiGLUBack gives act again, for whoever did not keep it; it may write dgate over gate, dup
	// over up and act over dact.
	SwiGLU(act, gate, up Tensor) error
	SwiGLUBack(dgate, dup, act, dact, gate, up Tensor) error

	LogProbs(a LogProbs) error
	LogProbsBack(a LogProbsBack) error
	// LogProbsGradWeight: dw [V, D] f32 += (dloss/dlogits)^T h.
	LogProbsGradWeight(dw Tensor, a LogProbsBack) error
	// Loss fills a.DLP and adds to sums.
	Loss(a Loss, sums *LossSums) error

	// Sample draws tokens[i] from softmax(h[i] W^T / temperature[i]) at u[i] in [0, 1) of the cumulative distribution, with the log-prob that
	// LogProbs gives (to the bit where rows are exact); temperature 0 takes the largest logit, its log-prob being that of temperature 1.
	Sample(h Tensor, w Matrix, temperature, u []float64, tokens []int32, lp []float32) error

	// SumSquares is sum x^2 in f64 over a dense f32 tensor.
	SumSquares(x Tensor) (float64, error)
	AdamW(a AdamW) error
}
