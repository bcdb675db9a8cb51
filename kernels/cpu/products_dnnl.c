#ifdef AF_DNNL
// oneDNN behind products.h, against its 2.x and 3.x C interfaces. It runs on threads of its own (OpenMP), so only calls of many rows come here.
//
// OpenMP keeps a team of threads for each thread that calls it, and a goroutine calls from whichever thread Go gives it: every call of the library
// is made by one thread of the context, from its start to its end, so that there is one team.
#include "products.h"

#include <dnnl.h>
#include <omp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

struct job {
	int64_t m, n, k;
	int dtype;
	const void *a;
	int64_t lda;
	const void *b;
	int64_t ldb;
	int b_transposed;
	const float *bias;
	void *out;
	int64_t ldo;
	int out_dtype, add;
};

struct af_products {
	pthread_t thread; // the library's only caller
	int threads;      // of its team
	dnnl_engine_t engine;
	dnnl_stream_t stream;
	pthread_mutex_t lock;
	pthread_cond_t given, done;
	int busy, stop; // under the lock
	struct job job; // and rc: the thread's while it is busy, else the caller's
	int rc;
};

const char *af_products_name(void) {
	static char name[64];
	const dnnl_version_t *v = dnnl_version();
	snprintf(name, sizeof name, "oneDNN %d.%d.%d", v->major, v->minor, v->patch);
	return name;
}

int af_products_faster(void) {
#if defined(__x86_64__)
	unsigned a, b, c, d;
	if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) return (d >> 22) & (d >> 24) & 1; // amx-bf16, amx-tile
#endif
	return 0;
}

#if DNNL_VERSION_MAJOR < 3
typedef dnnl_memory_desc_t desc;
static int desc_new(desc *d, int64_t rows, int64_t cols, int64_t rs, int64_t cs, int dtype) {
	dnnl_dims_t dims = {rows, cols}, strides = {rs, cs};
	return dnnl_memory_desc_init_by_strides(d, 2, dims, dtype == AF_BF16 ? dnnl_bf16 : dnnl_f32, strides) == dnnl_success;
}
static void desc_free(desc *d) { (void)d; }
static dnnl_status_t primitive(dnnl_primitive_desc_t *pd, dnnl_engine_t e, const desc *a, const desc *b, const desc *bias, const desc *c,
                               dnnl_primitive_attr_t attr) {
	dnnl_matmul_desc_t m;
	dnnl_status_t s = dnnl_matmul_desc_init(&m, a, b, bias, c);
	return s == dnnl_success ? dnnl_primitive_desc_create(pd, &m, attr, e, NULL) : s;
}
static dnnl_status_t memory(dnnl_memory_t *m, const desc *d, dnnl_engine_t e, void *p) { return dnnl_memory_create(m, d, e, p); }
static dnnl_status_t post_sum(dnnl_post_ops_t p) { return dnnl_post_ops_append_sum(p, 1); }
#else
typedef dnnl_memory_desc_t desc;
static int desc_new(desc *d, int64_t rows, int64_t cols, int64_t rs, int64_t cs, int dtype) {
	dnnl_dims_t dims = {rows, cols}, strides = {rs, cs};
	return dnnl_memory_desc_create_with_strides(d, 2, dims, dtype == AF_BF16 ? dnnl_bf16 : dnnl_f32, strides) == dnnl_success;
}
static void desc_free(desc *d) { dnnl_memory_desc_destroy(*d); }
static dnnl_status_t primitive(dnnl_primitive_desc_t *pd, dnnl_engine_t e, const desc *a, const desc *b, const desc *bias, const desc *c,
                               dnnl_primitive_attr_t attr) {
	return dnnl_matmul_primitive_desc_create(pd, e, *a, *b, bias ? *bias : NULL, *c, attr);
}
static dnnl_status_t memory(dnnl_memory_t *m, const desc *d, dnnl_engine_t e, void *p) { return dnnl_memory_create(m, *d, e, p); }
static dnnl_status_t post_sum(dnnl_post_ops_t p) { return dnnl_post_ops_append_sum(p, 1, 0, dnnl_data_type_undef); }
#endif

static int product(struct af_products *p, const struct job *j) {
	int rc = AF_REFUSED; // unless all is made and done; what was not made is NULL, or nothing to free
	desc da = {0}, db = {0}, dc = {0}, dbias = {0};
	dnnl_primitive_attr_t attr = NULL;
	dnnl_post_ops_t ops = NULL;
	dnnl_primitive_desc_t pd = NULL;
	dnnl_primitive_t prim = NULL;
	dnnl_memory_t ma = NULL, mb = NULL, mc = NULL, mbias = NULL;
	if (!desc_new(&da, j->m, j->k, j->lda, 1, j->dtype) ||
	    !desc_new(&db, j->k, j->n, j->b_transposed ? 1 : j->ldb, j->b_transposed ? j->ldb : 1, j->dtype) ||
	    !desc_new(&dc, j->m, j->n, j->ldo, 1, j->out_dtype) || !desc_new(&dbias, 1, j->n, j->n, 1, AF_F32))
		goto end;
	if (dnnl_primitive_attr_create(&attr) != dnnl_success) goto end;
	if (j->add && (dnnl_post_ops_create(&ops) != dnnl_success || post_sum(ops) != dnnl_success ||
	               dnnl_primitive_attr_set_post_ops(attr, ops) != dnnl_success))
		goto end;
	if (primitive(&pd, p->engine, &da, &db, j->bias ? &dbias : NULL, &dc, attr) != dnnl_success ||
	    dnnl_primitive_create(&prim, pd) != dnnl_success || memory(&ma, &da, p->engine, (void *)j->a) != dnnl_success ||
	    memory(&mb, &db, p->engine, (void *)j->b) != dnnl_success || memory(&mc, &dc, p->engine, j->out) != dnnl_success ||
	    memory(&mbias, &dbias, p->engine, (void *)j->bias) != dnnl_success)
		goto end;
	dnnl_exec_arg_t args[4] = {{DNNL_ARG_SRC, ma}, {DNNL_ARG_WEIGHTS, mb}, {DNNL_ARG_DST, mc}, {DNNL_ARG_BIAS, mbias}};
	if (dnnl_primitive_execute(prim, p->stream, j->bias ? 4 : 3, args) == dnnl_success && dnnl_stream_wait(p->stream) == dnnl_success) rc = AF_OK;
end:
	dnnl_memory_destroy(ma);
	dnnl_memory_destroy(mb);
	dnnl_memory_destroy(mc);
	dnnl_memory_destroy(mbias);
	if (prim) dnnl_primitive_destroy(prim);
	if (pd) dnnl_primitive_desc_destroy(pd);
	if (ops) dnnl_post_ops_destroy(ops);
	if (attr) dnnl_primitive_attr_destroy(attr);
	desc_free(&da);
	desc_free(&db);
	desc_free(&dc);
	desc_free(&dbias);
	return rc;
}

// The thread's whole life; its first answer is whether there is a library. OpenMP ends the team with it.
static void *serve(void *arg) {
	struct af_products *p = arg;
	omp_set_num_threads(p->threads); // of this thread's teams alone
	p->rc = dnnl_engine_create(&p->engine, dnnl_cpu, 0) == dnnl_success &&
	                dnnl_stream_create(&p->stream, p->engine, dnnl_stream_in_order) == dnnl_success
	            ? AF_OK
	            : AF_REFUSED;
	for (;;) {
		pthread_mutex_lock(&p->lock);
		p->busy = 0;
		pthread_cond_signal(&p->done);
		while (!p->busy && !p->stop) pthread_cond_wait(&p->given, &p->lock);
		int stop = p->stop;
		pthread_mutex_unlock(&p->lock);
		if (stop) break;
		p->rc = product(p, &p->job);
	}
	if (p->stream) dnnl_stream_destroy(p->stream);
	if (p->engine) dnnl_engine_destroy(p->engine);
	return NULL;
}

// Waits for what the thread is busy with.
static int answer(struct af_products *p) {
	pthread_mutex_lock(&p->lock);
	while (p->busy) pthread_cond_wait(&p->done, &p->lock);
	pthread_mutex_unlock(&p->lock);
	return p->rc;
}

static struct af_products *start(af_ctx *c) {
	if (c->products) return c->products;
	struct af_products *p = malloc(sizeof *p);
	if (p) {
		*p = (struct af_products){.threads = c->threads, .lock = PTHREAD_MUTEX_INITIALIZER, .given = PTHREAD_COND_INITIALIZER,
		                          .done = PTHREAD_COND_INITIALIZER, .busy = 1};
		if (!pthread_create(&p->thread, NULL, serve, p)) {
			c->products = p;
			if (answer(p) == AF_OK) return p;
			af_products_free(c);
		} else {
			free(p);
		}
	}
	c->use_products = AF_PRODUCTS_OWN; // it would fail at every call
	return NULL;
}

void af_products_free(af_ctx *c) {
	struct af_products *p = c->products;
	if (!p) return;
	pthread_mutex_lock(&p->lock);
	p->stop = 1;
	pthread_cond_signal(&p->given);
	pthread_mutex_unlock(&p->lock);
	pthread_join(p->thread, NULL);
	pthread_cond_destroy(&p->given);
	pthread_cond_destroy(&p->done);
	pthread_mutex_destroy(&p->lock);
	free(p);
	c->products = NULL;
}

int af_products_matmul(af_ctx *c, int64_t m, int64_t n, int64_t k, int dtype, const void *a, int64_t lda, const void *b, int64_t ldb,
                       int b_transposed, const float *bias, void *out, int64_t ldo, int out_dtype, int add) {
	struct af_products *p = start(c);
	if (!p) return AF_REFUSED;
	pthread_mutex_lock(&p->lock);
	p->job = (struct job){m, n, k, dtype, a, lda, b, ldb, b_transposed, bias, out, ldo, out_dtype, add};
	p->busy = 1;
	pthread_cond_signal(&p->given);
	pthread_mutex_unlock(&p->lock);
	return answer(p);
}
#endif
