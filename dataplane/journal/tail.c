/* The durable end of a partition, from its writer to everyone: a version counter around five words, and the
 * waiting for it to move. */
#include "journal_priv.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Every word is stored with release and loaded with acquire: a reader that sees a new word also sees the odd
 * version that was stored before it. */
void tail_set(struct journal_part *part, const struct part_tail *tail)
{
	const uint64_t word[TAIL_WORDS] = {
		tail->seq, tail->offset, tail->segment, tail->file_offset, tail->last_crc};
	uint64_t version = atomic_load_explicit(&part->tail_version, memory_order_relaxed);

	atomic_store_explicit(&part->tail_version, version + 1, memory_order_release);
	for (int i = 0; i < TAIL_WORDS; i++)
		atomic_store_explicit(&part->tail_word[i], word[i], memory_order_release);
	atomic_store_explicit(&part->tail_version, version + 2, memory_order_release);
	atomic_store_explicit(&part->durable_offset, tail->offset, memory_order_release);
	/* Sequentially consistent, as the waiters' count: either the writer sees the waiter, or the waiter
	 * sees the new end. Release of the blocks below it: pairs with tail_wait() and readers. */
	atomic_store(&part->durable_seq, tail->seq);
}

void tail_get(struct journal_part *part, struct part_tail *tail)
{
	uint64_t word[TAIL_WORDS], before, after;

	do {
		before = atomic_load_explicit(&part->tail_version, memory_order_acquire);
		for (int i = 0; i < TAIL_WORDS; i++)
			word[i] = atomic_load_explicit(&part->tail_word[i], memory_order_acquire);
		after = atomic_load_explicit(&part->tail_version, memory_order_acquire);
	} while (before != after || before % 2);
	*tail = (struct part_tail){word[0], word[1], word[2], word[3], word[4]};
}

void tail_wake(struct journal_part *part, uint32_t wakes)
{
	if (atomic_load(&part->waiters) == 0)
		return;
	atomic_fetch_add(&part->turn, 1);
	(void)syscall(
		SYS_futex, &part->turn, FUTEX_WAKE_BITSET | FUTEX_PRIVATE_FLAG, INT_MAX, NULL, NULL, wakes);
}

bool tail_wait(struct journal_part *part, uint64_t seq, uint32_t timeout_ms, uint32_t wakes)
{
	struct timespec until;
	uint64_t ns;

	if (atomic_load(&part->durable_seq) > seq)
		return true;
	if (timeout_ms == 0)
		return false;
	ns = clock_mono_ns() + timeout_ms * 1000000ull;
	until = (struct timespec){(time_t)(ns / 1000000000ull), (long)(ns % 1000000000ull)};
	atomic_fetch_add(&part->waiters, 1);
	for (;;) {
		/* Before the look at the end: a turn between the two ends the wait at once. */
		uint32_t turn = atomic_load(&part->turn);

		if (atomic_load(&part->durable_seq) > seq)
			break;
		if (syscall(SYS_futex, &part->turn, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, turn, &until,
			    NULL, wakes) != 0 &&
			errno == ETIMEDOUT)
			break;
	}
	atomic_fetch_sub(&part->waiters, 1);
	return atomic_load(&part->durable_seq) > seq;
}
