// Worker threads and the scratch memory that each of them owns.
#ifndef AF_POOL_H
#define AF_POOL_H

#include "af.h"
#include "table.h"

typedef void (*af_task)(void *arg, int64_t i, int thread);

static inline int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t max64(int64_t a, int64_t b) { return a > b ? a : b; }
static inline int64_t pad16(int64_t n) { return (n + 15) & ~(int64_t)15; }
static inline int64_t size_of(int dtype) { return dtype == AF_BF16 ? 2 : 4; }
// Terms of a panel's sums, padded to pairs in bf16; the panel of outputs n0.., a multiple of 64.
static inline int64_t terms_of(const af_matrix *m) { return m->dtype == AF_BF16 ? m->k + (m->k & 1) : m->k; }
static inline void *panel_at(const af_matrix *m, int64_t n0) { return (char *)m->data + n0 * terms_of(m) * size_of(m->dtype); }
static inline char *at(af_tensor t, int64_t r, int64_t c) { return (char *)t.p + (r * t.stride + c) * size_of(t.dtype); }

struct af_scratch {
	void *p;
	size_t bytes;
};

struct af_ctx {
	const struct af_table *fn;
	int threads, level;
	struct af_pool *pool;
	struct af_scratch *scratch; // one per thread
	struct af_scratch shared;   // of the op that is running
	struct af_scratch turned;   // its transposed copy
	int use_products;           // large products by the library of products.h: AF_PRODUCTS_OWN..ALL
	struct af_products *products;
};

// Whether products widen bf16 to f32, for want of a fast dot product (tile.c).
static inline int af_widens(const af_ctx *c) { return c->level < 4; }

// Memory of a thread's own for products (tile.c), while it works on a task. Not in thread-local storage, which every thread of the process would
// have on its stack.
enum { AF_ROOM = 36 << 10 }; // floats
extern _Thread_local float *af_room;

// Runs task(arg, i, thread) for i in [0, n), n < 2^32; returns when all are done. Each thread begins with a stretch of its own, the same one for the same n:
// what it wrote in one operation is in its cache when the next one reads it.
void af_run(af_ctx *c, int64_t n, af_task task, void *arg);

// Rows of a task: `most` of them, fewer where not every thread would get any, but as many as are worth handing over.
static inline int64_t rows_each(const af_ctx *c, int64_t rows, int64_t most) {
	enum { LEAST = 4 };
	return max64(LEAST, min64(most, (rows + c->threads - 1) / c->threads));
}

// Memory of at least `bytes` for this thread (or for the running op), kept from call to call. NULL when out of memory.
void *af_scratch_get(struct af_scratch *s, size_t bytes);
// Grows every thread's scratch, before af_run.
int af_scratch_all(af_ctx *c, size_t bytes);

// x of bf16 as f32, at `to`: room for af_widened_len floats.
af_tensor af_widened(af_ctx *c, float *to, af_tensor x);
size_t af_widened_len(af_tensor x);

// A transposed copy of rows of x, as a forest's plan lays it out, valid until the next one is made. Columns without a row meet a weight of 0, so they
// have to be finite; they are 0. NULL when out of memory.
void *af_turned(af_ctx *c, af_tensor x, af_plan p);

// Row n of a packed matrix as f32 [k].
void af_matrix_row(const af_matrix *m, int64_t n, float *y);

#endif
