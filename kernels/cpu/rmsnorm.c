// RMSNorm: y[t,c] = x[t,c] * rstd[t] * w[c],  rstd[t] = 1/sqrt(mean_c x[t,c]^2 + eps)  (Zhang & Sennrich 2019, eq. 4).
// Backward, with xhat = x * rstd and g = dy * w:
//	dx[t,c] = rstd[t] * (g[t,c] - xhat[t,c] * mean_c(g * xhat)),   dw[c] = sum_t dy[t,c] * xhat[t,c]
// x and y f32 or bf16, the rest f32, sums in f32. dx is written, or added to; dw is added to, by sums of 32 rows at most, in order.
#ifndef AF_LEVEL
#define AF_SELF "rmsnorm.c"
#include "pool.h"
#include "isa.h"

struct norm_args {
	af_ctx *c;
	af_tensor y, x, dx, dy;
	const float *w;
	float *rstd, *dw;
	float eps;
	int add;
	int64_t block; // rows of a task
};

#include "multi.h"

enum { BLOCK = 32 }; // rows per task, at most

static void forward_task(void *arg, int64_t i, int thread) {
	(void)thread;
	struct norm_args *a = arg;
	int64_t t = i * a->block;
	a->c->fn->norm_rows(a, t, min64(t + a->block, a->x.rows));
}

int af_rmsnorm(af_ctx *c, af_tensor y, float *rstd, af_tensor x, const float *w, float eps) {
	struct norm_args a = {.c = c, .y = y, .x = x, .w = w, .rstd = rstd, .eps = eps, .block = rows_each(c, x.rows, BLOCK)};
	af_run(c, (x.rows + a.block - 1) / a.block, forward_task, &a);
	return AF_OK;
}

static void back_task(void *arg, int64_t i, int thread) {
	(void)thread;
	struct norm_args *a = arg;
	int64_t t = i * BLOCK;
	a->c->fn->norm_back_rows(a, t, min64(t + BLOCK, a->x.rows), a->dw ? a->dw + i * a->x.cols : NULL);
}

// dw: a partial sum per block of rows, however many threads there are, then added up in order.
int af_rmsnorm_back(af_ctx *c, af_tensor dx, float *dw, af_tensor dy, af_tensor x, const float *w, const float *rstd, int add) {
	int64_t blocks = (x.rows + BLOCK - 1) / BLOCK;
	struct norm_args a = {.c = c, .dx = dx, .dy = dy, .x = x, .w = w, .rstd = (float *)rstd, .add = add};
	if (dw) {
		a.dw = af_scratch_get(&c->shared, (size_t)(blocks * x.cols) * 4);
		if (!a.dw) return AF_NOMEM;
		memset(a.dw, 0, (size_t)(blocks * x.cols) * 4);
	}
	af_run(c, blocks, back_task, &a);
	for (int64_t i = 0; dw && i < blocks; i++) c->fn->axpy(dw, a.dw + i * x.cols, 1, x.cols);
	return AF_OK;
}

#else

// VL values of a row, f32 or bf16.
AF_INLINE vf AF(rowv)(af_tensor x, int64_t t, int64_t j) {
	return x.dtype == AF_BF16 ? vload_bf16((const bf16 *)x.p + t * x.stride + j) : vload((const float *)x.p + t * x.stride + j);
}
AF_INLINE float AF(row1)(af_tensor x, int64_t t, int64_t j) {
	return x.dtype == AF_BF16 ? bf16_to_f32(((const bf16 *)x.p)[t * x.stride + j]) : ((const float *)x.p)[t * x.stride + j];
}

void AF(norm_rows)(const struct norm_args *a, int64_t t0, int64_t t1) {
	int64_t n = a->x.cols, v = n & ~(int64_t)(VL - 1);
	for (int64_t t = t0; t < t1; t++) {
		vf s = vset1(0);
		for (int64_t j = 0; j < v; j += VL) {
			vf x = AF(rowv)(a->x, t, j);
			s = vfma(x, x, s);
		}
		float sum = vsum(s);
		for (int64_t j = v; j < n; j++) sum += AF(row1)(a->x, t, j) * AF(row1)(a->x, t, j);
		float r = 1.0f / sqrtf(sum / (float)n + a->eps);
		if (a->rstd) a->rstd[t] = r;
		vf rv = vset1(r);
		for (int64_t j = 0; j < v; j += VL) {
			vf y = AF(rowv)(a->x, t, j) * rv * vload(a->w + j);
			if (a->y.dtype == AF_BF16)
				vstore_bf16((bf16 *)a->y.p + t * a->y.stride + j, y);
			else
				vstore((float *)a->y.p + t * a->y.stride + j, y);
		}
		for (int64_t j = v; j < n; j++) {
			float y = AF(row1)(a->x, t, j) * r * a->w[j];
			if (a->y.dtype == AF_BF16)
				((bf16 *)a->y.p)[t * a->y.stride + j] = f32_to_bf16(y);
			else
				((float *)a->y.p)[t * a->y.stride + j] = y;
		}
	}
}

void AF(norm_back_rows)(const struct norm_args *a, int64_t t0, int64_t t1, float *dw) {
	int64_t n = a->x.cols, v = n & ~(int64_t)(VL - 1);
	for (int64_t t = t0; t < t1; t++) {
		float r = a->rstd[t];
		const float *dy = (const float *)a->dy.p + t * a->dy.stride;
		float *dx = (float *)a->dx.p + t * a->dx.stride;
		vf s = vset1(0), rv = vset1(r);
		for (int64_t j = 0; j < v; j += VL) s = vfma(vload(dy + j) * vload(a->w + j), AF(rowv)(a->x, t, j), s);
		float sum = vsum(s);
		for (int64_t j = v; j < n; j++) sum += dy[j] * a->w[j] * AF(row1)(a->x, t, j);
		float m = sum * r / (float)n * r; // mean(g * xhat) * rstd
		vf mv = vset1(m);
		for (int64_t j = 0; j < v; j += VL) {
			vf d = vload(dy + j), x = AF(rowv)(a->x, t, j);
			vf g = rv * (d * vload(a->w + j)) - mv * (x * rv);
			if (a->add) g = g + vload(dx + j);
			vstore(dx + j, g);
			if (dw) vstore(dw + j, vfma(d, x * rv, vload(dw + j)));
		}
		for (int64_t j = v; j < n; j++) {
			float x = AF(row1)(a->x, t, j), g = r * (dy[j] * a->w[j]) - m * (x * r);
			dx[j] = a->add ? dx[j] + g : g;
			if (dw) dw[j] += dy[j] * (x * r);
		}
	}
}
#endif
