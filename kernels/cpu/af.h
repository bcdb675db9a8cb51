// The C side of kernels/cpu: what Go calls. Shapes and formulas stand in kernels/backend.go and kernels/doc.go (the legend: T
// rows, D hidden, H query heads, K kv heads, Dh head size, F ffn, V vocabulary, R rank, N targets); here is what is
// particular to the CPU: layouts, dtypes, what is overwritten. All strides are in elements. Operations keep the scratch memory that they take.
#ifndef AF_H
#define AF_H

#include <stddef.h>
#include <stdint.h>

enum { AF_F32 = 0, AF_BF16 = 1, AF_I32 = 2 };
typedef uint16_t bf16;

// What operations return; AF_REFUSED is the product library's alone: another is to make this one.
enum { AF_OK, AF_NOMEM, AF_REFUSED };

// A number, where rc is 0.
typedef struct {
	double value;
	int rc;
} af_sum;

// A view of rows x cols elements in row-major order.
typedef struct {
	void *p;
	int64_t rows, cols, stride;
	int32_t dtype;
} af_tensor;

// ---- context: threads, instruction set, scratch memory

typedef struct af_ctx af_ctx;

// threads >= 1; level -1 takes the fastest that the machine has, else the highest up to that one. NULL when out of memory.
af_ctx *af_new(int threads, int level);
void af_free(af_ctx *c);
int af_level(const af_ctx *c);
int af_highest_level(void); // what the machine can run
int af_best_level(void);    // what it runs fastest
int af_threads(const af_ctx *c);
// The product library that is linked (NULL: none), whether it has faster arithmetic for bf16 than our own on this machine (AMX), and for which
// products of many rows to use it.
const char *af_products_name(void);
int af_products_faster(void);
enum { AF_PRODUCTS_OWN, AF_PRODUCTS_BF16, AF_PRODUCTS_ALL };
void af_use_products(af_ctx *c, int which);
// Peak GFLOP/s of one register-resident loop on all threads, is_bf16 != 0: of bf16 products as the level makes them. 0 when out of memory.
double af_peak(af_ctx *c, int is_bf16, double seconds);
// Read bandwidth in GB/s over `bytes` of memory, all threads. 0 when out of memory.
double af_bandwidth(af_ctx *c, const void *p, size_t bytes, double seconds);

// Asks the system to treat the process's threads, and those that they start, as batch work: one that wakes does not take the processor from one
// that computes. Says how many it did; where it refuses nothing is lost but speed.
int af_batch(void);

void *af_alloc(size_t bytes); // zeroed, 64-byte aligned, huge pages where they help; NULL when out of memory
void af_release(void *p, size_t bytes);

// ---- weight matrices

// W [n, k], kept in panels of 64 outputs (the last one of 16, 32, 48 or 64): panel p holds outputs 64p.., as
// [k/2][width][2] for bf16 storage (pairs along k, k padded to even with 0) and [k][width] for f32. Outputs are padded
// to 16 with 0. The forward product streams a panel from front to back; the backward product transposes panels on the
// fly, which costs well under 1 % at 512 rows or more and saves a second copy of the model.
typedef struct {
	int64_t n, k;
	int32_t dtype;
	void *data;
} af_matrix;

size_t af_matrix_bytes(int64_t n, int64_t k, int dtype);
// Packs rows [row0, row0+rows) of W from src (f32, bf16 or IEEE half, dense rows of k), times scale. A half source stored as bf16 is rounded. Kinds
// have the numbers of dtypes; half, which is none, comes after them. One of these is the caller's to see to.
enum { AF_SRC_F32 = 0, AF_SRC_BF16 = 1, AF_SRC_F16 = 3 };
int af_pack(af_ctx *c, af_matrix *m, const void *src, int kind, int64_t row0, int64_t rows, float scale);
int af_unpack(af_ctx *c, const af_matrix *m, float *dst); // dense [n, k]

// ---- dense products

// y = x W^T (+ bias) (+ u B^T) (+ y). x [T, k], u [T, B.k] in the same dtype as x; bias [n] f32; y [T, n] f32 or bf16
// (add: f32). An output's sum runs over k in order (of pairs of bf16 the second first), then over u's columns, in f32: it depends neither on T
// nor on the number of threads, so a row gets the same bits alone and in a batch.
int af_linear(af_ctx *c, af_tensor y, af_tensor x, const af_matrix *w, const float *bias, af_tensor u, const af_matrix *b, int add);
// dx = dy W (+ du A) (+ dx). dy [T, n], du [T, A.n], dx [T, k].
int af_linear_back(af_ctx *c, af_tensor dx, af_tensor dy, const af_matrix *w, af_tensor du, const af_matrix *a, int add);
// dw += scale * dy^T x. dy [T, n], x [T, k], dw [n, k] f32. The sum runs over T in order, as above.
int af_grad_weight(af_ctx *c, af_tensor dw, af_tensor dy, af_tensor x, float scale);
// db[n] += sum over rows of dy.
int af_grad_bias(af_ctx *c, float *db, af_tensor dy);

// ---- rows

int af_gather(af_ctx *c, af_tensor x, const af_matrix *w, const int32_t *tokens, int64_t t);
int af_gather_back(af_ctx *c, af_tensor dw, af_tensor dx, const int32_t *tokens); // dw[token] += dx, in row order
int af_select(af_ctx *c, af_tensor y, af_tensor x, const int32_t *rows);          // y[i] = x[rows[i]], converts
int af_scatter_add(af_ctx *c, af_tensor y, af_tensor x, const int32_t *rows);     // y[rows[i]] += x[i], rows distinct
int af_convert(af_ctx *c, af_tensor y, af_tensor x);
int af_zero(af_ctx *c, void *p, size_t bytes);

// y[t] = x[t] * rstd[t] * w; rstd[t] = 1/sqrt(mean x^2 + eps). x f32 or bf16, y f32 or bf16, w, rstd f32.
int af_rmsnorm(af_ctx *c, af_tensor y, float *rstd, af_tensor x, const float *w, float eps);
// dx (+)= ..., dw += ... (dw may be NULL). dy, dx f32.
int af_rmsnorm_back(af_ctx *c, af_tensor dx, float *dw, af_tensor dy, af_tensor x, const float *w, const float *rstd, int add);

// Rotates heads of dh in place by the angle of positions[t]: a row of cos_sin [maxpos, dh] is dh/2 cosines, then dh/2 sines; inverse != 0: by minus it.
int af_rope(af_ctx *c, af_tensor x, const int32_t *positions, const float *cos_sin, int64_t heads, int64_t dh, int inverse);

// act = silu(gate) * up; backward gives dgate, dup from dact and may write over gate, up.
int af_swiglu(af_ctx *c, af_tensor act, af_tensor gate, af_tensor up);
int af_swiglu_back(af_ctx *c, af_tensor dgate, af_tensor dup, af_tensor act, af_tensor dact, af_tensor gate, af_tensor up);

// ---- attention over a forest

// Keys and values of a cache: k [slots, K * dh], and the values transposed, [K * dh] rows of row_len elements, a key's slot having the parity of its
// position; bf16 holds slots 2i and 2i+1 swapped (see attention.h).
typedef struct {
	af_tensor k;
	void *vt;
	int64_t row_len; // even
} af_kv;

// A tile: consecutive query rows. They attend to segments seg0..seg0+nseg (the ancestors, in order of depth), and query i to the first
// before + i + 1 keys of the tile's own run; before is -rows where there is none.
typedef struct {
	int32_t row, rows;
	int32_t seg0, nseg;
	int32_t own_row, own_slot, before;
	int32_t keys; // all that the last query attends to
} af_tile;

typedef struct {
	int32_t row, slot, len;
	int32_t from, to; // queries of the tile that attend to it; to 0: all
} af_seg;

// Who attends to whom, as plan.go makes it. Of a forest alone: chunks[i]..chunks[i+1] are the tiles that one partial sum of dk, dv takes up (the partial
// sums are added in order), and row t of keys and values is column slots[t], ascending, of a transposed copy whose rows have row_len elements.
typedef struct {
	const af_tile *tiles;
	const af_seg *segs;
	const int32_t *chunks, *slots;
	int64_t ntiles, nchunks, row_len;
	int64_t heads, kv_heads, dh;
} af_plan;

// k rows and v rows to their slots of a cache.
int af_kv_put(af_ctx *c, const af_kv *kv, af_tensor k, af_tensor v, const int32_t *slots);

// o[t, h] = sum_j p_j v_j,  p = softmax(scale q . k);  lse[t, h] the log of the softmax's denominator (natural, after scale).
// q, o [T, H * dh] in the keys' dtype. Each output is one chain over the keys in order of depth, so that it depends neither on how
// the keys are cut into runs nor on what else is in the batch. Over a cache, or over rows of k and v themselves.
int af_attention(af_ctx *c, af_tensor o, float *lse, af_tensor q, const af_kv *kv, af_plan p, float scale);
int af_attention_rows(af_ctx *c, af_tensor o, float *lse, af_tensor q, af_tensor k, af_tensor v, af_plan p, float scale);
// dq, dk, dv are written.
int af_attention_back(af_ctx *c, af_tensor dq, af_tensor dk, af_tensor dv, af_tensor dout, af_tensor q, af_tensor k, af_tensor v, af_plan p, float scale);

// ---- the log-prob head

// Rows of hidden states h [n, D] under W [V, D]: logits z = h W^T * inv_temp, in tiles of 256 outputs, never all of them. Row i has targets
// first[i]..first[i+1] with tokens[]. Written: lp[target] = z_token - lse, entropy[i] of the row's distribution in nats, lse[i];
// ew [n, D] f32 (or p NULL) = sum_v p_v W_v, which is all that the gradient of a log-prob needs of the other tokens; elw [n, D] (or
// NULL) = sum_v p_v log(p_v) W_v, for the entropy's gradient. A row's bits do not depend on the others.
int af_head(af_ctx *c, af_tensor h, const af_matrix *w, const int32_t *first, const int32_t *tokens, float inv_temp, float *lp,
            float *entropy, float *lse, af_tensor ew, af_tensor elw);
// dh[i] = inv_temp * (sum over targets g[t] W_token - (sum g) ew[i])  -  dent[i] * inv_temp * (elw[i] + entropy[i] ew[i]), dent the
// derivative by the row's entropy (NULL: 0). dh [n, D] f32 or bf16.
int af_head_back(af_ctx *c, af_tensor dh, const af_matrix *w, const int32_t *first, const int32_t *tokens, const float *g,
                 const float *dent, const float *entropy, af_tensor ew, af_tensor elw, float inv_temp);
// dw [V, D] += (dloss/dlogits)^T h, for a head that is trained.
int af_head_grad_weight(af_ctx *c, af_tensor dw, af_tensor h, const af_matrix *w, const int32_t *first, const int32_t *tokens,
                        const float *g, const float *dent, const float *entropy, const float *lse, float inv_temp);
// Draws token[i] from softmax(h W^T / temperature[i]) by the inverse of the cumulative distribution at u[i] in [0, 1), and gives its
// log-prob, with the bits that af_head gives; temperature 0 takes the largest logit (its log-prob is that of temperature 1).
int af_sample(af_ctx *c, af_tensor h, const af_matrix *w, const double *temperature, const double *u, int32_t *token,
              float *lp);

// ---- loss and optimizer

enum { AF_K1 = 1, AF_K2 = 2, AF_K3 = 3 };

typedef struct {
	double clip_low, clip_high, dual_clip, kl, tis_cap; // dual_clip, tis_cap 0: off
	int32_t kl_estimator;
} af_loss_params;

// Sums over targets; weighted ones carry the target's weight. Maxima start at what is there.
typedef struct {
	double policy, kl, entropy;                      // weighted; policy times the TIS weight
	double ratio, clip_low, clip_high;               // plain
	double mismatch, mismatch_k3, mismatch_count;    // lo - ls where ls is known
	double ratio_max, mismatch_max;
	double count;
} af_loss_sums;

// FLOW_GRPO's objective over n targets: index[i] is the target's place in weight, advantage, lo, lr, ls (ls NULL or NaN: missing). lp and
// entropy are in target order. dlp[i] = dloss/dlp. Arithmetic in f64, sums in target order. sums is added to.
void af_loss(const af_loss_params *p, int64_t n, const int32_t *index, const double *weight, const double *advantage, const float *lo,
             const float *lr, const float *ls, const float *lp, const float *entropy, float *dlp, af_loss_sums *sums);

af_sum af_sum_squares(af_ctx *c, const float *x, int64_t n);

// Decoupled weight decay (Loshchilov & Hutter 2019) in PyTorch's order: p *= 1 - lr wd; m, v; p -= lr/bc1 * m / (sqrt(v)/sqrt(bc2) + eps).
// g is scaled by gscale first. step counts from 1.
int af_adamw(af_ctx *c, float *p, const float *g, float *m, float *v, int64_t n, int64_t step, double lr, double beta1, double beta2,
             double eps, double wd, double gscale);

#endif
