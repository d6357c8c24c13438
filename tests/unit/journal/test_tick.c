/* The ticks of idle partitions over days, by a clock that the test moves; what becomes a record of them is
 * seen here, and in test_retention.c what the writer makes of it. */
#include "journal_rig.h"

#include <string.h>

#include "../../../dataplane/journal/tick.c"

#define SECOND_NS 1000000000ull
#define BEGIN_NS (1000 * 3600 * SECOND_NS)
#define HOUR_S 3600ull
#define DAY_S (24 * HOUR_S)
#define EVENT_MS 1700000000000ll
#define PARTS 2

static struct journal journal;
static struct journal_part part[PARTS];
static uint64_t ticks[PARTS];

enum pack_answer pack_own(
	struct journal_part *to, enum record_kind kind, const char *text, int64_t time_ms, uint64_t now_ns)
{
	assert_int_equal(kind, RECORD_TICK);
	assert_null(text);
	assert_true(now_ns > BEGIN_NS);
	ticks[to->index]++;
	atomic_store(&to->watermark_ms, time_ms);
	return PACK_DONE;
}

/* What pack.c does with an event that is the highest one. */
static void event_take(struct journal_part *to, int64_t event_ms, uint64_t now_ns)
{
	to->watermark_next_ms = event_ms - (int64_t)journal.params.out_of_orderness_ms;
	to->watermark_ns = now_ns;
	atomic_store(&to->event_ns, now_ns);
	atomic_store(&to->watermark_ms, to->watermark_next_ms);
}

/* Partitions whose last event was EVENT_MS, in this run or before. */
static void begin(uint64_t out_of_orderness_s, bool this_run)
{
	memset(&journal, 0, sizeof journal);
	memset(part, 0, sizeof part);
	memset(ticks, 0, sizeof ticks);
	journal.params.partitions = PARTS;
	journal.params.tick_ms = 1000;
	journal.params.out_of_orderness_ms = out_of_orderness_s * 1000;
	journal.part = part;
	for (uint32_t p = 0; p < PARTS; p++) {
		part[p].journal = &journal;
		part[p].index = p;
		part[p].open_buf = -1;
		part[p].clock_due_ns = UINT64_MAX;
		part[p].began_ns = BEGIN_NS;
		event_take(&part[p], EVENT_MS, BEGIN_NS);
		if (!this_run)
			atomic_store(&part[p].event_ns, 0);
	}
}

static void run(uint64_t second)
{
	for (uint32_t p = 0; p < PARTS; p++)
		tick_run(&part[p], BEGIN_NS + second * SECOND_NS);
}

/* Whether the box has had events since its start or not: the watermark follows the clock, with at most an
 * eighth of the silence behind, in ever fewer steps. */
static void silence_has_no_end(void **state)
{
	static const uint64_t out_of_orderness_s[] = {0, 10, HOUR_S, DAY_S};

	(void)state;
	for (uint32_t k = 0; k < 8; k++) {
		uint64_t bound_s = out_of_orderness_s[k / 2];

		begin(bound_s, k % 2);
		for (uint64_t s = 1; s <= 40 * DAY_S; s++) {
			int64_t behind_ms;

			run(s);
			behind_ms = (int64_t)(s - bound_s) * 1000 - (part[0].watermark_next_ms - EVENT_MS);
			assert_in_range(behind_ms, 0, (s <= 60 + bound_s ? 0 : s * 125) + 1000);
			assert_int_equal(part[1].watermark_next_ms, part[0].watermark_next_ms);
		}
		for (uint32_t p = 0; p < PARTS; p++)
			assert_in_range(ticks[p], 60 + bound_s + 1, 60 + bound_s + 100);
	}
}

/* An event elsewhere ends the silence for all: whoever has none follows at once, not when its own next tick
 * would have been due, and goes on with the time as closely as the other one does. */
static void one_event_wakes_all(void **state)
{
	const uint64_t at = 30 * DAY_S;
	uint64_t before;

	(void)state;
	begin(10, true);
	for (uint64_t s = 1; s < at; s++)
		run(s);
	event_take(&part[0], EVENT_MS + (int64_t)at * 1000, BEGIN_NS + at * SECOND_NS);
	before = ticks[1];
	for (uint64_t s = at; s <= at + 70; s++) {
		run(s);
		assert_true(part[1].watermark_next_ms >= EVENT_MS + (int64_t)(s - 10) * 1000 - 3000);
	}
	assert_in_range(ticks[1] - before, 60, 71);
	for (uint64_t s = at + 71; s <= at + DAY_S; s++)
		run(s);
	assert_in_range(ticks[1] - before, 70, 170);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(silence_has_no_end),
		cmocka_unit_test(one_event_wakes_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
