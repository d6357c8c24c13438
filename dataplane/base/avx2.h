/* Functions for processors with AVX2, beside those for all, which have the same results. */
#ifndef SLUICE_AVX2_H
#define SLUICE_AVX2_H

#include <stdbool.h>

#ifdef __clang__ /* 14, which the fuzz targets are built with, cannot ask for lzcnt: it goes without */
#define AVX2_FN __attribute__((target("avx2,bmi,bmi2")))
#define AVX2_LZCNT true
#else
#define AVX2_FN __attribute__((target("avx2,bmi,bmi2,lzcnt")))
#define AVX2_LZCNT __builtin_cpu_supports("lzcnt")
#endif
/* A body that is compiled into functions of both kinds. */
#define AVX2_BODY static inline __attribute__((always_inline))

extern bool avx2_barred; /* for tests: as if the processor had none; while nothing else runs */

static inline bool avx2_usable(void)
{
	return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
	       __builtin_cpu_supports("bmi2") && AVX2_LZCNT && !avx2_barred;
}

#endif
