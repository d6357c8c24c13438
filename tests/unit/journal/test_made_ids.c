/* Ids of events that come without one: the writer makes them, once, unless the worker has. */
#include "journal_rig.h"

#include <string.h>

struct seen {
	uint8_t id[2][16];
	uint16_t flags[2];
	uint32_t count;
};

static void event_see(void *arg, const struct journal_block *block, uint32_t index, const struct record *rec)
{
	struct seen *seen = arg;

	(void)block;
	(void)index;
	assert_true(seen->count < 2);
	seen->flags[seen->count] = rec->flags;
	memcpy(seen->id[seen->count++], rec->event_id, sizeof rec->event_id);
}

static void missing_ids_are_made_and_stay(void **state)
{
	struct seen seen = {.count = 0};
	struct rig rig;
	struct batch *b;

	(void)state;
	rig_init(&rig, 1, 1);
	rig_start(&rig);
	b = rig_batch(&rig, 0, 0);
	for (int i = 0; i < 2; i++)
		assert_true(rig_event(&rig, b, 0, 1000, 1000));
	rig_seal(&rig, b);
	rig_settle(&rig, 0);
	rig_restart(&rig);
	rig_each_event(&rig, 0, event_see, &seen);
	assert_int_equal(seen.count, 2);
	for (int i = 0; i < 2; i++) {
		assert_true(seen.flags[i] & RECORD_F_ID_MADE);
		assert_int_equal(seen.id[i][6] >> 4, 8);
		assert_int_equal(seen.id[i][8] >> 6, 2);
	}
	assert_memory_not_equal(seen.id[0], seen.id[1], 16);
	rig_free(&rig);
}

/* One that the worker has made stays, and is nobody's duplicate. */
static void ids_of_workers_stay(void **state)
{
	static const uint64_t seed[2] = {1, 2};
	const uint16_t made = RECORD_F_ID_MADE | RECORD_F_ID_WORKER;
	struct seen seen = {.count = 0};
	uint8_t id[16];
	struct batch *b;
	struct rig rig;

	(void)state;
	rig_init(&rig, 1, 1);
	rig_start(&rig);
	record_number_id(id, 7, seed);
	b = rig_batch(&rig, 0, 0);
	for (int i = 0; i < 2; i++) {
		struct record *rec = (struct record *)(b->data + b->bytes);

		assert_true(rig_event(&rig, b, 0, 1000, 1000));
		memcpy(rec->event_id, id, sizeof id);
		rec->flags |= made;
	}
	rig_seal(&rig, b);
	rig_settle(&rig, 0);
	assert_int_equal(rig_stats(&rig, 0).records[RECORD_EVENT], 2);
	assert_int_equal(rig_stats(&rig, 0).dedup_ids, 0);
	rig_each_event(&rig, 0, event_see, &seen);
	assert_int_equal(seen.count, 2);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(seen.flags[i] & made, made);
		assert_memory_equal(seen.id[i], id, sizeof id);
	}
	rig_free(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(missing_ids_are_made_and_stay),
		cmocka_unit_test(ids_of_workers_stay),
	};

	rig_eal("made-ids");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
