// SwiGLU (Shazeer 2020): act = silu(gate) * up, silu(g) = g * s, s = 1/(1 + e^-g).
// Backward: dup = dact * g * s,  dgate = dact * up * s * (1 + g (1 - s)). All f32 or bf16, arithmetic in f32. dgate may be gate and
// dup may be up.
#ifndef AF_LEVEL
#define AF_SELF "swiglu.c"
#include "pool.h"
#include "multi.h"

struct swiglu_args {
	af_ctx *c;
	af_tensor act, gate, up, dgate, dup, dact;
};
enum { BLOCK = 16 };

static void forward_task(void *arg, int64_t i, int thread) {
	(void)thread;
	struct swiglu_args *a = arg;
	int64_t t = i * BLOCK, e = t + BLOCK < a->act.rows ? t + BLOCK : a->act.rows;
	a->c->fn->swiglu_rows(a->act, a->gate, a->up, t, e);
}

int af_swiglu(af_ctx *c, af_tensor act, af_tensor gate, af_tensor up) {
	struct swiglu_args a = {.c = c, .act = act, .gate = gate, .up = up};
	af_run(c, (act.rows + BLOCK - 1) / BLOCK, forward_task, &a);
	return AF_OK;
}

static void back_task(void *arg, int64_t i, int thread) {
	(void)thread;
	struct swiglu_args *a = arg;
	int64_t t = i * BLOCK, e = t + BLOCK < a->dact.rows ? t + BLOCK : a->dact.rows;
	a->c->fn->swiglu_back_rows(a->dgate, a->dup, a->dact, a->gate, a->up, t, e);
}

int af_swiglu_back(af_ctx *c, af_tensor dgate, af_tensor dup, af_tensor dact, af_tensor gate, af_tensor up) {
	struct swiglu_args a = {c, {0}, gate, up, dgate, dup, dact};
	af_run(c, (dact.rows + BLOCK - 1) / BLOCK, back_task, &a);
	return AF_OK;
}

#else

AF_INLINE vf AF(ld)(af_tensor x, int64_t t, int64_t j, int64_t n) {
	int64_t o = t * x.stride + j;
	if (n == 16) return x.dtype == AF_BF16 ? vload_bf16((const bf16 *)x.p + o) : vload((const float *)x.p + o);
	float f[16] = {0};
	for (int64_t i = 0; i < n; i++) f[i] = x.dtype == AF_BF16 ? bf16_to_f32(((const bf16 *)x.p)[o + i]) : ((const float *)x.p)[o + i];
	return vload(f);
}

AF_INLINE void AF(st)(af_tensor x, int64_t t, int64_t j, int64_t n, vf v) {
	int64_t o = t * x.stride + j;
	if (x.dtype == AF_BF16) {
		bf16 b[16];
		vstore_bf16(b, v);
		memcpy((bf16 *)x.p + o, b, (size_t)n * 2);
	} else {
		float f[16];
		vstore(f, v);
		memcpy((float *)x.p + o, f, (size_t)n * 4);
	}
}

void AF(swiglu_rows)(af_tensor act, af_tensor gate, af_tensor up, int64_t t0, int64_t t1) {
	for (int64_t t = t0; t < t1; t++)
		for (int64_t j = 0; j < act.cols; j += 16) {
			int64_t n = act.cols - j < 16 ? act.cols - j : 16;
			vf g = AF(ld)(gate, t, j, n), u = AF(ld)(up, t, j, n);
			vf y = g / (1.0f + vexp(-g)) * u;
			if (n == 16 && act.dtype == AF_BF16)
				vstore_bf16((bf16 *)act.p + t * act.stride + j, y);
			else
				AF(st)(act, t, j, n, y);
		}
}

void AF(swiglu_back_rows)(af_tensor dgate, af_tensor dup, af_tensor dact, af_tensor gate, af_tensor up, int64_t t0, int64_t t1) {
	for (int64_t t = t0; t < t1; t++)
		for (int64_t j = 0; j < dact.cols; j += 16) {
			int64_t n = dact.cols - j < 16 ? dact.cols - j : 16;
			vf g = AF(ld)(gate, t, j, n), u = AF(ld)(up, t, j, n), d = AF(ld)(dact, t, j, n);
			vf s = 1.0f / (1.0f + vexp(-g)), gs = g * s;
			AF(st)(dup, t, j, n, d * gs);
			AF(st)(dgate, t, j, n, d * u * s * (1.0f + g - gs));
		}
}
#endif
