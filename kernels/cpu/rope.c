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

void AF(rope_rows)(af_tensor x, const int32_t *pos, const float *cs, int64_t heads, int64_t dh, int inverse, int64_t t0, int64_t t1) {
	int64_t half = dh / 2, v = half & ~(int64_t)(VL - 1);
	float sign = inverse ? -1.0f : 1.0f;
	for (int64_t t = t0; t < t1; t++) {
		const float *co = cs + (int64_t)pos[t] * dh, *si = co + half;
		for (int64_t h = 0; h < heads; h++) {
			int64_t o = t * x.stride + h * dh;
			if (x.dtype == AF_BF16) {
				bf16 *p = (bf16 *)x.p + o;
				for (int64_t d = 0; d < v; d += VL) {
					vf a = vload_bf16(p + d), b = vload_bf16(p + half + d), c = vload(co + d), s = vload(si + d) * sign;
					vstore_bf16(p + d, a * c - b * s);
					vstore_bf16(p + half + d, b * c + a * s);
				}
				for (int64_t d = v; d < half; d++) {
					float a = bf16_to_f32(p[d]), b = bf16_to_f32(p[half + d]), c = co[d], s = si[d] * sign;
					p[d] = f32_to_bf16(a * c - b * s);
					p[half + d] = f32_to_bf16(b * c + a * s);
				}
			} else {
				float *p = (float *)x.p + o;
				for (int64_t d = 0; d < v; d += VL) {
					vf a = vload(p + d), b = vload(p + half + d), c = vload(co + d), s = vload(si + d) * sign;
					vstore(p + d, a * c - b * s);
					vstore(p + half + d, b * c + a * s);
				}
				for (int64_t d = v; d < half; d++) {
					float a = p[d], b = p[half + d], c = co[d], s = si[d] * sign;
					p[d] = a * c - b * s;
					p[half + d] = b * c + a * s;
				}
			}
		}
	}
}
#endif
