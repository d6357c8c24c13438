/* Ids of events that come without one: the writer makes them, once, unless the worker has. */
#include "journal_rig.h"

#include <string.h>

static void missing_ids_are_made_and_stay(void **state)
{
	struct rig rig;
	struct batch *b;
	struct journal_reader *reader;
	struct journal_block block;
	struct err err;
	uint8_t made[2][16];
	uint32_t count = 0;

	(void)state;
	rig_init(&rig, 1, 1);
	rig_start(&rig);
	b = rig_batch(&rig, 0, 0);
	for (int i = 0; i < 2; i++)
		assert_true(rig_event(&rig, b, 0, 1000, 1000));
	rig_seal(&rig, b);
	rig_settle(&rig, 0);
	rig_restart(&rig);
	assert_int_equal(journal_reader_open(&reader, rig.journal, 0, 0, &err), 0);
	while (count < 2 && journal_reader_next(reader, &block, 5000, &err) == 1) {
		const uint8_t *p = block.data;

		for (uint32_t i = 0; i < block.record_count; i++) {
			const struct record *rec = (const struct record *)p;

			p += rec->bytes;
			if (rec->kind != RECORD_EVENT)
				continue;
			assert_true(rec->flags & RECORD_F_ID_MADE);
			assert_int_equal(rec->event_id[6] >> 4, 8);
			assert_int_equal(rec->event_id[8] >> 6, 2);
			assert_true(count < 2);
			memcpy(made[count++], rec->event_id, 16);
		}
	}
	assert_int_equal(count, 2);
	assert_memory_not_equal(made[0], made[1], 16);
	journal_reader_close(reader);
	rig_free(&rig);
}

/* One that the worker has made stays, and is nobody's duplicate. */
static void ids_of_workers_stay(void **state)
{
	static const uint64_t seed[2] = {1, 2};
	const uint16_t made = RECORD_F_ID_MADE | RECORD_F_ID_WORKER;
	struct journal_reader *reader;
	struct journal_block block;
	uint32_t count = 0;
	uint8_t id[16];
	struct batch *b;
	struct err err;
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
	assert_int_equal(journal_reader_open(&reader, rig.journal, 0, 0, &err), 0);
	while (count < 2 && journal_reader_next(reader, &block, 5000, &err) == 1) {
		const uint8_t *p = block.data;

		for (uint32_t i = 0; i < block.record_count; i++) {
			const struct record *rec = (const struct record *)p;

			p += rec->bytes;
			if (rec->kind != RECORD_EVENT)
				continue;
			assert_int_equal(rec->flags & made, made);
			assert_memory_equal(rec->event_id, id, sizeof id);
			count++;
		}
	}
	assert_int_equal(count, 2);
	journal_reader_close(reader);
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
