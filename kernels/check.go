package kernels

import (
	"fmt"
	"math"
	"math/bits"
)

// The checks of shapes and dtypes that every back end makes before it computes; they allocate only on failure.

func shapeErr(op, format string, args ...any) error {
	return fmt.Errorf("%s: %s: %w", op, fmt.Sprintf(format, args...), ErrShape)
}

// row reports whether t is n values of a type in one row.
func row(t Tensor, d DType, n int) bool { return t.DType == d && t.Rows == 1 && t.Cols == n }

// list reports whether t is n numbers in one row.
func list(t Tensor, n int) bool { return row(t, F32, n) }

// ids reports whether t is n ids in one row.
func ids(t Tensor, n int) bool { return row(t, I32, n) }

// float reports whether d is a type of activations.
func float(d DType) bool { return d == F32 || d == BF16 }

// Bytes is the size of rows x cols elements: ErrShape where there can be no such tensor, ErrMemory where no machine has room for it.
func Bytes(op string, d DType, rows, cols int) (int, error) {
	if rows < 0 || cols < 0 || d != I32 && !float(d) {
		return 0, shapeErr(op, "%v[%d %d]", d, rows, cols)
	}
	over, n := bits.Mul64(uint64(rows), uint64(cols))
	if over != 0 || n > math.MaxInt64>>8 {
		return 0, fmt.Errorf("%s: %v[%d %d]: %w", op, d, rows, cols, ErrMemory)
	}
	return int(n) * d.Size(), nil
}

// CheckCopy checks a copy of n values between the host and t, of floats, or else of ids.
func CheckCopy(op string, t Tensor, n int, floats bool) error {
	if !t.Dense() || t.Rows*t.Cols != n || floats != float(t.DType) {
		what := "ids"
		if floats {
			what = "numbers"
		}
		return shapeErr(op, "%v and %d %s", t, n, what)
	}
	return nil
}

// CheckMatrix checks what a matrix is asked to be.
func CheckMatrix(d DType, n, k int) error {
	if n <= 0 || k <= 0 || !float(d) {
		return shapeErr("matrix", "%v[%d %d]", d, n, k)
	}
	_, err := Bytes("matrix", d, n, k)
	return err
}

// CheckLoad checks a load of rows from..from+rows of W from host bytes.
func CheckLoad(w Matrix, from, rows int, src []byte, s Source) error {
	if w == nil {
		return shapeErr("load", "no weight")
	}
	n, k := w.Dims()
	es := s.size()
	if es == 0 {
		return shapeErr("load", "source %d: expected %d (f32), %d (bf16) or %d (half)", s, SourceF32, SourceBF16, SourceF16)
	}
	if from < 0 || rows < 0 || rows > n-from || len(src) != rows*k*es {
		return shapeErr("load", "%d bytes for %d rows of %d, from row %d of %d", len(src), rows, k, from, n)
	}
	return nil
}

// CheckPack checks a copy between W and a tensor of its shape.
func CheckPack(op string, w Matrix, t Tensor) error {
	if w == nil {
		return shapeErr(op, "no weight")
	}
	if n, k := w.Dims(); t.Rows != n || t.Cols != k || !t.Dense() || t.DType != F32 {
		return shapeErr(op, "%v, W [%d %d]", t, n, k)
	}
	return nil
}

// CheckGather checks x[t] = W[tokens[t]].
func CheckGather(x Tensor, w Matrix, tokens Tensor) error {
	if w == nil {
		return shapeErr("gather", "no weight")
	}
	if n, k := w.Dims(); x.Cols != k || !ids(tokens, x.Rows) || !float(x.DType) {
		return shapeErr("gather", "x %v, W [%d %d], tokens %v", x, n, k, tokens)
	}
	return nil
}

// CheckSumSquares checks a flat array.
func CheckSumSquares(x Tensor) error {
	if x.DType != F32 || !x.Dense() {
		return shapeErr("sum of squares", "%v", x)
	}
	return nil
}

// Check checks a product.
func (a Linear) Check() error {
	if a.W == nil || (!a.U.None() && a.B == nil) {
		return shapeErr("linear", "a weight is missing")
	}
	n, k := a.W.Dims()
	switch {
	case a.X.Cols != k || a.Y.Cols != n || a.X.Rows != a.Y.Rows:
		return shapeErr("linear", "y %v, x %v, W [%d %d]", a.Y, a.X, n, k)
	case !float(a.X.DType) || !float(a.Y.DType) || (a.X.DType == BF16 && a.W.DType() != BF16) || (a.Add && a.Y.DType != F32):
		return shapeErr("linear", "y %v, x %v, W %v, add %v", a.Y, a.X, a.W.DType(), a.Add)
	case !a.Bias.None() && !list(a.Bias, n):
		return shapeErr("linear", "bias %v for %d outputs", a.Bias, n)
	}
	if a.U.None() {
		return nil
	}
	bn, r := a.B.Dims()
	if bn != n || a.U.Cols != r || a.U.Rows != a.X.Rows || a.U.DType != a.X.DType || (a.U.DType == BF16 && a.B.DType() != BF16) {
		return shapeErr("linear", "u %v, B %v [%d %d] for y %v", a.U, a.B.DType(), bn, r, a.Y)
	}
	return nil
}

// Check checks the product by the input.
func (a LinearBack) Check() error {
	if a.W == nil || (!a.DU.None() && a.A == nil) {
		return shapeErr("linear backward", "a weight is missing")
	}
	n, k := a.W.Dims()
	switch {
	case a.DX.Cols != k || a.DY.Cols != n || a.DX.Rows != a.DY.Rows:
		return shapeErr("linear backward", "dx %v, dy %v, W [%d %d]", a.DX, a.DY, n, k)
	case !float(a.DX.DType) || !float(a.DY.DType) || (a.Add && a.DX.DType != F32):
		return shapeErr("linear backward", "dx %v, dy %v, add %v", a.DX, a.DY, a.Add)
	}
	if a.DU.None() {
		return nil
	}
	r, ak := a.A.Dims()
	if ak != k || a.DU.Cols != r || a.DU.Rows != a.DY.Rows || a.DU.DType != a.DY.DType || (a.DU.DType == BF16 && a.A.DType() != BF16) {
		return shapeErr("linear backward", "du %v, A %v [%d %d] for dx %v", a.DU, a.A.DType(), r, ak, a.DX)
	}
	return nil
}

// CheckGradWeight checks dw [N, K], dy [T, N], x [T, K].
func CheckGradWeight(dw, dy, x Tensor) error {
	if dw.DType != F32 || !float(dy.DType) || !float(x.DType) || dy.Rows != x.Rows || dw.Rows != dy.Cols || dw.Cols != x.Cols || dw.Rows*dw.Cols == 0 {
		return shapeErr("weight gradient", "dw %v, dy %v, x %v", dw, dy, x)
	}
	return nil
}

// CheckGradBias checks db [1, N], dy [T, N].
func CheckGradBias(db, dy Tensor) error {
	if !list(db, dy.Cols) || !float(dy.DType) {
		return shapeErr("bias gradient", "db %v, dy %v", db, dy)
	}
	return nil
}

// CheckSelect checks y[i] = x[rows[i]].
func CheckSelect(y, x, rows Tensor) error {
	return checkRows("select", y, x, rows, y.Rows, float(y.DType))
}

// CheckScatterAdd checks y[rows[i]] += x[i].
func CheckScatterAdd(y, x, rows Tensor) error {
	return checkRows("scatter", y, x, rows, x.Rows, y.DType == F32)
}

// CheckGatherBack checks dw[tokens[t]] += dx[t].
func CheckGatherBack(dw, dx, tokens Tensor) error {
	return checkRows("gather backward", dw, dx, tokens, dx.Rows, dw.DType == F32 && dx.DType == F32)
}

// checkRows checks a move of rows of one width by an index with n entries.
func checkRows(op string, to, from, index Tensor, n int, dtypes bool) error {
	if !ids(index, n) || to.Cols != from.Cols || !float(from.DType) || !dtypes {
		return shapeErr(op, "%v, %v, index %v", to, from, index)
	}
	return nil
}

// CheckSame checks two tensors of one shape, any float types.
func CheckSame(op string, a, b Tensor) error {
	if a.Rows != b.Rows || a.Cols != b.Cols || !float(a.DType) || !float(b.DType) {
		return shapeErr(op, "%v, %v", a, b)
	}
	return nil
}

// CheckRMSNorm checks the forward pass.
func CheckRMSNorm(y, rstd, x, w Tensor) error {
	if err := CheckSame("rms norm", y, x); err != nil {
		return err
	}
	if !list(w, x.Cols) || (!rstd.None() && !list(rstd, x.Rows)) {
		return shapeErr("rms norm", "x %v, w %v, rstd %v", x, w, rstd)
	}
	return nil
}

// CheckRMSNormBack checks the backward pass.
func CheckRMSNormBack(dx, dw, dy, x, w, rstd Tensor) error {
	if err := CheckRMSNorm(dx, rstd, x, w); err != nil {
		return err
	}
	if dx.DType != F32 || dy.DType != F32 || rstd.None() || dy.Rows != x.Rows || dy.Cols != x.Cols ||
		(!dw.None() && !list(dw, x.Cols)) {
		return shapeErr("rms norm backward", "dx %v, dw %v, dy %v, x %v, rstd %v", dx, dw, dy, x, rstd)
	}
	return nil
}

// CheckRoPE checks the rotation.
func CheckRoPE(x, positions, table Tensor, dh int) error {
	if dh <= 0 || dh%2 != 0 || x.Cols%dh != 0 || !float(x.DType) || !ids(positions, x.Rows) ||
		table.DType != F32 || table.Cols != dh {
		return shapeErr("rope", "x %v, positions %v, table %v, head size %d", x, positions, table, dh)
	}
	return nil
}

// Check checks that heads can be shared, and their elements rotated in pairs.
func (h Heads) Check(op string) error {
	if h.Query < 1 || h.KeyValue < 1 || h.Query%h.KeyValue != 0 || h.Dim < 1 || h.Dim%2 != 0 {
		return shapeErr(op, "%d query heads on %d of keys and values, of %d elements (an even number)", h.Query, h.KeyValue, h.Dim)
	}
	return nil
}

// checkQueries checks what is there for each query, against the dtype of the keys.
func checkQueries(op string, o, lse, q Tensor, keys DType, h Heads, scale float64) error {
	if err := h.Check(op); err != nil {
		return err
	}
	if q.Cols != h.Query*h.Dim || !float(q.DType) || q.DType != keys || o.Rows != q.Rows || o.Cols != q.Cols || o.DType != q.DType ||
		lse.DType != F32 || lse.Rows != q.Rows || lse.Cols != h.Query || !lse.Dense() {
		return shapeErr(op, "o %v, lse %v, q %v, keys %v, %d heads of %d", o, lse, q, keys, h.Query, h.Dim)
	}
	if !(scale >= 0) || math.IsInf(scale, 1) { // the largest score is that of the largest product
		return shapeErr(op, "scale %v, expected a number of at least 0", scale)
	}
	return nil
}

// checkKeys checks rows of keys and values.
func checkKeys(op string, k, v Tensor, d DType, h Heads) error {
	if w := h.KeyValue * h.Dim; k.Cols != w || v.Cols != w || v.Rows != k.Rows || k.DType != d || v.DType != d || !float(d) {
		return shapeErr(op, "k %v, v %v for %d heads of %d in %v", k, v, h.KeyValue, h.Dim, d)
	}
	return nil
}

// CheckAttention checks the forward pass over rows. That the plan is for as many queries and keys is a back end's to check.
func CheckAttention(o, lse, q, k, v Tensor, h Heads, scale float64) error {
	if err := checkQueries("attention", o, lse, q, k.DType, h, scale); err != nil {
		return err
	}
	return checkKeys("attention", k, v, k.DType, h)
}

// CheckAttentionKV checks the forward pass over a KV.
func CheckAttentionKV(o, lse, q Tensor, kv KV, h Heads, scale float64) error {
	const op = "attention of a cache"
	if err := checkQueries(op, o, lse, q, kv.DType(), h, scale); err != nil {
		return err
	}
	if of := kv.Heads(); of != h {
		return shapeErr(op, "a cache for heads %+v, a plan for %+v", of, h)
	}
	return nil
}

// CheckAttentionBack checks the backward pass.
func CheckAttentionBack(dq, dk, dv, dout, o, lse, q, k, v Tensor, h Heads, scale float64) error {
	if err := CheckAttention(o, lse, q, k, v, h, scale); err != nil {
		return err
	}
	if dq.Rows != q.Rows || dq.Cols != q.Cols || dout.Rows != q.Rows || dout.Cols != q.Cols || dout.DType != q.DType || dq.DType != q.DType ||
		dk.Rows != k.Rows || dk.Cols != k.Cols || dv.Rows != dk.Rows || dv.Cols != dk.Cols || !float(dk.DType) || !float(dv.DType) {
		return shapeErr("attention backward", "dq %v, dk %v, dv %v, do %v, q %v, k %v", dq, dk, dv, dout, q, k)
	}
	return nil
}

// CheckNewKV checks what a KV is asked to be.
func CheckNewKV(d DType, slots int, h Heads) error {
	if !float(d) || slots < 0 || slots > math.MaxInt32 {
		return shapeErr("kv", "%d slots of %v", slots, d)
	}
	return h.Check("kv")
}

// CheckKVPut checks what is stored in a KV.
func CheckKVPut(kv KV, k, v, slots Tensor) error {
	const op = "kv put"
	if err := checkKeys(op, k, v, kv.DType(), kv.Heads()); err != nil {
		return err
	}
	if !ids(slots, k.Rows) {
		return shapeErr(op, "slots %v for %d rows", slots, k.Rows)
	}
	return nil
}

// CheckSwiGLU checks tensors of one shape.
func CheckSwiGLU(ts ...Tensor) error {
	for _, t := range ts[1:] {
		if err := CheckSame("swiglu", ts[0], t); err != nil {
			return err
		}
	}
	return nil
}

func (t Targets) check(op string, rows int, temperature float64) error {
	if !ids(t.First, rows+1) || !ids(t.Tokens, t.Tokens.Cols) {
		return shapeErr(op, "targets %v, %v for %d rows", t.First, t.Tokens, rows)
	}
	return checkTemperature(op, temperature)
}

// checkTemperature checks that float32 holds the inverse, by which logits are multiplied.
func checkTemperature(op string, temperature float64) error {
	if inverse := float32(1 / temperature); !(temperature > 0 && inverse > 0 && inverse <= math.MaxFloat32) {
		return shapeErr(op, "temperature %v", temperature)
	}
	return nil
}

// hidden checks the head's input against its weight, which may be missing.
func hidden(op string, h Tensor, w Matrix) error {
	if w == nil {
		return shapeErr(op, "no weight")
	}
	if _, d := w.Dims(); h.Cols != d || !float(h.DType) || (h.DType == BF16 && w.DType() != BF16) {
		return shapeErr(op, "h %v, W %v of width %d", h, w.DType(), d)
	}
	return nil
}

// Check checks the head.
func (a LogProbs) Check() error {
	const op = "log-probs"
	if err := hidden(op, a.H, a.W); err != nil {
		return err
	}
	rows, d := a.H.Rows, a.H.Cols
	if !list(a.LP, a.Targets.Tokens.Cols) || !list(a.Entropy, rows) || !list(a.LSE, rows) {
		return shapeErr(op, "h %v, targets %v, lp %v, entropy %v, lse %v", a.H, a.Targets.Tokens, a.LP, a.Entropy, a.LSE)
	}
	for _, t := range [2]Tensor{a.EW, a.ELW} {
		if !t.None() && (t.Rows != rows || t.Cols != d || t.DType != F32 || t.Stride%16 != 0) {
			return shapeErr(op, "expected weights %v for h %v (row stride a multiple of 16)", t, a.H)
		}
	}
	if a.EW.None() && !a.ELW.None() {
		return shapeErr(op, "elw without ew")
	}
	return a.Targets.check(op, rows, a.Temperature)
}

// check checks what both gradients of the head read.
func (a LogProbsBack) check(op string, rows int) error {
	if !list(a.G, a.Targets.Tokens.Cols) || (!a.DEntropy.None() && (!list(a.DEntropy, rows) || !list(a.Entropy, rows))) {
		return shapeErr(op, "%d rows, targets %v, g %v, dentropy %v, entropy %v", rows, a.Targets.Tokens, a.G, a.DEntropy, a.Entropy)
	}
	return a.Targets.check(op, rows, a.Temperature)
}

// Check checks the gradient by the head's input.
func (a LogProbsBack) Check() error {
	const op = "log-probs backward"
	if a.W == nil {
		return shapeErr(op, "no weight")
	}
	_, d := a.W.Dims()
	weights := func(t Tensor) bool { return t.Rows == a.DH.Rows && t.Cols == d && t.DType == F32 }
	if a.DH.Cols != d || !float(a.DH.DType) || !weights(a.EW) || (!a.DEntropy.None() && !weights(a.ELW)) {
		return shapeErr(op, "dh %v, ew %v, elw %v, W of width %d", a.DH, a.EW, a.ELW, d)
	}
	return a.check(op, a.DH.Rows)
}

// CheckGradWeight checks the gradient by the head's weight.
func (a LogProbsBack) CheckGradWeight(dw Tensor) error {
	const op = "log-probs weight gradient"
	if err := hidden(op, a.H, a.W); err != nil {
		return err
	}
	if n, d := a.W.Dims(); dw.Rows != n || dw.Cols != d || dw.DType != F32 || !list(a.LSE, a.H.Rows) {
		return shapeErr(op, "dw %v, W [%d %d], h %v, lse %v", dw, n, d, a.H, a.LSE)
	}
	return a.check(op, a.H.Rows)
}

// CheckSample checks a draw of a token per row of h.
func CheckSample(h Tensor, w Matrix, temperature, u []float64, tokens []int32, lp []float32) error {
	if err := hidden("sample", h, w); err != nil {
		return err
	}
	if n := h.Rows; len(temperature) != n || len(u) != n || len(tokens) != n || len(lp) != n {
		return shapeErr("sample", "h %v, %d temperatures, %d draws, %d tokens, %d log-probs", h, len(temperature), len(u), len(tokens), len(lp))
	}
	for _, t := range temperature {
		if t == 0 { // the likeliest token
			continue
		}
		if err := checkTemperature("sample", t); err != nil {
			return err
		}
	}
	return nil
}

// Check checks the lengths of the arrays.
func (a Loss) Check() error {
	n := len(a.Index)
	if len(a.LP) != n || len(a.Entropy) != n || len(a.DLP) != n || len(a.Advantage) != len(a.Weight) || len(a.LO) != len(a.Weight) ||
		len(a.LR) != len(a.Weight) || (a.LS != nil && len(a.LS) != len(a.Weight)) {
		return shapeErr("loss", "%d targets, %d lp, %d entropy, %d dlp; %d weights, %d advantages, %d lo, %d lr, %d ls", n, len(a.LP),
			len(a.Entropy), len(a.DLP), len(a.Weight), len(a.Advantage), len(a.LO), len(a.LR), len(a.LS))
	}
	for _, k := range a.Index {
		if k < 0 || int(k) >= len(a.Weight) {
			return shapeErr("loss", "target index %d of %d", k, len(a.Weight))
		}
	}
	return nil
}

// Check checks the flat arrays.
func (a AdamW) Check() error {
	n := a.P.Rows * a.P.Cols
	for _, t := range [4]Tensor{a.P, a.G, a.M, a.V} {
		if t.DType != F32 || !t.Dense() || t.Rows*t.Cols != n {
			return shapeErr("adamw", "p %v, g %v, m %v, v %v", a.P, a.G, a.M, a.V)
		}
	}
	if a.Step < 1 {
		return shapeErr("adamw", "step %d, counted from 1", a.Step)
	}
	return nil
}
