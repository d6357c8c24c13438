/* GELF in chunks over real mbufs: whole messages become events whatever the order of their chunks, what is
 * not whole goes under a name, and every datagram is counted once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include <cmocka.h>

#include "pipeline_rig.h"

#define PORT 12201
#define SECOND_NS 1000000000ull
#define TEXT_MAX (1u << 20)

static char seen[TEXT_MAX]; /* the payload of each record, a line each */
static size_t seen_bytes;
static uint64_t now_ns;

static const struct listener_stats *const ls = &fx.stats.listener[0];

static void record_take(const struct record *rec)
{
	seen_bytes += (size_t)snprintf(seen + seen_bytes, TEXT_MAX - seen_bytes, "%s%.*s\n",
		rec->kind == RECORD_EVENT ? "" : drop_table[rec->reason].name, (int)rec->raw_bytes,
		(const char *)record_payload(rec));
	assert_true(seen_bytes < TEXT_MAX);
}

static void start(uint32_t batch_bytes)
{
	seen_bytes = 0;
	seen[0] = 0;
	now_ns = 1;
	rig_start(&(struct pipeline_wish){.port = PORT,
		.format = CONFIG_FORMAT_GELF,
		.rules = "rules: []\n",
		.batches = 16,
		.batch_bytes = batch_bytes,
		.dead_rate = 1 << 20,
		.take = record_take});
}

static void stop(void)
{
	rig_stop();
	rig_balance();
	assert_int_equal(ls->datagrams_waiting, 0);
}

static void chunk(uint8_t host, char id, int index, int count, const void *piece, size_t bytes)
{
	uint8_t data[1800] = {
		0x1e, 0x0f, 'm', 'e', 's', 's', 'a', 'g', 'e', (uint8_t)id, (uint8_t)index, (uint8_t)count};

	assert_true(bytes <= sizeof data - 12);
	memcpy(data + 12, piece, bytes);
	rig_send_at(host, data, (uint32_t)bytes + 12, PORT, now_ns);
}

/* Chunk `index` of `count` of a message, cut into equal parts. */
static void part(uint8_t host, char id, int index, int count, const void *message, size_t bytes)
{
	size_t step = (bytes + (size_t)count - 1) / (size_t)count, at = step * (size_t)index;

	chunk(host, id, index, count, (const uint8_t *)message + at, at + step < bytes ? step : bytes - at);
}

/* With an attribute of so many digits. */
static size_t message_make(char *to, size_t cap, const char *text, size_t fill)
{
	return (size_t)snprintf(to, cap,
		"{\"host\":\"h\",\"short_message\":\"%s\",\"timestamp\":1763634030.25,\"level\":3,\"_fill\":"
		"\"%0*d\"}",
		text, (int)fill, 0);
}

static void expect_message(const char *text, size_t fill)
{
	static char line[70000];

	snprintf(line, sizeof line,
		"{\"type\":\"log\",\"source\":\"h\",\"ts\":1763634030250,\"level\":\"error\",\"message\":\"%"
		"s\","
		"\"attributes\":{\"host\":\"h\",\"fill\":\"%0*d\"}}\n",
		text, (int)fill, 0);
	if (!strstr(seen, line))
		fail_msg("%.200s is not in:\n%.1000s", line, seen);
}

/* In order, backwards, mixed with another one's and with whole datagrams; of one chunk; of the most. */
static void test_orders(void **state)
{
	static char a[70000], b[70000];
	size_t a_bytes, b_bytes;

	(void)state;
	start(65536);
	a_bytes = message_make(a, sizeof a, "in order", 100);
	for (int i = 0; i < 3; i++)
		part(1, 'a', i, 3, a, a_bytes);
	assert_int_equal(ls->datagrams_read, 3);
	a_bytes = message_make(a, sizeof a, "backwards", 4000);
	for (int i = 127; i >= 0; i--) {
		assert_int_equal(ls->datagrams_waiting, 127 - i);
		part(1, 'b', i, 128, a, a_bytes);
	}
	a_bytes = message_make(a, sizeof a, "first", 50);
	b_bytes = message_make(b, sizeof b, "second", 20);
	for (int i = 0; i < 5; i++) {
		static const int order[] = {3, 0, 4, 2, 1};

		part(1, 'c', order[i], 5, a, a_bytes);
		part(2, 'c', i, 5, b, b_bytes); /* the same id from another source */
		rig_send_at(1, "{\"short_message\":\"between\"}", 27, PORT, now_ns);
	}
	a_bytes = message_make(a, sizeof a, "alone", 1);
	part(1, 'd', 0, 1, a, a_bytes);
	stop();
	expect_message("in order", 100);
	expect_message("backwards", 4000);
	expect_message("first", 50);
	expect_message("second", 20);
	expect_message("alone", 1);
	assert_int_equal(fx.events, 10);
	assert_int_equal(ls->datagrams_read, 3 + 128 + 10 + 5 + 1);
}

/* Compressed as a whole and then cut; one that is no GELF is a dead letter with the bytes of all. */
static void test_compressed_and_refused(void **state)
{
	static char a[30000];
	static uint8_t packed[30000];
	uLongf packed_bytes = sizeof packed;
	size_t bytes;

	(void)state;
	start(65536);
	bytes = message_make(a, sizeof a, "packed", 20000);
	assert_int_equal(compress(packed, &packed_bytes, (const Bytef *)a, bytes), Z_OK);
	part(1, 'a', 1, 2, packed, packed_bytes);
	part(1, 'a', 0, 2, packed, packed_bytes);
	part(1, 'b', 0, 2, "{\"no\":\"gelf\"}", 13);
	part(1, 'b', 1, 2, "{\"no\":\"gelf\"}", 13);
	part(1, 'c', 0, 2,
		"\x1e\x0f"
		"12345678\x00\x01{}",
		14); /* a chunk in chunks is none */
	part(1, 'c', 1, 2,
		"\x1e\x0f"
		"12345678\x00\x01{}",
		14);
	stop();
	expect_message("packed", 20000);
	assert_non_null(strstr(seen, "bad_format{\"no\":\"gelf\"}\n"));
	assert_int_equal(fx.refused, 2);
	assert_int_equal(fx.events, 1);
}

static void test_bad_chunks(void **state)
{
	static const struct {
		const char *data;
		uint32_t bytes;
	} bad[] = {{"\x1e\x0f", 2},
		{"\x1e\x0f"
		 "12345678\x00\x02",
			12},
		{"\x1e\x0f"
		 "12345678\x00\x00x",
			13},
		{"\x1e\x0f"
		 "12345678\x02\x02x",
			13},
		{"\x1e\x0f"
		 "12345678\x00\x81x",
			13},
		{"\x1e\x0f"
		 "12345678\xff\xffx",
			13}};
	static char a[300];
	size_t bytes;

	(void)state;
	start(16384);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		rig_send(1, bad[i].data, bad[i].bytes, PORT);
	assert_int_equal(ls->dropped[DROP_bad_chunk], 6);
	bytes = message_make(a, sizeof a, "good", 9);
	part(1, 'a', 0, 3, a, bytes);
	part(1, 'a', 1, 4, a, bytes); /* another count */
	part(1, 'a', 0, 3, a, bytes);
	part(1, 'a', 2, 3, a, bytes);
	part(1, 'a', 2, 3, a, bytes);
	part(1, 'a', 1, 3, a, bytes);
	stop();
	expect_message("good", 9);
	assert_int_equal(ls->dropped[DROP_bad_chunk], 7);
	assert_int_equal(ls->dropped[DROP_chunk_duplicate], 2);
	assert_int_equal(ls->datagrams_read, 3);
}

static void test_too_long(void **state)
{
	static char a[70000], piece[1400];
	size_t bytes;

	(void)state;
	start(131072);
	bytes = message_make(a, sizeof a, "long", 30000);
	for (int i = 0; i < 40; i++)
		part(1, 'a', i, 40, a, bytes);
	assert_int_equal(ls->datagrams_read, 40);
	for (int i = 0; i < 100; i++) {
		chunk(1, 'b', i, 101, piece, i ? 1000 : 1400);
		assert_int_equal(ls->dropped[DROP_chunk_too_long], i < 65 ? 0 : i + 1);
	}
	assert_int_equal(fx.pl.chunks.messages, 1);
	chunk(1, 'b', 100, 101, piece, 1);
	assert_int_equal(fx.pl.chunks.messages, 0); /* all are here, nothing is waited for */
	stop();
	assert_int_equal(ls->dropped[DROP_chunk_too_long], 101);
	expect_message("long", 30000);
}

static void test_time(void **state)
{
	static char a[300];
	size_t bytes = message_make(a, sizeof a, "late", 9);

	(void)state;
	start(16384);
	part(1, 'a', 0, 3, a, bytes);
	now_ns += 2 * SECOND_NS;
	part(1, 'b', 0, 2, a, bytes);
	now_ns += 3 * SECOND_NS - 1;
	part(1, 'a', 1, 3, a, bytes); /* just in time, but the third is not */
	assert_int_equal(ls->dropped[DROP_chunk_timeout], 0);
	now_ns += 1;
	part(1, 'a', 2, 3, a, bytes); /* begins anew */
	assert_int_equal(ls->dropped[DROP_chunk_timeout], 2);
	part(1, 'b', 1, 2, a, bytes);
	assert_int_equal(ls->datagrams_read, 2);
	/* Without a frame as well, looked for every 10 ms; the count reaches a batch. */
	assert_true(pipeline_waits(&fx.pl));
	pipeline_seal(&fx.pl, (struct burst_time){WALL_MS, now_ns + 5 * SECOND_NS - 1}, false);
	assert_int_equal(ls->dropped[DROP_chunk_timeout], 2);
	pipeline_seal(&fx.pl, (struct burst_time){WALL_MS, now_ns + 5 * SECOND_NS + 10000000}, false);
	assert_int_equal(ls->dropped[DROP_chunk_timeout], 3);
	pipeline_seal(&fx.pl, (struct burst_time){WALL_MS, now_ns + 5 * SECOND_NS + 10000000}, true);
	assert_false(pipeline_waits(&fx.pl));
	rig_drain();
	assert_int_equal(fx.delta[DROP_chunk_timeout], 3);
	part(1, 'z', 0, 3, a, bytes); /* what is under way at the end */
	stop();
	assert_int_equal(ls->dropped[DROP_chunk_timeout], 4);
	expect_message("late", 9);
	assert_int_equal(fx.events, 1);
}

/* A source that opens one message after the other gives up its own, oldest first, and not another's. */
static void test_full(void **state)
{
	static char a[300];
	size_t bytes = message_make(a, sizeof a, "patient", 9);
	uint8_t other = 2;

	(void)state;
	start(16384);
	assert_int_equal(fx.pl.chunks.sets, 2);
	/* A source of the other set. */
	part(1, 0, 0, 2, a, bytes);
	for (;; other++) {
		uint32_t before = 0, after = 0;

		for (int i = 0; i < GELF_WAYS; i++)
			before += fx.pl.chunks.message[i].count != 0;
		part(other, 'p', 0, 2, a, bytes);
		for (int i = 0; i < GELF_WAYS; i++)
			after += fx.pl.chunks.message[i].count != 0;
		if ((before > 0) != (after > before))
			break;
		part(other, 'p', 1, 2, a, bytes);
	}
	for (int i = 1; i < 250; i++) {
		now_ns++;
		part(1, (char)i, 0, 2, a, bytes);
	}
	assert_int_equal(ls->dropped[DROP_chunk_table_full], 250 - GELF_WAYS);
	part(1, (char)240, 1, 2, a, bytes); /* of the last ones */
	part(other, 'p', 1, 2, a, bytes);
	rig_drain();
	assert_int_equal(ls->datagrams_read, 4 + 2 * (other - 2));
	stop();
	assert_int_equal(ls->dropped[DROP_chunk_timeout], GELF_WAYS - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_orders),
		cmocka_unit_test(test_compressed_and_refused), cmocka_unit_test(test_bad_chunks),
		cmocka_unit_test(test_too_long), cmocka_unit_test(test_time), cmocka_unit_test(test_full)};

	return rig_pool() ? cmocka_run_group_tests(tests, NULL, NULL) : 77;
}
