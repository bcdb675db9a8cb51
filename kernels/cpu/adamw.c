// The optimizer over flat f32 arrays, and the norm of the gradient in blocks whose sums are put together in order.
#ifndef AF_LEVEL
#define AF_SELF "adamw.c"
#include "pool.h"
#include "multi.h"

enum { BLOCK = 1 << 14 };

struct flat_args {
	af_ctx *c;
	float *p, *m, *v;
	const float *g;
	double *part;
	int64_t n;
	float k[9];
};

static void square_task(void *arg, int64_t i, int thread) {
	(void)thread;
	struct flat_args *a = arg;
	int64_t from = i * BLOCK, n = a->n - from < BLOCK ? a->n - from : BLOCK;
	a->part[i] = a->c->fn->sum_squares(a->g + from, n);
}

af_sum af_sum_squares(af_ctx *c, const float *x, int64_t n) {
	int64_t blocks = (n + BLOCK - 1) / BLOCK;
	struct flat_args a = {.c = c, .g = x, .n = n, .part = af_scratch_get(&c->shared, (size_t)(blocks + 1) * 8)};
	if (!a.part) return (af_sum){0, AF_NOMEM};
	af_run(c, blocks, square_task, &a);
	af_sum s = {0, AF_OK};
	for (int64_t i = 0; i < blocks; i++) s.value += a.part[i];
	return s;
}

static void adamw_task(void *arg, int64_t i, int thread) {
	(void)thread;
	struct flat_args *a = arg;
	int64_t from = i * BLOCK, n = a->n - from < BLOCK ? a->n - from : BLOCK;
	a->c->fn->adamw(a->p + from, a->g + from, a->m + from, a->v + from, n, a->k);
}

int af_adamw(af_ctx *c, float *p, const float *g, float *m, float *v, int64_t n, int64_t step, double lr, double beta1, double beta2,
             double eps, double wd, double gscale) {
	double bc1 = 1 - pow(beta1, (double)step), bc2 = 1 - pow(beta2, (double)step);
	struct flat_args a = {.c = c, .p = p, .g = g, .m = m, .v = v, .n = n,
	                      .k = {(float)(1 - lr * wd), (float)beta1, (float)beta2, (float)(lr / bc1), (float)(1 / sqrt(bc2)), (float)eps,
	                            (float)gscale, (float)(1 - beta1), (float)(1 - beta2)}};
	af_run(c, (n + BLOCK - 1) / BLOCK, adamw_task, &a);
	return AF_OK;
}

#else

double AF(sum_squares)(const float *x, int64_t n) {
	double s[16] = {0}, sum = 0;
	int64_t i = 0;
	for (; i + 16 <= n; i += 16)
		for (int j = 0; j < 16; j++) s[j] += (double)x[i + j] * x[i + j];
	for (; i < n; i++) s[i & 15] += (double)x[i] * x[i];
	for (int j = 0; j < 16; j++) sum += s[j];
	return sum;
}

// k: decay, beta1, beta2, lr/bc1, 1/sqrt(bc2), eps, scale of the gradient, 1-beta1, 1-beta2.
void AF(adamw)(float *p, const float *g, float *m, float *v, int64_t n, const float *k) {
	int64_t i = 0;
	for (; i + VL <= n; i += VL) {
		vf gi = vload(g + i) * k[6];
		vf mi = vfma(vset1(k[1]), vload(m + i), k[7] * gi), vi_ = vfma(vset1(k[2]), vload(v + i), k[8] * gi * gi);
		vstore(m + i, mi);
		vstore(v + i, vi_);
		vstore(p + i, vload(p + i) * k[0] - k[3] * (mi / (vsqrt(vi_) * k[4] + k[5])));
	}
	for (; i < n; i++) {
		float gi = g[i] * k[6];
		float mi = k[1] * m[i] + k[7] * gi, vi_ = k[2] * v[i] + k[8] * gi * gi;
		m[i] = mi;
		v[i] = vi_;
		p[i] = p[i] * k[0] - k[3] * (mi / (sqrtf(vi_) * k[4] + k[5]));
	}
}
#endif
