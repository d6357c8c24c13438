/* Reading DATA: what the text of the protocol allows is taken, each single change of it is refused whole; ACK
 * and REJECT byte by byte; keys and MACs, with a value from outside. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "frame.h"
#include "frame_make.h"

static const struct frame_keys no_keys;

static struct frame_make made(void)
{
	struct frame_make m;

	make_begin(&m, 0x1122334455667788, 7, 2, 1, 0);
	make_event(&m, "{\"a\":1}");
	make_event(&m, "{}");
	return m;
}

static enum drop_reason verdict(const struct frame_make *m, const struct frame_keys *keys)
{
	uint8_t *copy = malloc(m->bytes + 1); /* of exact size: reads beyond it are seen */
	enum drop_reason why;
	struct frame f;

	memcpy(copy, m->data, m->bytes);
	why = frame_open(&f, copy, m->bytes, keys);
	free(copy);
	return why;
}

static void events_are_read_in_order(void **state)
{
	struct frame_make m = made();
	const uint8_t *event;
	struct frame f;
	uint32_t bytes;

	(void)state;
	assert_int_equal(frame_open(&f, m.data, m.bytes, &no_keys), DROP_NONE);
	assert_int_equal(f.producer, 0x1122334455667788);
	assert_true(f.ack);
	assert_true(frame_next(&f, &event, &bytes));
	assert_int_equal(f.sequence - 1, 7);
	assert_int_equal(bytes, 7);
	assert_memory_equal(event, "{\"a\":1}", 7);
	assert_true(frame_next(&f, &event, &bytes));
	assert_int_equal(f.sequence - 1, 8);
	assert_int_equal(bytes, 2);
	assert_false(frame_next(&f, &event, &bytes));
}

static void what_the_text_does_not_name_is_refused(void **state)
{
	static const struct {
		uint32_t at;
		uint8_t value;
		enum drop_reason why;
	} wrong[] = {{0, 'x', DROP_bad_frame}, {3, 0, DROP_bad_frame}, {4, 0, DROP_frame_version},
		{4, 2, DROP_frame_version}, {5, 0, DROP_bad_frame}, {5, 2, DROP_bad_frame},
		{6, 4, DROP_bad_frame}, {6, 0x81, DROP_bad_frame}, {6, 3, DROP_bad_mac},
		{7, 1, DROP_bad_frame}, {24, 0, DROP_bad_frame}, {24, 1, DROP_bad_frame},
		{24, 3, DROP_bad_frame}, {25, 5, DROP_bad_frame}, {26, 0, DROP_bad_frame},
		{26, 2, DROP_bad_frame}, {27, 1, DROP_bad_frame}, {31, 1, DROP_bad_frame},
		{32, 0, DROP_bad_frame}, {32, 8, DROP_bad_frame}, {33, 1, DROP_bad_frame},
		{41, 1, DROP_bad_frame}};
	struct frame_make m;

	(void)state;
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		m = made();
		m.data[wrong[i].at] = wrong[i].value;
		if (verdict(&m, &no_keys) != wrong[i].why)
			fail_msg("byte %u = %u: %s", wrong[i].at, wrong[i].value,
				drop_table[verdict(&m, &no_keys)].name);
	}
	for (uint32_t bytes = 0; bytes < made().bytes; bytes++) {
		m = made();
		m.bytes = bytes;
		assert_int_equal(verdict(&m, &no_keys), DROP_bad_frame);
	}
	m = made();
	m.data[m.bytes++] = 0;
	assert_int_equal(verdict(&m, &no_keys), DROP_bad_frame);
}

static void numbers_have_their_ranges(void **state)
{
	struct frame_make m;

	(void)state;
	make_begin(&m, 0, 1, 1, 0, 0);
	make_event(&m, "{}");
	assert_int_equal(verdict(&m, &no_keys), DROP_bad_frame);
	make_begin(&m, 1, 0, 1, 0, 0);
	make_event(&m, "{}");
	assert_int_equal(verdict(&m, &no_keys), DROP_bad_frame);
	make_begin(&m, 1, FRAME_SEQUENCE_MAX - 1, 1, 0, 0);
	make_event(&m, "{}");
	assert_int_equal(verdict(&m, &no_keys), DROP_NONE);
	make_begin(&m, 1, FRAME_SEQUENCE_MAX, 1, 0, 0);
	make_event(&m, "{}");
	assert_int_equal(verdict(&m, &no_keys), DROP_bad_frame);
	make_begin(&m, 1, UINT64_MAX, 1, 0, 0);
	make_event(&m, "{}");
	assert_int_equal(verdict(&m, &no_keys), DROP_bad_frame);
	make_begin(&m, 1, 1, FRAME_EVENTS_MAX, 0, 0);
	for (uint32_t i = 0; i < FRAME_EVENTS_MAX; i++)
		make_event(&m, "{}");
	assert_int_equal(verdict(&m, &no_keys), DROP_NONE);
	make_begin(&m, 1, 1, FRAME_EVENTS_MAX + 1, 0, 0);
	for (uint32_t i = 0; i < FRAME_EVENTS_MAX + 1; i++)
		make_event(&m, "{}");
	assert_int_equal(verdict(&m, &no_keys), DROP_bad_frame);
}

static void answers_byte_by_byte(void **state)
{
	const struct frame_range range[] = {{0x0102030405060708, 0x8000000000000001}};
	const struct frame_refusal refusal[] = {{9, DROP_bad_json}};
	static const uint8_t ack[] = {'S', 'L', 'C', 'E', 1, 2, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0,
		0, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1, 1, 0, 0, 0, 0, 0, 0, 0x80, 9, 0, 0, 0, 0, 0, 0, 0, 20, 0};
	static const uint8_t reject[FRAME_REJECT_BYTES] = {
		'S', 'L', 'C', 'E', 1, 3, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 52};
	uint8_t out[256];

	(void)state;
	assert_int_equal(frame_ack_bytes(1, 1, false), sizeof ack);
	assert_int_equal(frame_ack_write(out, 5, range, 1, refusal, 1, &no_keys, 0), sizeof ack);
	assert_memory_equal(out, ack, sizeof ack);
	frame_reject_write(out, 5, DROP_frame_version);
	assert_memory_equal(out, reject, sizeof reject);
}

static int load(const char *text, mode_t mode, struct frame_keys *keys, struct err *err)
{
	char path[] = "/tmp/sluice-keys-XXXXXX";
	int fd = mkstemp(path), rc;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
	rc = frame_keys_load(keys, path, "listeners.key_file", err);
	unlink(path);
	return rc;
}

#define HEX "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

static void macs(void **state)
{
	/* hashlib.blake2b(b"", key=bytes(range(32)), digest_size=16) */
	static const uint8_t empty[FRAME_MAC_BYTES] = {0x3d, 0xaf, 0x97, 0xbc, 0xe7, 0x88, 0x8f, 0xd5, 0x97,
		0x73, 0xc6, 0x6b, 0xf6, 0x47, 0x45, 0x9c};
	struct frame_make m = made();
	struct frame_keys keys;
	struct err err = {0};
	uint8_t mac[FRAME_MAC_BYTES];
	struct frame f;

	(void)state;
	assert_int_equal(load("3 " HEX "\n\n200 ff" HEX "\n", 0600, &keys, &err), -22);
	assert_non_null(strstr(err.text, "line 3"));
	assert_int_equal(
		load("3 " HEX "\n200 aa02030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1fbb\n",
			0600, &keys, &err),
		0);
	assert_int_equal(keys.count, 2);
	frame_mac_make(&keys, 3, (const uint8_t *)"", 0, mac);
	assert_memory_equal(mac, empty, sizeof mac);

	assert_int_equal(verdict(&m, &keys), DROP_bad_mac); /* none */
	m.data[6] = 3;
	m.data[7] = 3;
	make_mac(&m, &keys, 3);
	assert_int_equal(frame_open(&f, m.data, m.bytes, &keys), DROP_NONE);
	assert_int_equal(f.key, 3);
	assert_int_equal(f.left, 2);
	m.data[7] = 200; /* another key's number */
	assert_int_equal(verdict(&m, &keys), DROP_bad_mac);
	m.data[7] = 4; /* no key's */
	assert_int_equal(verdict(&m, &keys), DROP_bad_mac);
	m.data[7] = 3;
	for (uint32_t bit = 64; bit < m.bytes * 8; bit++) {
		m.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(verdict(&m, &keys), DROP_bad_mac);
		m.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	assert_int_equal(verdict(&m, &no_keys), DROP_bad_mac);
}

static void key_files_are_judged(void **state)
{
	static const char *const bad[] = {"", "\n", "x", "0 " HEX, "256 " HEX, "1" HEX, "1 " HEX "0", "1 00",
		"+1 " HEX, "1 " HEX "\n1 " HEX,
		"1 zz0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
		"1 " HEX "\n2 " HEX "\n3 " HEX "\n4 " HEX "\n5 " HEX "\n6 " HEX "\n7 " HEX "\n8 " HEX
		"\n9 " HEX};
	struct frame_keys keys;
	struct err err = {0};

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (load(bad[i], 0600, &keys, &err) != -22)
			fail_msg("taken: %s", bad[i]);
	assert_int_equal(load("1 " HEX, 0644, &keys, &err), -22);
	assert_non_null(strstr(err.text, "others may read"));
	assert_int_equal(load("255 " HEX, 0600, &keys, &err), 0);
	assert_int_equal(frame_keys_load(&keys, "", "k", &err), 0);
	assert_int_equal(keys.count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(events_are_read_in_order),
		cmocka_unit_test(what_the_text_does_not_name_is_refused),
		cmocka_unit_test(numbers_have_their_ranges),
		cmocka_unit_test(answers_byte_by_byte),
		cmocka_unit_test(macs),
		cmocka_unit_test(key_files_are_judged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
