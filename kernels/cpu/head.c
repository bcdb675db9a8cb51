// Log-probs of target tokens from hidden states, tile by tile over the vocabulary (the logits of a tile of 256 tokens and a few rows
// are all that exists of them), with what the gradient needs formed in the same pass, as in flash attention with W as keys and
// values: ew = sum_v p_v W_v, kept unnormalised under a running maximum and divided at the end. The backward pass is then a few
// vector operations per row; three products in all (forward, ew, and the reference's forward) instead of four.
//
// With z the logits times 1/temperature, m their maximum, s = sum_v e^(z_v - m), t = sum_v e^(z_v - m) (z_v - m):
//	lse = m + log s,  lp = z_token - lse,  H = log s - t/s
//
// Each tile has its own maximum and its own sums, which are added to the running ones as both are brought to the larger maximum (Milakov and
// Gimelshein 2018): the sampler, whose threads take tiles instead of rows, adds up the same numbers in the same order.
#ifndef AF_LEVEL
#define AF_SELF "head.c"
#include "pool.h"
#include <float.h>
#include "multi.h"

enum {
	TILE = 256,             // tokens
	PANEL = 64,             // of them that lie side by side in W, and columns of W's tile turned
	ROWS = 48,              // hidden rows whose logits exist at a time
	MANY = 512,             // hidden rows that a thread takes through the vocabulary
	WIDE_BYTES = 768 << 10, // of hidden rows whose logits exist at a time, where they and W are widened (tile.c)
};

// Logits of tokens v0.. (at most `most` of a tile) for rows of ldx elements, of a kind of tile.c, into z [rows, TILE]; returns the padded width.
// Columns past V are -inf after head_scale.
static int64_t logits_of(af_ctx *c, int kind, const af_matrix *w, int64_t v0, int64_t most, const void *x, int64_t ldx, int64_t rows, float *z) {
	int64_t width = min64(most, pad16(w->n) - v0);
	for (int64_t j = 0; j < width; j += PANEL) {
		int64_t pw = min64(PANEL, width - j);
		c->fn->tile(kind | TILE_AHEAD, rows, pw, w->k, x, ldx, panel_at(w, v0 + j), pw, z + j, TILE, 0);
	}
	return width;
}

static int64_t tile_logits(af_ctx *c, const af_matrix *w, int64_t v0, af_tensor h, int64_t r0, int64_t rows, float *z) {
	return logits_of(c, kind_of(h.dtype, w->dtype), w, v0, TILE, at(h, r0, 0), h.stride, rows, z);
}

// The running maximum and sums of a row.
struct row_state {
	double s, t;
	float m;
};

// What a tile of maximum m does to a row: the running sums times *by, the tile's times *f, under the larger maximum.
static void lift(af_ctx *c, struct row_state *x, float m, float *by, float *f) {
	*by = *f = 1;
	if (m > x->m) {
		*by = x->m == -INFINITY ? 0 : c->fn->exp1(x->m - m);
		x->t = *by * (x->t + (x->m == -INFINITY ? 0 : x->m - m) * x->s);
		x->s *= *by;
		x->m = m;
	} else if (m < x->m)
		*f = c->fn->exp1(m - x->m);
}

// Adds a tile's sums, under its maximum m and times f under x's. f and s are floats, their product exact: a compiler that contracts it with the sum
// here and not there still gives trainer and sampler the same bits.
static void add_sums(struct row_state *x, float m, double f, double s, double t) {
	x->s += f * s;
	x->t += f * (t + (double)(m - x->m) * s);
}

struct head_args {
	af_ctx *c;
	af_tensor h, ew, elw, dw, dh;
	const af_matrix *w;
	const int32_t *first, *tokens;
	float inv_temp;
	float *lp, *entropy, *lse;
	const float *g, *dent;
	int64_t chunk; // rows per task
	int64_t rows;  // of them whose logits exist at a time
	int wide;      // hidden rows are widened first, and their weights are f32
};

// A tile of vocabulary for some rows: where their logits and weights are, and W's tile turned.
struct head_tile {
	int64_t v0, valid, width; // tokens, padded
	float *z;                 // logits [rows, TILE]
	char *p, *q;              // weights e^(z - m), and those times z - m, as operands of a product
	int64_t es;               // their elements' size
};

// Row r of the task takes its logits of a tile: targets' log-probs, running sums, and the tile's weights beside them.
static void head_row(const struct head_args *a, const struct head_tile *h, int64_t r, int64_t i, struct row_state *x) {
	af_ctx *c = a->c;
	int need = a->ew.p != NULL, need2 = a->elw.p != NULL;
	float *zr = h->z + i * TILE, m = c->fn->head_scale(zr, h->width, h->valid, a->inv_temp), was = x->m, by, f;
	for (int64_t t = a->first[r]; t < a->first[r + 1]; t++)
		if (a->tokens[t] >= h->v0 && a->tokens[t] < h->v0 + h->valid) a->lp[t] = zr[a->tokens[t] - h->v0];
	lift(c, x, m, &by, &f);
	float *ew = need ? (float *)at(a->ew, r, 0) : NULL, *elw = need2 ? (float *)at(a->elw, r, 0) : NULL;
	if (need2 && by != 1) {
		c->fn->axpy(elw, ew, by ? was - m : 0, a->w->k);
		c->fn->scale(elw, by, a->w->k);
	}
	if (need && by != 1) c->fn->scale(ew, by, a->w->k);
	double ts, tt;
	ts = c->fn->head_weights(zr, h->width, m, m - x->m, f, &tt, need ? h->p + i * TILE * h->es : NULL, need2 ? h->q + i * TILE * h->es : NULL, h->es == 2);
	add_sums(x, m, f, ts, tt);
}

// Row r at the end of the vocabulary: sums become statistics.
static void head_finish(const struct head_args *a, int64_t r, const struct row_state *x) {
	af_ctx *c = a->c;
	double ls = log(x->s);
	a->lse[r] = (float)(x->m + ls);
	a->entropy[r] = (float)(ls - x->t / x->s);
	for (int64_t t = a->first[r]; t < a->first[r + 1]; t++) a->lp[t] = (float)(((double)a->lp[t] - x->m) - ls);
	if (a->elw.p) { // sum p (z - m) W  ->  sum p log p W
		c->fn->scale((float *)at(a->elw, r, 0), (float)(1 / x->s), a->w->k);
		c->fn->axpy((float *)at(a->elw, r, 0), (const float *)at(a->ew, r, 0), (float)(-ls / x->s), a->w->k);
	}
	if (a->ew.p) c->fn->scale((float *)at(a->ew, r, 0), (float)(1 / x->s), a->w->k);
}

static void head_task(void *arg, int64_t i, int thread) {
	struct head_args *a = arg;
	af_ctx *c = a->c;
	const af_matrix *w = a->w;
	int b16 = a->h.dtype == AF_BF16 && !a->wide, kind = a->wide ? TILE_X : kind_of(a->h.dtype, w->dtype);
	int64_t r0 = i * a->chunk, r1 = min64(r0 + a->chunk, a->h.rows), d = w->k, dpad = pad16(d), es = b16 ? 2 : 4, ldx = a->wide ? dpad + 16 : a->h.stride;
	struct row_state *st = c->scratch[thread].p;
	struct head_tile h = {.z = (float *)(((uintptr_t)(st + a->chunk) + 63) & ~(uintptr_t)63), .es = es};
	h.p = (char *)(h.z + a->rows * TILE);
	h.q = h.p + a->rows * TILE * es;
	char *back = h.q + a->rows * TILE * es; // W's tile, for the product by weights
	float *wide = (float *)(back + TILE * dpad * es);
	for (int64_t r = r0; r < r1; r++) {
		st[r - r0] = (struct row_state){0, 0, -INFINITY};
		if (a->ew.p) memset(at(a->ew, r, 0), 0, (size_t)dpad * 4);
		if (a->elw.p) memset(at(a->elw, r, 0), 0, (size_t)dpad * 4);
	}
	for (h.v0 = 0; h.v0 < w->n; h.v0 += TILE) {
		h.valid = min64(TILE, w->n - h.v0);
		for (int64_t rb = r0; rb < r1; rb += a->rows) {
			int64_t rows = min64(a->rows, r1 - rb);
			for (int64_t r = 0; r < rows && a->wide; r++) c->fn->to_f32(wide + r * ldx, (const bf16 *)at(a->h, rb + r, 0), d);
			h.width = logits_of(c, kind, w, h.v0, TILE, a->wide ? wide : (const void *)at(a->h, rb, 0), ldx, rows, h.z);
			for (int64_t r = 0; r < rows; r++) head_row(a, &h, rb + r, r, &st[rb - r0 + r]);
			for (int64_t k0 = 0; a->ew.p && k0 < d; k0 += PANEL) {
				int64_t kw = min64(PANEL, dpad - k0);
				void *panel = back + k0 * TILE * es;
				if (rb == r0) c->fn->panel_back(panel, b16, kw, w, h.v0, h.v0 + h.valid, k0); // W's tile is near now
				c->fn->tile(b16 ? TILE_B : TILE_F, rows, kw, h.valid, h.p, TILE, panel, kw, (float *)at(a->ew, rb, k0), a->ew.stride, 1);
				if (a->elw.p)
					c->fn->tile(b16 ? TILE_B : TILE_F, rows, kw, h.valid, h.q, TILE, panel, kw, (float *)at(a->elw, rb, k0), a->elw.stride, 1);
			}
		}
	}
	for (int64_t r = r0; r < r1; r++) head_finish(a, r, &st[r - r0]);
}

int af_head(af_ctx *c, af_tensor h, const af_matrix *w, const int32_t *first, const int32_t *tokens, float inv_temp, float *lp,
            float *entropy, float *lse, af_tensor ew, af_tensor elw) {
	struct head_args a = {.c = c, .h = h, .ew = ew, .elw = elw, .w = w, .first = first, .tokens = tokens, .inv_temp = inv_temp,
	                      .lp = lp, .entropy = entropy, .lse = lse};
	// A thread takes its rows through the vocabulary at once, so that W is read from memory rarely, but no more of them than its caches hold
	// with their sums; where they are many, a multiple of the 6 rows that a block of a product has.
	int64_t parts = c->threads * ((h.rows + c->threads * MANY - 1) / (c->threads * MANY));
	a.chunk = parts ? (h.rows + parts - 1) / parts : 1;
	if (a.chunk >= 4 * ROWS) a.chunk = (a.chunk + 5) / 6 * 6;
	a.rows = ROWS;
	if (af_widens(c) && w->dtype == AF_BF16) { // W is widened for all rows of a time at once: more of them, as many as a cache holds
		a.wide = h.dtype == AF_BF16;
		int64_t most = min64(4 * ROWS, max64(ROWS, WIDE_BYTES / (4 * w->k))), times = (a.chunk + most - 1) / most;
		a.rows = min64(most, ((a.chunk + times - 1) / times + 5) / 6 * 6);
	}
	int64_t es = a.wide ? 4 : size_of(h.dtype);
	size_t bytes = (size_t)a.chunk * sizeof(struct row_state) + 64 + (size_t)(a.rows * TILE * (4 + 2 * es));
	if (ew.p || a.wide) bytes += (size_t)(TILE * pad16(w->k) * es);
	if (a.wide) bytes += (size_t)(a.rows * (pad16(w->k) + 16)) * 4;
	if (af_scratch_all(c, bytes)) return AF_NOMEM;
	af_run(c, (h.rows + a.chunk - 1) / a.chunk, head_task, &a);
	return AF_OK;
}

// The gradient of all neighbours from target t on, before end, that predict the same token; t is then the next one. In double: what cancels leaves
// nothing.
static float gradient(const struct head_args *a, int64_t *t, int64_t end) {
	int32_t token = a->tokens[*t];
	double g = 0;
	for (; *t < end && a->tokens[*t] == token; ++*t) g += a->g[*t];
	return (float)g;
}

static void head_back_task(void *arg, int64_t i, int thread) {
	struct head_args *a = arg;
	af_ctx *c = a->c;
	int64_t d = a->w->k;
	float *acc = c->scratch[thread].p, *row = acc + pad16(d);
	for (int64_t r = i * 16, e = min64(r + 16, a->dh.rows); r < e; r++) {
		memset(acc, 0, (size_t)d * 4);
		float sum = 0;
		for (int64_t t = a->first[r], end = a->first[r + 1]; t < end;) {
			int32_t token = a->tokens[t];
			float g = gradient(a, &t, end);
			if (g == 0) continue;
			af_matrix_row(a->w, token, row);
			c->fn->axpy(acc, row, g * a->inv_temp, d);
			sum += g;
		}
		const float *ew = (const float *)at(a->ew, r, 0);
		float by = -sum;
		if (a->dent && a->elw.p) {
			by -= a->dent[r] * a->entropy[r];
			c->fn->axpy(acc, (const float *)at(a->elw, r, 0), -a->dent[r] * a->inv_temp, d);
		}
		c->fn->axpy(acc, ew, by * a->inv_temp, d);
		if (a->dh.dtype == AF_BF16)
			c->fn->to_bf16((bf16 *)at(a->dh, r, 0), acc, d);
		else
			memcpy((void *)at(a->dh, r, 0), acc, (size_t)d * 4);
	}
}

int af_head_back(af_ctx *c, af_tensor dh, const af_matrix *w, const int32_t *first, const int32_t *tokens, const float *g,
                 const float *dent, const float *entropy, af_tensor ew, af_tensor elw, float inv_temp) {
	struct head_args a = {.c = c, .dh = dh, .w = w, .first = first, .tokens = tokens, .g = g, .dent = dent, .entropy = (float *)entropy,
	                      .ew = ew, .elw = elw, .inv_temp = inv_temp};
	if (af_scratch_all(c, (size_t)pad16(w->k) * 8)) return AF_NOMEM;
	af_run(c, (dh.rows + 15) / 16, head_back_task, &a);
	return AF_OK;
}

// One tile of tokens: its rows of dw belong to this task alone.
static void grad_weight_task(void *arg, int64_t i, int thread) {
	struct head_args *a = arg;
	af_ctx *c = a->c;
	const af_matrix *w = a->w;
	int64_t v0 = i * TILE, valid = min64(TILE, w->n - v0), d = w->k, dpad = pad16(d);
	float *z = c->scratch[thread].p, *turned = z + ROWS * TILE, *x = turned + ROWS * TILE, *acc = x + ROWS * dpad;
	for (int64_t v = 0; v < valid; v++) {
		memcpy(acc + v * dpad, at(a->dw, v0 + v, 0), (size_t)d * 4);
		memset(acc + v * dpad + d, 0, (size_t)(dpad - d) * 4);
	}
	for (int64_t rb = 0; rb < a->h.rows; rb += ROWS) {
		int64_t rows = min64(ROWS, a->h.rows - rb), width = tile_logits(c, w, v0, a->h, rb, rows, z);
		for (int64_t r = 0; r < rows; r++) {
			float *zr = z + r * TILE, sum = 0, de = a->dent ? a->dent[rb + r] : 0, lse = a->lse[rb + r], en = a->dent ? a->entropy[rb + r] : 0;
			int64_t first = a->first[rb + r], end = a->first[rb + r + 1];
			for (int64_t t = first; t < end;) sum += gradient(a, &t, end);
			c->fn->head_scale(zr, width, valid, a->inv_temp);
			c->fn->head_gradient(zr, width, lse, en, -sum * a->inv_temp, -de * a->inv_temp);
			for (int64_t t = first; t < end;) {
				int32_t token = a->tokens[t];
				float g = gradient(a, &t, end);
				if (token >= v0 && token < v0 + valid) zr[token - v0] += g * a->inv_temp;
			}
			if (a->h.dtype == AF_BF16)
				c->fn->to_f32(x + r * dpad, (const bf16 *)at(a->h, rb + r, 0), d);
			else
				memcpy(x + r * dpad, at(a->h, rb + r, 0), (size_t)d * 4);
			memset(x + r * dpad + d, 0, (size_t)(dpad - d) * 4);
		}
		struct words dz = {.x = {.p = z, .rows = rows, .cols = valid, .stride = TILE, .dtype = AF_F32}, .cols = valid, .rows = rows, .scale = 1};
		c->fn->words_turned((uint32_t *)turned, ROWS, &dz);
		c->fn->tile(TILE_F, valid, dpad, rows, turned, ROWS, x, dpad, acc, dpad, 1);
	}
	for (int64_t v = 0; v < valid; v++) memcpy((void *)at(a->dw, v0 + v, 0), acc + v * dpad, (size_t)d * 4);
}

int af_head_grad_weight(af_ctx *c, af_tensor dw, af_tensor h, const af_matrix *w, const int32_t *first, const int32_t *tokens,
                        const float *g, const float *dent, const float *entropy, const float *lse, float inv_temp) {
	struct head_args a = {.c = c, .dw = dw, .h = h, .w = w, .first = first, .tokens = tokens, .g = g, .dent = dent,
	                      .entropy = (float *)entropy, .lse = (float *)lse, .inv_temp = inv_temp};
	if (af_scratch_all(c, (size_t)(2 * ROWS * TILE + (ROWS + TILE) * pad16(w->k)) * 4)) return AF_NOMEM;
	af_run(c, (w->n + TILE - 1) / TILE, grad_weight_task, &a);
	return AF_OK;
}

// ---- sampling: threads take tiles, of which only the maxima and sums stay; a row's logits are formed again in the one tile that it draws from

struct sample_args {
	af_ctx *c;
	af_tensor h;
	const af_matrix *w;
	const double *temperature, *u;
	int32_t *token;
	float *lp;
	float *top;  // [tiles, rows]
	double *sum; // [tiles, rows]
	int64_t tiles;
};

static float row_scale(const struct sample_args *a, int64_t r) { return a->temperature[r] > 0 ? (float)(1 / a->temperature[r]) : 1; }

static void sums_task(void *arg, int64_t i, int thread) {
	struct sample_args *a = arg;
	af_ctx *c = a->c;
	float *z = c->scratch[thread].p;
	int64_t n = a->h.rows, v0 = i * TILE, valid = min64(TILE, a->w->n - v0);
	double tz;
	for (int64_t rb = 0; rb < n; rb += ROWS) {
		int64_t rows = min64(ROWS, n - rb), width = tile_logits(c, a->w, v0, a->h, rb, rows, z);
		for (int64_t r = 0; r < rows; r++) {
			float m = c->fn->head_scale(z + r * TILE, width, valid, row_scale(a, rb + r));
			a->top[i * n + rb + r] = m;
			a->sum[i * n + rb + r] = c->fn->head_weights(z + r * TILE, width, m, 0, 1, &tz, NULL, NULL, 0);
		}
	}
}

static void draw_task(void *arg, int64_t r, int thread) {
	struct sample_args *a = arg;
	af_ctx *c = a->c;
	const af_matrix *w = a->w;
	int64_t n = a->h.rows, i = 0;
	struct row_state x = {0, 0, -INFINITY};
	for (int64_t k = 0; k < a->tiles; k++) { // as head_task does it
		float by, f, m = a->top[k * n + r];
		if (m > x.m) i = k; // the first of the likeliest
		lift(c, &x, m, &by, &f);
		add_sums(&x, m, f, a->sum[k * n + r], 0);
	}
	int warm = a->temperature[r] > 0;
	double want = warm ? a->u[r] * x.s : 0, have = 0;
	if (warm) {
		int64_t last = 0;
		for (i = 0; i < a->tiles; i++) {
			double mass = a->sum[i * n + r] * (double)c->fn->exp1(a->top[i * n + r] - x.m);
			if (mass > 0) last = i;
			if (have + mass > want) break;
			have += mass;
		}
		if (i == a->tiles) i = last; // the sums of sums differ in their last bits
	}
	float *z = c->scratch[thread].p, logit = NAN;
	int64_t v0 = i * TILE, end = min64(v0 + TILE, w->n), token = end - 1;
	for (int64_t v = v0; v < end; v++) {
		int64_t j = (v - v0) % PANEL;
		if (j == 0) { // W is read no further than the token
			int64_t width = logits_of(c, kind_of(a->h.dtype, w->dtype), w, v, PANEL, at(a->h, r, 0), a->h.stride, 1, z);
			c->fn->head_scale(z, width, width, row_scale(a, r)); // what is past V is not looked at
		}
		double p = warm ? c->fn->exp1(z[j] - x.m) : z[j] == x.m;
		if (!(p > 0)) continue;
		token = v; // if sums differ in their last bits, the last that has any weight
		logit = z[j];
		have += p;
		if (have > want) break;
	}
	a->token[r] = (int32_t)token;
	a->lp[r] = (float)(((double)logit - x.m) - log(x.s));
}

int af_sample(af_ctx *c, af_tensor h, const af_matrix *w, const double *temperature, const double *u, int32_t *token, float *lp) {
	struct sample_args a = {.c = c, .h = h, .w = w, .temperature = temperature, .u = u, .token = token, .lp = lp};
	a.tiles = (w->n + TILE - 1) / TILE;
	int wide = af_widens(c) && h.dtype == AF_BF16 && w->dtype == AF_BF16; // hidden rows are widened once for all tiles
	char *p = af_scratch_get(&c->shared, (size_t)(h.rows * a.tiles) * 12 + (wide ? af_widened_len(h) * 4 : 0));
	if (!p || af_scratch_all(c, ROWS * TILE * 4)) return AF_NOMEM;
	a.sum = (double *)p;
	a.top = (float *)(a.sum + h.rows * a.tiles);
	if (wide) a.h = af_widened(c, a.top + h.rows * a.tiles, h);
	af_run(c, a.tiles, sums_task, &a);
	af_run(c, h.rows, draw_task, &a);
	return AF_OK;
}

#else

// z[0..n) *= inv_temp, -inf from `valid` on; returns the maximum. n a multiple of 16.
float AF(head_scale)(float *z, int64_t n, int64_t valid, float inv_temp) {
	vf m = vset1(-FLT_MAX), s = vset1(inv_temp); // never -inf: what differs from it stays a number
	for (int64_t j = 0; j < n; j += VL) {
		vf x = vload(z + j) * s;
		if (j + VL > valid)
			for (int64_t i = 0; i < VL; i++)
				if (j + i >= valid) x[i] = -INFINITY;
		vstore(z + j, x);
		m = vmax(x, m);
	}
	return vhmax(m);
}

// Sum of e = exp(z - m); *tz = sum of e (z - m); p = e f and q = e f (z - m + gap) as operands of a product, where not NULL.
double AF(head_weights)(const float *z, int64_t n, float m, float gap, float f, double *tz, void *p, void *q, int is_bf16) {
	vf s = vset1(0), t = vset1(0), mv = vset1(m), floor = vset1(-1e4f), fv = vset1(f), gv = vset1(gap);
	for (int64_t j = 0; j < n; j += VL) {
		vf x = vload(z + j) - mv, e = vexp2(x * 1.44269504088896341f);
		x = vmax(x, floor); // -inf (past the vocabulary) has weight 0
		s = s + e;
		t = t + e * x;
		e = e * fv;
		if (p) {
			if (is_bf16)
				vstore_bf16((bf16 *)p + j, e);
			else
				vstore((float *)p + j, e);
		}
		if (q) {
			vf ex = e * (x + gv);
			if (is_bf16)
				vstore_bf16((bf16 *)q + j, ex);
			else
				vstore((float *)q + j, ex);
		}
	}
	*tz = vsum(t);
	return vsum(s);
}

// z = p (a + b (log p + entropy)) with log p = z - lse, p = exp(log p). n a multiple of 16.
void AF(head_gradient)(float *z, int64_t n, float lse, float entropy, float a, float b) {
	for (int64_t j = 0; j < n; j += VL) {
		vf lp = vload(z + j) - lse;
		vstore(z + j, vexp(lp) * (a + b * (lp + entropy)));
	}
}

float AF(exp1)(float x) { return vexp(vset1(x))[0]; }

void AF(scale)(float *y, float a, int64_t n) {
	int64_t i = 0;
	vf v = vset1(a);
	for (; i + VL <= n; i += VL) vstore(y + i, vload(y + i) * v);
	for (; i < n; i++) y[i] *= a;
}
#endif
