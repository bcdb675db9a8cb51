// Weight matrices: from dense rows to panels, back, and the transposed panels of the backward product (layouts in af.h).
#ifndef AF_LEVEL
#define AF_SELF "pack.c"
#include "pool.h"
#include "multi.h"

size_t af_matrix_bytes(int64_t n, int64_t k, int dtype) {
	af_matrix m = {.k = k, .dtype = dtype};
	return (size_t)(pad16(n) * terms_of(&m) * size_of(dtype));
}

static float half_to_f32(uint16_t h) {
	uint32_t s = (uint32_t)(h & 0x8000) << 16, e = (h >> 10) & 31, m = h & 0x3ff, u;
	if (e == 31)
		u = s | 0x7f800000 | (m << 13);
	else if (e)
		u = s | ((e + 112) << 23) | (m << 13);
	else if (!m)
		u = s;
	else {
		e = 113;
		while (!(m & 0x400)) m <<= 1, e--;
		u = s | (e << 23) | ((m & 0x3ff) << 13);
	}
	float f;
	memcpy(&f, &u, 4);
	return f;
}

struct pack_args {
	af_matrix *m;
	const void *src;
	int kind;
	int64_t row0, rows;
	float scale;
};

static float source(const struct pack_args *a, int64_t r, int64_t k) {
	int64_t i = (r - a->row0) * a->m->k + k;
	if (a->kind == AF_SRC_F32) {
		float f;
		memcpy(&f, (const char *)a->src + 4 * i, 4); // a file's bytes lie at any address
		return f;
	}
	uint16_t h;
	memcpy(&h, (const char *)a->src + 2 * i, 2);
	return a->kind == AF_SRC_BF16 ? bf16_to_f32(h) : half_to_f32(h);
}

// One panel of the packed matrix; only the rows that the source covers are touched.
static void pack_panel(void *arg, int64_t p, int thread) {
	(void)thread;
	const struct pack_args *a = arg;
	af_matrix *m = a->m;
	int64_t first = a->row0 / 64 + p, n0 = first * 64, width = min64(pad16(m->n) - n0, 64);
	int64_t lo = a->row0 > n0 ? a->row0 : n0, hi = a->row0 + a->rows < n0 + width ? a->row0 + a->rows : n0 + width;
	if (m->dtype == AF_BF16) {
		bf16 *d = panel_at(m, n0);
		int plain = a->kind == AF_SRC_BF16 && a->scale == 1;
		// 32 k at a time: the source is read along its rows, the panel written a few cache lines at a time.
		for (int64_t kb = 0; kb < m->k; kb += 32) {
			int64_t ke = kb + 32 < m->k ? kb + 32 : m->k;
			for (int64_t r = lo; r < hi; r++) {
				const bf16 *s = (const bf16 *)a->src + (r - a->row0) * m->k;
				bf16 *q = d + 2 * (r - n0);
				if (plain && !(m->k & 1))
					for (int64_t k = kb; k < ke; k += 2) memcpy(q + k * width, s + k, 4);
				else
					for (int64_t k = kb; k < ke; k++)
						q[(k & ~(int64_t)1) * width + (k & 1)] = f32_to_bf16(a->scale * source(a, r, k));
			}
		}
	} else {
		float *d = panel_at(m, n0);
		for (int64_t kb = 0; kb < m->k; kb += 16) {
			int64_t ke = kb + 16 < m->k ? kb + 16 : m->k;
			for (int64_t r = lo; r < hi; r++)
				for (int64_t k = kb; k < ke; k++) d[k * width + r - n0] = a->scale * source(a, r, k);
		}
	}
}

int af_pack(af_ctx *c, af_matrix *m, const void *src, int kind, int64_t row0, int64_t rows, float scale) {
	struct pack_args a = {m, src, kind, row0, rows, scale};
	af_run(c, (row0 + rows + 63) / 64 - row0 / 64, pack_panel, &a);
	return AF_OK;
}

// Along a row each value, or pair of them, lies a panel's row further: a cache line each, asked for well before it is read.
void af_matrix_row(const af_matrix *m, int64_t n, float *y) {
	enum { AHEAD = 16 };
	int64_t n0 = n & ~(int64_t)63, width = min64(pad16(m->n) - n0, 64), k = m->k;
	if (m->dtype == AF_BF16) {
		const bf16 *s = (const bf16 *)panel_at(m, n0) + 2 * (n - n0);
		for (int64_t i = 0; i + 1 < k; i += 2, s += 2 * width) {
			__builtin_prefetch(s + 2 * AHEAD * width);
			y[i] = bf16_to_f32(s[0]);
			y[i + 1] = bf16_to_f32(s[1]);
		}
		if (k & 1) y[k - 1] = bf16_to_f32(s[0]);
	} else {
		const float *s = (const float *)panel_at(m, n0) + (n - n0);
		for (int64_t i = 0; i < k; i++, s += width) {
			__builtin_prefetch(s + AHEAD * width);
			y[i] = *s;
		}
	}
}

int af_unpack(af_ctx *c, const af_matrix *m, float *dst) {
	(void)c;
	for (int64_t n = 0; n < m->n; n++) af_matrix_row(m, n, dst + n * m->k);
	return AF_OK;
}

#else

// One panel's share of panel_back: `rows` outputs by columns k0 and on, kn of them within the matrix, of a panel that is pw wide. s is where they
// begin in the panel: pairs of bf16 along k, [k/2][pw][2], or f32, [k][pw].

// bf16 to bf16: pairs along k become pairs along n, d [n/2][width][2]. All columns are there, and rows are a multiple of 16.
#if AF_LEVEL >= 2
AF_INLINE void AF(pairs_turned)(bf16 *d, const bf16 *s, int64_t pw, int64_t width, int64_t rows) {
	// 16 outputs x 16 k: eight registers of [16 n][2 k]. Interleaving pairs of outputs by a 16-bit shuffle gives, per
	// register, 8 blocks of [2 k][2 n]; an 8 x 8 transposition of those 64-bit blocks is the result.
	static const uint8_t sh[64] __attribute__((aligned(64))) = {
	    0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15, 0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15,
	    0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15, 0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15};
	__m512i pick = _mm512_load_si512(sh);
	for (int64_t kb = 0; kb < width; kb += 16)
		for (int64_t nb = 0; nb < rows; nb += 16) {
			__m512i r[8], t[8];
			for (int i = 0; i < 8; i++) r[i] = _mm512_shuffle_epi8(_mm512_loadu_si512(s + (kb + 2 * i) * pw + 2 * nb), pick);
			for (int i = 0; i < 4; i++) {
				t[2 * i] = _mm512_unpacklo_epi64(r[2 * i], r[2 * i + 1]);
				t[2 * i + 1] = _mm512_unpackhi_epi64(r[2 * i], r[2 * i + 1]);
			}
			// t[2i + h]: 128-bit lanes l = output pair 2l + h, k block pair i. Now a 4 x 4 transposition of lanes, for each h.
			for (int h = 0; h < 2; h++) {
				__m512i a = _mm512_shuffle_i32x4(t[h], t[2 + h], 0x44), b = _mm512_shuffle_i32x4(t[h], t[2 + h], 0xee);
				__m512i e = _mm512_shuffle_i32x4(t[4 + h], t[6 + h], 0x44), f = _mm512_shuffle_i32x4(t[4 + h], t[6 + h], 0xee);
				_mm512_storeu_si512(d + (nb + 0 + 2 * h) * width + 2 * kb, _mm512_shuffle_i32x4(a, e, 0x88));
				_mm512_storeu_si512(d + (nb + 4 + 2 * h) * width + 2 * kb, _mm512_shuffle_i32x4(a, e, 0xdd));
				_mm512_storeu_si512(d + (nb + 8 + 2 * h) * width + 2 * kb, _mm512_shuffle_i32x4(b, f, 0x88));
				_mm512_storeu_si512(d + (nb + 12 + 2 * h) * width + 2 * kb, _mm512_shuffle_i32x4(b, f, 0xdd));
			}
		}
}
#elif AF_LEVEL == 1
AF_INLINE void AF(pairs_turned)(bf16 *d, const bf16 *s, int64_t pw, int64_t width, int64_t rows) {
	// 8 outputs x 8 k: four registers of [8 n][2 k], and a 4 x 4 transposition of 64-bit blocks.
	__m256i pick = _mm256_setr_epi8(0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15, 0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15);
	for (int64_t kb = 0; kb < width; kb += 8)
		for (int64_t nb = 0; nb < rows; nb += 8) {
			__m256i r[4], t[4];
			for (int i = 0; i < 4; i++) r[i] = _mm256_shuffle_epi8(_mm256_loadu_si256((const __m256i *)(s + (kb + 2 * i) * pw + 2 * nb)), pick);
			for (int i = 0; i < 2; i++) {
				t[2 * i] = _mm256_unpacklo_epi64(r[2 * i], r[2 * i + 1]);
				t[2 * i + 1] = _mm256_unpackhi_epi64(r[2 * i], r[2 * i + 1]);
			}
			for (int h = 0; h < 2; h++) { // t[2i + h]: 128-bit lanes l = output pair 2l + h, k block pair i
				bf16 *to = d + (nb + 2 * h) * width + 2 * kb;
				_mm256_storeu_si256((__m256i *)to, _mm256_permute2x128_si256(t[h], t[2 + h], 0x20));
				_mm256_storeu_si256((__m256i *)(to + 4 * width), _mm256_permute2x128_si256(t[h], t[2 + h], 0x31));
			}
		}
}
#endif

// The same of any rows and columns.
static void AF(pairs_turned_any)(bf16 *d, const bf16 *s, int64_t pw, int64_t width, int64_t rows, int64_t kn) {
	for (int64_t n = 0; n < rows; n += 2)
		for (int64_t k = 0; k < kn; k++) {
			const bf16 *q = s + (k & ~(int64_t)1) * pw + (k & 1);
			d[n * width + 2 * k] = q[2 * n];
			d[n * width + 2 * k + 1] = n + 1 < rows ? q[2 * n + 2] : 0;
		}
}

// f32 to bf16.
static void AF(narrow_turned)(bf16 *d, const float *s, int64_t pw, int64_t width, int64_t rows, int64_t kn) {
	for (int64_t n = 0; n < rows; n++)
		for (int64_t k = 0; k < kn; k++) d[(n & ~(int64_t)1) * width + 2 * k + (n & 1)] = f32_to_bf16(s[k * pw + n]);
	if (rows & 1)
		for (int64_t k = 0; k < width; k++) d[(rows - 1) * width + 2 * k + 1] = 0;
}

// To f32, d [n][width]. All columns are there, and rows are a multiple of 16.
AF_INLINE void AF(floats_turned)(float *d, const void *s, int is_bf16, int64_t pw, int64_t width, int64_t rows) {
	for (int64_t kb = 0; kb < width; kb += VL)
		for (int64_t nb = 0; nb < rows; nb += VL) {
			vf r[VL];
			if (is_bf16)
				for (int i = 0; i < VL / 2; i++) {
					vi v;
					memcpy(&v, (const bf16 *)s + (kb + 2 * i) * pw + 2 * nb, sizeof v);
					r[2 * i] = (vf)(v << 16);
					r[2 * i + 1] = (vf)(v & -65536);
				}
			else
				for (int i = 0; i < VL; i++) r[i] = vload((const float *)s + (kb + i) * pw + nb);
			vtranspose(r);
			for (int i = 0; i < VL; i++) vstore(d + (nb + i) * width + kb, r[i]);
		}
}

// The same of any rows and columns.
static void AF(floats_turned_any)(float *d, const void *s, int is_bf16, int64_t pw, int64_t width, int64_t rows, int64_t kn) {
	for (int64_t nb = 0; nb < rows; nb += 16) {
		int64_t ne = rows - nb < 16 ? rows - nb : 16;
		for (int64_t k = 0; k < kn; k++)
			if (is_bf16) {
				const bf16 *q = (const bf16 *)s + (k & ~(int64_t)1) * pw + (k & 1) + 2 * nb;
				for (int64_t n = 0; n < ne; n++) d[(nb + n) * width + k] = bf16_to_f32(q[2 * n]);
			} else {
				const float *q = (const float *)s + k * pw + nb;
				for (int64_t n = 0; n < ne; n++) d[(nb + n) * width + k] = q[n];
			}
	}
}

// Transposes a stretch of W, outputs n0..n1 by columns k0..k0+width (width <= 64, a multiple of 16, past the matrix 0), into a panel
// for a product that sums over n: [n][width] f32, or [n/2][width][2] bf16 pairs along n. n0 is a multiple of 64.
void AF(panel_back)(void *dst, int dst_bf16, int64_t width, const af_matrix *w, int64_t n0, int64_t n1, int64_t k0) {
	int is_bf16 = w->dtype == AF_BF16;
	int64_t kn = min64(w->k - k0, width);
	if (kn < width) memset(dst, 0, (size_t)(((n1 - n0 + 1) & ~(int64_t)1) * width) * (dst_bf16 ? 2 : 4));
	for (int64_t p0 = n0; p0 < n1; p0 += 64) {
		int64_t pw = min64(pad16(w->n) - p0, 64), rows = min64(n1 - p0, pw);
		int whole = kn == width && !(rows & 15);
		const void *s = (const char *)panel_at(w, p0) + k0 * pw * size_of(w->dtype);
		bf16 *pairs = (bf16 *)dst + (p0 - n0) * width;
		float *floats = (float *)dst + (p0 - n0) * width;
		if (dst_bf16 && !is_bf16)
			AF(narrow_turned)(pairs, s, pw, width, rows, kn);
#if AF_LEVEL >= 1
		else if (dst_bf16 && whole)
			AF(pairs_turned)(pairs, s, pw, width, rows);
#endif
		else if (dst_bf16)
			AF(pairs_turned_any)(pairs, s, pw, width, rows, kn);
		else if (whole && is_bf16)
			AF(floats_turned)(floats, s, 1, pw, width, rows);
		else if (whole)
			AF(floats_turned)(floats, s, 0, pw, width, rows);
		else
			AF(floats_turned_any)(floats, s, is_bf16, pw, width, rows, kn);
	}
}
#endif
