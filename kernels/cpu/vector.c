// Conversions and sums of whole stretches.
#ifndef AF_LEVEL
#define AF_SELF "vector.c"
#include "pool.h"

#include "multi.h"

// Rows a power of two apart would meet in the same sets of the cache.
static int64_t widened_stride(af_tensor x) { return pad16(x.cols) + 16; }

size_t af_widened_len(af_tensor x) { return (size_t)(x.rows * widened_stride(x)); }

af_tensor af_widened(af_ctx *c, float *to, af_tensor x) {
	af_tensor y = {.p = to, .rows = x.rows, .cols = x.cols, .stride = widened_stride(x), .dtype = AF_F32};
	af_convert(c, y, x);
	return y;
}

#else

void AF(to_f32)(float *y, const bf16 *x, int64_t n) {
	int64_t i = 0;
	for (; i + VL <= n; i += VL) vstore(y + i, vload_bf16(x + i));
	for (; i < n; i++) y[i] = bf16_to_f32(x[i]);
}

void AF(to_bf16)(bf16 *y, const float *x, int64_t n) {
	int64_t i = 0;
	for (; i + VL <= n; i += VL) vstore_bf16(y + i, vload(x + i));
	for (; i < n; i++) y[i] = f32_to_bf16(x[i]);
}

// Rows of y, f32 or bf16, = (or, f32 only, +=) x (+ bias).
AF_INLINE void AF(put)(void *y, int is_bf16, int64_t ldy, int64_t rows, int64_t n, const float *x, int64_t ldx, const float *bias, int add) {
	for (int64_t r = 0; r < rows; r++, x += ldx) {
		float *f = (float *)y + r * ldy;
		bf16 *b = (bf16 *)y + r * ldy;
		int64_t i = 0;
		for (; i + VL <= n; i += VL) {
			vf v = vload(x + i);
			if (bias) v = v + vload(bias + i);
			if (add) v = v + vload(f + i);
			if (is_bf16)
				vstore_bf16(b + i, v);
			else
				vstore(f + i, v);
		}
		for (; i < n; i++) {
			float v = x[i] + (bias ? bias[i] : 0);
			if (is_bf16)
				b[i] = f32_to_bf16(v);
			else
				f[i] = add ? f[i] + v : v;
		}
	}
}

void AF(put_rows)(void *y, int is_bf16, int64_t ldy, int64_t rows, int64_t n, const float *x, int64_t ldx, const float *bias, int add) {
	if (is_bf16)
		AF(put)(y, 1, ldy, rows, n, x, ldx, bias, 0);
	else if (add)
		AF(put)(y, 0, ldy, rows, n, x, ldx, bias, 1);
	else
		AF(put)(y, 0, ldy, rows, n, x, ldx, bias, 0);
}

void AF(axpy)(float *y, const float *x, float a, int64_t n) {
	int64_t i = 0;
	vf v = vset1(a);
	for (; i + VL <= n; i += VL) vstore(y + i, vfma(v, vload(x + i), vload(y + i)));
	for (; i < n; i++) y[i] += a * x[i];
}

void AF(add_bf16)(float *y, const bf16 *x, int64_t n) {
	int64_t i = 0;
	for (; i + VL <= n; i += VL) vstore(y + i, vload(y + i) + vload_bf16(x + i));
	for (; i < n; i++) y[i] += bf16_to_f32(x[i]);
}
#endif
