// Which instruction-set level this machine has, and the table of functions of each level.
#include "table.h"

#define AF_L0(ret, name, args) .name = name##_l0,
static const struct af_table table0 = {AF_OPS(AF_L0)};
#if defined(__x86_64__)
#define AF_L1(ret, name, args) .name = name##_l1,
#define AF_L2(ret, name, args) .name = name##_l2,
#define AF_L3(ret, name, args) .name = name##_l3,
static const struct af_table table1 = {AF_OPS(AF_L1)}, table2 = {AF_OPS(AF_L2)}, table3 = {AF_OPS(AF_L3)};

int af_best_level(void) {
	__builtin_cpu_init();
	if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !__builtin_cpu_supports("f16c")) return 0;
	if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512vl") ||
	    !__builtin_cpu_supports("avx512dq"))
		return 1;
	return __builtin_cpu_supports("avx512bf16") ? 3 : 2;
}

const struct af_table *af_table_of(int level) {
	switch (level) {
	case 3: return &table3;
	case 2: return &table2;
	case 1: return &table1;
	}
	return &table0;
}
#else
int af_best_level(void) { return 0; }
const struct af_table *af_table_of(int level) {
	(void)level;
	return &table0;
}
#endif
