/* Ticks and the clock's check. A partition to which no events come gets records with an explicit watermark,
 * so that its windows close although nobody sends; the wall clock is compared with the monotonic one. Writer
 * thread. */
#include "journal_priv.h"

#include <inttypes.h>

#define TICK_FAST_NS 60000000000ull /* behind the out-of-orderness: interval as configured */
#define TICK_SLOWER 8		    /* then: the time since the last event, divided by this, at least */
#define CLOCK_PERIOD_NS 1000000000ull
#define CLOCK_STEP_MS 500
#define CLOCK_READ_NS 50000000ull

/* Not before 0: another writer's clock may have been read later. */
static uint64_t tick_since_ns(uint64_t now_ns, uint64_t then_ns)
{
	return now_ns > then_ns ? now_ns - then_ns : 0;
}

/* Lowest watermark of the other partitions to which events came lately; INT64_MAX: there is none. idle_ns:
 * lowered to the time since any of them had an event. */
static int64_t tick_others(
	const struct journal_part *part, uint64_t now_ns, uint64_t lately_ns, uint64_t *idle_ns)
{
	const struct journal *j = part->journal;
	int64_t lowest = INT64_MAX;

	for (uint32_t i = 0; i < j->params.partitions; i++) {
		struct journal_part *other = &j->part[i];
		uint64_t event_ns = atomic_load_explicit(&other->event_ns, memory_order_relaxed);
		uint64_t since_ns = tick_since_ns(now_ns, event_ns);
		int64_t watermark_ms;

		if (i == part->index || !event_ns)
			continue;
		if (since_ns < *idle_ns)
			*idle_ns = since_ns;
		if (since_ns >= lately_ns)
			continue;
		watermark_ms = atomic_load_explicit(&other->watermark_ms, memory_order_relaxed);
		if (watermark_ms < lowest)
			lowest = watermark_ms;
	}
	return lowest;
}

static bool tick_dirty(const struct journal_part *part)
{
	if (part->base_moved)
		return true;
	for (int i = 0; i < DROP_ID_MAX; i++)
		if (part->totals.drops[i] != part->built.drops[i])
			return true;
	return false;
}

/* The watermark that an idle partition may claim. */
static int64_t tick_target(
	const struct journal_part *part, uint64_t now_ns, uint64_t tick_ns, uint64_t idle_ns)
{
	uint64_t fast_ns = part->journal->params.out_of_orderness_ms * 1000000 + TICK_FAST_NS;
	uint64_t stands_ns = now_ns - part->watermark_ns;
	int64_t target = part->watermark_next_ms;
	int64_t others = tick_others(part, now_ns, 2 * tick_ns, &idle_ns);

	if (others != INT64_MAX)
		return others > target ? others : target;
	/* Everybody is idle: ever more seldom, so that an idle box does not fill its disk with ticks, but
	 * without an end, since a window may be of any length. Their number grows with the logarithm of the
	 * time. */
	if (target == INT64_MIN || (idle_ns > fast_ns && stands_ns < idle_ns / TICK_SLOWER))
		return target;
	return target + (int64_t)(stands_ns / 1000000);
}

void tick_run(struct journal_part *part, uint64_t now_ns)
{
	uint64_t tick_ns = part->journal->params.tick_ms * 1000000, event_ns, idle_ns;
	int64_t target = part->watermark_next_ms;

	if (now_ns < part->tick_due_ns || part->failed || part->journal->params.derived)
		return;
	tick_clock_check(part, now_ns);
	event_ns = atomic_load_explicit(&part->event_ns, memory_order_relaxed);
	idle_ns = now_ns - (event_ns ? event_ns : part->began_ns);
	part->tick_due_ns = now_ns + tick_ns;
	if (!event_ns || idle_ns >= tick_ns)
		target = tick_target(part, now_ns, tick_ns, idle_ns);
	/* Counters that no block has yet are a reason of their own. */
	if (target <= part->watermark_next_ms && !(part->open_buf < 0 && tick_dirty(part)))
		return;
	if (pack_own(part, RECORD_TICK, NULL, target, now_ns) != PACK_DONE)
		return;
	if (target > part->watermark_next_ms)
		part->watermark_ns = now_ns;
	part->watermark_next_ms = target;
}

static void clock_stepped(struct journal_part *part)
{
	part->totals.clock_steps++;
	stat_set(&part->stats.clock_steps, part->totals.clock_steps);
}

void tick_clock_check(struct journal_part *part, uint64_t now_ns)
{
	uint64_t before_ns = clock_mono_ns();
	int64_t wall_ms = clock_wall_ms();
	int64_t offset_ms = wall_ms - (int64_t)(before_ns / 1000000),
		step_ms = offset_ms - part->clock_offset_ms;

	if (part->clock_due_ns && now_ns < part->clock_due_ns)
		return;
	if (clock_mono_ns() - before_ns > CLOCK_READ_NS)
		return; /* this thread stood still between the two clocks: at the next tick again */
	if (!part->clock_due_ns && wall_ms + CLOCK_STEP_MS < part->receive_last_ms) {
		clock_stepped(part);
		log_warn("journal",
			"the wall clock is %" PRId64
			" ms behind the journal: receive times stand still until "
			"it has come there partition=%u",
			part->receive_last_ms - wall_ms, part->index);
	}
	if (part->clock_due_ns && (step_ms > CLOCK_STEP_MS || step_ms < -CLOCK_STEP_MS)) {
		clock_stepped(part);
		log_warn("journal", "the wall clock stepped by %" PRId64 " ms partition=%u", step_ms,
			part->index);
	}
	part->clock_offset_ms = offset_ms;
	part->clock_due_ns = now_ns + CLOCK_PERIOD_NS;
}
