// One source, several instruction sets. An operation's file includes multi.h, which includes the file again once per
// level with AF_LEVEL set and the compiler's target switched; AF(name) then gives every level its own symbol. At run
// time dispatch.c picks the one that the machine is fastest at.
//
//	AF_LEVEL 0  baseline of the compiler's target (SSE2, NEON, ...)
//	         1  AVX2 + FMA
//	         2  AVX-512 (F, BW, VL, DQ)
//	         3  AVX-512 with conversions to bf16
//	         4  the same, with the bf16 dot product
//
// A vf fills one register: VL floats, 16 with AVX-512, 8 with AVX2, else 4. (The compiler would keep wider ones in memory.) Layouts are
// the same at every level: whole blocks of 16.
#ifndef AF_ISA_H
#define AF_ISA_H

#include "af.h"

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#define AF_X86 1
#endif

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "pairs of bf16 are read as words of 32 bits, the first one in the lower half: a little-endian processor is expected"
#endif

#define AF_CAT2(a, b) a##_l##b
#define AF_CAT(a, b) AF_CAT2(a, b)
#define AF_INLINE static inline __attribute__((always_inline, unused))

AF_INLINE float bf16_to_f32(bf16 x) {
	uint32_t u = (uint32_t)x << 16;
	float f;
	memcpy(&f, &u, 4);
	return f;
}

// Round to nearest even; a NaN stays a (quiet) NaN.
AF_INLINE bf16 f32_to_bf16(float f) {
	uint32_t u;
	memcpy(&u, &f, 4);
	if ((u & 0x7fffffff) > 0x7f800000) return (bf16)((u >> 16) | 0x40);
	return (bf16)((u + 0x7fff + ((u >> 16) & 1)) >> 16);
}

#endif

#ifdef AF_LEVEL
#define AF(name) AF_CAT(name, AF_LEVEL)

// X86: an instruction on a whole register. What has one name at both widths stands below once.
#if AF_LEVEL >= 2
#define VL 16
#define X86(op) _mm512_##op
#define xf __m512
#define xd __m512d
#elif AF_LEVEL == 1
#define VL 8
#define X86(op) _mm256_##op
#define xf __m256
#define xd __m256d
#else
#define VL 4
#endif

#define vf AF(vf)
#define vi AF(vi)
#define vu AF(vu)
#define vload AF(vload)
#define vload_some AF(vload_some)
#define vstore AF(vstore)
#define vset1 AF(vset1)
#define vfma AF(vfma)
#define vmax AF(vmax)
#define vselect AF(vselect)
#define vscale2 AF(vscale2)
#define vround AF(vround)
#define vexp AF(vexp)
#define vexp2 AF(vexp2)
#define vload_bf16 AF(vload_bf16)
#define vstore_bf16 AF(vstore_bf16)
#define vbits_bf16 AF(vbits_bf16)
#define vpair_bf16 AF(vpair_bf16)
#define vdot_bf16 AF(vdot_bf16)
#define vtranspose AF(vtranspose)
#define vsqrt AF(vsqrt)
#define vsum AF(vsum)
#define vhmax AF(vhmax)

typedef float vf __attribute__((vector_size(4 * VL), may_alias));
typedef int32_t vi __attribute__((vector_size(4 * VL), may_alias));
typedef uint32_t vu __attribute__((vector_size(4 * VL), may_alias));

AF_INLINE vf vload(const float *p) {
	vf v;
	memcpy(&v, p, sizeof v);
	return v;
}
AF_INLINE void vstore(float *p, vf v) { memcpy(p, &v, sizeof v); }

// The first 0 < n <= VL floats at p, then 0.
AF_INLINE vf vload_some(const float *p, int64_t n) {
	if (n == VL) return vload(p);
#if AF_LEVEL >= 2
	return (vf)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
#elif AF_LEVEL == 1
	static const int32_t on[2 * VL] = {-1, -1, -1, -1, -1, -1, -1, -1};
	return (vf)_mm256_maskload_ps(p, _mm256_loadu_si256((const __m256i *)(on + VL - n)));
#else
	vf v = {0};
	memcpy(&v, p, (size_t)n * 4);
	return v;
#endif
}

#if AF_LEVEL >= 1
AF_INLINE vf vset1(float x) { return (vf)X86(set1_ps)(x); }
AF_INLINE vf vfma(vf a, vf b, vf c) { return (vf)X86(fmadd_ps)((xf)a, (xf)b, (xf)c); }
AF_INLINE vf vmax(vf a, vf b) { return (vf)X86(max_ps)((xf)a, (xf)b); }
AF_INLINE vf vsqrt(vf x) { return (vf)X86(sqrt_ps)((xf)x); }
#endif
#if AF_LEVEL >= 2
AF_INLINE vf vselect(vi m, vf a, vf b) { return (vf)_mm512_mask_blend_ps(_mm512_movepi32_mask((__m512i)m), (__m512)b, (__m512)a); }
AF_INLINE vf vround(vf x) { return (vf)_mm512_roundscale_ps((__m512)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
AF_INLINE vf vload_bf16(const bf16 *p) {
	return (vf)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p)), 16);
}
#elif AF_LEVEL == 1
AF_INLINE vf vselect(vi m, vf a, vf b) { return (vf)_mm256_blendv_ps((__m256)b, (__m256)a, (__m256)m); }
AF_INLINE vf vround(vf x) { return (vf)_mm256_round_ps((__m256)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
AF_INLINE vf vload_bf16(const bf16 *p) {
	return (vf)_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p)), 16);
}
#else
AF_INLINE vf vset1(float x) { return (vf){x, x, x, x}; }
AF_INLINE vf vfma(vf a, vf b, vf c) { return a * b + c; }
AF_INLINE vf vselect(vi m, vf a, vf b) { return (vf)((m & (vi)a) | (~m & (vi)b)); }
AF_INLINE vf vmax(vf a, vf b) { return vselect(b < a, a, b); }
// Exact for |x| < 2^22, which is all that exp needs.
AF_INLINE vf vround(vf x) {
	vf magic = vset1(12582912.0f);
	return (x + magic) - magic;
}
AF_INLINE vf vsqrt(vf x) {
	for (int i = 0; i < VL; i++) x[i] = sqrtf(x[i]);
	return x;
}
AF_INLINE vf vload_bf16(const bf16 *p) {
	uint16_t t __attribute__((vector_size(2 * VL)));
	memcpy(&t, p, sizeof t);
	return (vf)(__builtin_convertvector(t, vu) << 16);
}
#endif

#if AF_LEVEL < 2
// x * 2^n for integral n in [-252, 254], in two steps so that subnormal results come out.
AF_INLINE vf vscale2(vf x, vf n) {
	vi i = __builtin_convertvector(n, vi), h = i >> 1;
	return x * (vf)((h + 127) << 23) * (vf)((i - h + 127) << 23);
}
#endif

#if AF_LEVEL >= 3
AF_INLINE vu vbits_bf16(vf v) { return (vu)_mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh((__m512)v)); }
AF_INLINE void vstore_bf16(bf16 *p, vf v) { _mm256_storeu_si256((__m256i *)p, (__m256i)_mm512_cvtneps_pbh((__m512)v)); }
#else
// Rounded to bf16, in the lower halves; as f32_to_bf16.
AF_INLINE vu vbits_bf16(vf v) {
	vu u = (vu)v;
	vi nan = (vi)((u & 0x7fffffff) > 0x7f800000);
	vu r = (u + 0x7fff + ((u >> 16) & 1)) >> 16, q = (u >> 16) | 0x40;
	return (vu)vselect(nan, (vf)q, (vf)r);
}
AF_INLINE void vstore_bf16(bf16 *p, vf v) {
	vu u = vbits_bf16(v);
#if AF_LEVEL == 1
	__m256i t = _mm256_packus_epi32((__m256i)u, (__m256i)u);
	_mm_storeu_si128((__m128i *)p, _mm256_castsi256_si128(_mm256_permute4x64_epi64(t, 0x08)));
#else
	uint16_t t __attribute__((vector_size(2 * VL))) = __builtin_convertvector(u, __typeof__(t));
	memcpy(p, &t, sizeof t);
#endif
}
#endif

// Lane i of the result holds (lo[i], hi[i]) as two bf16, lo in the low half: the pair layout of vdot_bf16's operands.
AF_INLINE vi vpair_bf16(vf lo, vf hi) { return (vi)(vbits_bf16(lo) | vbits_bf16(hi) << 16); }

// (c[i] + a_hi * b_hi[i]) + a_lo * b_lo[i], all lanes of a being the same pair: the instruction adds the high half first.
AF_INLINE vf vdot_bf16(vf c, vi a, vi b) {
#if AF_LEVEL >= 4
	return (vf)_mm512_dpbf16_ps((__m512)c, (__m512bh)a, (__m512bh)b);
#else
	vi top = (vi){0} - 65536;
	c = vfma((vf)(a & top), (vf)(b & top), c);
	return vfma((vf)(a << 16), (vf)(b << 16), c);
#endif
}

// r[i] lane j -> r[j] lane i, of VL vectors.
#if AF_LEVEL >= 1
AF_INLINE void vtranspose(vf *v) {
	xf *r = (xf *)v, t[VL];
	for (int i = 0; i < VL; i += 4) {
		xf a = X86(unpacklo_ps)(r[i], r[i + 1]), b = X86(unpackhi_ps)(r[i], r[i + 1]);
		xf c = X86(unpacklo_ps)(r[i + 2], r[i + 3]), d = X86(unpackhi_ps)(r[i + 2], r[i + 3]);
		t[i] = (xf)X86(unpacklo_pd)((xd)a, (xd)c);
		t[i + 1] = (xf)X86(unpackhi_pd)((xd)a, (xd)c);
		t[i + 2] = (xf)X86(unpacklo_pd)((xd)b, (xd)d);
		t[i + 3] = (xf)X86(unpackhi_pd)((xd)b, (xd)d);
	}
	// t[4g + q] lane block l holds rows 4g..4g+3 of column 4l + q.
	for (int q = 0; q < 4; q++) {
#if AF_LEVEL >= 2
		xf a = _mm512_shuffle_f32x4(t[q], t[4 + q], 0x44), b = _mm512_shuffle_f32x4(t[q], t[4 + q], 0xee);
		xf c = _mm512_shuffle_f32x4(t[8 + q], t[12 + q], 0x44), d = _mm512_shuffle_f32x4(t[8 + q], t[12 + q], 0xee);
		r[q] = _mm512_shuffle_f32x4(a, c, 0x88);
		r[4 + q] = _mm512_shuffle_f32x4(a, c, 0xdd);
		r[8 + q] = _mm512_shuffle_f32x4(b, d, 0x88);
		r[12 + q] = _mm512_shuffle_f32x4(b, d, 0xdd);
#else
		r[q] = _mm256_permute2f128_ps(t[q], t[4 + q], 0x20);
		r[4 + q] = _mm256_permute2f128_ps(t[q], t[4 + q], 0x31);
#endif
	}
}
#else
AF_INLINE void vtranspose(vf *r) {
	vf a = r[0], b = r[1], c = r[2], d = r[3];
	for (int i = 0; i < 4; i++) r[i] = (vf){a[i], b[i], c[i], d[i]};
}
#endif

// Sum of the lanes in a fixed order: halves onto halves.
AF_INLINE float vsum(vf v) {
#if AF_LEVEL >= 2
	return _mm512_reduce_add_ps((__m512)v);
#else
	float t[VL];
	memcpy(t, &v, sizeof t);
	for (int w = VL / 2; w; w >>= 1)
		for (int i = 0; i < w; i++) t[i] += t[i + w];
	return t[0];
#endif
}

AF_INLINE float vhmax(vf v) {
#if AF_LEVEL >= 2
	return _mm512_reduce_max_ps((__m512)v);
#else
	float t[VL];
	memcpy(t, &v, sizeof t);
	for (int w = VL / 2; w; w >>= 1)
		for (int i = 0; i < w; i++) t[i] = t[i] > t[i + w] ? t[i] : t[i + w];
	return t[0];
#endif
}

// e^x to 1.3 ulp on [-87.33, 88.72]; below nearly or exactly 0, also for -inf; +inf above; NaN of NaN. x = n log 2 + r, and a polynomial that
// is minimax for e^r with its constant 1, so that e^0 is 1.
AF_INLINE vf vexp(vf x) {
#if AF_LEVEL >= 2
	x = (vf)_mm512_min_ps(_mm512_set1_ps(89), (__m512)x); // the second where one is NaN
#else
	x = -vmax(vset1(-89), -vmax(vset1(-104), x)); // the second where one is NaN; 2^128 is +inf, and 2^-150 is 0
#endif
	vf n = vround(x * 1.44269504088896341f);
	vf r = vfma(n, vset1(-0.693359375f), x);
	r = vfma(n, vset1(2.12194440e-4f), r);
	vf p = vset1(1.3843644e-3f);
	p = vfma(p, r, vset1(8.374163e-3f));
	p = vfma(p, r, vset1(4.1668e-2f));
	p = vfma(p, r, vset1(1.6666432e-1f));
	p = vfma(p, r, vset1(4.9999994e-1f));
	p = vfma(p, r, vset1(1));
	p = vfma(p, r, vset1(1));
#if AF_LEVEL >= 2 // past 2^128 the instruction gives +inf
	return (vf)_mm512_maskz_scalef_ps(_mm512_cmp_ps_mask((__m512)x, _mm512_set1_ps(-87.33654f), _CMP_NLT_UQ), (__m512)p, (__m512)n);
#else
	return vscale2(p, n);
#endif
}

// 2^t of t <= 0, within 1.2 ulp; 0 below -126 with AVX-512, below -126.5 without it, and for -inf; NaN of NaN. For weights under a maximum: the rounding
// of t itself matters less, the smaller they are.
AF_INLINE vf vexp2(vf t) {
#if AF_LEVEL >= 2
	vf n = vround(t);
#else // the sum's low bits are n + 127, the exponent of 2^n; that of -127 makes 0
	t = vmax(vset1(-127), t); // the second where one is NaN
	vf x = t + 12583039.0f, n = x - 12583039.0f;
#endif
	vf p = vset1(1.5353362e-4f), f = t - n;
	p = vfma(p, f, vset1(1.3398874e-3f));
	p = vfma(p, f, vset1(9.618437e-3f));
	p = vfma(p, f, vset1(5.5503324e-2f));
	p = vfma(p, f, vset1(2.4022648e-1f));
	p = vfma(p, f, vset1(6.931472e-1f));
	p = vfma(p, f, vset1(1));
#if AF_LEVEL >= 2
	return (vf)_mm512_maskz_scalef_ps(_mm512_cmp_ps_mask((__m512)t, _mm512_set1_ps(-126), _CMP_NLT_UQ), (__m512)p, (__m512)n);
#else
	return p * (vf)((vi)x << 23);
#endif
}
#endif
