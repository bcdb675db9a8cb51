// Includes AF_SELF once per instruction-set level; see isa.h.
#include "isa.h"

#define AF_LEVEL 0
#include "isa.h"
#include AF_SELF
#include "isa_end.h"
#undef AF_LEVEL

#ifdef AF_X86
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
#define AF_LEVEL 1
#include "isa.h"
#include AF_SELF
#include "isa_end.h"
#undef AF_LEVEL
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,prefer-vector-width=512")
#define AF_LEVEL 2
#include "isa.h"
#include AF_SELF
#include "isa_end.h"
#undef AF_LEVEL
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,prefer-vector-width=512")
#define AF_LEVEL 3
#include "isa.h"
#include AF_SELF
#include "isa_end.h"
#undef AF_LEVEL
#pragma GCC pop_options
#endif
