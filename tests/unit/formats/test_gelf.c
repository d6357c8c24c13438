/* GELF: payloads of libraries and of the format's own words, plain and compressed, broken ones, and the event
 * of each. */
#include "log_check.h"

#include <zlib.h>

#define LOG(source, ts, level, message, attributes)                                                          \
	"{\"type\":\"log\",\"source\":\"" source "\",\"ts\":" #ts level ",\"message\":\"" message            \
	"\",\"attributes\":{" attributes "}}"
#define LEVEL(name) ",\"level\":\"" name "\""

static const struct log_row plain_row[] = {
	{"{\"version\":\"1.1\",\"host\":\"shop1\",\"short_message\":\"a short "
	 "one\",\"full_message\":\"all\\nof it\","
	 "\"timestamp\":1763634030.3072,\"level\":1,\"_user_id\":9001,\"_some\":{\"x\":[1]},\"_text\":"
	 "\"a\\u00e9\"}",
		LOG("shop1", 1763634030307, LEVEL("alert"), "all\\nof it",
			"\"host\":\"shop1\",\"short_message\":\"a short "
			"one\",\"user_id\":9001,\"some\":{\"x\":[1]},"
			"\"text\":\"a\\u00e9\"")},
	/* source: application, container, facility, host, address */
	{"{\"host\":\"h\",\"short_message\":\"m\",\"_app\":\"a\",\"_container_name\":\"c\",\"_facility\":"
	 "\"f\"}",
		LOG("a", 1763700000000, , "m",
			"\"host\":\"h\",\"app\":\"a\",\"container_name\":\"c\",\"_facility\":\"f\"")},
	{"{\"host\":\"h\",\"short_message\":\"m\",\"_container_name\":\"c\",\"_tag\":\"\"}",
		LOG("c", 1763700000000, , "m", "\"host\":\"h\",\"container_name\":\"c\",\"tag\":\"\"")},
	{"{\"version\":\"1.0\",\"host\":\"h\",\"short_message\":\"m\",\"facility\":\"f\",\"line\":12,"
	 "\"file\":\"x.c\"}",
		LOG("f", 1763700000000, , "m",
			"\"host\":\"h\",\"_facility\":\"f\",\"line\":12,\"file\":\"x.c\"")},
	{"{\"short_message\":\"m\"}", LOG("192.0.2.7", 1763700000000, , "m", "")},
	{" {\"host\" : null , \"short_message\" : \"m\" , \"level\" : null } \r\n",
		LOG("192.0.2.7", 1763700000000, , "m", "")},
	/* one of the two texts */
	{"{\"full_message\":\"f\"}", LOG("192.0.2.7", 1763700000000, , "f", "")},
	{"{\"short_message\":\"\",\"full_message\":\"f\"}", LOG("192.0.2.7", 1763700000000, , "f", "")},
	{"{\"short_message\":\"m\",\"full_message\":\"\"}", LOG("192.0.2.7", 1763700000000, , "m", "")},
	{"{\"short_\\u006dessage\":\"m\"}", LOG("192.0.2.7", 1763700000000, , "m", "")},
	/* levels */
	{"{\"short_message\":\"m\",\"level\":0}",
		LOG("192.0.2.7", 1763700000000, LEVEL("emergency"), "m", "")},
	{"{\"short_message\":\"m\",\"level\":\"7\"}",
		LOG("192.0.2.7", 1763700000000, LEVEL("debug"), "m", "")},
	{"{\"short_message\":\"m\",\"level\":8}", LOG("192.0.2.7", 1763700000000, , "m", "\"level\":8")},
	{"{\"short_message\":\"m\",\"level\":\"warn\",\"_level\":3}",
		LOG("192.0.2.7", 1763700000000, , "m", "\"level\":\"warn\",\"_level\":3")},
	/* times */
	{"{\"short_message\":\"m\",\"timestamp\":1763634030}", LOG("192.0.2.7", 1763634030000, , "m", "")},
	{"{\"short_message\":\"m\",\"timestamp\":\"1763634030.5\"}",
		LOG("192.0.2.7", 1763634030500, , "m", "")},
	{"{\"short_message\":\"m\",\"timestamp\":1.7636340305E9}",
		LOG("192.0.2.7", 1763634030500, , "m", "")},
	{"{\"short_message\":\"m\",\"timestamp\":1763634030.12345678901234567890}",
		LOG("192.0.2.7", 1763634030123, , "m", "")},
	{"{\"short_message\":\"m\",\"timestamp\":0}", LOG("192.0.2.7", 0, , "m", "")},
	/* names of ours, and what has no underscore */
	{"{\"short_message\":\"m\",\"_host\":\"x\",\"_cut\":1,\"_\":2,\"extra\":3,\"\":4}",
		LOG("192.0.2.7", 1763700000000, , "m",
			"\"_host\":\"x\",\"_cut\":1,\"_\":2,\"extra\":3,\"\":4")},
	{"{\"short_message\":\"m\",\"timestamp\":-1}", NULL},
	{"{\"short_message\":\"m\",\"timestamp\":\"now\"}", NULL},
	{"{\"short_message\":\"m\",\"timestamp\":true}", NULL},
	{"{\"short_message\":\"m\",\"timestamp\":\"\"}", NULL},
	{"{\"short_message\":\"m\",\"timestamp\":1763634030307000}", NULL},
	{"{\"short_message\":\"m\",\"timestamp\":1e400}", NULL},
	{"{\"short_message\":7}", NULL},
	{"{\"short_message\":\"\"}", NULL},
	{"{\"host\":\"h\"}", NULL},
	{"{}", NULL},
	{"[]", NULL},
	{"{\"short_message\":\"m\"", NULL},
	{"{\"short_message\":\"m\"}{}", NULL},
	{"{\"short_message\":\"m\",}", NULL},
	{"{\"short_message\":\"\xff\"}", NULL},
	{"{\"short_message\":\"m\",\"_a\":\"\\ud800\"}", NULL},
	{"<34>1 - - - - - - x", NULL},
	{" ", NULL},
};

static void test_plain(void **state)
{
	(void)state;
	log_rows_check(gelf_next, plain_row, sizeof plain_row / sizeof *plain_row);
}

/* window_bits: 15 zlib, 31 gzip. */
static size_t pack(uint8_t *to, size_t room, const void *data, size_t bytes, int window_bits)
{
	z_stream z = {0};

	assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, window_bits, 9, Z_DEFAULT_STRATEGY), Z_OK);
	z.next_in = (Bytef *)data;
	z.avail_in = (uInt)bytes;
	z.next_out = to;
	z.avail_out = (uInt)room;
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	deflateEnd(&z);
	return room - z.avail_out;
}

static void test_packed(void **state)
{
	static const int way[] = {15, 9, 31};
	static uint8_t packed[4096];

	(void)state;
	for (size_t w = 0; w < sizeof way / sizeof *way; w++) {
		for (size_t i = 0; i < sizeof plain_row / sizeof *plain_row; i++) {
			const struct log_row *row = &plain_row[i];
			size_t bytes = pack(packed, sizeof packed, row->in, strlen(row->in), way[w]);
			struct log_answer a = log_ask(gelf_next, packed, bytes, NOW_MS, sender_v4);

			assert_int_equal(a.answer, row->want ? FORMAT_EVENT : FORMAT_REFUSED);
			if (row->want)
				assert_string_equal(a.text, row->want);
		}
	}
}

/* Cut anywhere, a bit turned anywhere, more behind it: refused, or nothing of the text is lost. */
static void test_damaged(void **state)
{
	static const char text[] =
		"{\"short_message\":\"a message that says it, says it and says it again\"}";
	static const int way[] = {15, 31};
	uint8_t packed[512], damaged[512];
	struct log_answer a;

	(void)state;
	for (size_t w = 0; w < 2; w++) {
		size_t bytes = pack(packed, sizeof packed, text, strlen(text), way[w]);
		uint32_t accepted = 0;

		for (size_t cut = 1; cut < bytes; cut++)
			assert_int_equal(
				log_ask(gelf_next, packed, cut, NOW_MS, sender_v4).answer, FORMAT_REFUSED);
		/* a gzip header's time and system may be anything */
		for (size_t bit = way[w] == 31 ? 80 : 0; bit < 8 * bytes; bit++) {
			memcpy(damaged, packed, bytes);
			damaged[bit / 8] ^= (uint8_t)(1 << bit % 8);
			a = log_ask(gelf_next, damaged, bytes, NOW_MS, sender_v4);
			accepted += a.answer == FORMAT_EVENT;
			if (a.answer == FORMAT_EVENT)
				assert_non_null(strstr(
					a.text, "\"a message that says it, says it and says it again\""));
		}
		assert_in_range(accepted, 0, 7); /* bits that fill the last byte of the compressed data */
		packed[bytes] = 'x';
		assert_int_equal(
			log_ask(gelf_next, packed, bytes + 1, NOW_MS, sender_v4).answer, FORMAT_REFUSED);
	}
}

/* A message of `count` letters, packed unless window_bits is 0. */
static struct log_answer ask_long(size_t count, int window_bits)
{
	static const char head[] = "{\"host\":\"h\",\"short_message\":\"";
	size_t h = sizeof head - 1, room = h + count + 2;
	char *text = malloc(room);
	uint8_t *packed = malloc(room + 1000);
	struct log_answer a;

	assert_non_null(text);
	assert_non_null(packed);
	memcpy(text, head, h);
	memset(text + h, 'a', count);
	memcpy(text + h + count, "\"}", 2);
	if (window_bits) {
		size_t bytes = pack(packed, room + 1000, text, room, window_bits);

		a = log_ask(gelf_next, packed, bytes, NOW_MS, sender_v4);
	} else {
		a = log_ask(gelf_next, text, room, NOW_MS, sender_v4);
	}
	free(text);
	free(packed);
	return a;
}

static void test_limits(void **state)
{
	static const int way[] = {0, 15, 31};

	(void)state;
	for (size_t w = 0; w < 3; w++) {
		struct log_answer a = ask_long(16384, way[w]);

		assert_int_equal(a.answer, FORMAT_EVENT);
		assert_null(strstr(a.text, "\"cut\""));
		a = ask_long(60000, way[w]);
		assert_int_equal(a.refused, 0);
		assert_non_null(strstr(a.text, "\"cut\":true"));
		assert_true(ask_long(70000, way[w]).too_long);
		/* a bomb: 30 MB in 30 KB */
		if (way[w])
			assert_true(ask_long(30000000, way[w]).too_long);
	}
}

/* Chunks are not put together: refused as they are. */
/* Members of every count around what is kept of them: each comes once, in its order; fields count wherever
 * they stand.
 */
static void test_many_members(void **state)
{
	(void)state;
	for (int members = 28; members <= 70; members++) {
		static char in[4096], want[4096];
		int at = snprintf(in, sizeof in, "{"), w;
		struct log_answer a;

		w = snprintf(want, sizeof want,
			"{\"type\":\"log\",\"source\":\"h\",\"ts\":1000,\"message\":\"m\",\"attributes\":{"
			"\"host\":\"h\"");
		for (int i = 0; i < members; i++) {
			at += snprintf(in + at, sizeof in - (size_t)at, "\"_k%d\":%d,", i, i);
			w += snprintf(want + w, sizeof want - (size_t)w, ",\"k%d\":%d", i, i);
		}
		snprintf(in + at, sizeof in - (size_t)at,
			"\"short_message\":\"m\",\"timestamp\":1,\"host\":\"h\"}");
		snprintf(want + w, sizeof want - (size_t)w, "}}");
		a = log_ask(gelf_next, in, strlen(in), NOW_MS, sender_v4);
		assert_int_equal(a.answer, FORMAT_EVENT);
		assert_string_equal(a.text, want);
		assert_int_equal(a.refused, 0);
	}
}

static void test_chunk(void **state)
{
	static const uint8_t chunk[] = {0x1e, 0x0f, 1, 2, 3, 4, 5, 6, 7, 8, 0, 2, '{', '"'};

	(void)state;
	assert_int_equal(log_ask(gelf_next, chunk, sizeof chunk, NOW_MS, sender_v4).answer, FORMAT_REFUSED);
	assert_int_equal(log_ask(gelf_next, chunk, 0, NOW_MS, sender_v4).answer, FORMAT_END);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_packed),
		cmocka_unit_test(test_damaged),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_many_members),
		cmocka_unit_test(test_chunk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
