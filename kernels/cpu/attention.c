// Attention over a forest, forward: attention.h says how. Contracts in af.h.
#ifndef AF_LEVEL
#define AF_SELF "attention.c"
#include "attention.h"
#include "isa.h"

enum { TURNED = 128 }; // keys of a segment alone that are turned at a time

// How attention_tile lays out a tile's scratch: bytes up to each part, 64 of which are its alignment.
struct forward_room {
	size_t scores, pairs, out, sums, rows, turned, end;
	int apart; // whether a query has a segment alone, which alone needs rows and turned
};
static inline struct forward_room forward_room(const struct attn_args *a, const af_tile *t) {
	struct forward_room r = {0};
	int64_t lanes = pad16(t->rows * a->group), ld = pad16(a->dh), scores = 0, most = 0;
	for (int64_t i = 0; i <= t->nseg; i++) {
		af_seg sg = segment(a, t, i);
		int64_t n = scores_of(sg, a->group, lanes);
		scores += n;
		most = max64(most, n);
		r.apart |= alone(sg);
	}
	size_t at = 0;
#define NEXT(floats) (at += ((size_t)(floats) * 4 + 127) & ~(size_t)63)
	r.scores = NEXT(lanes * a->dh); // after Q's panel
	r.pairs = NEXT(scores);
	r.out = NEXT(a->k.dtype == AF_BF16 ? most / 2 + 16 * (a->group + lanes) : 0);
	r.sums = NEXT(lanes * a->dh);
	r.rows = NEXT(2 * lanes);
	r.turned = NEXT(r.apart ? lanes * ld : 0);
	r.end = NEXT(r.apart ? TURNED * ld : 0);
#undef NEXT
	return r;
}

#include "multi.h"

static void forward_task(void *arg, int64_t i, int thread) {
	struct attn_args *a = arg;
	a->c->fn->attention_tile(a, i / a->plan.kv_heads, i % a->plan.kv_heads, a->c->scratch[thread].p);
}

int af_attention(af_ctx *c, af_tensor o, float *lse, af_tensor q, const af_kv *kv, af_plan p, float scale) {
	struct attn_args a = {.c = c, .o = o, .q = q, .lse = lse, .k = kv->k, .turned = kv->vt, .row_len = kv->row_len, .plan = p,
	                      .group = p.heads / p.kv_heads, .dh = p.dh, .scale = scale};
	size_t most = 0;
	for (int64_t i = 0; i < p.ntiles; i++) {
		size_t b = forward_room(&a, &p.tiles[i]).end + 64;
		most = b > most ? b : most;
	}
	if (af_scratch_all(c, most)) return AF_NOMEM;
	af_run(c, p.ntiles * p.kv_heads, forward_task, &a);
	return AF_OK;
}

int af_attention_rows(af_ctx *c, af_tensor o, float *lse, af_tensor q, af_tensor k, af_tensor v, af_plan p, float scale) {
	af_kv kv = {.k = k, .vt = af_turned(c, v, p), .row_len = p.row_len};
	return kv.vt ? af_attention(c, o, lse, q, &kv, p, scale) : AF_NOMEM;
}

#else
#include "attention.h"

// Weights of nv vectors of lanes from l on; returns the lane after them. max is what their maxima are at least, then what they are; sum is what the
// weights add up to.
AF_INLINE int64_t AF(forward_weights)(const struct attn_args *a, const af_tile *t, float *s, float *max, float *sum, int64_t lanes, int64_t l, const int nv) {
	struct AF(softmax) x[nv];
	UNROLL for (int v = 0; v < nv; v++) x[v] = (struct AF(softmax)){vload(max + l + VL * v), vset1(0), vset1(0)};
	AF(weights)(x, a, t, s, NULL, lanes, l, nv);
	UNROLL for (int v = 0; v < nv; v++, l += VL) {
		vstore(max + l, x[v].max);
		vstore(sum + l, x[v].sum);
	}
	return l;
}

// Words of n rows, `stride` bytes apart, as a panel [words][lanes].
static void AF(turn_rows)(float *panel, int64_t lanes, const char *w, int64_t stride, int64_t n, int64_t words) {
	for (int64_t l = 0; l < lanes; l += VL) {
		const char *row[VL] = {0};
		for (int k = 0; k < VL && l + k < n; k++) row[k] = w + (l + k) * stride;
		AF(turn)(panel + l, lanes, row, words);
	}
}

// Scores s of a segment that one query has alone; raises its lanes' maxima.
static void AF(alone_scores)(const struct attn_args *a, const af_tile *t, int64_t h, af_seg sg, float *s, float *max, void *panel) {
	int64_t g = a->group, n = pad16(sg.len), es = size_of(a->k.dtype);
	int kind = kind_of(a->k.dtype, a->k.dtype);
	for (int64_t j = 0; j < sg.len; j += TURNED) {
		int64_t keys = min64(TURNED, sg.len - j);
		AF(turn_rows)(panel, pad16(keys), at(a->k, sg.row + j, h * a->dh), a->k.stride * es, keys, a->dh * es / 4);
		AF(tile)(kind, g, pad16(keys), a->dh, at(a->q, t->row + sg.from, h * g * a->dh), a->dh, panel, pad16(keys), s + j, n, 0);
	}
	for (int64_t i = 0; i < g; i++, s += n) {
		for (int64_t j = sg.len; j < n; j++) s[j] = -INFINITY;
		vf m = vset1(max[sg.from * g + i]);
		for (int64_t j = 0; j < n; j += VL) m = vmax(m, vload(s + j));
		max[sg.from * g + i] = vhmax(m);
	}
}

// sum[i] += row i in order, of nr rows: their chains of additions are independent.
AF_INLINE void AF(sum_rows)(float *sum, const float *s, int64_t n, int64_t len, const int nr) {
	float z[nr];
	for (int i = 0; i < nr; i++) z[i] = sum[i];
	for (int64_t j = 0; j < len; j++)
		UNROLL for (int i = 0; i < nr; i++) z[i] += s[i * n + j];
	for (int i = 0; i < nr; i++) sum[i] = z[i];
}

// Scores to weights, under the maxima, and their sums.
static void AF(alone_weights)(const struct attn_args *a, af_seg sg, float *s, const float *max, float *sum) {
	int64_t g = a->group, n = pad16(sg.len);
	for (int64_t i = 0; i < g; i++)
		for (int64_t j = 0; j < n; j += VL) vstore(s + i * n + j, vexp2((vload(s + i * n + j) - vset1(max[i])) * SCALE(a)));
	for (int64_t i = 0; i < g; i += 4) switch (min64(4, g - i)) {
		case 4: AF(sum_rows)(sum + i, s + i * n, n, sg.len, 4); break;
		case 3: AF(sum_rows)(sum + i, s + i * n, n, sg.len, 3); break;
		case 2: AF(sum_rows)(sum + i, s + i * n, n, sg.len, 2); break;
		default: AF(sum_rows)(sum + i, s + i * n, n, sg.len, 1);
		}
}

// rows[heads][ld] += P V of a segment that one query has alone.
static void AF(alone_outputs)(const struct attn_args *a, int64_t h, af_seg sg, const float *s, bf16 *pairs, float *rows, int64_t ld, void *panel) {
	int64_t g = a->group, dh = a->dh, n = pad16(sg.len), first = sg.slot, len = sg.len, lda = n, es = size_of(a->k.dtype);
	const char *p = (const char *)s;
	if (a->k.dtype == AF_BF16) { // as pair_keys makes them
		int64_t odd = sg.slot & 1;
		first -= odd, len = (odd + len + 1) & ~(int64_t)1, lda = n + 32;
		for (int64_t i = 0; i < g; i++) {
			bf16 *row = pairs + i * lda;
			row[0] = row[odd + n] = 0;
			AF(to_bf16)(row + odd, s + i * n, n);
			for (int64_t j = 0; j < len; j += 2) {
				uint32_t pair;
				memcpy(&pair, row + j, sizeof pair);
				pair = pair << 16 | pair >> 16;
				memcpy(row + j, &pair, sizeof pair);
			}
		}
		p = (const char *)pairs;
	}
	for (int64_t j = 0; j < len; j += TURNED) {
		int64_t keys = min64(TURNED, len - j);
		AF(turn_rows)(panel, ld, (const char *)a->turned + (h * dh * a->row_len + first + j) * es, a->row_len * es, dh, keys * es / 4);
		AF(tile)(kind_of(a->k.dtype, a->k.dtype), g, ld, keys, p + j * es, lda, panel, ld, rows, ld, 1);
	}
}

void AF(attention_tile)(const struct attn_args *a, int64_t ti, int64_t h, void *scratch) {
	const af_tile *t = &a->plan.tiles[ti];
	int64_t g = a->group, dh = a->dh, ld = pad16(dh), lanes = pad16(t->rows * g), heads = a->plan.kv_heads * g;
	int b16 = a->k.dtype == AF_BF16, kind = kind_of(a->k.dtype, a->k.dtype);
	int64_t es = size_of(a->k.dtype);
	struct forward_room room = forward_room(a, t);
	char *panel = ALIGN(scratch);
	float *s = (float *)(panel + room.scores), *out = (float *)(panel + room.out), *max = (float *)(panel + room.sums), *sum = max + lanes;
	float *rows = (float *)(panel + room.rows);
	void *pairs = panel + room.pairs, *turned = panel + room.turned;
	AF(pack_lanes)(panel, a->q, t, h, g, dh, lanes);
	for (int64_t l = 0; l < lanes; l++) max[l] = -INFINITY;
	float *p = s;
	for (int64_t i = 0; i <= t->nseg; i++) {
		af_seg sg = segment(a, t, i);
		int64_t l0 = first_lane(sg, g), w = end_lane(sg, g, lanes) - l0;
		if (alone(sg))
			AF(alone_scores)(a, t, h, sg, p, max, turned);
		else
			AF(tile)(kind, sg.len, w, dh, at(a->k, sg.row, h * dh), a->k.stride, panel + l0 * 4, lanes, p, w, 0);
		p += scores_of(sg, g, lanes);
	}
	for (int64_t l = 0; l < lanes;) switch (min64(VECTORS, (lanes - l) / VL)) {
		case 4: l = AF(forward_weights)(a, t, s, max, sum, lanes, l, 4); break;
		case 3: l = AF(forward_weights)(a, t, s, max, sum, lanes, l, 3); break;
		case 2: l = AF(forward_weights)(a, t, s, max, sum, lanes, l, 2); break;
		default: l = AF(forward_weights)(a, t, s, max, sum, lanes, l, 1);
		}
	memset(out, 0, (size_t)(lanes * dh) * 4);
	p = s;
	for (int64_t i = 0; i <= t->nseg; i++) {
		af_seg sg = segment(a, t, i);
		int64_t first = sg.slot, len = sg.len, l0 = first_lane(sg, g), w = end_lane(sg, g, lanes) - l0;
		const void *b = p;
		if (alone(sg))
			AF(alone_weights)(a, sg, p, max + sg.from * g, sum + sg.from * g);
		else {
			if (b16) {
				len = AF(pair_keys)(pairs, p, w, sg, &first);
				b = pairs;
			}
			AF(tile)(kind, dh, w, len, (const char *)a->turned + (h * dh * a->row_len + first) * es, a->row_len, b, w, out + l0, lanes, 1);
		}
		p += scores_of(sg, g, lanes);
	}
	for (int64_t l = 0; l < t->rows * g; l++) a->lse[(t->row + l / g) * heads + h * g + l % g] = max[l] * a->scale + logf(sum[l]);
	for (int64_t l = 0; l < lanes; l += VL) vstore(sum + l, 1.0f / vload(sum + l));
	if (!room.apart) {
		AF(unpack_lanes)(a->o, out, sum, t, h, g, dh, lanes);
		return;
	}
	if (dh < ld) memset(rows, 0, (size_t)(lanes * ld) * 4);
	AF(unpack_lanes)((af_tensor){.p = rows, .stride = ld, .dtype = AF_F32}, out, NULL, &(af_tile){.rows = (int32_t)(t->rows * g)}, 0, 1, dh, lanes);
	p = s;
	for (int64_t i = 0; i <= t->nseg; i++) {
		af_seg sg = segment(a, t, i);
		if (alone(sg)) AF(alone_outputs)(a, h, sg, p, pairs, rows + sg.from * g * ld, ld, turned);
		p += scores_of(sg, g, lanes);
	}
	struct AF(lanes) to = AF(lanes_of)(a->o, t, h, g, dh);
	for (int64_t l = 0; l < t->rows * g; l++) {
		for (int64_t i = 0; i < dh; i++) rows[l * ld + i] *= sum[l];
		if (b16)
			AF(to_bf16)((bf16 *)AF(next_lane)(&to), rows + l * ld, dh);
		else
			memcpy(AF(next_lane)(&to), rows + l * ld, (size_t)dh * 4);
	}
}
#endif
