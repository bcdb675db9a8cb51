// Rotary position embedding (Su et al. 2021) in the two-halves form of Hugging Face's rotate_half: with d < Dh/2,
//	y[d] = x[d] cos - x[d + Dh/2] sin,   y[d + Dh/2] = x[d + Dh/2] cos + x[d] sin,   angle = position * theta^(-2d/Dh)
// in place; the inverse rotation is the backward pass. x [T, heads * Dh] f32 or bf16. cos_sin holds, for each position, Dh/2
// cosines and then Dh/2 sines, f32.
#ifndef AF_LEVEL
#define AF_SELF "rope.c"
#include "pool.h"
#include "multi.h"

struct rope_args {
	af_ctx *c;
	af_tensor x;
	const int32_t *pos;
	const float *cs;
	int64_t heads, dh;
	int inverse;
};
enum { BLOCK = 32 };

static void task(void *arg, int64_t i, int thread) {
	(void)thread;
	struct rope_args *a = arg;
	int64_t t = i * BLOCK, e = t + BLOCK < a->x.rows ? t + BLOCK : a->x.rows;
	a->c->fn->rope_rows(a->x, a->pos, a->cs, a->heads, a->dh, a->inverse, t, e);
}

int af_rope(af_ctx *c, af_tensor x, const int32_t *positions, const float *cos_sin, int64_t heads, int64_t dh, int inverse) {
	struct rope_args a = {c, x, positions, cos_sin, heads, dh, inverse};
	af_run(c, (x.rows + BLOCK - 1) / BLOCK, task, &a);
	return AF_OK;
}

#else

#include "row.h"

// Columns o + d.. and o + half + d.. of row t, n of each.
AF_INLINE void AF(turn)(af_tensor x, af_tensor cs, int64_t t, int32_t pos, int64_t o, int64_t d, int64_t half, float sign, int64_t n) {
	vf a = AF(ld)(x, t, o + d, n), b = AF(ld)(x, t, o + half + d, n);
	vf c = AF(ld)(cs, pos, d, n), s = AF(ld)(cs, pos, half + d, n) * sign;
	AF(st)(x, t, o + d, n, a * c - b * s);
	AF(st)(x, t, o + half + d, n, b * c + a * s);
}

AF_INLINE void AF(rotate)(af_tensor x, const int32_t *pos, af_tensor cs, int64_t heads, int64_t dh, int inverse, int64_t t0, int64_t t1) {
	int64_t half = dh / 2;
	float sign = inverse ? -1.0f : 1.0f;
	for (int64_t t = t0; t < t1; t++)
		for (int64_t o = 0; o < heads * dh; o += dh) COLUMNS(half, AF(turn)(x, cs, t, pos[t], o, j, half, sign, n));
}

void AF(rope_rows)(af_tensor x, const int32_t *pos, const float *cs, int64_t heads, int64_t dh, int inverse, int64_t t0, int64_t t1) {
	af_tensor table = {.p = (float *)cs, .cols = dh, .stride = dh, .dtype = AF_F32};
	if (x.dtype == AF_BF16) { // in both cases it is known to the loops
		AF(rotate)(x, pos, table, heads, dh, inverse, t0, t1);
	} else {
		x.dtype = AF_F32;
		AF(rotate)(x, pos, table, heads, dh, inverse, t0, t1);
	}
}
#endif
