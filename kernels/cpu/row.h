// Stretches of a tensor's row in a register, of either dtype: once per instruction set, after isa.h.
#include "pool.h"

// Does something to columns j..j+n of a row, for all of them: n is VL, known to the compiler, but at the end.
#define COLUMNS(cols, ...) \
	do { \
		int64_t j = 0; \
		for (; j + VL <= (cols); j += VL) { \
			enum { n = VL }; \
			__VA_ARGS__; \
		} \
		if (j < (cols)) { \
			int64_t n = (cols) - j; \
			__VA_ARGS__; \
		} \
	} while (0)

// Columns j..j+n of row t, n at most VL; 0 beyond them.
AF_INLINE vf AF(ld)(af_tensor x, int64_t t, int64_t j, int64_t n) {
	const char *p = at(x, t, j);
	if (n < VL) {
		float some[VL] = {0};
		memcpy(some, p, (size_t)(n * size_of(x.dtype)));
		return x.dtype == AF_BF16 ? vload_bf16((const bf16 *)some) : vload(some);
	}
	return x.dtype == AF_BF16 ? vload_bf16((const bf16 *)p) : vload((const float *)p);
}

AF_INLINE void AF(st)(af_tensor x, int64_t t, int64_t j, int64_t n, vf v) {
	char *p = at(x, t, j);
	float some[VL];
	void *to = n < VL ? (void *)some : p;
	if (x.dtype == AF_BF16)
		vstore_bf16(to, v);
	else
		vstore(to, v);
	if (n < VL) memcpy(p, some, (size_t)(n * size_of(x.dtype)));
}
