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
//
// Backward: dP = dO V^T, dS = P (dP - sum_j P_j dP_j) scale, dV = P^T dO, dK = dS^T Q, dQ = dS K. The scores of the path are there
// as in the forward pass, so P is formed anew with its own maximum and sum, and the sum over keys is taken of the very dP that it is
// subtracted from: where one key has nearly all the weight, rowsum(dO * O) (Dao et al. 2022) would leave rounding in its place. Tiles
// of a chunk run one after another and add to the chunk's own dK, dV.
#ifndef AF_LEVEL
#define AF_SELF "attention.c"
#include "pool.h"
#include "isa.h"

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

enum { TURNED = 128 }; // keys of a segment alone that are turned at a time

// How attention_tile lays out a tile's scratch: bytes up to each part, 64 of which are its alignment.
struct forward_room {
	size_t scores, pairs, out, sums, rows, turned, end;
};
static inline struct forward_room forward_room(const struct attn_args *a, const af_tile *t) {
	int64_t lanes = pad16(t->rows * a->group), ld = pad16(a->dh), scores = 0, most = 0, apart = 0;
	for (int64_t i = 0; i <= t->nseg; i++) {
		af_seg sg = segment(a, t, i);
		int64_t n = scores_of(sg, a->group, lanes);
		scores += n;
		most = max64(most, n);
		apart |= alone(sg);
	}
	size_t at = 0;
	struct forward_room r;
#define NEXT(floats) (at += ((size_t)(floats) * 4 + 127) & ~(size_t)63)
	r.scores = NEXT(lanes * a->dh); // after Q's panel
	r.pairs = NEXT(scores);
	r.out = NEXT(a->k.dtype == AF_BF16 ? most / 2 + 16 * (a->group + lanes) : 0);
	r.sums = NEXT(lanes * a->dh);
	r.rows = NEXT(2 * lanes);
	r.turned = NEXT(apart ? lanes * ld : 0);
	r.end = NEXT(apart ? TURNED * ld : 0);
#undef NEXT
	return r;
}
// Bytes of scratch that attention_back_tile lays out for a tile, at least.
static size_t backward_bytes(const struct attn_args *a, const af_tile *t) {
	size_t lanes = (size_t)pad16(t->rows * a->group), dh = (size_t)pad16(a->dh), keys = (size_t)t->keys + 2 * (size_t)t->nseg + 4;
	return lanes * dh * 4 * 5 + lanes * keys * (4 + 4 + 2 + 2 + 2) + 4096;
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

// x^T of the tile's lanes as a panel for a sum over dh: [dh][lanes] f32, or [dh/2][lanes][2] bf16, words of 32 bits either way. Lanes past the
// tile are 0.
AF_INLINE void AF(pack_lanes)(void *dst, af_tensor x, const af_tile *t, int64_t h, int64_t g, int64_t dh, int64_t lanes) {
	int64_t n = t->rows * g, words = x.dtype == AF_BF16 ? dh / 2 : dh;
	struct AF(lanes) next = AF(lanes_of)(x, t, h, g, dh);
	for (int64_t l = 0; l < lanes; l += VL) {
		const char *lane[VL];
		for (int k = 0; k < VL; k++) lane[k] = l + k < n ? AF(next_lane)(&next) : NULL;
		for (int64_t i = 0; i < words; i += VL) {
			int64_t some = min64(VL, words - i);
			vf v[VL];
			for (int k = 0; k < VL; k++) v[k] = lane[k] ? vload_some((const float *)lane[k] + i, some) : vset1(0);
			vtranspose(v);
			for (int k = 0; k < some; k++) vstore((float *)dst + (i + k) * lanes + l, v[k]);
		}
	}
}

// Words w[row][word] of n rows, `stride` bytes apart, as a panel [words][lanes]. Lanes past the rows are 0.
static void AF(turn)(float *dst, int64_t lanes, const char *w, int64_t stride, int64_t n, int64_t words) {
	for (int64_t l = 0; l < lanes; l += VL, w += VL * stride) {
		int64_t rows = min64(VL, n - l), i = 0;
		vf v[VL];
		for (; rows == VL && i + VL <= words; i += VL) {
			for (int k = 0; k < VL; k++) v[k] = vload((const float *)(w + k * stride) + i);
			vtranspose(v);
			for (int k = 0; k < VL; k++) vstore(dst + (i + k) * lanes + l, v[k]);
		}
		for (; i < words; i += VL) {
			int64_t some = min64(VL, words - i);
			for (int k = 0; k < VL; k++) v[k] = k < rows ? vload_some((const float *)(w + k * stride) + i, some) : vset1(0);
			vtranspose(v);
			for (int k = 0; k < some; k++) vstore(dst + (i + k) * lanes + l, v[k]);
		}
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
#if AF_LEVEL >= 2
#define VECTORS 4
#else
#define VECTORS 2
#endif
#define UNROLL _Pragma("GCC unroll 4")

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

#define SCALE(a) vset1((a)->scale * 1.44269504088896341f) // weights are powers of 2

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

#define ALIGN(p) ((void *)(((uintptr_t)(p) + 63) & ~(uintptr_t)63))

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

// Scores s of a segment that one query has alone; raises its lanes' maxima.
static void AF(alone_scores)(const struct attn_args *a, const af_tile *t, int64_t h, af_seg sg, float *s, float *max, void *panel) {
	int64_t g = a->group, n = pad16(sg.len), es = size_of(a->k.dtype), kind = kind_of(a->k.dtype, a->k.dtype);
	for (int64_t j = 0; j < sg.len; j += TURNED) {
		int64_t keys = min64(TURNED, sg.len - j);
		AF(turn)(panel, pad16(keys), at(a->k, sg.row + j, h * a->dh), a->k.stride * es, keys, a->dh * es / 4);
		AF(tile)((int)kind, g, pad16(keys), a->dh, at(a->q, t->row + sg.from, h * g * a->dh), a->dh, panel, pad16(keys), s + j, n, 0);
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
				bf16 early = row[j];
				row[j] = row[j + 1];
				row[j + 1] = early;
			}
		}
		p = (const char *)pairs;
	}
	for (int64_t j = 0; j < len; j += TURNED) {
		int64_t keys = min64(TURNED, len - j);
		AF(turn)(panel, ld, (const char *)a->turned + (h * dh * a->row_len + first + j) * es, a->row_len * es, dh, keys * es / 4);
		AF(tile)(kind_of(a->k.dtype, a->k.dtype), g, ld, keys, p + j * es, lda, panel, ld, rows, ld, 1);
	}
}

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

void AF(attention_tile)(const struct attn_args *a, int64_t ti, int64_t h, void *scratch) {
	const af_tile *t = &a->plan.tiles[ti];
	int64_t g = a->group, dh = a->dh, ld = pad16(dh), lanes = pad16(t->rows * g), heads = a->plan.kv_heads * g;
	int b16 = a->k.dtype == AF_BF16, kind = kind_of(a->k.dtype, a->k.dtype), apart = 0;
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
			AF(alone_scores)(a, t, h, sg, p, max, turned), apart = 1;
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
	if (!apart) {
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
#undef ALIGN
#undef SCALE
#undef VECTORS
#undef UNROLL
#endif
