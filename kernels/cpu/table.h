// The functions that exist once per instruction-set level, and the table of each level's own.
#ifndef AF_TABLE_H
#define AF_TABLE_H

#include "af.h"

// Kinds of a product, see tile.c: f32 x f32, bf16 x bf16, f32 x bf16; its own; a flag.
enum { TILE_F, TILE_B, TILE_X, TILE_P, TILE_W, TILE_G, TILE_KINDS, TILE_AHEAD = 8 };

static inline int kind_of(int x, int w) { return x == AF_BF16 ? TILE_B : w == AF_BF16 ? TILE_X : TILE_F; }

struct head_args;
struct attn_args;
struct norm_args;

// Columns col..col+cols of rows row..row+rows, seen as words of 32 bits: floats, or pairs of rows of bf16 as the dot product takes them.
struct words {
	af_tensor x;
	int64_t col, cols, row, rows;
	int paired;
	float scale; // of floats
};

// OP(return, name, arguments)
#define AF_OPS(OP)                                                                                                     \
	OP(void, tile, (int kind, int64_t m, int64_t n, int64_t k, const void *A, int64_t lda, const void *B, int64_t ldb, \
	                float *C, int64_t ldc, int acc))                                                                   \
	OP(void, words_panels, (uint32_t *dst, int64_t ld, int64_t block, const struct words *s))                          \
	OP(void, words_product, (float *acc, int64_t ld, const uint32_t *panels, int64_t room, int64_t m, const struct words *s)) \
	OP(void, words_turned, (uint32_t *dst, int64_t ld, const struct words *s))                                         \
	OP(void, to_f32, (float *y, const bf16 *x, int64_t n))                                                           \
	OP(void, to_bf16, (bf16 *y, const float *x, int64_t n))                                                          \
	OP(void, put_rows, (void *y, int is_bf16, int64_t ldy, int64_t rows, int64_t n, const float *x, int64_t ldx,      \
	                    const float *bias, int add))                                                                   \
	OP(void, axpy, (float *y, const float *x, float a, int64_t n))                                                     \
	OP(void, add_bf16, (float *y, const bf16 *x, int64_t n))                                                         \
	OP(void, panel_back, (void *dst, int dst_bf16, int64_t width, const af_matrix *w, int64_t n0, int64_t n1, int64_t k0)) \
	OP(void, norm_rows, (const struct norm_args *a, int64_t t0, int64_t t1))                                           \
	OP(void, norm_back_rows, (const struct norm_args *a, int64_t t0, int64_t t1, float *dw))                           \
	OP(void, rope_rows, (af_tensor x, const int32_t *pos, const float *cs, int64_t heads, int64_t dh, int inverse,     \
	                     int64_t t0, int64_t t1))                                                                      \
	OP(void, swiglu_rows, (af_tensor act, af_tensor gate, af_tensor up, int64_t t0, int64_t t1))                       \
	OP(void, swiglu_back_rows, (af_tensor dgate, af_tensor dup, af_tensor act, af_tensor dact, af_tensor gate,         \
	                            af_tensor up, int64_t t0, int64_t t1))                                                 \
	OP(void, attention_tile, (const struct attn_args *a, int64_t tile, int64_t head, void *scratch))                     \
	OP(void, attention_back_tile, (const struct attn_args *a, int64_t tile, int64_t head, float *dk, float *dv,         \
	                              void *scratch))                                                                      \
	OP(double, head_weights, (const float *z, int64_t n, float m, float gap, float f, double *tz, void *p, void *q,     \
	                          int is_bf16))                                                                            \
	OP(void, head_gradient, (float *z, int64_t n, float lse, float entropy, float a, float b))                         \
	OP(float, exp1, (float x))                                                                                         \
	OP(float, head_scale, (float *z, int64_t n, int64_t valid, float inv_temp))                                        \
	OP(void, scale, (float *y, float a, int64_t n))                                                                    \
	OP(double, sum_squares, (const float *x, int64_t n))                                                               \
	OP(void, adamw, (float *p, const float *g, float *m, float *v, int64_t n, const float *k))                         \
	OP(double, peak, (int is_bf16, double seconds))                                                                    \
	OP(float, read_sum, (const float *p, int64_t n))

#define AF_DECLARE(ret, name, args) ret name##_l0 args; ret name##_l1 args; ret name##_l2 args; ret name##_l3 args; ret name##_l4 args;
AF_OPS(AF_DECLARE)
#undef AF_DECLARE

struct af_table {
#define AF_FIELD(ret, name, args) ret(*name) args;
	AF_OPS(AF_FIELD)
#undef AF_FIELD
};

const struct af_table *af_table_of(int level);

#endif
