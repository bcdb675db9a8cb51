// Transposed copies of keys and values, a column per slot, and rows put into a cache of them. In bf16 each pair of slots is stored swapped
// (attention.h says why).
#include "pool.h"
#include "isa.h"

struct transpose_args {
	af_ctx *c;
	void *xt;
	int64_t len;
	af_tensor x;
	const int32_t *slots;
};

// Rows t0..t1, columns c0..c1, one by one.
static void transpose_some(const struct transpose_args *a, int64_t t0, int64_t t1, int64_t c0, int64_t c1) {
	for (int64_t c = c0; c < c1; c++)
		for (int64_t t = t0; t < t1; t++) {
			if (a->x.dtype == AF_BF16)
				((bf16 *)a->xt)[c * a->len + (a->slots[t] ^ 1)] = ((const bf16 *)a->x.p)[t * a->x.stride + c];
			else
				((float *)a->xt)[c * a->len + a->slots[t]] = ((const float *)a->x.p)[t * a->x.stride + c];
		}
}

static void transpose_task(void *arg, int64_t i, int thread) {
	(void)thread;
	struct transpose_args *a = arg;
	int64_t c0 = i * 32, c1 = c0 + 32 < a->x.cols ? c0 + 32 : a->x.cols;
	int blocks = a->x.dtype == AF_F32 && !((c1 - c0) & 15);
	for (int64_t t = 0, n; t < a->x.rows; t += n) { // rows in slots that follow one another
		for (n = 1; n < 64 && t + n < a->x.rows && a->slots[t + n] == a->slots[t] + n;) n++;
		int64_t whole = blocks ? n & ~(int64_t)15 : 0;
		struct words w = {.x = a->x, .row = t, .rows = whole, .col = c0, .cols = c1 - c0, .scale = 1};
		if (whole) a->c->fn->words_turned((uint32_t *)a->xt + c0 * a->len + a->slots[t], a->len, &w);
		transpose_some(a, t + whole, t + n, c0, c1);
	}
}

static void transpose(af_ctx *c, void *xt, int64_t row_len, af_tensor x, const int32_t *slots) {
	struct transpose_args a = {c, xt, row_len, x, slots};
	af_run(c, (x.cols + 31) / 32, transpose_task, &a);
}

void *af_turned(af_ctx *c, af_tensor x, af_plan p) {
	int64_t es = size_of(x.dtype);
	char *xt = af_scratch_get(&c->turned, (size_t)(x.cols * p.row_len * es));
	if (!xt) return NULL;
	for (int64_t t = 0, next = 0; t <= x.rows; t++) {
		int64_t slot = t < x.rows ? p.slots[t] : p.row_len;
		if (slot > next) { // whole pairs, as their halves may be swapped: what belongs there follows
			int64_t from = next & ~(int64_t)1, n = ((slot + 1) & ~(int64_t)1) - from;
			for (int64_t r = 0; r < x.cols; r++) memset(xt + (r * p.row_len + from) * es, 0, (size_t)(n * es));
		}
		next = slot + 1;
	}
	transpose(c, xt, p.row_len, x, p.slots);
	return xt;
}

int af_kv_put(af_ctx *c, const af_kv *kv, af_tensor k, af_tensor v, const int32_t *slots) {
	for (int64_t t = 0; t < k.rows; t++) memcpy(at(kv->k, slots[t], 0), at(k, t, 0), (size_t)(k.cols * size_of(k.dtype)));
	transpose(c, kv->vt, kv->row_len, v, slots);
	return AF_OK;
}
