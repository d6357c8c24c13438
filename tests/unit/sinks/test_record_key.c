/* The key chain: user, then event id, then source address. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "record_key.h"
#include "sample_record.h"

static void check(const struct record *rec, const char *want)
{
	struct record_key key;

	record_key_of(&key, rec);
	assert_int_equal(key.bytes, strlen(want));
	assert_memory_equal(key.data, want, key.bytes);
}

static void test_chain(void **state)
{
	struct sample s;
	struct record *rec = (struct record *)s.bytes;

	(void)state;
	check(sample_click(&s, "u123", NULL, 0), "u123");
	/* No field at all: the address of the sender, as the journal's partitioning does it. */
	check(sample_click(&s, "", NULL, 0), "10.0.0.1");
	/* Upper-case text of an id gives the same key as lower-case: it is made from the 16 bytes. */
	struct event ev = {.raw = (const uint8_t *)"01234567-89AB-CDEF-FEDC-BA9876543210", .raw_bytes = 36};
	ev.type = EVENT_TYPE_click;
	memcpy(ev.event_id, "\x01\x23\x45\x67\x89\xab\xcd\xef\xfe\xdc\xba\x98\x76\x54\x32\x10", 16);
	ev.field_mask = FBIT(event_id);
	ev.field[FIELD_event_id] = (struct span){0, 36};
	record_write_event(s.bytes, &ev, 0, 0, 0);
	check(rec, "01234567-89ab-cdef-fedc-ba9876543210");
	/* A type that this version does not know has no chain. */
	sample_click(&s, "u123", NULL, 0);
	rec->type = EVENT_TYPE_MAX - 1;
	check(rec, "10.0.0.1");
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_chain)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
