/* Saves of the merge: damaged ones are refused, or are as good as any. That a save and load anywhere changes
 * nothing that comes out is in test_merge_fold.c. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "crc32c.h"
#include "merge_rig.h"

/* Some windows retained, one put out, baselines, a row that waits, definitions in force. */
static void hand_fill(struct rig_hand *b, struct bytes *saved)
{
	uint64_t offset = 0;

	rig_hand_start(b, 2, 60000, 3000);
	for (int64_t w = 0; w < 30; w++)
		assert_int_equal(rig_hand_feed(b, 0, w, w % 2 ? "web" : "app", 1, 0, 0, offset++), 0);
	assert_int_equal(rig_feed_definition(&b->rm, 1, INT64_MIN, RIG_HAND_UID, INT64_MIN, 6), 0);
	assert_int_equal(rig_feed_mark(&b->rm, 1, 20000, 7), 0);
	rig_hand_run(b);
	merge_save(b->rm.m, saved);
	assert_false(saved->failed);
}

static int load(struct rig_hand *b, uint32_t partitions, const uint8_t *data, size_t bytes, struct err *err)
{
	int rc;

	merge_free(b->rm.m);
	bytes_free(&b->rm.out);
	rig_merge_start(&b->rm, &b->defs, partitions, 3000);
	rc = merge_load(b->rm.m, data, bytes, err);
	return rc;
}

static void positions_are_those_of_rows_that_wait(void **state)
{
	struct bytes saved = {0};
	struct rig_hand b;
	struct err err;

	(void)state;
	hand_fill(&b, &saved);
	assert_int_equal(merge_position(b.rm.m, 0), 20);
	assert_int_equal(merge_position(b.rm.m, 1), 8);
	assert_int_equal(load(&b, 2, saved.data, saved.bytes, &err), 0);
	assert_int_equal(merge_position(b.rm.m, 0), 20);
	assert_int_equal(merge_position(b.rm.m, 1), 8);
	assert_true(merge_stats(b.rm.m)->retained > 3 && merge_stats(b.rm.m)->groups == 2);
	assert_int_equal(rig_hand_feed(&b, 0, 19, "web", 1, 0, 0, 19), -EINVAL);
	assert_int_equal(rig_hand_feed(&b, 0, 20, "app", 1, 0, 0, 20), 0);
	bytes_free(&saved);
	rig_hand_stop(&b);
}

static void other_saves_are_refused(void **state)
{
	struct bytes saved = {0};
	struct rig_hand b;
	struct err err;

	(void)state;
	hand_fill(&b, &saved);
	assert_int_equal(load(&b, 3, saved.data, saved.bytes, &err), -EINVAL);
	assert_string_equal(err.text, "merge state: of 2 partitions, there are 3");
	for (size_t cut = 0; cut < saved.bytes; cut++) {
		uint8_t *copy = malloc(cut + 1);

		memcpy(copy, saved.data, cut);
		assert_int_equal(load(&b, 2, copy, cut, &err), -EINVAL);
		free(copy);
	}
	bytes_put_u8(&saved, 0);
	assert_int_equal(load(&b, 2, saved.data, saved.bytes, &err), -EINVAL);
	saved.data[4] = 9;
	assert_int_equal(load(&b, 2, saved.data, saved.bytes - 1, &err), -EINVAL);
	assert_string_equal(err.text, "merge state: version 9, this program reads versions 1 to 3");
	bytes_free(&saved);
	rig_hand_stop(&b);
}

/* A save as the version before made it (2), or the first one (1): without definitions in force; in the first
 * no record had many rows, and a partition's part has 4 bytes less. */
static void as_of(uint32_t version, const struct bytes *saved, struct bytes *old)
{
	static const uint32_t lists[] = {4, 32}; /* of the first partition none, of the second one */
	size_t at = 24;				 /* behind the head */

	bytes_reset(old);
	bytes_put(old, saved->data, at);
	memcpy(old->data + 4, &version, sizeof version);
	for (int p = 0; p < 2; p++) {
		bytes_put(old, saved->data + at, 8);
		if (version > 1)
			bytes_put(old, saved->data + at + 8, 4);
		bytes_put(old, saved->data + at + 12, 8);
		at += 20 + lists[p];
	}
	bytes_put(old, saved->data + at, saved->bytes - at);
}

static void versions_before_are_read(void **state)
{
	struct bytes saved = {0}, old = {0}, again = {0}, back = {0};
	struct rig_hand b;
	struct err err;

	(void)state;
	hand_fill(&b, &saved);
	for (uint32_t version = 1; version < 3; version++) {
		as_of(version, &saved, &old);
		if (load(&b, 2, old.data, old.bytes, &err))
			fail_msg("%s", err.text);
		assert_int_equal(rig_feed_definition(&b.rm, 1, 20000, RIG_HAND_UID, INT64_MIN, 8), 0);
		bytes_reset(&again);
		merge_save(b.rm.m, &again);
		as_of(version, &again, &back);
		memcpy(back.data + (version > 1 ? 44 : 40), old.data + (version > 1 ? 44 : 40),
			8); /* position */
		assert_int_equal(back.bytes, old.bytes);
		assert_memory_equal(back.data, old.data, old.bytes);
	}
	bytes_free(&saved);
	bytes_free(&old);
	bytes_free(&again);
	bytes_free(&back);
	rig_hand_stop(&b);
}

/* Where this fails the bytes mean something else than before: the version has to grow. */
static void the_bytes_are_those_of_the_version(void **state)
{
	struct bytes saved = {0};
	struct rig_hand b;

	(void)state;
	hand_fill(&b, &saved);
	assert_int_equal(saved.bytes, 1329);
	assert_int_equal(crc32c(0, saved.data, saved.bytes), 0x174651db);
	bytes_free(&saved);
	rig_hand_stop(&b);
}

static void damaged_saves_do_no_harm(void **state)
{
	struct bytes saved = {0};
	uint64_t seed = 9, loaded = 0;
	struct rig_hand b;
	struct err err;

	(void)state;
	hand_fill(&b, &saved);
	for (int i = 0; i < 4000; i++) {
		uint32_t at = rig_below(&seed, (uint32_t)saved.bytes);
		uint8_t before = saved.data[at];

		saved.data[at] = (uint8_t)rig_random(&seed);
		if (load(&b, 2, saved.data, saved.bytes, &err) == 0) {
			uint64_t next = merge_position(b.rm.m, 0);

			loaded++;
			if (rig_hand_feed(&b, 0, 21, "web", 1, 0, 0, next) == 0 &&
				rig_feed_mark(&b.rm, 0, 30000, next + 1) == 0 &&
				rig_feed_mark(&b.rm, 1, 30000, merge_position(b.rm.m, 1)) == 0)
				merge_run(b.rm.m, &err);
		}
		saved.data[at] = before;
	}
	assert_true(loaded > 100);
	bytes_free(&saved);
	rig_hand_stop(&b);
}

/* What is retained comes out in rows again: its key is one of a row, and the next revision has a number. */
static void retained_windows_are_those_of_rows(void **state)
{
	/* revision, flags, the key's length and the key of one that is retained */
	static const uint8_t good[] = {0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 3, 0, 'w', 'e', 'b'};
	struct bytes saved = {0};
	uint8_t *at = NULL;
	struct rig_hand b;
	struct err err;

	(void)state;
	hand_fill(&b, &saved);
	for (size_t i = 0; !at && i + sizeof good <= saved.bytes; i++)
		if (!memcmp(saved.data + i, good, sizeof good))
			at = saved.data + i;
	assert_non_null(at);
	at[12] = 2;
	assert_int_equal(load(&b, 2, saved.data, saved.bytes, &err), -EINVAL);
	assert_string_equal(err.text, "merge state: a retained window is not what a save makes");
	memcpy(at, good, sizeof good);
	memset(at, 0xff, 4);
	assert_int_equal(load(&b, 2, saved.data, saved.bytes, &err), -EINVAL);
	assert_string_equal(err.text, "merge state: a retained window is not what a save makes");
	memcpy(at, good, sizeof good);
	assert_int_equal(load(&b, 2, saved.data, saved.bytes, &err), 0);
	bytes_free(&saved);
	rig_hand_stop(&b);
}

static void gone_definitions_are_left_out(void **state)
{
	struct bytes saved = {0};
	struct rig_hand b;
	struct err err;

	(void)state;
	hand_fill(&b, &saved);
	b.defs.def[0]->uid = 77;
	merge_free(b.rm.m);
	bytes_free(&b.rm.out);
	rig_merge_start(&b.rm, &b.defs, 2, 3000);
	assert_int_equal(merge_load(b.rm.m, saved.data, saved.bytes, &err), 0);
	assert_int_equal(merge_stats(b.rm.m)->retained, 0);
	assert_int_equal(merge_stats(b.rm.m)->groups, 0);
	assert_int_equal(merge_position(b.rm.m, 0), 20);
	bytes_free(&saved);
	rig_hand_stop(&b);
}

static int gather(struct rig_hand *b, uint32_t partitions, const struct bytes *saved, struct err *err)
{
	merge_free(b->rm.m);
	bytes_free(&b->rm.out);
	rig_merge_start(&b->rm, &b->defs, partitions, 3000);
	return merge_gather(b->rm.m, saved->data, saved->bytes, err);
}

/* Of two partitions into three: new logs, behind the common step; what is retained is revised by any of them.
 */
static void other_partitions_go_on(void **state)
{
	struct bytes saved = {0};
	const struct record **list;
	uint64_t retained, count;
	struct rig_hand b;
	struct err err;

	(void)state;
	hand_fill(&b, &saved);
	assert_int_equal(gather(&b, 3, &saved, &err), -EINVAL);
	assert_non_null(strstr(err.text, "different steps"));
	bytes_reset(&saved);
	rig_hand_stop(&b);

	rig_hand_start(&b, 2, 60000, 1 << 20);
	for (int64_t w = 0; w < 5; w++)
		assert_int_equal(rig_hand_feed(&b, 0, w, "web", 2, 0, 0, (uint64_t)w), 0);
	assert_int_equal(rig_feed_mark(&b.rm, 0, 20000, 5), 0);
	assert_int_equal(rig_feed_mark(&b.rm, 1, 20000, 0), 0);
	rig_hand_run(&b);
	retained = merge_stats(b.rm.m)->retained;
	assert_int_equal(retained, 5);
	merge_save(b.rm.m, &saved);
	assert_int_equal(gather(&b, 3, &saved, &err), 0);
	assert_int_equal(merge_stats(b.rm.m)->retained, retained);
	for (uint32_t p = 0; p < 3; p++)
		assert_int_equal(merge_position(b.rm.m, p), 0);
	assert_int_equal(rig_hand_feed(&b, 2, 19, "web", 1, 0, 0, 0), -EBADMSG); /* of a step that is out */
	assert_int_equal(gather(&b, 3, &saved, &err), 0);
	assert_int_equal(rig_hand_feed(&b, 2, 3, "web", 1, 21, 1, 0), 0);
	for (uint32_t p = 0; p < 3; p++)
		assert_int_equal(rig_feed_mark(&b.rm, p, 22000, p == 2), 0);
	rig_hand_run(&b);
	list = rig_records(&b.rm.out, &count);
	assert_int_equal(count, 2); /* the revision, a mark */
	assert_int_equal(row_of(list[0])->revision, 1);
	assert_int_equal(
		rig_count(b.defs.def[0]->aggs, row_agg(row_of(list[0])), row_of(list[0])->agg_bytes), 3);
	free(list);
	bytes_free(&saved);
	rig_hand_stop(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(positions_are_those_of_rows_that_wait),
		cmocka_unit_test(other_saves_are_refused),
		cmocka_unit_test(versions_before_are_read),
		cmocka_unit_test(the_bytes_are_those_of_the_version),
		cmocka_unit_test(damaged_saves_do_no_harm),
		cmocka_unit_test(retained_windows_are_those_of_rows),
		cmocka_unit_test(gone_definitions_are_left_out),
		cmocka_unit_test(other_partitions_go_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
