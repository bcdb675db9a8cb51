// Includes AF_SELF once per instruction-set level; see isa.h.
#include "isa.h"

// What stands between AF_WITH and AF_WITHOUT is compiled for these instructions.
#define AF_PRAGMA(text) _Pragma(#text)
#ifdef __clang__
#define AF_WITH(features) AF_PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define AF_WITHOUT _Pragma("clang attribute pop")
#else
#define AF_WITH(features) _Pragma("GCC push_options") AF_PRAGMA(GCC target(features))
#define AF_WITHOUT _Pragma("GCC pop_options")
#endif

#define AF_LEVEL 0
#include "isa.h"
#include AF_SELF
#include "isa_end.h"
#undef AF_LEVEL

#ifdef AF_X86
AF_WITH("avx2,fma")
#define AF_LEVEL 1
#include "isa.h"
#include AF_SELF
#include "isa_end.h"
#undef AF_LEVEL
AF_WITHOUT

AF_WITH("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq")
#define AF_LEVEL 2
#include "isa.h"
#include AF_SELF
#include "isa_end.h"
#undef AF_LEVEL
AF_WITHOUT

AF_WITH("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")
#define AF_LEVEL 3
#include "isa.h"
#include AF_SELF
#include "isa_end.h"
#undef AF_LEVEL
AF_WITHOUT

AF_WITH("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")
#define AF_LEVEL 4
#include "isa.h"
#include AF_SELF
#include "isa_end.h"
#undef AF_LEVEL
AF_WITHOUT
#endif
