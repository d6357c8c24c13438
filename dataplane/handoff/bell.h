/* A bell: one thread sleeps, others wake it when they have put something where it looks. It costs a system
 * call only while somebody sleeps. */
#ifndef SLUICE_BELL_H
#define SLUICE_BELL_H

#include <linux/futex.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct bell {
	/* A futex word: not 0 while somebody sleeps and wants to be woken, once so many things lie there. */
	_Atomic uint32_t asleep;
} __attribute__((aligned(64)));

/* The race detector does not know fences, and what is ordered by them here it does not need: both sides use
 * atomics alone. */
#if defined(__SANITIZE_THREAD__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wtsan"
#endif
static inline void bell_fence(void)
{
	atomic_thread_fence(memory_order_seq_cst);
}
#if defined(__SANITIZE_THREAD__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

static inline void bell_wake(struct bell *bell)
{
	if (atomic_exchange_explicit(&bell->asleep, 0, memory_order_acq_rel))
		(void)syscall(SYS_futex, &bell->asleep, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

/* After something was put: either the sleeper sees it, or it is seen asleep. Any thread. */
static inline void bell_ring(struct bell *bell)
{
	bell_fence();
	if (atomic_load_explicit(&bell->asleep, memory_order_relaxed))
		bell_wake(bell);
}

/* The sleeper: between these two it looks once more, and says whether it found something. Woken, too late,
 * too early: it looks again in any case. */
static inline void bell_lie_down(struct bell *bell, uint32_t wanted)
{
	atomic_store_explicit(&bell->asleep, wanted, memory_order_relaxed);
	bell_fence();
}

static inline void bell_sleep(struct bell *bell, int found, uint64_t ns)
{
	struct timespec t = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
	uint32_t wanted = atomic_load_explicit(&bell->asleep, memory_order_relaxed); /* 0: it was rung */

	if (!found && wanted)
		(void)syscall(SYS_futex, &bell->asleep, FUTEX_WAIT_PRIVATE, wanted, &t, NULL, 0);
	atomic_store_explicit(&bell->asleep, 0, memory_order_relaxed);
}

#endif
