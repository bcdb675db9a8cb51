package ref

import (
	"math"

	"afctl/kernels"
)

// weights is the softmax row of query i under head h over keys 0..i, and the log of its denominator.
func weights(q, k []float64, n kernels.Heads, i, h int, scale float64) (p []float64, lse float64) {
	p = make([]float64, i+1)
	top := math.Inf(-1)
	for j := range p {
		p[j] = dot(head(q, n.Query, n.Dim, i, h), head(k, n.KeyValue, n.Dim, j, h*n.KeyValue/n.Query)) * scale
		top = math.Max(top, p[j])
	}
	sum := 0.0
	for j := range p {
		p[j] = math.Exp(p[j] - top)
		sum += p[j]
	}
	for j := range p {
		p[j] /= sum
	}
	return p, top + math.Log(sum)
}

// Attention is causal attention of one plain sequence (Vaswani et al. 2017, eq. 1): o[t,h] = sum_{j<=t} p_j v_j with p = softmax(q.k scale),
// and lse [T, H], the log of the softmax's denominator. q, o [T, H*Dh], k, v [T, K*Dh]. A forest is judged by the sequences
// that it stands for, each by itself.
func Attention(q, k, v []float64, n kernels.Heads, scale float64) (o, lse []float64) {
	t := len(q) / (n.Query * n.Dim)
	o, lse = make([]float64, len(q)), make([]float64, t*n.Query)
	for i := range t {
		for h := range n.Query {
			p, l := weights(q, k, n, i, h, scale)
			lse[i*n.Query+h] = l
			out := head(o, n.Query, n.Dim, i, h)
			for j, w := range p {
				axpy(out, w, head(v, n.KeyValue, n.Dim, j, h*n.KeyValue/n.Query))
			}
		}
	}
	return o, lse
}

// AttentionBack is the gradient of Attention:
//
//	dv_j += p_j do,   dp_j = do.v_j,   ds_j = p_j (dp_j - sum_i p_i dp_i),   dq += scale ds_j k_j,   dk_j += scale ds_j q
func AttentionBack(dout, q, k, v []float64, n kernels.Heads, scale float64) (dq, dk, dv []float64) {
	t := len(q) / (n.Query * n.Dim)
	dq, dk, dv = make([]float64, len(q)), make([]float64, len(k)), make([]float64, len(v))
	for i := range t {
		for h := range n.Query {
			g := h * n.KeyValue / n.Query
			p, _ := weights(q, k, n, i, h, scale)
			do := head(dout, n.Query, n.Dim, i, h)
			dp, mean := make([]float64, len(p)), 0.0
			for j := range p {
				dp[j] = dot(do, head(v, n.KeyValue, n.Dim, j, g))
				mean += p[j] * dp[j]
			}
			for j := range p {
				ds := p[j] * (dp[j] - mean) * scale
				axpy(head(dv, n.KeyValue, n.Dim, j, g), p[j], do)
				axpy(head(dq, n.Query, n.Dim, i, h), ds, head(k, n.KeyValue, n.Dim, j, g))
				axpy(head(dk, n.KeyValue, n.Dim, j, g), ds, head(q, n.Query, n.Dim, i, h))
			}
		}
	}
	return dq, dk, dv
}

// head is row t, head h of x [T, heads*dim].
func head(x []float64, heads, dim, t, h int) []float64 { return x[(t*heads+h)*dim:][:dim] }

func dot(a, b []float64) float64 {
	s := 0.0
	for i := range a {
		s += a[i] * b[i]
	}
	return s
}

func axpy(y []float64, a float64, x []float64) {
	for i := range y {
		y[i] += a * x[i]
	}
}
