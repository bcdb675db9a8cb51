// The loops that measure the machine: what products and reads of memory are compared with.
#ifndef AF_LEVEL
#define AF_SELF "measure.c"
#include "pool.h"

#include <time.h>

static double now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + 1e-9 * t.tv_nsec;
}

#include "multi.h"

struct measure {
	af_ctx *c;
	const float *p;
	int64_t n;
	int is_bf16;
	double seconds;
	double *rate; // one per thread
	float *sum;   // one per thread
};

static void peak_task(void *arg, int64_t i, int thread) {
	(void)thread;
	struct measure *m = arg;
	m->rate[i] = m->c->fn->peak(m->is_bf16, m->seconds);
}

double af_peak(af_ctx *c, int is_bf16, double seconds) {
	struct measure m = {.c = c, .is_bf16 = is_bf16, .seconds = seconds};
	m.rate = af_scratch_get(&c->shared, c->threads * sizeof *m.rate);
	if (!m.rate) return 0;
	af_run(c, c->threads, peak_task, &m);
	double sum = 0;
	for (int i = 0; i < c->threads; i++) sum += m.rate[i];
	return sum;
}

static void read_task(void *arg, int64_t i, int thread) {
	struct measure *m = arg;
	int64_t len = 1 << 16; // 256 KiB a task: long enough for the prefetchers
	int64_t from = i * len, n = from + len < m->n ? len : m->n - from;
	m->sum[thread] += m->c->fn->read_sum(m->p + from, n);
}

double af_bandwidth(af_ctx *c, const void *p, size_t bytes, double seconds) {
	struct measure m = {.c = c, .p = p, .n = (int64_t)(bytes / 4)};
	m.sum = af_scratch_get(&c->shared, c->threads * sizeof *m.sum);
	if (!m.sum) return 0;
	memset(m.sum, 0, c->threads * sizeof *m.sum);
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
