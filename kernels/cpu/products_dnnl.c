#ifdef AF_DNNL
// oneDNN behind products.h, against its 2.x and 3.x C interfaces. It runs on threads of its own (OpenMP), so only calls of many rows come here.
#include "products.h"

#include <dnnl.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

struct af_products {
	dnnl_engine_t engine;
	dnnl_stream_t stream;
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

static struct af_products *start(af_ctx *c) {
	if (c->products) return c->products;
	struct af_products *p = calloc(1, sizeof *p);
	if (!p) return NULL;
	if (dnnl_engine_create(&p->engine, dnnl_cpu, 0) != dnnl_success || dnnl_stream_create(&p->stream, p->engine, dnnl_stream_in_order) != dnnl_success) {
		free(p);
		return NULL;
	}
	return c->products = p;
}

void af_products_free(af_ctx *c) {
	struct af_products *p = c->products;
	if (!p) return;
	dnnl_stream_destroy(p->stream);
	dnnl_engine_destroy(p->engine);
	free(p);
	c->products = NULL;
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

int af_products_matmul(af_ctx *c, int64_t m, int64_t n, int64_t k, int dtype, const void *a, int64_t lda, const void *b, int64_t ldb,
                       int b_transposed, const float *bias, void *out, int64_t ldo, int out_dtype, int add) {
	struct af_products *p = start(c);
	if (!p) return AF_NOMEM;
	omp_set_num_threads(c->threads);
	int rc = AF_SHAPE; // unless all is made and done; what was not made is NULL, or nothing to free
	desc da = {0}, db = {0}, dc = {0}, dbias = {0};
	if (!desc_new(&da, m, k, lda, 1, dtype) || !desc_new(&db, k, n, b_transposed ? 1 : ldb, b_transposed ? ldb : 1, dtype) ||
	    !desc_new(&dc, m, n, ldo, 1, out_dtype) || !desc_new(&dbias, 1, n, n, 1, AF_F32))
		goto end;
	dnnl_primitive_attr_t attr;
	dnnl_post_ops_t ops;
	dnnl_primitive_attr_create(&attr);
	dnnl_post_ops_create(&ops);
	if (add) {
		post_sum(ops);
		dnnl_primitive_attr_set_post_ops(attr, ops);
	}
	dnnl_primitive_desc_t pd;
	dnnl_primitive_t prim = NULL;
	if (primitive(&pd, p->engine, &da, &db, bias ? &dbias : NULL, &dc, attr) == dnnl_success) {
		dnnl_memory_t ma = NULL, mb = NULL, mc = NULL, mbias = NULL;
		if (dnnl_primitive_create(&prim, pd) == dnnl_success && memory(&ma, &da, p->engine, (void *)a) == dnnl_success &&
		    memory(&mb, &db, p->engine, (void *)b) == dnnl_success && memory(&mc, &dc, p->engine, out) == dnnl_success &&
		    memory(&mbias, &dbias, p->engine, (void *)bias) == dnnl_success) {
			dnnl_exec_arg_t args[4] = {{DNNL_ARG_SRC, ma}, {DNNL_ARG_WEIGHTS, mb}, {DNNL_ARG_DST, mc}, {DNNL_ARG_BIAS, mbias}};
			if (dnnl_primitive_execute(prim, p->stream, bias ? 4 : 3, args) == dnnl_success && dnnl_stream_wait(p->stream) == dnnl_success)
				rc = AF_OK;
		}
		dnnl_memory_destroy(ma);
		dnnl_memory_destroy(mb);
		dnnl_memory_destroy(mc);
		dnnl_memory_destroy(mbias);
		if (prim) dnnl_primitive_destroy(prim);
		dnnl_primitive_desc_destroy(pd);
	}
	dnnl_post_ops_destroy(ops);
	dnnl_primitive_attr_destroy(attr);
end:
	desc_free(&da);
	desc_free(&db);
	desc_free(&dc);
	desc_free(&dbias);
	return rc;
}
#endif
