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

static inline af_tensor row_of(const float *p, int64_t n) { return (af_tensor){.p = (float *)p, .rows = 1, .cols = n, .stride = n, .dtype = AF_F32}; }

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

#include "row.h"

void AF(norm_rows)(const struct norm_args *a, int64_t t0, int64_t t1) {
	af_tensor x = a->x, y = a->y, w = row_of(a->w, a->x.cols);
	for (int64_t t = t0; t < t1; t++) {
		vf s = vset1(0);
		COLUMNS(x.cols, vf v = AF(ld)(x, t, j, n); s = vfma(v, v, s));
		float r = 1.0f / sqrtf(vsum(s) / (float)x.cols + a->eps);
		if (a->rstd) a->rstd[t] = r;
		vf rv = vset1(r);
		COLUMNS(x.cols, AF(st)(y, t, j, n, AF(ld)(x, t, j, n) * rv * AF(ld)(w, 0, j, n)));
	}
}

// dx and dw of some columns; r is rstd, m rstd * mean_c(g * xhat).
AF_INLINE void AF(norm_backv)(af_tensor dx, af_tensor dw, af_tensor dy, af_tensor x, af_tensor w, int64_t t, vf r, vf m, int add, int64_t j, int64_t n) {
	vf d = AF(ld)(dy, t, j, n), xhat = AF(ld)(x, t, j, n) * r, g = r * (d * AF(ld)(w, 0, j, n)) - m * xhat;
	if (add) g = g + AF(ld)(dx, t, j, n);
	AF(st)(dx, t, j, n, g);
	if (dw.p) AF(st)(dw, 0, j, n, vfma(d, xhat, AF(ld)(dw, 0, j, n)));
}

void AF(norm_back_rows)(const struct norm_args *a, int64_t t0, int64_t t1, float *sums) {
	af_tensor x = a->x, dx = a->dx, dy = a->dy, w = row_of(a->w, x.cols), dw = row_of(sums, x.cols);
	dx.dtype = dy.dtype = AF_F32; // known to the loops
	for (int64_t t = t0; t < t1; t++) {
		float r = a->rstd[t];
		vf s = vset1(0);
		COLUMNS(x.cols, s = vfma(AF(ld)(dy, t, j, n) * AF(ld)(w, 0, j, n), AF(ld)(x, t, j, n), s));
		vf rv = vset1(r), m = vset1(vsum(s) * r / (float)x.cols * r);
		COLUMNS(x.cols, AF(norm_backv)(dx, dw, dy, x, w, t, rv, m, a->add, j, n));
	}
}
#endif
