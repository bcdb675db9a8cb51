// The large products of training by a library, where one is linked (build tag dnnl); products_none.c stands in where none is.
#ifndef AF_PRODUCTS_H
#define AF_PRODUCTS_H

#include "pool.h"

// c[m, n] (+)= a[m, k] b (+ bias), b row-major [k, n], or [n, k] with b_transposed; a and b of one dtype, f32 sums. AF_OK or AF_REFUSED.
int af_products_matmul(af_ctx *c, int64_t m, int64_t n, int64_t k, int dtype, const void *a, int64_t lda, const void *b, int64_t ldb,
                       int b_transposed, const float *bias, void *out, int64_t ldo, int out_dtype, int add);
void af_products_free(af_ctx *c);

#endif
