// Gradients by a weight: dw [N, K] += scale dy^T x, the sum over rows in order. Contracts in af.h.
//
// Of a low-rank matrix the wide side's 16 columns are read as they lie, once, into a register; the narrow side, packed into panels of
// 16 columns, is broadcast against them, and the 16 x 16 sums stay in registers. Where neither side is narrow, dy is turned and tile.c multiplies.
// An element of either is a word of 32 bits: a float, or two rows of bf16 as the dot product takes them.
#ifndef AF_LEVEL
#define AF_SELF "gradweight.c"
#include "pool.h"
#include "isa.h"

enum {
	WORDS = 128, // of the sum at a time: 128 rows, or 256 in pairs
	BLOCK = 256, // rows and columns of dw that a task has
};
// Of a matrix that has LARGE rows and columns:
enum {
	LARGE = 64,
	LARGE_COLS = 1024,           // columns of dw that a task has, with BLOCK rows
	LARGE_WORDS = 256,           // of the sum at a time
	LARGE_LD = LARGE_WORDS + 16, // words from one turned column to the next: a power of two would put them all in the same sets of the cache
	PANEL = 64,                  // columns of x at a time
};

#include "multi.h"

struct grad_args {
	af_ctx *c;
	af_tensor dw, narrow, wide;
	float scale;
	int swapped; // dw's rows are the columns of the wide side
	int64_t rows, block, blocks; // a task's columns of the narrow and of the wide side; tasks along the wide one
};

// Whether rows are summed in pairs, by the dot product of bf16; else in f32.
static int pairs(const struct grad_args *a) { return !af_widens(a->c) && a->narrow.dtype == AF_BF16 && a->wide.dtype == AF_BF16; }

static float *dw_at(const struct grad_args *a, int64_t t, int64_t p) {
	return (float *)a->dw.p + (a->swapped ? p * a->dw.stride + t : t * a->dw.stride + p);
}

static void grad_task(void *arg, int64_t i, int thread) {
	struct grad_args *a = arg;
	af_ctx *c = a->c;
	int64_t t0 = i / a->blocks * a->rows, p0 = i % a->blocks * a->block;
	int64_t m = min64(a->rows, a->narrow.cols - t0), n = min64(a->block, a->wide.cols - p0), ld = pad16(n);
	uint32_t *narrow = c->scratch[thread].p;
	float *acc = (float *)(narrow + BLOCK * WORDS);
	int paired = pairs(a);
	// Floats are scaled before they are summed, on top of what is there; pairs cannot be.
	float before = paired ? 1 : a->scale, after = paired ? a->scale : 1;
	memset(acc, 0, (size_t)(pad16(m) * ld) * 4);
	for (int64_t t = 0; after == 1 && t < m; t++)
		for (int64_t p = 0; p < n; p++) acc[t * ld + p] = *dw_at(a, t0 + t, p0 + p);
	struct words nw = {.x = a->narrow, .col = t0, .cols = m, .paired = paired, .scale = before};
	struct words ww = {.x = a->wide, .col = p0, .cols = n, .paired = paired, .scale = 1};
	int64_t step = paired ? 2 * WORDS : WORDS;
	for (int64_t r = 0; r < a->wide.rows; r += step) {
		nw.row = ww.row = r;
		nw.rows = ww.rows = min64(step, a->wide.rows - r);
		c->fn->words_panels(narrow, 16, WORDS * 16, &nw);
		c->fn->words_product(acc, ld, narrow, WORDS, m, &ww);
	}
	for (int64_t t = 0; t < m; t++)
		for (int64_t p = 0; p < n; p++) {
			float *d = dw_at(a, t0 + t, p0 + p), v = acc[t * ld + p];
			*d = after == 1 ? v : *d + after * v;
		}
}

// A large matrix: dw's elements are the sums, dy's columns the rows of a product, x's columns its panels.
static void large_task(void *arg, int64_t i, int thread) {
	struct grad_args *a = arg;
	af_ctx *c = a->c;
	int64_t n0 = i / a->blocks * a->rows, k0 = i % a->blocks * a->block;
	int64_t n = min64(a->rows, a->narrow.cols - n0), k1 = min64(k0 + a->block, a->wide.cols);
	uint32_t *turned = c->scratch[thread].p, *panel = turned + BLOCK * LARGE_LD;
	int paired = pairs(a), packed = a->wide.dtype == AF_BF16;
	struct words dy = {.x = a->narrow, .col = n0, .cols = n, .paired = paired, .scale = a->scale};
	struct words x = {.x = a->wide, .paired = paired, .scale = 1};
	int64_t step = LARGE_WORDS << paired;
	for (x.row = 0; x.row < a->wide.rows; x.row += step) {
		dy.row = x.row;
		dy.rows = x.rows = min64(step, a->wide.rows - x.row);
		c->fn->words_turned(turned, LARGE_LD, &dy);
		for (x.col = k0; x.col < k1; x.col += PANEL) {
			x.cols = min64(PANEL, k1 - x.col);
			if (packed) c->fn->words_panels(panel, x.cols, 16, &x);
			c->fn->tile(paired ? TILE_B : TILE_F, n, x.cols, x.rows, turned, LARGE_LD << paired, packed ? (void *)panel : at(x.x, x.row, x.col),
			            packed ? x.cols : x.x.stride, dw_at(a, n0, x.col), a->dw.stride, 1);
		}
	}
}

int af_grad_weight(af_ctx *c, af_tensor dw, af_tensor dy, af_tensor x, float scale) {
	struct grad_args a = {.c = c, .dw = dw, .narrow = dy, .wide = x, .scale = scale, .rows = BLOCK};
	// Sums of pairs cannot be scaled before, nor blocks of tile.c be cut.
	int large = dw.rows >= LARGE && dw.cols >= LARGE && !(dw.cols & 15) && (scale == 1 || !pairs(&a));
	a.swapped = !large && dw.rows > dw.cols;
	if (a.swapped) a.narrow = x, a.wide = dy;
	// Blocks of equal widths, and every thread gets some.
	int64_t most = BLOCK, least = 2 * c->threads;
	if (large) {
		int64_t parts = (dw.rows + BLOCK * c->threads - 1) / (BLOCK * c->threads) * c->threads;
		a.rows = max64(32, pad16((dw.rows + parts - 1) / parts));
		most = LARGE_COLS, least = c->threads;
	}
	int64_t rows = (a.narrow.cols + a.rows - 1) / a.rows, cols = a.wide.cols;
	int64_t blocks = max64((cols + most - 1) / most, (least + rows - 1) / rows);
	a.block = max64(64, pad16((cols + blocks - 1) / blocks));
	a.blocks = (cols + a.block - 1) / a.block;
	if (af_scratch_all(c, max64(BLOCK * WORDS + BLOCK * BLOCK, BLOCK * LARGE_LD + LARGE_WORDS * PANEL) * 4)) return AF_NOMEM;
	af_run(c, rows * a.blocks, large ? large_task : grad_task, &a);
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

// VL words at p, and in the row after it where rows come in pairs.
AF_INLINE vf AF(whole_words)(const char *p, int64_t stride, float scale, int paired, int b16) {
	if (paired) return (vf)((vu)vload_bf16((const bf16 *)p) >> 16 | (vu)vload_bf16((const bf16 *)p + stride));
	return (b16 ? vload_bf16((const bf16 *)p) : vload((const float *)p)) * scale;
}

// The same at an edge of the rows or columns; 0 past it.
static __attribute__((noinline)) vf AF(edge_words)(const struct words *s, int64_t row, int64_t c) {
	uint32_t some[2][VL] = {0};
	int64_t n = min64(s->cols - c, VL), es = size_of(s->x.dtype);
	for (int i = 0; i <= s->paired && n > 0; i++)
		if (row + i < s->rows) memcpy(some[i], at(s->x, s->row + row + i, s->col + c), (size_t)(n * es));
	return AF(whole_words)((const char *)some, (int64_t)sizeof some[0] / es, s->scale, s->paired, s->x.dtype == AF_BF16);
}

// Words c..c+VL of word row r, of rows that are paired and of 16 bits or not.
AF_INLINE vf AF(words)(const struct words *s, int64_t r, int64_t c, int paired, int b16) {
	int64_t row = r << paired;
	if (c + VL > s->cols || row + paired >= s->rows) return AF(edge_words)(s, row, c);
	return AF(whole_words)(at(s->x, s->row + row, s->col + c), s->x.stride, s->scale, paired, b16);
}

// Blocks of 16 columns, `block` words apart, and their word rows, `ld` words apart.
void AF(words_panels)(uint32_t *dst, int64_t ld, int64_t block, const struct words *s) {
	int64_t rows = (s->rows + s->paired) >> s->paired;
	for (int64_t r = 0; r < rows; r++)
		for (int64_t c = 0; c < s->cols; c += 16)
			for (int v = 0; v < 16; v += VL) vstore((float *)dst + c / 16 * block + r * ld + v, AF(words)(s, r, c + v, s->paired, s->x.dtype == AF_BF16));
}

#define PER (16 / VL) // vectors for 16 columns

// acc [height, 16] += columns of a panel by 16 columns of words from c on. What is `ahead` bytes on is asked for meanwhile: rows so far apart are
// nothing that a processor foresees.
AF_INLINE void AF(strip)(int height, float *acc, int64_t ld, const uint32_t *panel, const struct words *s, int64_t c, int64_t ahead, int paired, int b16) {
	int64_t rows = (s->rows + paired) >> paired, whole = c + 16 <= s->cols ? s->rows >> paired : 0;
	int64_t stride = s->x.stride * (b16 ? 2 : 4);
	const char *p = at(s->x, s->row, s->col + c);
	vf sum[16][PER], v[PER];
	for (int i = 0; i < height; i++)
		for (int j = 0; j < PER; j++) sum[i][j] = vload(acc + i * ld + j * VL);
	for (int64_t r = 0; r < rows; r++, p += stride << paired, panel += 16) {
		if (r < whole) {
			__builtin_prefetch(p + ahead, 0, 2);
			if (paired) __builtin_prefetch(p + stride + ahead, 0, 2);
			for (int j = 0; j < PER; j++) v[j] = AF(whole_words)(p + j * VL * (b16 ? 2 : 4), s->x.stride, 1, paired, b16);
		} else
			for (int j = 0; j < PER; j++) v[j] = AF(edge_words)(s, r << paired, c + j * VL);
		_Pragma("GCC unroll 16") for (int i = 0; i < height; i++)
			for (int j = 0; j < PER; j++) {
				if (paired)
					sum[i][j] = vdot_bf16(sum[i][j], (vi){0} + (int32_t)panel[i], (vi)v[j]);
				else
					sum[i][j] = vfma(vset1(((const float *)panel)[i]), v[j], sum[i][j]);
			}
	}
	for (int i = 0; i < height; i++)
		for (int j = 0; j < PER; j++) vstore(acc + i * ld + j * VL, sum[i][j]);
}

AF_INLINE void AF(product_of)(float *acc, int64_t ld, const uint32_t *panels, int64_t room, int64_t m, const struct words *s, int paired, int b16) {
	for (int64_t c = 0; c < s->cols; c += 16) {
		// The next columns of these rows (of bf16 those after them, a cache line on), or the first ones of the next rows.
		int64_t ahead = c + 16 < s->cols ? 64 : s->rows * s->x.stride * (b16 ? 2 : 4) - c * (b16 ? 2 : 4);
		for (int64_t t = 0; t < m; ahead = 0) {
			float *to = acc + t * ld + c;
			const uint32_t *from = panels + (t & ~(int64_t)15) * room + (t & 15);
			// As many sums as registers hold.
			int64_t height = VL == 16 ? (m - t > 8 ? 16 : 8) : VL == 8 ? ((t & 15) < 12 ? 6 : 4) : 2;
			switch (height) {
			case 16: AF(strip)(16, to, ld, from, s, c, ahead, paired, b16); break;
			case 8: AF(strip)(8, to, ld, from, s, c, ahead, paired, b16); break;
			case 6: AF(strip)(6, to, ld, from, s, c, ahead, paired, b16); break;
			case 4: AF(strip)(4, to, ld, from, s, c, ahead, paired, b16); break;
			default: AF(strip)(2, to, ld, from, s, c, ahead, paired, b16);
			}
			t += height;
		}
	}
}

// acc [m, cols] += panels' m columns by the columns of words, summed over their rows; m and cols in whole blocks of 16.
void AF(words_product)(float *acc, int64_t ld, const uint32_t *panels, int64_t room, int64_t m, const struct words *s) {
	if (s->paired)
		AF(product_of)(acc, ld, panels, room, m, s, 1, 1);
	else if (s->x.dtype == AF_BF16)
		AF(product_of)(acc, ld, panels, room, m, s, 0, 1);
	else
		AF(product_of)(acc, ld, panels, room, m, s, 0, 0);
}

// Columns of words as rows of ld words; written in whole blocks of 16 x 16, past the end with 0.
void AF(words_turned)(uint32_t *dst, int64_t ld, const struct words *s) {
	int64_t rows = (s->rows + s->paired) >> s->paired;
	for (int64_t r = 0; r < rows; r += 16)
		for (int64_t c = 0; c < s->cols; c += 16)
			for (int part = 0; part < PER * PER; part++) {
				int64_t from = r + part / PER * VL, to = c + part % PER * VL;
				vf v[VL];
				for (int i = 0; i < VL; i++) v[i] = AF(words)(s, from + i, to, s->paired, s->x.dtype == AF_BF16);
				vtranspose(v);
				for (int i = 0; i < VL; i++) vstore((float *)dst + (to + i) * ld + from, v[i]);
			}
}
#undef PER
#endif
