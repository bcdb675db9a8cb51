// The register-blocked product that every dense operation but the gradients by a low-rank weight is made of:
//
//	C[m, n] (+)= sum_k A[m, k] B[k, n],  A row-major, B a panel, C f32
//
// in these kinds: f32 x f32, bf16 x bf16 (pairs along k by the bf16 dot product) and f32 x bf16 (a bf16 panel is widened
// in registers: weights stored in bf16, activations in f32). Each element of C is one chain of additions over k in order (of
// pairs the upper half first): neither the shape of the block that it sits in nor where the chain passes through memory touches its bits.
//
// Below level 4 there is no dot product, or it is slower than the two multiply-adds that it stands for: bf16 operands are then widened
// to f32, B a chunk at a time, by the first rows for all of them, and bf16 x bf16 is f32 x bf16 of a widened A. A pair's upper half is added
// first there, as the instruction has it.
//
// A is broadcast straight from its rows, unpacked: a row is read once per panel, and the panel (64 outputs x k) stays in
// the second-level cache: 392-437 GFLOP/s bf16 and 210-223 f32 on two cores of Zen 4 whose peaks are 453 and 224 (M 512-2076, N and K of
// a 0.5B model). Where bf16 is widened, and below AVX-512, sums are cut into chunks besides.
#ifndef AF_LEVEL
#define AF_SELF "tile.c"
#include "pool.h"
#include "multi.h"
#else

#define WIDE 64 // columns of a panel

#if VL == 16
#define NVMAX 4 // vectors of a block's rows
#else
#define NVMAX 8
#endif

#define PAIR(p) ({ int32_t t_; memcpy(&t_, (p), 4); (vi){0} + t_; })

// Steps through k. F: one k per step; B, X: two. Where nothing is asked for ahead, F and P take four terms at a time: counting and fetching are
// 5 of the 25 instructions that 12 sums take otherwise, and a processor whose front end another thread shares has none to spare.
#define TERM_F(MR, NV)                                                                                                 \
	{                                                                                                                  \
		if (NV == 1 && (k & 15) == 0) /* a's next rows: where B is narrow, a comes from afar */                        \
			for (int i = 0; i < MR; i++) __builtin_prefetch(a + (i + MR) * lda + k, 0, 3);                             \
		vf bv[NV];                                                                                                     \
		for (int j = 0; j < NV; j++) bv[j] = vload(b + VL * j);                                                        \
		_Pragma("GCC unroll 8") for (int i = 0; i < MR; i++) {                                                         \
			vf x = vset1(a[i * lda + k]);                                                                              \
			for (int j = 0; j < NV; j++) c[i][j] = vfma(x, bv[j], c[i][j]);                                            \
		}                                                                                                              \
	}
#define STEP_F(MR, NV)                                                                                                 \
	if (ahead)                                                                                                         \
		for (int64_t k = 0; k < K; k++, b += ldb) {                                                                    \
			__builtin_prefetch(ahead + 64 * k, 0, 2);                                                                  \
			TERM_F(MR, NV)                                                                                             \
		}                                                                                                              \
	else                                                                                                               \
		_Pragma("GCC unroll 4") for (int64_t k = 0; k < K; k++, b += ldb) TERM_F(MR, NV)
// As F, and leaves b's columns side by side for the rows that follow, at `ahead`.
#define STEP_G(MR, NV)                                                                                                 \
	float *to = (float *)ahead;                                                                                        \
	for (int64_t k = 0; k < K; k++, b += ldb, to += NV * VL) {                                                         \
		vf bv[NV];                                                                                                     \
		for (int j = 0; j < NV; j++) bv[j] = vload(b + VL * j);                                                        \
		for (int j = 0; j < NV; j++) vstore(to + VL * j, bv[j]);                                                       \
		_Pragma("GCC unroll 8") for (int i = 0; i < MR; i++) {                                                         \
			vf x = vset1(a[i * lda + k]);                                                                              \
			for (int j = 0; j < NV; j++) c[i][j] = vfma(x, bv[j], c[i][j]);                                            \
		}                                                                                                              \
	}
#define STEP_B(MR, NV)                                                                                                 \
	for (int64_t k = 0; k + 1 < K; k += 2, b += 2 * ldb) {                                                             \
		__builtin_prefetch(ahead + 32 * k, 0, 2);                                                                      \
		vi bv[NV];                                                                                                     \
		for (int j = 0; j < NV; j++) memcpy(&bv[j], b + 2 * VL * j, sizeof(vi));                                       \
		_Pragma("GCC unroll 8") for (int i = 0; i < MR; i++) {                                                         \
			vi x = PAIR(a + i * lda + k);                                                                              \
			for (int j = 0; j < NV; j++) c[i][j] = vdot_bf16(c[i][j], x, bv[j]);                                       \
		}                                                                                                              \
	}                                                                                                                  \
	if (K & 1) {                                                                                                       \
		_Pragma("GCC unroll 8") for (int i = 0; i < MR; i++)                                                           \
			for (int j = 0; j < NV; j++) {                                                                             \
				vi bv;                                                                                                 \
				memcpy(&bv, b + 2 * VL * j, sizeof(vi));                                                               \
				c[i][j] = vdot_bf16(c[i][j], (vi){0} + (int32_t)a[i * lda + K - 1], bv);                               \
			}                                                                                                          \
	}
#define STEP_X(MR, NV)                                                                                                 \
	for (int64_t k = 0; k + 1 < K; k += 2, b += 2 * ldb) {                                                             \
		for (int j = 0; j < NV; j += 16 / VL) __builtin_prefetch(ahead + 2 * ldb * k + 4 * VL * j, 0, 3);              \
		_Pragma("GCC unroll 2") for (int h = 0; h < 2; h++) {                                                          \
			vf bv[NV];                                                                                                 \
			for (int j = 0; j < NV; j++) {                                                                             \
				vi v;                                                                                                  \
				memcpy(&v, b + 2 * VL * j, sizeof(vi));                                                                \
				bv[j] = h ^ UPPER_FIRST ? (vf)(v & -65536) : (vf)(v << 16);                                            \
			}                                                                                                          \
			_Pragma("GCC unroll 8") for (int i = 0; i < MR; i++) {                                                     \
				vf x = vset1(a[i * lda + k + (h ^ UPPER_FIRST)]);                                                      \
				for (int j = 0; j < NV; j++) c[i][j] = vfma(x, bv[j], c[i][j]);                                        \
			}                                                                                                          \
			if (VL < 16 && NV < 8) __asm__ volatile("" ::: "memory"); /* the second half reads b again */              \
		}                                                                                                              \
	}                                                                                                                  \
	if (K & 1) {                                                                                                       \
		_Pragma("GCC unroll 8") for (int i = 0; i < MR; i++)                                                           \
			for (int j = 0; j < NV; j++) {                                                                             \
				vi v;                                                                                                  \
				memcpy(&v, b + 2 * VL * j, sizeof(vi));                                                                \
				c[i][j] = vfma(vset1(a[i * lda + K - 1]), (vf)(v << 16), c[i][j]);                                     \
			}                                                                                                          \
	}
// As X, and leaves what it widened for the rows that follow, at `ahead`: P's panel, as wide as the block. Half a pair at a time, or there are
// not registers enough.
#define STEP_W(MR, NV)                                                                                                 \
	float *to = (float *)ahead;                                                                                        \
	const char *next = (const char *)(b + ((K + 1) & ~(int64_t)1) * ldb);                                              \
	for (int64_t k = 0; k + 1 < K; k += 2, b += 2 * ldb, to += 2 * NV * VL) {                                          \
		__builtin_prefetch(next + 32 * k, 0, 3);                                                                       \
		_Pragma("GCC unroll 2") for (int h = 0; h < 2; h++) {                                                          \
			vf bv[NV];                                                                                                 \
			for (int j = 0; j < NV; j++) {                                                                             \
				vi v;                                                                                                  \
				memcpy(&v, b + 2 * VL * j, sizeof(vi));                                                                \
				bv[j] = h ? (vf)(v << 16) : (vf)(v & -65536);                                                          \
				vstore(to + (h * NV + j) * VL, bv[j]);                                                                 \
			}                                                                                                          \
			__asm__ volatile("" ::: "memory"); /* the second half reads b again */                                     \
			_Pragma("GCC unroll 8") for (int i = 0; i < MR; i++) {                                                     \
				vf x = vset1(a[i * lda + k + 1 - h]);                                                                  \
				for (int j = 0; j < NV; j++) c[i][j] = vfma(x, bv[j], c[i][j]);                                        \
			}                                                                                                          \
		}                                                                                                              \
	}                                                                                                                  \
	if (K & 1) {                                                                                                       \
		vf bv[NV];                                                                                                     \
		for (int j = 0; j < NV; j++) {                                                                                 \
			vi v;                                                                                                      \
			memcpy(&v, b + 2 * VL * j, sizeof(vi));                                                                    \
			bv[j] = (vf)(v << 16);                                                                                     \
			vstore(to + (NV + j) * VL, bv[j]);                                                                         \
		}                                                                                                              \
		_Pragma("GCC unroll 8") for (int i = 0; i < MR; i++) {                                                         \
			vf x = vset1(a[i * lda + K - 1]);                                                                          \
			for (int j = 0; j < NV; j++) c[i][j] = vfma(x, bv[j], c[i][j]);                                            \
		}                                                                                                              \
	}
// As X, on W's panel, upper halves before lower ones: b's row k meets the neighbour of a's k. The panel is as wide as the block.
#define TERM_P(MR, NV, K1, TO)                                                                                         \
	{                                                                                                                  \
		vf bv[NV];                                                                                                     \
		for (int j = 0; j < NV; j++) bv[j] = vload(b + (TO) * NV * VL + VL * j);                                       \
		_Pragma("GCC unroll 8") for (int i = 0; i < MR; i++) {                                                         \
			vf x = vset1(row[i][K1]);                                                                                  \
			for (int j = 0; j < NV; j++) c[i][j] = vfma(x, bv[j], c[i][j]);                                            \
		}                                                                                                              \
	}
#define STEP_P(MR, NV)                                                                                                 \
	(void)ldb;                                                                                                         \
	const float *row[MR]; /* in registers: formed from one another they would be as many instructions again as there are products */ \
	_Pragma("GCC unroll 8") for (int i = 0; i < MR; i++) {                                                             \
		row[i] = a + i * lda;                                                                                          \
		__asm__("" : "+r"(row[i]));                                                                                    \
	}                                                                                                                  \
	if (ahead)                                                                                                         \
		for (int64_t k = 0; k + 1 < K; k += 2, b += 2 * NV * VL) {                                                     \
			__builtin_prefetch(ahead + 32 * k, 0, 3);                                                                  \
			TERM_P(MR, NV, k + 1, 0)                                                                                   \
			TERM_P(MR, NV, k, 1)                                                                                       \
		}                                                                                                              \
	else                                                                                                               \
		_Pragma("GCC unroll 2") for (int64_t k = 0; k + 1 < K; k += 2, b += 2 * NV * VL) {                             \
			TERM_P(MR, NV, k + 1, 0)                                                                                   \
			TERM_P(MR, NV, k, 1)                                                                                       \
		}                                                                                                              \
	if (K & 1) TERM_P(MR, NV, K - 1, 1)

// A row's address, formed anew where it is used: the compiler would form the block's MR x NV addresses at once and keep them in memory.
#define ROW(p) ({ float *r_ = (p); __asm__("" : "+r"(r_)); r_; })

#define BLOCK(STEP, TA, TB, MR, NV)                                                                                    \
	static void AF(block_##STEP##_##MR##_##NV)(int64_t K, const void *A, int64_t lda, const void *B, int64_t ldb,      \
	                                           float *C, int64_t ldc, int acc, const char *ahead) {                    \
		const TA *a = A;                                                                                               \
		const TB *b = B;                                                                                               \
		if (K < 1) __builtin_unreachable(); /* or the sums would pass through memory after the loop, for a K of 0 */    \
		vf c[MR][NV];                                                                                                  \
		_Pragma("GCC unroll 8") for (int i = 0; i < MR; i++) {                                                         \
			const float *ci = ROW(C + i * ldc);                                                                        \
			for (int j = 0; j < NV; j++) c[i][j] = acc ? vload(ci + VL * j) : vset1(0);                                \
		}                                                                                                              \
		STEP_##STEP(MR, NV)                                                                                            \
		_Pragma("GCC unroll 8") for (int i = 0; i < MR; i++) {                                                         \
			float *ci = ROW(C + i * ldc);                                                                              \
			for (int j = 0; j < NV; j++) vstore(ci + VL * j, c[i][j]);                                                 \
		}                                                                                                              \
	}
#if AF_LEVEL >= 4
#define UPPER_FIRST 0
#define BLOCKS(MR, NV) BLOCK(F, float, float, MR, NV) BLOCK(X, float, bf16, MR, NV) BLOCK(B, bf16, bf16, MR, NV)
#elif VL == 16
#define UPPER_FIRST 1
#define BLOCKS(MR, NV) BLOCK(F, float, float, MR, NV) BLOCK(X, float, bf16, MR, NV) BLOCK(P, float, float, MR, NV) BLOCK(W, float, bf16, MR, NV)
#else
#define UPPER_FIRST 1
#define BLOCKS(MR, NV) BLOCK(F, float, float, MR, NV) BLOCK(G, float, float, MR, NV) BLOCK(X, float, bf16, MR, NV) BLOCK(P, float, float, MR, NV) BLOCK(W, float, bf16, MR, NV)
#endif

typedef void (*AF(block_fn))(int64_t, const void *, int64_t, const void *, int64_t, float *, int64_t, int, const char *);
#define NAME(STEP, MR, NV) AF(block_##STEP##_##MR##_##NV)
#define SIX(STEP, NV) NAME(STEP, 1, NV), NAME(STEP, 2, NV), NAME(STEP, 3, NV), NAME(STEP, 4, NV), NAME(STEP, 5, NV), NAME(STEP, 6, NV)
#define EIGHT(STEP, NV) SIX(STEP, NV), NAME(STEP, 7, NV), NAME(STEP, 8, NV)
#define BLOCKS_SIX(NV) BLOCKS(1, NV) BLOCKS(2, NV) BLOCKS(3, NV) BLOCKS(4, NV) BLOCKS(5, NV) BLOCKS(6, NV)
#define BLOCKS_EIGHT(NV) BLOCKS_SIX(NV) BLOCKS(7, NV) BLOCKS(8, NV)

// Blocks by kind, width and rows; as many rows as registers hold sums of.
#if NVMAX == 4
BLOCKS_EIGHT(1)
BLOCKS_EIGHT(2)
BLOCKS_EIGHT(3)
BLOCKS_SIX(4)
static const int AF(most_rows)[NVMAX] = {8, 8, 8, 6};
#define WIDTHS(STEP) {{EIGHT(STEP, 1)}, {EIGHT(STEP, 2)}, {EIGHT(STEP, 3)}, {SIX(STEP, 4)}}
#else // half the registers: 12 sums
BLOCKS_SIX(2)
BLOCKS(1, 4) BLOCKS(2, 4) BLOCKS(3, 4)
BLOCKS(1, 8)
static const int AF(most_rows)[NVMAX] = {[1] = 6, [3] = 3, [7] = 1};
#define WIDTHS(STEP) {[1] = {SIX(STEP, 2)}, [3] = {NAME(STEP, 1, 4), NAME(STEP, 2, 4), NAME(STEP, 3, 4)}, [7] = {NAME(STEP, 1, 8)}}
#endif
static const AF(block_fn) AF(blocks)[TILE_KINDS][NVMAX][8] = {
    [TILE_F] = WIDTHS(F),
    [TILE_X] = WIDTHS(X),
#if AF_LEVEL >= 4
    [TILE_B] = WIDTHS(B),
#else
    [TILE_P] = WIDTHS(P),
    [TILE_W] = WIDTHS(W),
#endif
#if VL < 16
    [TILE_G] = WIDTHS(G),
#endif
};

// How many vectors side by side a block of m rows takes, of `wide` that are left.
AF_INLINE int AF(vectors)(int64_t wide, int64_t m) {
#if VL == 16 // the last two blocks of equal widths: 3 and 2 vectors, not 4 and 1
	(void)m;
	return (int)(wide >= 2 * NVMAX ? NVMAX : wide > NVMAX ? (wide + 1) / 2 : wide);
#else // so many that there are sums enough at a time, few rows or not
	return m == 1 && wide % 8 == 0 ? 8 : m <= 3 && wide % 4 == 0 ? 4 : 2;
#endif
}

#if AF_LEVEL < 4
// TILE_B and TILE_X. What is widened of B serves all rows; where they are few, it is widened in registers.
static void AF(tile_widened)(int kind, int64_t m, int64_t n, int64_t k, const void *A, int64_t lda, const bf16 *B, int64_t ldb, float *C,
                             int64_t ldc, int acc, int ahead) {
	enum {
		CHUNK = 512,      // terms of a sum that are widened at a time: B's of 64 columns stay in the second-level cache
		SHORT = 64,       // the same, in the first-level one with what they are widened from, for up to
		FEW = 48,         // rows
		MANY = 16,        // rows from which on the first block of them leaves B widened for the others
		MOST = 8,         // rows of a block
		AHEAD = 16 << 10, // bytes from what is read to what is asked for meanwhile, below MANY
	};
	int64_t chunk = m < MANY && kind == TILE_X ? k + (k & 1) : m <= FEW ? SHORT : CHUNK;
	_Static_assert(MOST * CHUNK + CHUNK * WIDE <= AF_ROOM, "a room is too small");
	float *a = af_room, *b = a + MOST * CHUNK;
	for (int64_t j = 0; j < n; j += WIDE) {
		int64_t width = n - j < WIDE ? n - j : WIDE, nv = AF(vectors)(width / VL, m), most = AF(most_rows)[nv - 1];
		for (int64_t k0 = 0; k0 < k; k0 += chunk) {
			int64_t len = k - k0 < chunk ? k - k0 : chunk, even = (len + 1) & ~(int64_t)1;
			const bf16 *s = B + k0 * ldb + 2 * j, *next = s + even * ldb, *end = next + even * ldb;
			for (int64_t i = 0, rows, left = (m + most - 1) / most; i < m; i += rows, left--, next += 16 * even) {
				rows = (m - i + left - 1) / left;
				const float *x = (const float *)A + i * lda + k0;
				int64_t ldx = lda;
				if (kind == TILE_B) {
					for (int64_t r = 0; r < rows; r++) AF(to_f32)(a + r * CHUNK, (const bf16 *)A + (i + r) * lda + k0, len);
					x = a, ldx = CHUNK;
				}
				for (int64_t l = 0; l < width; l += VL * nv) {
					const char *near = (const char *)(s + 2 * l) + (ahead && i == 0 ? AHEAD : 0);
					float *to = C + i * ldc + j + l;
					if (m < MANY)
						AF(blocks)[TILE_X][nv - 1][rows - 1](len, x, ldx, s + 2 * l, ldb, to, ldc, acc || k0 > 0, near);
					else if (i == 0)
						AF(blocks)[TILE_W][nv - 1][rows - 1](len, x, ldx, s + 2 * l, ldb, to, ldc, acc || k0 > 0, (const char *)(b + l * CHUNK));
					else
						AF(blocks)[TILE_P][nv - 1][rows - 1](len, x, ldx, b + l * CHUNK, VL * nv, to, ldc, acc || k0 > 0,
						                                         ahead && next < end ? (const char *)next : NULL);
				}
			}
		}
	}
}
#endif

#if VL < 16
// TILE_F where a strip of B that a block takes lies apart in memory: its columns are brought together in the first-level cache.
static void AF(tile_strips)(int64_t m, int64_t n, int64_t k, const float *A, int64_t lda, const float *B, int64_t ldb, float *C, int64_t ldc, int acc) {
	enum { CHUNK = 512, STRIP = 2 * VL };
	_Static_assert(CHUNK * STRIP <= AF_ROOM, "a room is too small");
	float *strip = af_room;
	int64_t chunks = (k + CHUNK - 1) / CHUNK, chunk = (k + chunks - 1) / chunks;
	for (int64_t k0 = 0; k0 < k; k0 += chunk) {
		int64_t len = k - k0 < chunk ? k - k0 : chunk;
		for (int64_t j = 0; j < n; j += STRIP) {
			int64_t left = (m + AF(most_rows)[1] - 1) / AF(most_rows)[1];
			for (int64_t i = 0, rows; i < m; i += rows, left--) {
				rows = (m - i + left - 1) / left;
				AF(blocks)[i ? TILE_F : TILE_G][1][rows - 1](len, A + i * lda + k0, lda, i ? strip : B + k0 * ldb + j, i ? STRIP : ldb, C + i * ldc + j, ldc,
				                                             acc || k0 > 0, i ? NULL : (const char *)strip);
			}
		}
	}
}
#endif

// n is a multiple of 16. ldb is the width of a panel row. With TILE_AHEAD in kind what follows the panel in memory, or in it where it is widened, is
// brought near meanwhile.
void AF(tile)(int kind, int64_t m, int64_t n, int64_t k, const void *A, int64_t lda, const void *B, int64_t ldb, float *C,
              int64_t ldc, int acc) {
	int ahead = kind & TILE_AHEAD;
	kind &= ~TILE_AHEAD;
	if (k < 1) { // an empty sum, which blocks do not know
		for (int64_t i = 0; i < m && !acc; i++) memset(C + i * ldc, 0, (size_t)n * 4);
		return;
	}
#if AF_LEVEL < 4
	if (kind != TILE_F) {
		AF(tile_widened)(kind, m, n, k, A, lda, B, ldb, C, ldc, acc, ahead);
		return;
	}
#endif
#if VL < 16
	if (kind == TILE_F && !ahead && m >= 24 && k > 512 && n > 2 * VL) {
		AF(tile_strips)(m, n, k, A, lda, B, ldb, C, ldc, acc);
		return;
	}
#endif
	int64_t ea = kind == TILE_B ? 2 : 4, eb = 4; // bytes per element of A, per (pair) column of B
	int64_t pairs = kind == TILE_F ? k : (k + 1) / 2; // steps
	for (int64_t j = 0; j < n;) {
		int nv = AF(vectors)((n - j) / VL, m);
		const char *b = (const char *)B + j * eb, *next = b + pairs * ldb * 4, *end = next + pairs * ldb * 4;
		// Blocks of equal heights, or one row apart: a low one at the end would wait for memory, and for its own sums.
		int64_t left = (m + AF(most_rows)[nv - 1] - 1) / AF(most_rows)[nv - 1];
		for (int64_t i = 0, rows; i < m; i += rows, left--) {
			rows = (m - i + left - 1) / left;
			AF(blocks)[kind][nv - 1][rows - 1](k, (const char *)A + i * lda * ea, lda, b, ldb, C + i * ldc + j, ldc, acc, ahead && next < end ? next : kind == TILE_F ? NULL : b);
			next += pairs * 64;
		}
		j += VL * nv;
	}
}

#undef WIDE
#undef NVMAX
#undef PAIR
#undef TERM_F
#undef TERM_P
#undef STEP_F
#undef STEP_G
#undef STEP_B
#undef STEP_X
#undef STEP_W
#undef STEP_P
#undef UPPER_FIRST
#undef ROW
#undef BLOCK
#undef BLOCKS
#undef NAME
#undef SIX
#undef EIGHT
#undef BLOCKS_SIX
#undef BLOCKS_EIGHT
#undef WIDTHS
#endif
