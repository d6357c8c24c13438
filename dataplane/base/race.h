/* For the race detector only: drivers and DPDK's libraries are not built with it, so it cannot see that they
 * hand memory from one thread to another in order. No code in other builds. */
#ifndef SLUICE_RACE_H
#define SLUICE_RACE_H

#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>

static inline void race_taken(void *p)
{
	__tsan_acquire(p);
}

static inline void race_given(void *p)
{
	__tsan_release(p);
}
#else
static inline void race_taken(void *p)
{
	(void)p;
}

static inline void race_given(void *p)
{
	(void)p;
}
#endif

#endif
