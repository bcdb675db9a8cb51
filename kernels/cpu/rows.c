// Rows moved, converted and summed: embedding gather and its gradient, selection of target rows, residual sums.
#include "pool.h"
#include "isa.h"

enum { BLOCK = 64 }; // rows per task, at most

// One row to another, converted where the dtypes differ.
static void copy_row(af_ctx *c, void *y, int ydt, const void *x, int xdt, int64_t n) {
	if (ydt == xdt)
		memcpy(y, x, (size_t)n * size_of(ydt));
	else if (ydt == AF_BF16)
		c->fn->to_bf16(y, x, n);
	else
		c->fn->to_f32(y, x, n);
}

struct rows_args {
	af_ctx *c;
	af_tensor y, x;
	const af_matrix *w;
	const int32_t *idx;
	int64_t n, block; // rows, and those of a task
	int op;
};
enum { GATHER, SELECT, SCATTER, CONVERT };

// Row t of y, of either dtype, from row n of a packed matrix.
static void gather_row(af_ctx *c, af_tensor y, int64_t t, const af_matrix *w, int64_t n, int thread) {
	float *row = y.dtype == AF_F32 ? (float *)at(y, t, 0) : c->scratch[thread].p;
	af_matrix_row(w, n, row);
	if (y.dtype == AF_BF16) c->fn->to_bf16((bf16 *)at(y, t, 0), row, w->k);
}

static void rows_task(void *arg, int64_t i, int thread) {
	struct rows_args *a = arg;
	af_ctx *c = a->c;
	for (int64_t t = i * a->block, e = min64(t + a->block, a->n); t < e; t++) switch (a->op) {
		case GATHER: gather_row(c, a->y, t, a->w, a->idx[t], thread); break;
		case SELECT: copy_row(c, at(a->y, t, 0), a->y.dtype, at(a->x, a->idx[t], 0), a->x.dtype, a->y.cols); break;
		case CONVERT: copy_row(c, at(a->y, t, 0), a->y.dtype, at(a->x, t, 0), a->x.dtype, a->y.cols); break;
		case SCATTER: {
			float *y = (float *)at(a->y, a->idx[t], 0);
			if (a->x.dtype == AF_BF16)
				c->fn->add_bf16(y, (const bf16 *)at(a->x, t, 0), a->x.cols);
			else
				c->fn->axpy(y, (const float *)at(a->x, t, 0), 1, a->x.cols);
		}
		}
}

static int run(af_ctx *c, af_tensor y, af_tensor x, const af_matrix *w, const int32_t *idx, int64_t n, int op) {
	struct rows_args a = {c, y, x, w, idx, n, rows_each(c, n, BLOCK), op};
	af_run(c, (n + a.block - 1) / a.block, rows_task, &a);
	return AF_OK;
}

int af_gather(af_ctx *c, af_tensor x, const af_matrix *w, const int32_t *tokens, int64_t t) {
	if (x.dtype == AF_BF16 && af_scratch_all(c, (size_t)w->k * 4)) return AF_NOMEM;
	return run(c, x, x, w, tokens, t, GATHER);
}
int af_select(af_ctx *c, af_tensor y, af_tensor x, const int32_t *rows) { return run(c, y, x, NULL, rows, y.rows, SELECT); }
int af_scatter_add(af_ctx *c, af_tensor y, af_tensor x, const int32_t *rows) { return run(c, y, x, NULL, rows, x.rows, SCATTER); }
int af_convert(af_ctx *c, af_tensor y, af_tensor x) { return run(c, y, x, NULL, NULL, y.rows, CONVERT); }

// A token may stand in many rows, so threads share out columns, not rows.
static void gather_back_task(void *arg, int64_t i, int thread) {
	(void)thread;
	struct rows_args *a = arg;
	int64_t k0 = i * 64, n = min64(64, a->x.cols - k0);
	for (int64_t t = 0; t < a->x.rows; t++)
		a->c->fn->axpy((float *)at(a->y, a->idx[t], 0) + k0, (const float *)at(a->x, t, 0) + k0, 1, n);
}

int af_gather_back(af_ctx *c, af_tensor dw, af_tensor dx, const int32_t *tokens) {
	struct rows_args a = {.c = c, .y = dw, .x = dx, .idx = tokens};
	af_run(c, (dx.cols + 63) / 64, gather_back_task, &a);
	return AF_OK;
}

struct zero_args {
	char *p;
	size_t bytes;
};

enum { ZERO_BYTES = 2 << 20 }; // a task's: one huge page where memory is written for the first time

static void zero_task(void *arg, int64_t i, int thread) {
	(void)thread;
	struct zero_args *a = arg;
	size_t from = (size_t)i * ZERO_BYTES, n = a->bytes - from < ZERO_BYTES ? a->bytes - from : ZERO_BYTES;
	memset(a->p + from, 0, n);
}

int af_zero(af_ctx *c, void *p, size_t bytes) {
	struct zero_args a = {p, bytes};
	af_run(c, (int64_t)((bytes + ZERO_BYTES - 1) / ZERO_BYTES), zero_task, &a);
	return AF_OK;
}
