/* Notes of terms: there and back, and whatever else may stand in a control record. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "state_terms.h"

static uint64_t space[256];

/* A block with one control record of this payload. */
static struct journal_block block_of(const void *payload, uint32_t bytes)
{
	struct record *rec = (struct record *)space;

	memset(space, 0, sizeof space);
	rec->kind = RECORD_CONTROL;
	rec->payload_bytes = rec->raw_bytes = bytes;
	rec->bytes = (uint32_t)((sizeof *rec + bytes + 7) / 8 * 8);
	memcpy(rec + 1, payload, bytes);
	return (struct journal_block){.record_count = 1, .bytes = rec->bytes, .data = (const uint8_t *)rec};
}

static int parse(const char *text, struct state_terms *t)
{
	struct journal_block block = block_of(text, (uint32_t)strlen(text));
	struct err err;

	return state_terms_of_block(&block, t, &err);
}

static void there_and_back(void **state)
{
	char text[JOURNAL_NOTE_MAX + 1];
	struct state_terms t, u;

	(void)state;
	for (uint32_t count = 0; count <= WINDOWS_MAX; count++) {
		memset(&t, 0, sizeof t);
		t.step_ms = 60000;
		t.out_of_orderness_ms = 86400000;
		t.memory_bytes = 1099511627776;
		t.window_count = count;
		for (uint32_t i = 0; i < count; i++)
			t.window_uid[i] = (i + 1) * 0x0711111111111111ull;
		state_terms_print(&t, text);
		assert_true(strlen(text) <= JOURNAL_NOTE_MAX);
		if (parse(text, &u) != 1)
			fail_msg("%s", text);
		assert_true(state_terms_equal(&t, &u));
		assert_true(u.marks);
		u.memory_bytes++;
		assert_false(state_terms_equal(&t, &u));
		if (!count)
			continue;
		u = t;
		u.window_uid[count - 1]++;
		assert_false(state_terms_equal(&t, &u));
		u = t;
		u.window_count--;
		assert_false(state_terms_equal(&t, &u));
	}
}

static void other_records_are_none(void **state)
{
	struct state_terms t;
	struct journal_block block;
	struct err err;

	(void)state;
	assert_int_equal(parse("event=start version=1 generation=0", &t), 0);
	assert_int_equal(parse("", &t), 0);
	assert_int_equal(parse("event=windows", &t), 0);
	assert_int_equal(parse("event=windows step_ms=1000 out_of_orderness_ms=0 memory=1 uids=", &t), 1);
	assert_false(t.marks); /* of a version before */
	block = block_of("event=windows step_ms=1000 out_of_orderness_ms=0 memory=1 uids=", 62);
	block.record_count = 2;
	assert_int_equal(state_terms_of_block(&block, &t, &err), 0);
}

static void what_cannot_be_read_is_refused(void **state)
{
	static const char *const bad[] = {
		"event=windows ",
		"event=windows step_ms=0 out_of_orderness_ms=0 memory=1 uids=",
		"event=windows step_ms=-1 out_of_orderness_ms=0 memory=1 uids=",
		"event=windows step_ms= out_of_orderness_ms=0 memory=1 uids=",
		"event=windows step_ms=9999999999999999999 out_of_orderness_ms=0 memory=1 uids=",
		"event=windows step_ms=1000 memory=1 uids=",
		"event=windows step_ms=1000 out_of_orderness_ms=0 memory=1",
		"event=windows step_ms=1000 out_of_orderness_ms=0 memory=1 marks=1",
		"event=windows step_ms=1000 out_of_orderness_ms=0 memory=1 marks=2 uids=",
		"event=windows step_ms=1000 out_of_orderness_ms=0 memory=1 uids=00",
		"event=windows step_ms=1000 out_of_orderness_ms=0 memory=1 uids=000000000000000g",
		"event=windows step_ms=1000 out_of_orderness_ms=0 memory=1 uids=0000000000000001 ",
		"event=windows step_ms=1000 out_of_orderness_ms=0 memory=1 "
		"uids=0000000000000002,0000000000000001",
		"event=windows step_ms=1000 out_of_orderness_ms=0 memory=1 "
		"uids=0000000000000001,0000000000000001",
	};
	char many[JOURNAL_NOTE_MAX + 1];
	struct state_terms t;
	int n;

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_equal(parse(bad[i], &t), -EBADMSG);
	n = snprintf(many, sizeof many, "event=windows step_ms=1 out_of_orderness_ms=0 memory=1 uids=");
	for (int i = 0; i <= WINDOWS_MAX; i++)
		n += snprintf(many + n, sizeof many - (size_t)n, "%s%016x", i ? "," : "", i + 1);
	assert_int_equal(parse(many, &t), -EBADMSG);
}

/* Changed bytes: never read beyond, never more windows than there may be, and what is accepted prints as it
 * was. */
static void changed_notes(void **state)
{
	char text[JOURNAL_NOTE_MAX + 1], again[JOURNAL_NOTE_MAX + 1];
	struct state_terms t = {.step_ms = 1000, .out_of_orderness_ms = 10000, .memory_bytes = 1 << 20}, u;
	int accepted = 0;

	(void)state;
	srandom(7);
	for (t.window_count = 0; t.window_count < 5; t.window_count++)
		t.window_uid[t.window_count] = (t.window_count + 1) * 0x1234567890abcdefull;
	for (int i = 0; i < 200000; i++) {
		uint32_t bytes;
		struct journal_block block;
		struct err err;

		state_terms_print(&t, text);
		bytes = (uint32_t)strlen(text);
		text[random() % bytes] =
			(char)(random() % 3 ? "0123456789abcdef,= "[random() % 19] : random());
		if (random() % 8 == 0)
			bytes = (uint32_t)random() % bytes;
		block = block_of(text, bytes);
		if (state_terms_of_block(&block, &u, &err) != 1)
			continue;
		accepted++;
		assert_true(u.window_count <= WINDOWS_MAX && u.step_ms > 0);
		state_terms_print(&u, again);
		assert_int_equal(parse(again, &t), 1);
		assert_true(state_terms_equal(&t, &u));
		t = (struct state_terms){
			.step_ms = 1000, .out_of_orderness_ms = 10000, .memory_bytes = 1 << 20};
		for (t.window_count = 0; t.window_count < 5; t.window_count++)
			t.window_uid[t.window_count] = (t.window_count + 1) * 0x1234567890abcdefull;
	}
	assert_true(accepted > 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(there_and_back),
		cmocka_unit_test(other_records_are_none),
		cmocka_unit_test(what_cannot_be_read_is_refused),
		cmocka_unit_test(changed_notes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
