/* Crash injection for tests: SLUICE_CRASH="name:N" in the environment kills the process with SIGKILL when the
 * point `name` is passed for the N-th time (1 = the first). Several may be given, separated by commas:
 * whichever comes first kills. Unset, a point costs one relaxed load. Any thread; never on the RX path. */
#ifndef SLUICE_CRASH_H
#define SLUICE_CRASH_H

#include <stdatomic.h>

/* -1: environment not read yet; 0: no points; 1: points are armed. Written once. */
extern _Atomic int crash_state;

void crash_point_armed(const char *name);

static inline void crash_point(const char *name)
{
	if (__builtin_expect(atomic_load_explicit(&crash_state, memory_order_relaxed) != 0, 0))
		crash_point_armed(name);
}

#endif
