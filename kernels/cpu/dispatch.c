// Which instruction-set level this machine has, and the table of functions of each level.
#include "table.h"

#define AF_L0(ret, name, args) .name = name##_l0,
static const struct af_table table0 = {AF_OPS(AF_L0)};
#if defined(__x86_64__)
#include <cpuid.h>

#define AF_L1(ret, name, args) .name = name##_l1,
#define AF_L2(ret, name, args) .name = name##_l2,
#define AF_L3(ret, name, args) .name = name##_l3,
#define AF_L4(ret, name, args) .name = name##_l4,
static const struct af_table table1 = {AF_OPS(AF_L1)}, table2 = {AF_OPS(AF_L2)}, table3 = {AF_OPS(AF_L3)}, table4 = {AF_OPS(AF_L4)};

// As __builtin_cpu_supports("avx512bf16"), which not every compiler knows.
static int has_avx512_bf16(void) {
	unsigned a, b, c, d;
	return __get_cpuid_count(7, 1, &a, &b, &c, &d) && a & 1 << 5;
}

int af_highest_level(void) {
	__builtin_cpu_init();
	if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return 0;
	if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512vl") ||
	    !__builtin_cpu_supports("avx512dq"))
		return 1;
	return has_avx512_bf16() ? 4 : 2;
}

// Intel's processors take longer for the bf16 dot product than for the two f32 multiply-adds that it stands for (2.3 cycles against 1 on
// Emerald Rapids; on AMD's Zen 4 it is 1 against 2): the level below is the faster one for them. The answer is the same at every
// start, as a measurement's would not be.
int af_best_level(void) {
	int highest = af_highest_level();
	return highest == 4 && __builtin_cpu_is("intel") ? 3 : highest;
}

const struct af_table *af_table_of(int level) {
	switch (level) {
	case 4: return &table4;
	case 3: return &table3;
	case 2: return &table2;
	case 1: return &table1;
	}
	return &table0;
}
#else
int af_highest_level(void) { return 0; }
int af_best_level(void) { return 0; }
const struct af_table *af_table_of(int level) {
	(void)level;
	return &table0;
}
#endif
