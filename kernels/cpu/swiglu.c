// SwiGLU (Shazeer 2020): act = silu(gate) * up, silu(g) = g * s, s = 1/(1 + e^-g).
// Backward: dup = dact * g * s,  dgate = dact * up * s * (1 + g (1 - s)), and act once more. All f32 or bf16, arithmetic in f32. dgate may be
// gate, dup up, and act dact.
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
	int64_t t = i * BLOCK, e = min64(t + BLOCK, a->act.rows);
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
	int64_t t = i * BLOCK, e = min64(t + BLOCK, a->dact.rows);
	a->c->fn->swiglu_back_rows(a->dgate, a->dup, a->act, a->dact, a->gate, a->up, t, e);
}

int af_swiglu_back(af_ctx *c, af_tensor dgate, af_tensor dup, af_tensor act, af_tensor dact, af_tensor gate, af_tensor up) {
	struct swiglu_args a = {c, act, gate, up, dgate, dup, dact};
	af_run(c, (dact.rows + BLOCK - 1) / BLOCK, back_task, &a);
	return AF_OK;
}

#else

#include "row.h"

AF_INLINE void AF(forwardv)(af_tensor act, af_tensor gate, af_tensor up, int64_t t, int64_t j, int64_t n) {
	vf g = AF(ld)(gate, t, j, n), u = AF(ld)(up, t, j, n);
	AF(st)(act, t, j, n, g / (1.0f + vexp(-g)) * u);
}

AF_INLINE void AF(forward)(af_tensor act, af_tensor gate, af_tensor up, int64_t t0, int64_t t1) {
	for (int64_t t = t0; t < t1; t++) COLUMNS(act.cols, AF(forwardv)(act, gate, up, t, j, n));
}

// Where all tensors have one dtype, it is known to the loops.
void AF(swiglu_rows)(af_tensor act, af_tensor gate, af_tensor up, int64_t t0, int64_t t1) {
	int same = act.dtype == gate.dtype && act.dtype == up.dtype;
	if (same && act.dtype == AF_BF16) {
		act.dtype = gate.dtype = up.dtype = AF_BF16;
		AF(forward)(act, gate, up, t0, t1);
	} else if (same) {
		act.dtype = gate.dtype = up.dtype = AF_F32;
		AF(forward)(act, gate, up, t0, t1);
	} else
		AF(forward)(act, gate, up, t0, t1);
}

AF_INLINE void AF(backv)(af_tensor dgate, af_tensor dup, af_tensor act, af_tensor dact, af_tensor gate, af_tensor up, int64_t t, int64_t j, int64_t n) {
	vf g = AF(ld)(gate, t, j, n), u = AF(ld)(up, t, j, n), d = AF(ld)(dact, t, j, n);
	vf s = 1.0f / (1.0f + vexp(-g)), gs = g * s;
	AF(st)(act, t, j, n, gs * u);
	AF(st)(dup, t, j, n, d * gs);
	AF(st)(dgate, t, j, n, d * u * s * vfma(g, 1.0f - s, vset1(1)));
}

AF_INLINE void AF(back)(af_tensor dgate, af_tensor dup, af_tensor act, af_tensor dact, af_tensor gate, af_tensor up, int64_t t0, int64_t t1) {
	for (int64_t t = t0; t < t1; t++) COLUMNS(dact.cols, AF(backv)(dgate, dup, act, dact, gate, up, t, j, n));
}

void AF(swiglu_back_rows)(af_tensor dgate, af_tensor dup, af_tensor act, af_tensor dact, af_tensor gate, af_tensor up, int64_t t0, int64_t t1) {
	int same = dact.dtype == gate.dtype && dact.dtype == up.dtype && dact.dtype == dgate.dtype && dact.dtype == dup.dtype && dact.dtype == act.dtype;
	if (same && dact.dtype == AF_BF16) {
		dgate.dtype = dup.dtype = act.dtype = dact.dtype = gate.dtype = up.dtype = AF_BF16;
		AF(back)(dgate, dup, act, dact, gate, up, t0, t1);
	} else if (same) {
		dgate.dtype = dup.dtype = act.dtype = dact.dtype = gate.dtype = up.dtype = AF_F32;
		AF(back)(dgate, dup, act, dact, gate, up, t0, t1);
	} else
		AF(back)(dgate, dup, act, dact, gate, up, t0, t1);
}
#endif
