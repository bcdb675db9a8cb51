// Dense products on packed weights: forward and by the input. Contracts in af.h; the inner product is tile.c.
#include "pool.h"
#include "isa.h"
#include "products.h"

enum {
	ROWS = 48,               // of x per pass: its block of y (48 x 64 f32) stays in the first-level cache
	LONG_ROWS = 480,         // the same where a panel is cut along its sum, and the block waits in the second level
	PANEL_BYTES = 768 << 10, // of a panel that is streamed in one piece
	LIBRARY_ROWS = 128,      // from which on the product library, where it is chosen, takes a product
	WIDE_ROWS = 256,         // of x that are widened at a time, with
	WIDE_PART = 512,         // terms of the sum, for
	WIDE_RUN = 8,            // panels: all in a second-level cache of 1 MiB, most of it in one of 512 KiB
	NARROW = 128,            // outputs that are too few to widen x for
	NEAR_BYTES = 1 << 20,    // of a weight that stays in a cache of a thread's own
};

// Parts that a sum over n terms of a panel is cut into: it depends on nothing but n and the element's size.
static int64_t part_len(int64_t n, int64_t es) {
	int64_t parts = (n * 64 * es + PANEL_BYTES - 1) / PANEL_BYTES;
	return ((n + parts - 1) / parts + 63) & ~(int64_t)63;
}

// Whether tasks go through a weight's panels within a block of rows, not through the rows within panels: a weight that stays near is read
// again for nothing, and a thread meets its own rows in every operation.
static int rows_first(const af_matrix *w) { return w->n * w->k * size_of(w->dtype) <= NEAR_BYTES; }

// Task i of blocks of rows times runs of panels.
struct place {
	int64_t block, run;
};

static struct place place_of(const af_matrix *w, int64_t i, int64_t blocks, int64_t runs) {
	return rows_first(w) ? (struct place){i / runs, i % runs} : (struct place){i % blocks, i / blocks};
}

// Blocks of rows (or of columns) that are equal, of at most `most` of them, in multiples of `unit`, a multiple of `parts` of them.
static int64_t equal_blocks(int64_t rows, int64_t most, int64_t parts, int64_t unit) {
	int64_t blocks = max64(1, (rows + most * parts - 1) / (most * parts) * parts);
	return max64(unit, ((rows + blocks - 1) / blocks + unit - 1) / unit * unit);
}

// y[t0.., n0..n0+n] = (or +=) buf (+ bias), buf of row width w.
static void put(af_ctx *c, af_tensor y, int64_t t0, int64_t rows, int64_t n0, int64_t n, const float *buf, int64_t w,
                const float *bias, int add) {
	c->fn->put_rows(at(y, t0, n0), y.dtype == AF_BF16, y.stride, rows, n, buf, w, bias ? bias + n0 : NULL, add);
}

// Brings near what put will write: rows so far apart are nothing that a processor foresees.
static void fetch_rows(af_tensor y, int64_t t0, int64_t rows, int64_t n0, int64_t n) {
	for (int64_t r = 0; r < rows; r++) {
		const char *p = at(y, t0 + r, n0), *e = p + n * size_of(y.dtype);
		for (; p < e; p += 64) __builtin_prefetch(p, 1, 2);
	}
}

// A product. For the backward one y is dx, x dy, u du, w W and b A.
struct linear_args {
	af_ctx *c;
	af_tensor y, x, u;
	const af_matrix *w, *b;
	const float *bias;
	int add;
	int64_t panels, block, part; // tasks: panels x blocks of rows; terms per part of a sum
};

static int64_t row_blocks(const struct linear_args *a) { return (a->x.rows + a->block - 1) / a->block; }

static void linear_task(void *arg, int64_t i, int thread) {
	const struct linear_args *a = arg;
	af_ctx *c = a->c;
	const af_matrix *w = a->w;
	struct place place = place_of(w, i, row_blocks(a), a->panels);
	int64_t n0 = place.run * 64, t0 = place.block * a->block, t1 = min64(t0 + a->block, a->x.rows);
	int64_t width = min64(pad16(w->n) - n0, 64), n = min64(w->n - n0, width);
	const char *panel = panel_at(w, n0);
	int64_t step = a->part < w->k ? LONG_ROWS : ROWS;
	int64_t eb = size_of(w->dtype); // bytes of a panel per k and output
	int ahead = a->x.rows <= ROWS ? TILE_AHEAD : 0; // a panel is used once, and memory would be waited for
	float local[ROWS * 64] __attribute__((aligned(64)));
	float *buf = step == ROWS ? local : c->scratch[thread].p;
	int direct = a->y.dtype == AF_F32 && !a->add && !a->bias && n == width && step == ROWS;
	for (int64_t t = t0; t < t1; t += step) {
		int64_t rows = min64(step, t1 - t);
		float *out = direct ? (float *)at(a->y, t, n0) : buf;
		int64_t ldo = direct ? a->y.stride : width;
		fetch_rows(a->y, t, rows, n0, n);
		for (int64_t k = 0; k < w->k; k += a->part)
			c->fn->tile(kind_of(a->x.dtype, w->dtype) | ahead, rows, width, min64(a->part, w->k - k), at(a->x, t, k), a->x.stride,
			            panel + k * width * eb, width, out, ldo, k > 0);
		if (a->b)
			c->fn->tile(kind_of(a->u.dtype, a->b->dtype), rows, width, a->b->k, at(a->u, t, 0), a->u.stride,
			            panel_at(a->b, n0), width, out, ldo, 1);
		if (!direct) put(c, a->y, t, rows, n0, n, buf, width, a->bias, a->add);
	}
}

// ---- where bf16 is widened (tile.c): x's rows once for a run of panels, a part of the sum at a time

enum { WIDE_LD = WIDE_PART + 16 }; // of widened rows: a power of two would put them all in the same sets of the cache

struct wide_args {
	struct linear_args to;
	int back;
	int64_t terms, outputs; // of the sum; columns of y
	int64_t run;            // columns per task
};

static size_t wide_bytes(const struct wide_args *a) {
	return (size_t)(WIDE_ROWS * WIDE_LD + WIDE_RUN * WIDE_ROWS * 64) * 4 + (a->back ? (size_t)max64(WIDE_PART, a->to.b ? pad16(a->to.b->n) : 0) * 64 * 2 : 0);
}

static int64_t wide_runs(const struct wide_args *a) { return (a->outputs + a->run - 1) / a->run; }

static void wide_task(void *arg, int64_t i, int thread) {
	const struct wide_args *a = arg;
	const struct linear_args *l = &a->to;
	af_ctx *c = l->c;
	af_tensor x = l->x;
	struct place place = place_of(l->w, i, row_blocks(l), wide_runs(a));
	int64_t t0 = place.block * l->block, rows = min64(l->block, x.rows - t0);
	int64_t n0 = place.run * a->run, n1 = min64(n0 + a->run, a->outputs);
	float *wide = c->scratch[thread].p, *out = wide + WIDE_ROWS * WIDE_LD;
	void *turned = out + WIDE_RUN * WIDE_ROWS * 64;
	int plain = x.dtype == AF_F32, direct = l->y.dtype == AF_F32 && !l->add && !l->bias && (a->outputs & 15) == 0;
	for (int64_t k = 0; k < a->terms; k += WIDE_PART) {
		int64_t len = min64(WIDE_PART, a->terms - k);
		for (int64_t r = 0; r < rows && !plain; r++) c->fn->to_f32(wide + r * WIDE_LD, (const bf16 *)at(x, t0 + r, k), len);
		for (int64_t n = n0; n < n1; n += 64) {
			int64_t width = min64(pad16(a->outputs) - n, 64);
			const void *panel = turned;
			if (a->back)
				c->fn->panel_back(turned, 1, width, l->w, k, k + len, n);
			else
				panel = (const bf16 *)panel_at(l->w, n) + k * width;
			float *to = direct ? (float *)at(l->y, t0, n) : out + (n - n0) * WIDE_ROWS;
			c->fn->tile(TILE_X, rows, width, len, plain ? (const void *)at(x, t0, k) : wide, plain ? x.stride : WIDE_LD, panel, width, to,
			            direct ? l->y.stride : width, k > 0);
		}
	}
	for (int64_t n = n0; n < n1; n += 64) {
		int64_t width = min64(pad16(a->outputs) - n, 64), valid = min64(a->outputs - n, width);
		float *to = direct ? (float *)at(l->y, t0, n) : out + (n - n0) * WIDE_ROWS;
		if (!direct) fetch_rows(l->y, t0, rows, n, valid);
		if (l->b && a->back) c->fn->panel_back(turned, 1, width, l->b, 0, l->b->n, n);
		if (l->b)
			c->fn->tile(kind_of(l->u.dtype, l->b->dtype), rows, width, a->back ? l->b->n : l->b->k, at(l->u, t0, 0), l->u.stride,
			            a->back ? turned : panel_at(l->b, n), width, to, direct ? l->y.stride : width, 1);
		if (!direct) put(c, l->y, t0, rows, n, valid, to, width, l->bias, l->add);
	}
}

static int wide_run(struct wide_args *a) {
	struct linear_args *l = &a->to;
	l->block = min64(WIDE_ROWS, equal_blocks(l->x.rows, WIDE_ROWS, rows_first(l->w) ? l->c->threads : 1, 6));
	a->run = equal_blocks(a->outputs, WIDE_RUN * 64, 1, 64);
	if (af_scratch_all(l->c, wide_bytes(a))) return AF_NOMEM;
	af_run(l->c, wide_runs(a) * row_blocks(l), wide_task, a);
	return AF_OK;
}

// ---- by the library: operands side by side, so that the low-rank part is more terms of the same sum

// dst [rows, n + extra] = src | tail.
struct join_args {
	char *dst;
	af_tensor src, tail;
	int64_t es;
};

static void join_task(void *arg, int64_t i, int thread) {
	(void)thread;
	struct join_args *a = arg;
	int64_t n = a->src.cols, r = a->tail.p ? a->tail.cols : 0;
	for (int64_t t = i * 64, e = min64(t + 64, a->src.rows); t < e; t++) {
		char *d = a->dst + t * (n + r) * a->es;
		memcpy(d, at(a->src, t, 0), (size_t)(n * a->es));
		if (r) memcpy(d + n * a->es, at(a->tail, t, 0), (size_t)(r * a->es));
	}
}

// Rows of a packed matrix as dense rows of `ld` elements.
struct plain_args {
	af_ctx *c;
	char *dst;
	const af_matrix *m;
	int64_t ld;
	int dtype;
};

static void plain_task(void *arg, int64_t i, int thread) {
	(void)thread;
	struct plain_args *a = arg;
	const af_matrix *m = a->m;
	int64_t n0 = i * 64, width = min64(pad16(m->n) - n0, 64), n1 = min64(n0 + 64, m->n);
	for (int64_t n = n0; n < n1; n++) {
		if (m->dtype == AF_BF16 && a->dtype == AF_BF16) {
			const uint32_t *s = (const uint32_t *)panel_at(m, n0) + (n - n0);
			bf16 *d = (bf16 *)a->dst + n * a->ld;
			for (int64_t k = 0; k + 1 < m->k; k += 2, s += width) memcpy(d + k, s, 4);
			if (m->k & 1) d[m->k - 1] = (bf16)*s;
		} else if (m->dtype == AF_BF16) {
			const uint32_t *s = (const uint32_t *)panel_at(m, n0) + (n - n0);
			float *d = (float *)a->dst + n * a->ld;
			for (int64_t k = 0; k < m->k; k++) d[k] = bf16_to_f32((bf16)(s[k / 2 * width] >> (k & 1 ? 16 : 0)));
		} else {
			const float *s = (const float *)panel_at(m, n0) + (n - n0);
			float *d = (float *)a->dst + n * a->ld;
			for (int64_t k = 0; k < m->k; k++) d[k] = s[k * width];
		}
	}
}

static void plain(af_ctx *c, void *dst, const af_matrix *m, int64_t ld, int dtype) {
	struct plain_args a = {c, dst, m, ld, dtype};
	af_run(c, (m->n + 63) / 64, plain_task, &a);
}

static int by_library(af_ctx *c, af_tensor x, const af_matrix *w) {
	if (x.rows < LIBRARY_ROWS) return 0;
	return x.dtype == AF_F32 ? c->use_products == AF_PRODUCTS_ALL : c->use_products != AF_PRODUCTS_OWN && w->dtype == AF_BF16;
}

static int library_linear(af_ctx *c, af_tensor y, af_tensor x, const af_matrix *w, const float *bias, af_tensor u, const af_matrix *b, int add) {
	int64_t es = size_of(x.dtype), k = w->k + (b ? b->k : 0);
	size_t wide = (size_t)(w->n * k * es + 63) & ~(size_t)63;
	char *p = af_scratch_get(&c->shared, wide + (b ? (size_t)(x.rows * k * es) : 0));
	if (!p) return AF_NOMEM;
	plain(c, p, w, k, x.dtype);
	const void *a = x.p;
	int64_t lda = x.stride;
	if (b) {
		plain(c, p + w->k * es, b, k, x.dtype);
		struct join_args j = {p + wide, x, u, es};
		af_run(c, (x.rows + 63) / 64, join_task, &j);
		a = j.dst;
		lda = k;
	}
	return af_products_matmul(c, x.rows, w->n, k, x.dtype, a, lda, p, k, 1, bias, y.p, y.stride, y.dtype, add);
}

static int library_back(af_ctx *c, af_tensor dx, af_tensor dy, const af_matrix *w, af_tensor du, const af_matrix *low, int add) {
	int64_t es = size_of(dy.dtype), n = w->n + (low ? low->n : 0);
	size_t wide = (size_t)(n * w->k * es + 63) & ~(size_t)63;
	char *p = af_scratch_get(&c->shared, wide + (low ? (size_t)(dy.rows * n * es) : 0));
	if (!p) return AF_NOMEM;
	plain(c, p, w, w->k, dy.dtype);
	const void *a = dy.p;
	int64_t lda = dy.stride;
	if (low) {
		plain(c, p + w->n * w->k * es, low, w->k, dy.dtype);
		struct join_args j = {p + wide, dy, du, es};
		af_run(c, (dy.rows + 63) / 64, join_task, &j);
		a = j.dst;
		lda = n;
	}
	return af_products_matmul(c, dy.rows, w->k, n, dy.dtype, a, lda, p, w->k, 0, NULL, dx.p, dx.stride, dx.dtype, add);
}

int af_linear(af_ctx *c, af_tensor y, af_tensor x, const af_matrix *w, const float *bias, af_tensor u, const af_matrix *b, int add) {
	if (by_library(c, x, w)) {
		int rc = library_linear(c, y, x, w, bias, u, b, add);
		if (rc != AF_REFUSED) return rc; // what the library refuses is done here
	}
	struct linear_args a = {c, y, x, u, w, b, bias, add, 0, 0, 0};
	a.part = part_len(w->k, x.dtype == AF_BF16 || w->dtype == AF_BF16 ? 2 : 4);
	a.panels = (w->n + 63) / 64;
	if (af_widens(c) && x.rows > ROWS && (w->n > NARROW || x.dtype == AF_F32) && w->dtype == AF_BF16) {
		struct wide_args wide = {.to = a, .terms = w->k, .outputs = w->n};
		return wide_run(&wide);
	}
	if (af_widens(c) && x.rows <= ROWS && x.dtype == AF_BF16 && w->dtype == AF_BF16) { // once for all panels
		float *wide = af_scratch_get(&c->shared, af_widened_len(x) * 4);
		if (!wide) return AF_NOMEM;
		a.x = af_widened(c, wide, x);
	}
	// Blocks of rows so that every thread gets some, in whole passes.
	int64_t want = max64(1, 4 * c->threads / a.panels);
	a.block = max64(ROWS, (x.rows / want + ROWS - 1) / ROWS * ROWS);
	if (a.block > 1008) a.block = 1008;
	if (rows_first(w) && x.rows > ROWS) a.block = equal_blocks(x.rows, LONG_ROWS, c->threads, ROWS);
	if (a.part < w->k && af_scratch_all(c, LONG_ROWS * 64 * 4)) return AF_NOMEM;
	af_run(c, a.panels * row_blocks(&a), linear_task, &a);
	return AF_OK;
}

static void back_task(void *arg, int64_t i, int thread) {
	const struct linear_args *a = arg;
	af_ctx *c = a->c;
	const af_matrix *w = a->w;
	struct place place = place_of(w, i, row_blocks(a), a->panels);
	int64_t k0 = place.run * 64, t0 = place.block * a->block, t1 = min64(t0 + a->block, a->x.rows);
	int64_t width = min64(pad16(w->k - k0), 64), k = min64(w->k - k0, width);
	int b16 = a->x.dtype == AF_BF16, kind = b16 ? TILE_B : TILE_F;
	int64_t es = b16 ? 2 : 4, parts = (w->n + a->part - 1) / a->part;
	char *panel = c->scratch[thread].p;
	char *low = panel + (a->part + 1) * 64 * es;
	float *buf = (float *)(low + (a->b ? pad16(a->b->n) * 64 * es : 0));
	int64_t step = parts > 1 ? LONG_ROWS : ROWS;
	int direct = a->y.dtype == AF_F32 && !a->add && k == width && parts == 1;
	if (a->b) c->fn->panel_back(low, b16, width, a->b, 0, a->b->n, k0);
	if (parts == 1) c->fn->panel_back(panel, b16, width, w, 0, w->n, k0);
	for (int64_t t = t0; t < t1; t += step) {
		int64_t rows = min64(step, t1 - t);
		float *out = direct ? (float *)at(a->y, t, k0) : buf;
		int64_t ldo = direct ? a->y.stride : width;
		fetch_rows(a->y, t, rows, k0, k);
		for (int64_t n = 0; n < w->n; n += a->part) {
			int64_t len = min64(a->part, w->n - n);
			if (parts > 1) c->fn->panel_back(panel, b16, width, w, n, n + len, k0);
			c->fn->tile(kind, rows, width, len, at(a->x, t, n), a->x.stride, panel, width, out, ldo, n > 0);
		}
		if (a->b) c->fn->tile(kind, rows, width, a->b->n, at(a->u, t, 0), a->u.stride, low, width, out, ldo, 1);
		if (!direct) put(c, a->y, t, rows, k0, k, buf, width, NULL, a->add);
	}
}

int af_linear_back(af_ctx *c, af_tensor dx, af_tensor dy, const af_matrix *w, af_tensor du, const af_matrix *low, int add) {
	if (by_library(c, dy, w)) {
		int rc = library_back(c, dx, dy, w, du, low, add);
		if (rc != AF_REFUSED) return rc;
	}
	if (af_widens(c) && dy.rows > ROWS && w->k > NARROW && dy.dtype == AF_BF16) {
		struct wide_args wide = {
		    .to = {.c = c, .y = dx, .x = dy, .u = du, .w = w, .b = low, .add = add}, .back = 1, .terms = w->n, .outputs = w->k};
		return wide_run(&wide);
	}
	struct linear_args a = {.c = c, .y = dx, .x = dy, .u = du, .w = w, .b = low, .add = add, .panels = (w->k + 63) / 64};
	int64_t es = size_of(dy.dtype);
	a.part = part_len(w->n, es);
	int64_t want = max64(1, 2 * c->threads / a.panels);
	a.block = max64(LONG_ROWS, (dy.rows + want - 1) / want);
	if (rows_first(w)) a.block = equal_blocks(dy.rows, LONG_ROWS, c->threads, ROWS);
	size_t bytes = (size_t)((a.part + 1) * 64 * es + (low ? pad16(low->n) * 64 * es : 0) + LONG_ROWS * 64 * 4);
	if (af_scratch_all(c, bytes)) return AF_NOMEM;
	af_run(c, a.panels * row_blocks(&a), back_task, &a);
	return AF_OK;
}
