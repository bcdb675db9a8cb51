package conformance

import (
	"math"

	"afctl/kernels"
)

// magnitudes are attention's formulas evaluated on absolute values, over the rows of a forest. With S_j = scale sum|q||k_j|:
//
//	o: sum p|v|,   ds_j: p_j (|do|.|v_j| + |do|.(sum p|v|)) scale,   dq: sum ds|k|,   dk: sum ds|q|,   dv: sum p|do|
type magnitudes struct {
	o, dq, dk, dv []float64
	score         float64 // largest S_j
	lse           float64 // largest |lse|
	keys          int     // most keys of a query
}

func newMagnitudes(t int, n kernels.Heads) *magnitudes {
	wq, wk := t*n.Query*n.Dim, t*n.KeyValue*n.Dim
	return &magnitudes{o: make([]float64, wq), dq: make([]float64, wq), dk: make([]float64, wk), dv: make([]float64, wk)}
}

// add adds one sequence, whose row i is row rows[i] of the forest.
func (m *magnitudes) add(rows []int32, q, k, v, dout, lse []float64, n kernels.Heads, scale float64) {
	dim := n.Dim
	part := func(x []float64, heads, t, h int) []float64 { return x[(t*heads+h)*dim:][:dim] }
	m.keys = max(m.keys, len(rows))
	for i := range rows {
		for h := range n.Query {
			g := h * n.KeyValue / n.Query
			qi, do := part(q, n.Query, i, h), part(dout, n.Query, i, h)
			o, dq := part(m.o, n.Query, int(rows[i]), h), part(m.dq, n.Query, int(rows[i]), h)
			p, bar := make([]float64, i+1), make([]float64, dim)
			for j := range p {
				kj, vj, s, sAbs := part(k, n.KeyValue, j, g), part(v, n.KeyValue, j, g), 0.0, 0.0
				for c := range dim {
					s, sAbs = s+qi[c]*kj[c], sAbs+math.Abs(qi[c]*kj[c])
				}
				m.score = math.Max(m.score, sAbs*scale)
				p[j] = math.Exp(s*scale - lse[i*n.Query+h])
				for c := range dim {
					bar[c] += p[j] * math.Abs(vj[c])
				}
			}
			m.lse = math.Max(m.lse, math.Abs(lse[i*n.Query+h]))
			copy(o, bar)
			for j := range p {
				kj, vj, dp := part(k, n.KeyValue, j, g), part(v, n.KeyValue, j, g), 0.0
				for c := range dim {
					dp += math.Abs(do[c]) * (math.Abs(vj[c]) + bar[c])
				}
				ds := p[j] * dp * scale
				dk, dv := part(m.dk, n.KeyValue, int(rows[j]), g), part(m.dv, n.KeyValue, int(rows[j]), g)
				for c := range dim {
					dq[c] += ds * math.Abs(kj[c])
					dk[c] += ds * math.Abs(qi[c])
					dv[c] += p[j] * math.Abs(do[c])
				}
			}
		}
	}
}

// attentionErrors are relative to the magnitudes; lse's is absolute.
type attentionErrors struct{ o, lse, back float64 }

// errors follows the arithmetic: a score is a chain over Dh, scaled; a weight is the exponential of its difference to the maximum (at most 2 S), which turns the
// absolute error of the score into a relative one; z, o, dq are chains over the keys, dk and dv over the queries. bf16 products round the weights, and ds, to bf16;
// a backward pass may start from an o rounded to bf16.
func (m *magnitudes) errors(f Forest, n kernels.Heads) attentionErrors {
	weight := m.score*(chain(n.Dim)+5*unitF32) + expError
	sum := weight + chain(m.keys) + expError
	lse := sum + 2*unitF32*(m.lse+m.score)
	half := 0.0
	if f.DType == kernels.BF16 {
		half = unitBF16
	}
	o := weight + sum + chain(m.keys) + half
	return attentionErrors{o: o, lse: lse, back: weight + lse + o + chain(n.Dim) + chain(f.T()*n.Query/n.KeyValue) + 2*half + expError}
}
