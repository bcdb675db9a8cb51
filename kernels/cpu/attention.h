// Attention over a forest: a query attends to its ancestors' runs and to its own run up to itself (no mask is stored).
//
// A tile is a few query rows of one run under one kv head, with all query heads that share it: its (row, head) pairs lie side by
// side in the lanes of vectors ("lanes"), the keys run along the other axis. With Q^T packed as a panel,
//
//	S^T[keys, lanes] = K Q^T,  P = exp(scale S - lse),  O^T[dh, lanes] = V^T P
//
// so that maxima and sums over keys are plain vector operations and no panel but Q's and P's is ever packed: K is read as it
// lies, V from one transposed copy. All scores of a path are kept (keys x lanes f32), the maximum is known before the first
// exponential, and nothing is rescaled: O is one chain of additions over the keys in order.
//
// Segments that only some queries of a tile attend to (requests that are decoded together, each on a path of its own below a shared one) have
// scores for the blocks of 16 lanes that hold those queries; the other lanes of such a block weigh exactly 0. Where it is a single query, whose few
// heads would leave most of a vector empty, keys are lanes instead, and then dh,
//
//	S[heads, keys] = Q K^T,  O[heads, dh] += P V
//
// with K and V turned on the way, a few keys at a time: the same chains of additions.
//
// bf16 products take keys in pairs and add the upper half first. Pairs are those of position 2i and 2i+1, wherever a run begins (its
// slots have the parity of its positions; a missing half has weight 0), and each pair is stored swapped: the chain is then the same as
// key by key.
#ifndef AF_ATTENTION_H
#define AF_ATTENTION_H

#include "pool.h"

struct attn_args {
	af_ctx *c;
	af_tensor o, q, dq, dout;
	float *lse;
	af_tensor k, v; // v: rows, for the backward pass
	const void *turned; // v transposed, in the backward pass k
	int64_t row_len;    // of its rows
	af_plan plan;
	float *acc; // backward: per chunk and head, dk then dv, [rows][pad16(dh)]
	af_tensor dk, dv;
	int64_t group, dh;
	float scale;
};

// The keys of a tile: segment i of nseg + 1, the last being its own run.
static inline af_seg segment(const struct attn_args *a, const af_tile *t, int64_t i) {
	if (i < t->nseg) return a->plan.segs[t->seg0 + i];
	return (af_seg){.row = t->own_row, .slot = t->own_slot, .len = t->before + t->rows};
}

// The lanes of a tile that scores of a segment are kept for, in whole vectors.
static inline int64_t first_lane(af_seg sg, int64_t g) { return sg.to ? (sg.from * g) & ~(int64_t)15 : 0; }
static inline int64_t end_lane(af_seg sg, int64_t g, int64_t lanes) { return sg.to ? pad16(sg.to * g) : lanes; }

// Whether a single query of a tile attends to a segment: always the last ones of that query.
static inline int alone(af_seg sg) { return sg.to - sg.from == 1; }

// Scores of a segment: [len][lanes], alone [heads][len], with -inf after them.
static inline int64_t scores_of(af_seg sg, int64_t g, int64_t lanes) {
	return alone(sg) ? g * pad16(sg.len) : sg.len * (end_lane(sg, g, lanes) - first_lane(sg, g));
}

#define ALIGN(p) ((void *)(((uintptr_t)(p) + 63) & ~(uintptr_t)63))
#define SCALE(a) vset1((a)->scale * 1.44269504088896341f) // weights are powers of 2
#define UNROLL _Pragma("GCC unroll 4")

#endif

#ifdef AF_LEVEL
// Lane l of a tile is query row l / group, head h * group + l % group. Its dh columns of x, lane after lane:
struct AF(lanes) {
	char *at;
	int64_t head, group, next, down; // of at in its row; bytes to the next head, and from the last to the first one of the next row
};

AF_INLINE struct AF(lanes) AF(lanes_of)(af_tensor x, const af_tile *t, int64_t h, int64_t g, int64_t dh) {
	int64_t es = size_of(x.dtype);
	return (struct AF(lanes)){(char *)x.p + (t->row * x.stride + h * g * dh) * es, 0, g, dh * es, (x.stride - (g - 1) * dh) * es};
}

AF_INLINE char *AF(next_lane)(struct AF(lanes) *l) {
	char *p = l->at;
	int last = ++l->head == l->group;
	l->at += last ? l->down : l->next;
	if (last) l->head = 0;
	return p;
}

// Words of up to VL rows, NULL after them, as lanes of a panel: word i of row k at panel[i * lanes + k]. Lanes past the rows are 0.
// (gradweight.c turns words that it scales, or makes of pairs of rows, and in whole blocks.)
AF_INLINE void AF(turn)(float *panel, int64_t lanes, const char *const row[VL], int64_t words) {
	int64_t i = 0;
	vf v[VL];
	for (; row[VL - 1] && i + VL <= words; i += VL) {
		for (int k = 0; k < VL; k++) v[k] = vload((const float *)row[k] + i);
		vtranspose(v);
		for (int k = 0; k < VL; k++) vstore(panel + (i + k) * lanes, v[k]);
	}
	for (; i < words; i += VL) {
		int64_t some = min64(VL, words - i);
		for (int k = 0; k < VL; k++) v[k] = row[k] ? vload_some((const float *)row[k] + i, some) : vset1(0);
		vtranspose(v);
		for (int k = 0; k < some; k++) vstore(panel + (i + k) * lanes, v[k]);
	}
}

// x^T of the tile's lanes as a panel for a sum over dh: [dh][lanes] f32, or [dh/2][lanes][2] bf16, words of 32 bits either way. Lanes past the
// tile are 0.
AF_INLINE void AF(pack_lanes)(void *dst, af_tensor x, const af_tile *t, int64_t h, int64_t g, int64_t dh, int64_t lanes) {
	int64_t n = t->rows * g, words = x.dtype == AF_BF16 ? dh / 2 : dh;
	struct AF(lanes) next = AF(lanes_of)(x, t, h, g, dh);
	for (int64_t l = 0; l < lanes; l += VL) {
		const char *lane[VL] = {0};
		for (int k = 0; k < VL && l + k < n; k++) lane[k] = AF(next_lane)(&next);
		AF(turn)((float *)dst + l, lanes, lane, words);
	}
}

// x of the tile's lanes as a panel for a sum over lanes: [lanes][ld] f32, or [lanes/2][ld][2] bf16; 0 past the tile and past dh.
AF_INLINE void AF(pack_rows)(void *dst, af_tensor x, const af_tile *t, int64_t h, int64_t g, int64_t dh, int64_t ld, int64_t lanes) {
	int64_t n = t->rows * g, es = size_of(x.dtype);
	struct AF(lanes) next = AF(lanes_of)(x, t, h, g, dh);
	memset(dst, 0, (size_t)(lanes * ld * es));
	for (int64_t l = 0; l < n; l++) {
		const char *s = AF(next_lane)(&next);
		if (x.dtype == AF_F32) {
			memcpy((float *)dst + l * ld, s, (size_t)dh * 4);
			continue;
		}
		uint32_t *d = (uint32_t *)dst + l / 2 * ld;
		for (int64_t i = 0; i < dh; i++) d[i] |= (uint32_t)((const bf16 *)s)[i] << 16 * (l & 1);
	}
}

// out^T [dh, lanes], lane l times by[l] where there is one, to rows of x.
AF_INLINE void AF(unpack_lanes)(af_tensor x, const float *src, const float *by, const af_tile *t, int64_t h, int64_t g, int64_t dh, int64_t lanes) {
	int64_t n = t->rows * g;
	struct AF(lanes) next = AF(lanes_of)(x, t, h, g, dh);
	for (int64_t l = 0; l < n; l += VL) {
		char *lane[VL] = {0};
		for (int k = 0; k < VL && l + k < n; k++) lane[k] = AF(next_lane)(&next);
		for (int64_t i = 0; i < dh; i += VL) {
			int64_t some = min64(VL, dh - i);
			vf v[VL], f = by ? vload(by + l) : vset1(1);
			for (int k = 0; k < VL; k++) v[k] = (k < some ? vload(src + (i + k) * lanes + l) : vset1(0)) * f;
			vtranspose(v);
			for (int k = 0; k < VL && l + k < n; k++) {
				if (x.dtype == AF_BF16) {
					bf16 b[VL];
					vstore_bf16(b, v[k]);
					memcpy(lane[k] + 2 * i, b, (size_t)some * 2);
				} else if (some == VL)
					vstore((float *)(lane[k] + 4 * i), v[k]);
				else
					memcpy(lane[k] + 4 * i, &v[k], (size_t)some * 4);
			}
		}
	}
}

// How many vectors of lanes are weighed together, in registers: their chains of additions are independent, and a row of scores is read along.
#undef VECTORS
#if AF_LEVEL >= 2
#define VECTORS 4
#else
#define VECTORS 2
#endif

// Scores of a few vectors of lanes, side by side in rows of w, to weights; what is kept of each vector:
struct AF(softmax) {
	vf max, sum; // of the scores; of e^(scale (s - max))
	vf dot;      // of those times dp, where there is one
};

// Lane i of a vector attends to keys 0..lim[i] of a segment.
struct AF(limit) {
	vi lim;
	int64_t all, end; // keys that every lane attends to; and from there on none does
};

AF_INLINE struct AF(limit) AF(limit)(const af_tile *t, int64_t i, af_seg sg, int64_t g, int64_t l0) {
	static const int32_t order[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
	struct AF(limit) r = {.all = sg.len, .end = sg.len};
	if (i < t->nseg) {
		int32_t from = sg.to ? (int32_t)(sg.from * g - l0) : 0, to = sg.to ? (int32_t)(sg.to * g - l0) : VL;
		if (from > 0 || to < VL) r.all = 0;
		vi lane;
		memcpy(&lane, order, sizeof lane);
		r.lim = ((lane >= from) & (lane < to) & sg.len) - 1;
		return r;
	}
	int32_t v[VL], last = t->before + (int32_t)(l0 / g);
	for (int64_t k = 0, rest = l0 % g; k < VL; k++) {
		v[k] = last;
		if (++rest == g) rest = 0, last++;
	}
	r.all = min64(v[0] + 1, sg.len);
	r.end = min64(v[VL - 1] + 1, sg.len);
	memcpy(&r.lim, v, sizeof v);
	return r;
}

// Keys that a lane does not attend to do not count, and weigh exactly 0. Both go over keys in order.
AF_INLINE void AF(raise)(struct AF(softmax) *x, const float *s, int64_t w, const struct AF(limit) *lim, const int nv) {
	int64_t j = 0;
	for (; j < lim[0].all; j++)
		UNROLL for (int v = 0; v < nv; v++) x[v].max = vmax(x[v].max, vload(s + j * w + VL * v));
	for (; j < lim[nv - 1].end; j++)
		UNROLL for (int v = 0; v < nv; v++)
			x[v].max = vselect((vi){0} + (int32_t)j > lim[v].lim, x[v].max, vmax(x[v].max, vload(s + j * w + VL * v)));
}

AF_INLINE void AF(weigh)(struct AF(softmax) *x, float *s, const float *dp, vf scale, int64_t w, const struct AF(limit) *lim, int64_t len, const int nv) {
	int64_t j = 0;
	for (; j < lim[0].all; j++)
		UNROLL for (int v = 0; v < nv; v++) {
			int64_t o = j * w + VL * v;
			vf e = vexp2((vload(s + o) - x[v].max) * scale);
			vstore(s + o, e);
			x[v].sum = x[v].sum + e;
			if (dp) x[v].dot = vfma(e, vload(dp + o), x[v].dot);
		}
	for (; j < lim[nv - 1].end; j++)
		UNROLL for (int v = 0; v < nv; v++) {
			int64_t o = j * w + VL * v;
			vf e = vexp2((vload(s + o) - x[v].max) * scale);
			e = vselect((vi){0} + (int32_t)j > lim[v].lim, vset1(0), e);
			vstore(s + o, e);
			x[v].sum = x[v].sum + e;
			if (dp) x[v].dot = vfma(e, vload(dp + o), x[v].dot);
		}
	for (; j < len; j++)
		UNROLL for (int v = 0; v < nv; v++) vstore(s + j * w + VL * v, vset1(0));
}

// Scores of the lanes from l on, nv vectors, to weights e^(scale (s - max)) in place: exactly 1 at the maximum, which is at least what x[v].max is before.
// dp has the scores' layout. All segments but those that a query has alone.
AF_INLINE void AF(weights)(struct AF(softmax) *x, const struct attn_args *a, const af_tile *t, float *s, const float *dp, int64_t lanes, int64_t l, const int nv) {
	int64_t g = a->group;
	vf scale = SCALE(a);
	for (int pass = 0; pass < 2; pass++) {
		int64_t at = l;
		for (int64_t i = 0; i <= t->nseg; i++) {
			af_seg sg = segment(a, t, i);
			int64_t l0 = first_lane(sg, g), w = end_lane(sg, g, lanes) - l0;
			if (alone(sg)) {
				at += scores_of(sg, g, lanes);
				continue;
			}
			struct AF(limit) lim[nv];
			for (int v = 0; v < nv; v++) lim[v] = AF(limit)(t, i, sg, g, l + VL * v);
			if (!sg.to) {
				if (pass == 0)
					AF(raise)(x, s + at, w, lim, nv);
				else
					AF(weigh)(x, s + at, dp ? dp + at : NULL, scale, w, lim, sg.len, nv);
			} else // for some lanes, and in no backward pass
				UNROLL for (int v = 0; v < nv; v++) {
					if (l + VL * v < l0 || l + VL * v >= l0 + w) continue;
					if (pass == 0)
						AF(raise)(x + v, s + at - l0 + VL * v, w, lim + v, 1);
					else
						AF(weigh)(x + v, s + at - l0 + VL * v, NULL, scale, w, lim + v, sg.len, 1);
				}
			at += sg.len * w;
		}
	}
}

// Rows of a segment, [len][lanes] f32, as pairs along keys by slot, the later key in the low half, from the even slot at or before
// the first on. Returns that slot in *first and how many slots there are.
AF_INLINE int64_t AF(pair_keys)(uint32_t *pairs, const float *p, int64_t lanes, af_seg sg, int64_t *first) {
	*first = sg.slot & ~(int32_t)1;
	int64_t len = (((int64_t)sg.slot + sg.len + 1) & ~(int64_t)1) - *first;
	for (int64_t j = 0; j < len; j += 2) {
		int64_t e = *first + j - sg.slot; // the earlier key in the segment; may be -1, and its partner past the end
		for (int64_t l = 0; l < lanes; l += VL) {
			vf early = e >= 0 ? vload(p + e * lanes + l) : vset1(0);
			vf late = e + 1 < sg.len ? vload(p + (e + 1) * lanes + l) : vset1(0);
			vi v = vpair_bf16(late, early);
			memcpy(pairs + j / 2 * lanes + l, &v, sizeof v);
		}
	}
	return len;
}
#endif
