// The backward pass of attention over a forest; attention.h says what is laid out how. Contracts in af.h.
//
// dP = dO V^T, dS = P (dP - sum_j P_j dP_j) scale, dV = P^T dO, dK = dS^T Q, dQ = dS K. The scores of the path are there
// as in the forward pass, so P is formed anew with its own maximum and sum, and the sum over keys is taken of the very dP that it is
// subtracted from: where one key has nearly all the weight, rowsum(dO * O) (Dao et al. 2022) would leave rounding in its place. Tiles
#ifndef AF_LEVEL
#define AF_SELF "attention_back.c"
#include "attention.h"
#include "isa.h"

// Bytes of scratch that attention_back_tile lays out for a tile, at least.
static size_t backward_bytes(const struct attn_args *a, const af_tile *t) {
	size_t lanes = (size_t)pad16(t->rows * a->group), dh = (size_t)pad16(a->dh), keys = (size_t)t->keys + 2 * (size_t)t->nseg + 4;
	return lanes * dh * 4 * 5 + lanes * keys * (4 + 4 + 2 + 2 + 2) + 4096;
}

#include "multi.h"

static void back_task(void *arg, int64_t i, int thread) {
	struct attn_args *a = arg;
	int64_t ch = i / a->plan.kv_heads, h = i % a->plan.kv_heads;
	size_t n = (size_t)(a->k.rows * pad16(a->dh));
	float *dk = a->acc + (size_t)i * 2 * n, *dv = dk + n;
	memset(dk, 0, 2 * n * sizeof(float));
	for (int64_t t = a->plan.chunks[ch]; t < a->plan.chunks[ch + 1]; t++)
		a->c->fn->attention_back_tile(a, t, h, dk, dv, a->c->scratch[thread].p);
}

// dk, dv of a block of rows: the chunks' sums in order, then to the output's dtype.
static void reduce_task(void *arg, int64_t i, int thread) {
	(void)thread;
	struct attn_args *a = arg;
	int64_t heads = a->plan.kv_heads, dh = a->dh, ld = pad16(dh), rows = a->k.rows;
	int64_t t0 = i * 64, t1 = t0 + 64 < rows ? t0 + 64 : rows;
	size_t n = (size_t)(rows * ld);
	for (int64_t h = 0; h < heads; h++)
		for (int w = 0; w < 2; w++) {
			af_tensor out = w ? a->dv : a->dk;
			for (int64_t t = t0; t < t1; t++) {
				float *s = a->acc + (size_t)h * 2 * n + (size_t)w * n + t * ld;
				if (!a->plan.nchunks) memset(s, 0, (size_t)dh * 4); // no query
				for (int64_t ch = 1; ch < a->plan.nchunks; ch++)
					a->c->fn->axpy(s, a->acc + (size_t)(ch * heads + h) * 2 * n + (size_t)w * n + t * ld, 1, dh);
				int64_t o = t * out.stride + h * dh;
				if (out.dtype == AF_BF16)
					a->c->fn->to_bf16((bf16 *)out.p + o, s, dh);
				else
					memcpy((float *)out.p + o, s, (size_t)dh * 4);
			}
		}
}

int af_attention_back(af_ctx *c, af_tensor dq, af_tensor dk, af_tensor dv, af_tensor dout, af_tensor q, af_tensor k, af_tensor v, af_plan p, float scale) {
	struct attn_args a = {.c = c, .q = q, .dq = dq, .dout = dout, .k = k, .v = v, .turned = af_turned(c, k, p), .row_len = p.row_len, .plan = p,
	                      .dk = dk, .dv = dv, .group = p.heads / p.kv_heads, .dh = p.dh, .scale = scale};
	if (!a.turned) return AF_NOMEM;
	size_t most = 0;
	for (int64_t i = 0; i < p.ntiles; i++) {
		size_t b = backward_bytes(&a, &p.tiles[i]);
		most = b > most ? b : most;
	}
	if (af_scratch_all(c, most)) return AF_NOMEM;
	a.acc = af_scratch_get(&c->shared, (size_t)((p.nchunks ? p.nchunks : 1) * p.kv_heads) * 2 * (size_t)(k.rows * pad16(p.dh)) * 4);
	if (!a.acc) return AF_NOMEM;
	af_run(c, p.nchunks * p.kv_heads, back_task, &a);
	af_run(c, (k.rows + 63) / 64, reduce_task, &a);
	return AF_OK;
}

#else
#include "attention.h"

// Weights to probabilities and dp to ds, of nv vectors of lanes; in bf16 as operands p16 and ds16, with p no longer needed.
AF_INLINE int64_t AF(back_weights)(const struct attn_args *a, const af_tile *t, float *s, float *dp, bf16 *p16, bf16 *ds16, int64_t lanes, int64_t l, const int nv) {
	int b16 = a->k.dtype == AF_BF16;
	struct AF(softmax) x[nv];
	UNROLL for (int v = 0; v < nv; v++) x[v] = (struct AF(softmax)){vset1(-INFINITY), vset1(0), vset1(0)};
	AF(weights)(x, a, t, s, dp, lanes, l, nv);
	vf inv[nv], mean[nv], scale = vset1(a->scale);
	UNROLL for (int v = 0; v < nv; v++) {
		inv[v] = 1.0f / x[v].sum;
		for (int64_t i = max64(0, t->rows * a->group - (l + VL * v)); i < VL; i++) inv[v][i] = 0; // lanes past the tile
		mean[v] = x[v].dot * inv[v];
	}
	for (int64_t j = 0; j < t->keys; j++)
		UNROLL for (int v = 0; v < nv; v++) {
			int64_t o = j * lanes + l + VL * v;
			vf p = vload(s + o) * inv[v], d = p * (vload(dp + o) - mean[v]) * scale;
			vstore(dp + o, d);
			if (b16) {
				vstore_bf16(p16 + o, p);
				vstore_bf16(ds16 + o, d);
			} else
				vstore(s + o, p);
		}
	return l + VL * nv;
}

void AF(attention_back_tile)(const struct attn_args *a, int64_t ti, int64_t h, float *dk, float *dv, void *scratch) {
	const af_tile *t = &a->plan.tiles[ti];
	int64_t g = a->group, dh = a->dh, ld = pad16(dh), lanes = pad16(t->rows * g), keys = t->keys;
	int b16 = a->k.dtype == AF_BF16, kind = b16 ? TILE_B : TILE_F;
	int64_t es = b16 ? 2 : 4;
	char *qp = ALIGN(scratch), *dop = ALIGN(qp + lanes * dh * es);           // panels for sums over dh
	char *qr = ALIGN(dop + lanes * dh * es), *dor = ALIGN(qr + lanes * ld * es); // panels for sums over lanes
	float *dq = ALIGN(dor + lanes * ld * es);
	float *s = ALIGN(dq + lanes * dh), *dp = ALIGN(s + lanes * keys);
	bf16 *p16 = ALIGN(dp + lanes * keys), *ds16 = ALIGN(p16 + lanes * keys);
	uint32_t *pairs = ALIGN(ds16 + lanes * keys);
	AF(pack_lanes)(qp, a->q, t, h, g, dh, lanes);
	AF(pack_lanes)(dop, a->dout, t, h, g, dh, lanes);
	AF(pack_rows)(qr, a->q, t, h, g, dh, ld, lanes);
	AF(pack_rows)(dor, a->dout, t, h, g, dh, ld, lanes);
	int64_t k = 0;
	for (int64_t i = 0; i <= t->nseg; i++) {
		af_seg sg = segment(a, t, i);
		AF(tile)(kind, sg.len, lanes, dh, (const char *)a->k.p + (sg.row * a->k.stride + h * dh) * es, a->k.stride, qp, lanes,
		         s + k * lanes, lanes, 0);
		AF(tile)(kind, sg.len, lanes, dh, (const char *)a->v.p + (sg.row * a->v.stride + h * dh) * es, a->v.stride, dop, lanes,
		         dp + k * lanes, lanes, 0);
		k += sg.len;
	}
	for (int64_t l = 0; l < lanes;) switch (min64(VECTORS, (lanes - l) / VL)) {
		case 4: l = AF(back_weights)(a, t, s, dp, p16, ds16, lanes, l, 4); break;
		case 3: l = AF(back_weights)(a, t, s, dp, p16, ds16, lanes, l, 3); break;
		case 2: l = AF(back_weights)(a, t, s, dp, p16, ds16, lanes, l, 2); break;
		default: l = AF(back_weights)(a, t, s, dp, p16, ds16, lanes, l, 1);
		}
	k = 0;
	for (int64_t i = 0; i <= t->nseg; i++) {
		af_seg sg = segment(a, t, i);
		int64_t first = sg.slot, len = sg.len;
		const void *p = s + k * lanes, *ds = dp + k * lanes, *b = ds;
		if (b16) {
			p = p16 + k * lanes;
			ds = ds16 + k * lanes;
			len = AF(pair_keys)(pairs, dp + k * lanes, lanes, sg, &first);
			b = pairs;
		}
		AF(tile)(kind, sg.len, ld, lanes, p, lanes, dor, ld, dv + sg.row * ld, ld, 1);
		AF(tile)(kind, sg.len, ld, lanes, ds, lanes, qr, ld, dk + sg.row * ld, ld, 1);
		AF(tile)(kind, dh, lanes, len, (const char *)a->turned + (h * dh * a->row_len + first) * es, a->row_len, b, lanes, dq, lanes, i > 0);
		k += sg.len;
	}
	AF(unpack_lanes)(a->dq, dq, NULL, t, h, g, dh, lanes);
}
#endif
