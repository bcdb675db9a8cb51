// Gradients by a weight: dw [N, K] += scale dy^T x, the sum over rows in order. Contracts in af.h; the inner product is tile.c.
//
// One side of the sum becomes rows (its columns turned), the other a panel of rows as they lie. An element of either is a word of 32 bits: a
// float, or two rows of bf16 as the dot product takes them. The narrow side of a low-rank gradient is the one that is turned.
#ifndef AF_LEVEL
#define AF_SELF "gradweight.c"
#include "pool.h"
#include "isa.h"

enum {
	WORDS = 128, // of the sum at a time: 128 rows, or 256 in pairs
	BLOCK = 256, // rows and columns of dw that a task has
};

static int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t pad16(int64_t n) { return (n + 15) & ~(int64_t)15; }
static int64_t size_of(int dtype) { return dtype == AF_BF16 ? 2 : 4; }
static char *at(af_tensor t, int64_t r, int64_t c) { return (char *)t.p + (r * t.stride + c) * size_of(t.dtype); }

#include "multi.h"

struct grad_args {
	af_ctx *c;
	af_tensor dw, turned, panel;
	float scale;
	int swapped; // dw's rows are the panel's columns
	int64_t block, blocks;
};

static float *dw_at(const struct grad_args *a, int64_t t, int64_t p) {
	return (float *)a->dw.p + (a->swapped ? p * a->dw.stride + t : t * a->dw.stride + p);
}

static void grad_task(void *arg, int64_t i, int thread) {
	struct grad_args *a = arg;
	af_ctx *c = a->c;
	int64_t t0 = i / a->blocks * BLOCK, p0 = i % a->blocks * a->block;
	int64_t m = min64(BLOCK, a->turned.cols - t0), n = min64(a->block, a->panel.cols - p0), wide = pad16(n);
	uint32_t *turned = c->scratch[thread].p, *panels = turned + BLOCK * WORDS;
	float *acc = (float *)(panels + BLOCK * WORDS);
	int paired = a->turned.dtype == AF_BF16 && a->panel.dtype == AF_BF16;
	// Floats are scaled before they are summed, on top of what is there; pairs cannot be.
	float before = paired ? 1 : a->scale, after = paired ? a->scale : 1;
	for (int64_t t = 0; t < m; t++) {
		memset(acc + t * wide, 0, (size_t)wide * 4);
		for (int64_t p = 0; after == 1 && p < n; p++) acc[t * wide + p] = *dw_at(a, t0 + t, p0 + p);
	}
	struct words tw = {.x = a->turned, .col = t0, .cols = m, .paired = paired, .scale = a->swapped ? before : 1};
	struct words pw = {.x = a->panel, .col = p0, .cols = n, .paired = paired, .scale = a->swapped ? 1 : before};
	int64_t step = paired ? 2 * WORDS : WORDS;
	for (int64_t r = 0; r < a->panel.rows; r += step) {
		tw.row = pw.row = r;
		tw.rows = pw.rows = min64(step, a->panel.rows - r);
		int64_t k = paired ? (tw.rows + 1) & ~(int64_t)1 : tw.rows;
		c->fn->words_turned(turned, WORDS, &tw);
		c->fn->words_panels(panels, WORDS, &pw);
		for (int64_t j = 0; j < wide; j += 64) {
			int64_t w = min64(64, wide - j);
			c->fn->tile(paired ? TILE_B : TILE_F, m, w, k, turned, step, panels + j * WORDS, w, acc + j, wide, 1);
		}
	}
	for (int64_t t = 0; t < m; t++)
		for (int64_t p = 0; p < n; p++) {
			float *d = dw_at(a, t0 + t, p0 + p), v = acc[t * wide + p];
			*d = after == 1 ? v : *d + after * v;
		}
}

int af_grad_weight(af_ctx *c, af_tensor dw, af_tensor dy, af_tensor x, float scale) {
	struct grad_args a = {.c = c, .dw = dw, .turned = dy, .panel = x, .scale = scale, .swapped = dw.rows > dw.cols, .block = BLOCK};
	if (a.swapped) a.turned = x, a.panel = dy;
	int64_t rows = (a.turned.cols + BLOCK - 1) / BLOCK;
	if (rows * ((a.panel.cols + BLOCK - 1) / BLOCK) < 2 * c->threads) a.block = 64; // every thread gets some
	a.blocks = (a.panel.cols + a.block - 1) / a.block;
	if (af_scratch_all(c, (2 * BLOCK * WORDS + BLOCK * BLOCK) * 4)) return AF_NOMEM;
	af_run(c, rows * a.blocks, grad_task, &a);
	return AF_OK;
}

struct bias_args {
	af_ctx *c;
	float *db;
	af_tensor dy;
};

static void bias_task(void *arg, int64_t i, int thread) {
	(void)thread;
	struct bias_args *a = arg;
	int64_t n0 = i * 256, n = min64(256, a->dy.cols - n0);
	for (int64_t t = 0; t < a->dy.rows; t++) {
		if (a->dy.dtype == AF_BF16)
			a->c->fn->add_bf16(a->db + n0, (const bf16 *)at(a->dy, t, n0), n);
		else
			a->c->fn->axpy(a->db + n0, (const float *)at(a->dy, t, n0), 1, n);
	}
}

int af_grad_bias(af_ctx *c, float *db, af_tensor dy) {
	struct bias_args a = {c, db, dy};
	af_run(c, (dy.cols + 255) / 256, bias_task, &a);
	return AF_OK;
}

#else

// 16 words at p, and in the row after it where rows come in pairs.
AF_INLINE vf AF(whole_words)(const char *p, int64_t stride, float scale, int paired, int b16) {
	if (paired) return (vf)((vu)vload_bf16((const bf16 *)p) >> 16 | (vu)vload_bf16((const bf16 *)p + stride));
	return (b16 ? vload_bf16((const bf16 *)p) : vload((const float *)p)) * scale;
}

// The same at an edge of the rows or columns; 0 past it.
static __attribute__((noinline)) vf AF(edge_words)(const struct words *s, int64_t row, int64_t c) {
	uint32_t some[2][16] = {0};
	int64_t n = min64(s->cols - c, 16), es = size_of(s->x.dtype);
	for (int i = 0; i <= s->paired && n > 0; i++)
		if (row + i < s->rows) memcpy(some[i], at(s->x, s->row + row + i, s->col + c), (size_t)(n * es));
	return AF(whole_words)((const char *)some, (int64_t)sizeof some[0] / es, s->scale, s->paired, s->x.dtype == AF_BF16);
}

// Words c..c+16 of word row r, of rows that are paired and of 16 bits or not.
AF_INLINE vf AF(words)(const struct words *s, int64_t r, int64_t c, int paired, int b16) {
	int64_t row = r << paired;
	if (c + 16 > s->cols || row + paired >= s->rows) return AF(edge_words)(s, row, c);
	return AF(whole_words)(at(s->x, s->row + row, s->col + c), s->x.stride, s->scale, paired, b16);
}

AF_INLINE void AF(panels_of)(uint32_t *dst, int64_t room, const struct words *s, int paired, int b16) {
	int64_t rows = (s->rows + paired) >> paired, wide = pad16(s->cols), es = b16 ? 2 : 4;
	for (int64_t r = 0; r < rows; r++) {
		for (int64_t i = (r + 8) << paired; i < (r + 9) << paired && i < s->rows; i++) // rows so far apart are nothing that a processor foresees
			for (int64_t c = 0; c < s->cols; c += 64 / es) __builtin_prefetch(at(s->x, s->row + i, s->col + c), 0, 2);
		for (int64_t j = 0; j < wide; j += 64) {
			int64_t w = min64(64, wide - j);
			for (int64_t c = 0; c < w; c += 16) vstore((float *)dst + j * room + r * w + c, AF(words)(s, r, j + c, paired, b16));
		}
	}
}

// Panels of 64 columns (the last as wide as there are, in whole vectors), each with its word rows one after another; room for `room` of them.
void AF(words_panels)(uint32_t *dst, int64_t room, const struct words *s) {
	if (s->paired)
		AF(panels_of)(dst, room, s, 1, 1);
	else if (s->x.dtype == AF_BF16)
		AF(panels_of)(dst, room, s, 0, 1);
	else
		AF(panels_of)(dst, room, s, 0, 0);
}

// Columns as rows of ld words; written in whole blocks of 16 x 16, past the end with 0.
void AF(words_turned)(uint32_t *dst, int64_t ld, const struct words *s) {
	int64_t rows = (s->rows + s->paired) >> s->paired;
	for (int64_t c = 0; c < s->cols; c += 16)
		for (int64_t r = 0; r < rows; r += 16) {
			vf v[16];
			for (int i = 0; i < 16; i++) v[i] = AF(words)(s, r + i, c, s->paired, s->x.dtype == AF_BF16);
			AF(transpose16)(v);
			for (int i = 0; i < 16; i++) vstore((float *)dst + (c + i) * ld + r, v[i]);
		}
}
#endif
