// Conversions and sums of whole stretches, and the loops that measure the machine.
#ifndef AF_LEVEL
#define AF_SELF "vector.c"
#include "pool.h"

#include <time.h>

static double now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + 1e-9 * t.tv_nsec;
}

#include "multi.h"

// Rows a power of two apart would meet in the same sets of the cache.
static int64_t widened_stride(af_tensor x) { return ((x.cols + 15) & ~(int64_t)15) + 16; }

size_t af_widened_len(af_tensor x) { return (size_t)(x.rows * widened_stride(x)); }

af_tensor af_widened(af_ctx *c, float *to, af_tensor x) {
	af_tensor y = {.p = to, .rows = x.rows, .cols = x.cols, .stride = widened_stride(x), .dtype = AF_F32};
	af_convert(c, y, x);
	return y;
}

struct measure {
	af_ctx *c;
	const float *p;
	int64_t n;
	int is_bf16;
	double seconds, rate[256];
	float sum[256];
};

static void peak_task(void *arg, int64_t i, int thread) {
	(void)thread;
	struct measure *m = arg;
	m->rate[i] = m->c->fn->peak(m->is_bf16, m->seconds);
}

double af_peak(af_ctx *c, int is_bf16, double seconds) {
	struct measure m = {.c = c, .is_bf16 = is_bf16, .seconds = seconds};
	int n = c->threads < 256 ? c->threads : 256;
	af_run(c, n, peak_task, &m);
	double sum = 0;
	for (int i = 0; i < n; i++) sum += m.rate[i];
	return sum;
}

static void read_task(void *arg, int64_t i, int thread) {
	struct measure *m = arg;
	int64_t len = 1 << 16; // 256 KiB a task: long enough for the prefetchers
	int64_t from = i * len, n = from + len < m->n ? len : m->n - from;
	m->sum[thread & 255] += m->c->fn->read_sum(m->p + from, n);
}

double af_bandwidth(af_ctx *c, const void *p, size_t bytes, double seconds) {
	struct measure m = {.c = c, .p = p, .n = (int64_t)(bytes / 4)};
	double best = 0, end = now() + seconds;
	do {
		double t = now();
		af_run(c, (m.n + (1 << 16) - 1) >> 16, read_task, &m);
		double r = bytes / (now() - t) / 1e9;
		best = r > best ? r : best;
	} while (now() < end);
	return best;
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

float AF(read_sum)(const float *p, int64_t n) {
	vf a = vset1(0), b = a, c = a, d = a;
	int64_t i = 0;
	for (; i + 4 * VL <= n; i += 4 * VL) {
		a = a + vload(p + i);
		b = b + vload(p + i + VL);
		c = c + vload(p + i + 2 * VL);
		d = d + vload(p + i + 3 * VL);
	}
	return vsum(a + b + c + d);
}

// GFLOP/s of one thread on 12 independent chains that stay in registers. Where bf16 is widened, its products are of f32.
double AF(peak)(int is_bf16, double seconds) {
	vf c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, ca, cb;
	vf *all[12] = {&c0, &c1, &c2, &c3, &c4, &c5, &c6, &c7, &c8, &c9, &ca, &cb};
	for (int i = 0; i < 12; i++) *all[i] = vset1((float)i); // all different, or the compiler makes one chain of them
	vf x = vset1(1e-3f), y = vset1(1.0f);
	vi xi = (vi)x, yi = (vi)y;
	double t = now(), best = 0, end = t + seconds;
	int64_t n = 1 << 18;
	do {
		double s = now();
		if (is_bf16 && AF_LEVEL >= 4)
			for (int64_t i = 0; i < n; i++) {
#define D(c) c = vdot_bf16(c, xi, yi);
				D(c0) D(c1) D(c2) D(c3) D(c4) D(c5) D(c6) D(c7) D(c8) D(c9) D(ca) D(cb)
#undef D
			}
		else
			for (int64_t i = 0; i < n; i++) {
#define D(c) c = vfma(x, y, c);
				D(c0) D(c1) D(c2) D(c3) D(c4) D(c5) D(c6) D(c7) D(c8) D(c9) D(ca) D(cb)
#undef D
			}
		double r = 12.0 * n * (is_bf16 && AF_LEVEL >= 4 ? 4 : 2) * VL / (now() - s) / 1e9;
		best = r > best ? r : best;
	} while (now() < end);
	volatile float keep = vsum(c0 + c1 + c2 + c3 + c4 + c5 + c6 + c7 + c8 + c9 + ca + cb);
	(void)keep;
	return best;
}
#endif
