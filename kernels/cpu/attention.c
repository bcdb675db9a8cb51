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
// scores for the blocks of 16 lanes that hold those queries; the other lanes of such a block weigh exactly 0.
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
	const af_kv *kv;
	const af_tile *tiles;
	const af_seg *segs;
	const int32_t *chunk;
	float *acc; // backward: per chunk and head, dk then dv, [rows][pad16(dh)]
	af_tensor dk, dv;
	int64_t ntiles, nchunks, group;
	float scale;
};

static int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t pad16(int64_t n) { return (n + 15) & ~(int64_t)15; }

// The keys of a tile: segment i of nseg + 1, the last being its own run.
static inline af_seg segment(const struct attn_args *a, const af_tile *t, int64_t i) {
	if (i < t->nseg) return a->segs[t->seg0 + i];
	return (af_seg){.row = t->own_row, .slot = t->own_slot, .len = t->before + t->rows};
}

// The lanes of a tile that scores of a segment are kept for, in whole vectors.
static inline int64_t first_lane(af_seg sg, int64_t g) { return sg.to ? (sg.from * g) & ~(int64_t)15 : 0; }
static inline int64_t end_lane(af_seg sg, int64_t g, int64_t lanes) { return sg.to ? pad16(sg.to * g) : lanes; }

// Scores of a tile.
static int64_t scores_of(const struct attn_args *a, const af_tile *t) {
	int64_t n = 0, lanes = pad16(t->rows * a->group);
	for (int64_t i = 0; i <= t->nseg; i++) {
		af_seg sg = segment(a, t, i);
		n += sg.len * (end_lane(sg, a->group, lanes) - first_lane(sg, a->group));
	}
	return n;
}

// Bytes of scratch for a tile; the same arithmetic lays it out below.
static size_t forward_bytes(const struct attn_args *a, const af_tile *t) {
	size_t lanes = (size_t)pad16(t->rows * a->group), dh = (size_t)a->kv->dh, scores = (size_t)scores_of(a, t);
	return lanes * 4 * (dh + 1) + scores * 4 + (scores + lanes * 4) * 2 + lanes * 4 * (dh + 4) + 1024;
}
static size_t backward_bytes(const struct attn_args *a, const af_tile *t) {
	size_t lanes = (size_t)pad16(t->rows * a->group), dh = (size_t)pad16(a->kv->dh), keys = (size_t)t->keys + 2 * (size_t)t->nseg + 4;
	return lanes * dh * 4 * 5 + lanes * keys * (4 + 4 + 2 + 2 + 2) + 4096;
}

#include "multi.h"

static void forward_task(void *arg, int64_t i, int thread) {
	struct attn_args *a = arg;
	a->c->fn->attention_tile(a, i / a->kv->heads, i % a->kv->heads, a->c->scratch[thread].p);
}

int af_attention(af_ctx *c, af_tensor o, float *lse, af_tensor q, const af_kv *kv, const af_tile *tiles, int64_t ntiles,
                 const af_seg *segs, int64_t qheads, float scale) {
	struct attn_args a = {.c = c, .o = o, .q = q, .lse = lse, .kv = kv, .tiles = tiles, .segs = segs, .ntiles = ntiles,
	                      .group = qheads / kv->heads, .scale = scale};
	size_t most = 0;
	for (int64_t i = 0; i < ntiles; i++) {
		size_t b = forward_bytes(&a, &tiles[i]);
		most = b > most ? b : most;
	}
	if (af_scratch_all(c, most)) return AF_NOMEM;
	af_run(c, ntiles * kv->heads, forward_task, &a);
	return AF_OK;
}

static void back_task(void *arg, int64_t i, int thread) {
	struct attn_args *a = arg;
	int64_t ch = i / a->kv->heads, h = i % a->kv->heads;
	size_t n = (size_t)(a->kv->k.rows * pad16(a->kv->dh));
	float *dk = a->acc + (size_t)i * 2 * n, *dv = dk + n;
	memset(dk, 0, 2 * n * sizeof(float));
	for (int64_t t = a->chunk[ch]; t < a->chunk[ch + 1]; t++)
		a->c->fn->attention_back_tile(a, t, h, dk, dv, a->c->scratch[thread].p);
}

// dk, dv of a block of rows: the chunks' sums in order, then to the output's dtype.
static void reduce_task(void *arg, int64_t i, int thread) {
	(void)thread;
	struct attn_args *a = arg;
	int64_t heads = a->kv->heads, dh = a->kv->dh, ld = pad16(dh), rows = a->kv->k.rows;
	int64_t t0 = i * 64, t1 = t0 + 64 < rows ? t0 + 64 : rows;
	size_t n = (size_t)(rows * ld);
	for (int64_t h = 0; h < heads; h++)
		for (int w = 0; w < 2; w++) {
			af_tensor out = w ? a->dv : a->dk;
			for (int64_t t = t0; t < t1; t++) {
				float *s = a->acc + (size_t)h * 2 * n + (size_t)w * n + t * ld;
				if (!a->nchunks) memset(s, 0, (size_t)dh * 4); // no query
				for (int64_t ch = 1; ch < a->nchunks; ch++)
					a->c->fn->axpy(s, a->acc + (size_t)(ch * heads + h) * 2 * n + (size_t)w * n + t * ld, 1, dh);
				int64_t o = t * out.stride + h * dh;
				if (out.dtype == AF_BF16)
					a->c->fn->to_bf16((bf16 *)out.p + o, s, dh);
				else
					memcpy((float *)out.p + o, s, (size_t)dh * 4);
			}
		}
}

int af_attention_back(af_ctx *c, af_tensor dq, af_tensor dk, af_tensor dv, af_tensor dout, af_tensor o, const float *lse, af_tensor q,
                      const af_kv *kv, const af_tile *tiles, const af_seg *segs, const int32_t *chunk, int64_t nchunks,
                      int64_t qheads, float scale) {
	struct attn_args a = {.c = c, .o = o, .q = q, .dq = dq, .dout = dout, .lse = (float *)lse, .kv = kv, .tiles = tiles, .segs = segs,
	                      .chunk = chunk, .dk = dk, .dv = dv, .nchunks = nchunks, .group = qheads / kv->heads, .scale = scale};
	size_t most = 0;
	for (int64_t i = 0; i < chunk[nchunks]; i++) {
		size_t b = backward_bytes(&a, &tiles[i]);
		most = b > most ? b : most;
	}
	if (af_scratch_all(c, most)) return AF_NOMEM;
	a.acc = af_scratch_get(&c->shared, (size_t)((nchunks ? nchunks : 1) * kv->heads) * 2 * (size_t)(kv->k.rows * pad16(kv->dh)) * 4);
	if (!a.acc) return AF_NOMEM;
	af_run(c, nchunks * kv->heads, back_task, &a);
	af_run(c, (kv->k.rows + 63) / 64, reduce_task, &a);
	return AF_OK;
}

struct transpose_args {
	void *xt;
	int64_t len;
	af_tensor x;
	const int32_t *slots;
};

static void transpose_task(void *arg, int64_t i, int thread) {
	(void)thread;
	struct transpose_args *a = arg;
	int64_t c0 = i * 32, c1 = c0 + 32 < a->x.cols ? c0 + 32 : a->x.cols;
	for (int64_t t0 = 0; t0 < a->x.rows; t0 += 64) {
		int64_t t1 = t0 + 64 < a->x.rows ? t0 + 64 : a->x.rows;
		for (int64_t c = c0; c < c1; c++)
			for (int64_t t = t0; t < t1; t++) {
				if (a->x.dtype == AF_BF16)
					((bf16 *)a->xt)[c * a->len + (a->slots[t] ^ 1)] = ((const bf16 *)a->x.p)[t * a->x.stride + c];
				else
					((float *)a->xt)[c * a->len + a->slots[t]] = ((const float *)a->x.p)[t * a->x.stride + c];
			}
	}
}

int af_transpose(af_ctx *c, void *xt, int64_t slots_len, af_tensor x, const int32_t *slots) {
	struct transpose_args a = {xt, slots_len, x, slots};
	af_run(c, (x.cols + 31) / 32, transpose_task, &a);
	return AF_OK;
}

int af_kv_put(af_ctx *c, const af_kv *kv, af_tensor k, af_tensor v, const int32_t *slots) {
	int64_t es = kv->dtype == AF_BF16 ? 2 : 4;
	for (int64_t t = 0; t < k.rows; t++)
		memcpy((char *)kv->k.p + slots[t] * kv->k.stride * es, (char *)k.p + t * k.stride * es, (size_t)(k.cols * es));
	return af_transpose(c, kv->vt, kv->slots, v, slots);
}

#else

// Lane l of a tile is query row l / group, head h * group + l % group.
#define TOKEN(l) (t->row + (l) / g)
#define COLUMN(l) ((h * g + (l) % g) * dh)

// The lanes of a tile as rows of x that a head has its dh columns of.
AF_INLINE char *AF(lane)(af_tensor x, const af_tile *t, int64_t h, int64_t g, int64_t dh, int64_t l) {
	return (char *)x.p + (TOKEN(l) * x.stride + COLUMN(l)) * (x.dtype == AF_BF16 ? 2 : 4);
}

// The first n <= 16 words at p, then 0.
AF_INLINE vf AF(some_words)(const char *p, int64_t n) {
	vf v = vset1(0);
	if (n == 16) return vload((const float *)p);
	memcpy(&v, p, (size_t)n * 4);
	return v;
}

// x^T of the tile's lanes as a panel for a sum over dh: [dh][lanes] f32, or [dh/2][lanes][2] bf16, words of 32 bits either way. Lanes past the
// tile are 0.
AF_INLINE void AF(pack_lanes)(void *dst, af_tensor x, const af_tile *t, int64_t h, int64_t g, int64_t dh, int64_t lanes) {
	int64_t n = t->rows * g, words = x.dtype == AF_BF16 ? dh / 2 : dh;
	for (int64_t l = 0; l < lanes; l += 16) {
		const char *lane[16];
		for (int k = 0; k < 16; k++) lane[k] = l + k < n ? AF(lane)(x, t, h, g, dh, l + k) : NULL;
		for (int64_t i = 0; i < words; i += 16) {
			int64_t some = min64(16, words - i);
			vf v[16];
			for (int k = 0; k < 16; k++) v[k] = lane[k] ? AF(some_words)(lane[k] + 4 * i, some) : vset1(0);
			AF(transpose16)(v);
			for (int k = 0; k < some; k++) vstore((float *)dst + (i + k) * lanes + l, v[k]);
		}
	}
}

// x of the tile's lanes as a panel for a sum over lanes: [lanes][ld] f32, or [lanes/2][ld][2] bf16; 0 past the tile and past dh.
AF_INLINE void AF(pack_rows)(void *dst, af_tensor x, const af_tile *t, int64_t h, int64_t g, int64_t dh, int64_t ld, int64_t lanes) {
	int64_t n = t->rows * g, es = x.dtype == AF_BF16 ? 2 : 4;
	memset(dst, 0, (size_t)(lanes * ld * es));
	for (int64_t l = 0; l < n; l++) {
		const char *s = AF(lane)(x, t, h, g, dh, l);
		if (x.dtype == AF_F32) {
			memcpy((float *)dst + l * ld, s, (size_t)dh * 4);
			continue;
		}
		uint32_t *d = (uint32_t *)dst + l / 2 * ld;
		for (int64_t i = 0; i < dh; i++) d[i] |= (uint32_t)((const bf16 *)s)[i] << 16 * (l & 1);
	}
}

// out^T [dh, lanes] to rows of x.
AF_INLINE void AF(unpack_lanes)(af_tensor x, const float *src, const af_tile *t, int64_t h, int64_t g, int64_t dh, int64_t lanes) {
	int64_t n = t->rows * g;
	for (int64_t l = 0; l < n; l += 16)
		for (int64_t i = 0; i < dh; i += 16) {
			int64_t some = min64(16, dh - i);
			vf v[16];
			for (int k = 0; k < 16; k++) v[k] = k < some ? vload(src + (i + k) * lanes + l) : vset1(0);
			AF(transpose16)(v);
			for (int k = 0; k < 16 && l + k < n; k++) {
				char *d = AF(lane)(x, t, h, g, dh, l + k);
				if (x.dtype == AF_BF16) {
					bf16 b[16];
					vstore_bf16(b, v[k]);
					memcpy(d + 2 * i, b, (size_t)some * 2);
				} else
					memcpy(d + 4 * i, &v[k], (size_t)some * 4);
			}
		}
}

// Lane l0 + i attends to keys 0..lim[i] of segment i; *all is how many of them every lane of the vector attends to.
AF_INLINE vi AF(limit)(const af_tile *t, int64_t i, af_seg sg, int64_t g, int64_t l0, int64_t *all) {
	static const vi lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
	if (i < t->nseg) {
		int32_t from = sg.to ? (int32_t)(sg.from * g - l0) : 0, to = sg.to ? (int32_t)(sg.to * g - l0) : 16;
		*all = from <= 0 && to >= 16 ? sg.len : 0;
		return ((lane >= from) & (lane < to) & sg.len) - 1;
	}
	int32_t v[16];
	for (int k = 0; k < 16; k++) v[k] = t->before + (int32_t)((l0 + k) / g);
	*all = v[0] + 1;
	vi lim;
	memcpy(&lim, v, 64);
	return lim;
}

// Scores of 16 lanes to weights e^(scale s - max) in place; returns their sum, over keys in order, and the maximum. Keys that a lane does not
// attend to weigh exactly 0.
AF_INLINE vf AF(weights)(const struct attn_args *a, const af_tile *t, int64_t g, float *s, int64_t lanes, int64_t l, vf *max) {
	vf m = vset1(-INFINITY), scale = vset1(a->scale), z = vset1(0);
	for (int pass = 0; pass < 2; pass++) {
		float *p = s;
		for (int64_t i = 0; i <= t->nseg; i++) {
			af_seg sg = segment(a, t, i);
			int64_t l0 = first_lane(sg, g), w = end_lane(sg, g, lanes) - l0, j = 0, all;
			float *q = p + l - l0;
			p += sg.len * w;
			if (l < l0 || l >= l0 + w) continue;
			vi lim = AF(limit)(t, i, sg, g, l, &all);
			if (pass == 0) {
				for (; j < all; j++) m = vmax(m, vload(q + j * w));
				for (; j < sg.len; j++) {
					vf x = vmax(m, vload(q + j * w));
					m = vselect((vi){0} + (int32_t)j > lim, m, x);
				}
			} else {
				for (; j < all; j++) {
					vf e = vexp(vfma(vload(q + j * w), scale, -m));
					vstore(q + j * w, e);
					z = z + e;
				}
				for (; j < sg.len; j++) {
					vf e = vexp(vfma(vload(q + j * w), scale, -m));
					e = vselect((vi){0} + (int32_t)j > lim, vset1(0), e);
					vstore(q + j * w, e);
					z = z + e;
				}
			}
		}
		if (pass == 0) m = m * scale;
	}
	*max = m;
	return z;
}

// Rows of a segment, [len][lanes] f32, as pairs along keys by slot, the later key in the low half, from the even slot at or before
// the first on. Returns that slot in *first and how many slots there are.
AF_INLINE int64_t AF(pair_keys)(uint32_t *pairs, const float *p, int64_t lanes, af_seg sg, int64_t *first) {
	*first = sg.slot & ~(int32_t)1;
	int64_t len = ((sg.slot + sg.len + 1) & ~(int32_t)1) - *first;
	for (int64_t j = 0; j < len; j += 2) {
		int64_t e = *first + j - sg.slot; // the earlier key in the segment; may be -1, and its partner past the end
		for (int64_t l = 0; l < lanes; l += 16) {
			vf early = e >= 0 ? vload(p + e * lanes + l) : vset1(0);
			vf late = e + 1 < sg.len ? vload(p + (e + 1) * lanes + l) : vset1(0);
			vi v = vpair_bf16(late, early);
			memcpy(pairs + j / 2 * lanes + l, &v, 64);
		}
	}
	return len;
}

#define ALIGN(p) ((void *)(((uintptr_t)(p) + 63) & ~(uintptr_t)63))

int AF(attention_tile)(const struct attn_args *a, int64_t ti, int64_t h, void *scratch) {
	const af_kv *kv = a->kv;
	const af_tile *t = &a->tiles[ti];
	int64_t g = a->group, dh = kv->dh, lanes = pad16(t->rows * g), scores = scores_of(a, t);
	int b16 = kv->dtype == AF_BF16, kind = b16 ? TILE_B : TILE_F;
	int64_t es = b16 ? 2 : 4;
	char *panel = ALIGN(scratch);
	float *s = ALIGN(panel + lanes * dh * es);
	uint32_t *pairs = ALIGN((char *)s + scores * 4);
	float *out = b16 ? ALIGN((char *)pairs + (scores + 4 * lanes) * 2) : (float *)pairs;
	float *sum = out + lanes * dh;
	AF(pack_lanes)(panel, a->q, t, h, g, dh, lanes);
	float *p = s;
	for (int64_t i = 0; i <= t->nseg; i++) {
		af_seg sg = segment(a, t, i);
		int64_t l0 = first_lane(sg, g), w = end_lane(sg, g, lanes) - l0;
		AF(tile)(kind, sg.len, w, dh, (const char *)kv->k.p + (sg.row * kv->k.stride + h * dh) * es, kv->k.stride, panel + l0 * 4, lanes, p, w, 0);
		p += sg.len * w;
	}
	for (int64_t l = 0; l < lanes; l += 16) {
		vf m, z = AF(weights)(a, t, g, s, lanes, l, &m);
		vstore(sum + l, z);
		float mv[16], zv[16];
		vstore(mv, m);
		vstore(zv, z);
		for (int64_t i = 0; i < 16 && l + i < t->rows * g; i++)
			a->lse[TOKEN(l + i) * (kv->heads * g) + h * g + (l + i) % g] = mv[i] + logf(zv[i]);
	}
	memset(out, 0, (size_t)(lanes * dh) * 4);
	p = s;
	for (int64_t i = 0; i <= t->nseg; i++) {
		af_seg sg = segment(a, t, i);
		int64_t first = sg.slot, len = sg.len, l0 = first_lane(sg, g), w = end_lane(sg, g, lanes) - l0;
		const float *b = p;
		if (b16) {
			len = AF(pair_keys)(pairs, p, w, sg, &first);
			b = (const float *)pairs;
		}
		AF(tile)(kind, dh, w, len, (const char *)kv->vt + (h * dh * kv->slots + first) * es, kv->slots, b, w, out + l0, lanes, 1);
		p += sg.len * w;
	}
	for (int64_t i = 0; i < dh; i++)
		for (int64_t l = 0; l < lanes; l += 16) vstore(out + i * lanes + l, vload(out + i * lanes + l) / vload(sum + l));
	AF(unpack_lanes)(a->o, out, t, h, g, dh, lanes);
	return AF_OK;
}

int AF(attention_back_tile)(const struct attn_args *a, int64_t ti, int64_t h, float *dk, float *dv, void *scratch) {
	const af_kv *kv = a->kv;
	const af_tile *t = &a->tiles[ti];
	int64_t g = a->group, dh = kv->dh, ld = pad16(dh), lanes = pad16(t->rows * g), keys = t->keys;
	int b16 = kv->dtype == AF_BF16, kind = b16 ? TILE_B : TILE_F;
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
		AF(tile)(kind, sg.len, lanes, dh, (const char *)kv->k.p + (sg.row * kv->k.stride + h * dh) * es, kv->k.stride, qp, lanes,
		         s + k * lanes, lanes, 0);
		AF(tile)(kind, sg.len, lanes, dh, (const char *)kv->v.p + (sg.row * kv->v.stride + h * dh) * es, kv->v.stride, dop, lanes,
		         dp + k * lanes, lanes, 0);
		k += sg.len;
	}
	for (int64_t l = 0; l < lanes; l += 16) {
		vf m, inv = 1.0f / AF(weights)(a, t, g, s, lanes, l, &m), sum = vset1(0), scale = vset1(a->scale);
		for (int64_t i = t->rows * g - l; i < 16; i++) inv[i] = 0; // lanes past the tile
		for (int64_t j = 0; j < keys; j++) {
			vf p = vload(s + j * lanes + l) * inv;
			vstore(s + j * lanes + l, p);
			sum = vfma(p, vload(dp + j * lanes + l), sum);
		}
		for (int64_t j = 0; j < keys; j++) {
			vf p = vload(s + j * lanes + l), d = p * (vload(dp + j * lanes + l) - sum) * scale;
			vstore(dp + j * lanes + l, d);
			if (b16) {
				vstore_bf16(p16 + j * lanes + l, p);
				vstore_bf16(ds16 + j * lanes + l, d);
			}
		}
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
		AF(tile)(kind, dh, lanes, len, (const char *)kv->kt + (h * dh * kv->slots + first) * es, kv->slots, b, lanes, dq, lanes, i > 0);
		k += sg.len;
	}
	AF(unpack_lanes)(a->dq, dq, t, h, g, dh, lanes);
	return AF_OK;
}
#undef TOKEN
#undef COLUMN
#undef ALIGN
#endif
