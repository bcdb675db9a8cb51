// Takes back the names of isa.h, so that the next level can define its own.
#undef AF
#undef vload
#undef vstore
#undef vset1
#undef vfma
#undef vmax
#undef vselect
#undef vscale2
#undef vround
#undef vexp
#undef vload_bf16
#undef vstore_bf16
#undef vpair_bf16
#undef vdot_bf16
#undef vsqrt
#undef vsum
#undef vhmax
