/* Native blocks byte by byte, as facts about the format say; that the server agrees is
 * tests/integration/clickhouse. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <stdio.h>

#include "native.h"

static struct native_block block;
static struct bytes out;

static int begin(void **state)
{
	(void)state;
	native_block_init(&block);
	return 0;
}

static int end(void **state)
{
	(void)state;
	native_block_free(&block);
	bytes_free(&out);
	return 0;
}

static void bytes_are(const char *expected, size_t bytes)
{
	assert_int_equal(native_block_write(&block, &out), 0);
	assert_int_equal(out.bytes, bytes);
	assert_memory_equal(out.data, expected, bytes);
}
#define BYTES_ARE(text) bytes_are(text, sizeof(text) - 1)

static void test_fixed(void **state)
{
	(void)state;
	native_column_add(&block, "u", NATIVE_UUID);
	native_column_add(&block, "t", NATIVE_DATETIME64_MS);
	native_column_add(&block, "n", NATIVE_UINT16);
	native_put_uuid(&block, 0,
		(const uint8_t *)"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f");
	native_put_time(&block, 1, -2);
	native_put_uint(&block, 2, 0x12345);
	native_row_end(&block);
	BYTES_ARE("\x03\x01"
		  "\x01u\x04UUID\x07\x06\x05\x04\x03\x02\x01\x00\x0f\x0e\x0d\x0c\x0b\x0a\x09\x08"
		  "\x01t\x0d"
		  "DateTime64(3)\xfe\xff\xff\xff\xff\xff\xff\xff"
		  "\x01n\x06UInt16\x45\x23");
}

static void test_strings(void **state)
{
	char big[300];

	(void)state;
	memset(big, 'x', sizeof big);
	native_column_add(&block, "s", NATIVE_STRING);
	native_put_text(&block, 0, NULL, 0);
	native_row_end(&block);
	native_put_text(&block, 0, "a\0b", 3);
	native_row_end(&block);
	BYTES_ARE("\x01\x02\x01s\x06String\x00\x03"
		  "a\0b");
	native_block_clear(&block);
	native_put_text(&block, 0, big, sizeof big);
	native_row_end(&block);
	out.bytes = 0;
	assert_int_equal(native_block_write(&block, &out), 0);
	assert_memory_equal(out.data + 11, "\xac\x02xx", 4); /* 300 as LEB128 */
}

static void test_nullable(void **state)
{
	(void)state;
	native_column_add(&block, "d", NATIVE_FLOAT64_NULL);
	native_put_double(&block, 0, 1.0);
	native_row_end(&block);
	native_put_null(&block, 0);
	native_row_end(&block);
	BYTES_ARE("\x01\x02\x01"
		  "d\x11Nullable(Float64)"
		  "\x00\x01\x00\x00\x00\x00\x00\x00\xf0\x3f\x00\x00\x00\x00\x00\x00\x00\x00");
}

static void test_decimals(void **state)
{
	(void)state;
	native_column_add(&block, "d", NATIVE_DECIMAL6_NULL);
	native_column_add(&block, "e", NATIVE_DECIMAL6);
	native_put_decimal(&block, 0, 12500000);
	native_put_decimal(&block, 1, -1);
	native_row_end(&block);
	native_put_null(&block, 0);
	native_put_decimal(&block, 1, 0x7facf6ffc5500000);
	native_row_end(&block);
	BYTES_ARE("\x02\x02\x01"
		  "d\x18Nullable(Decimal(18, 6))"
		  "\x00\x01\x20\xbc\xbe\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01"
		  "e\x0e"
		  "Decimal(18, 6)\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x50\xc5\xff\xf6\xac\x7f");
}

static void test_arrays(void **state)
{
	(void)state;
	native_column_add(&block, "a", NATIVE_STRING_ARRAY);
	native_column_add(&block, "b", NATIVE_UINT32_ARRAY);
	native_put_item_text(&block, 0, "x", 1);
	native_put_item_text(&block, 0, "", 0);
	native_put_array_end(&block, 0);
	native_put_array_end(&block, 1);
	native_row_end(&block);
	native_put_array_end(&block, 0);
	native_put_item_uint(&block, 1, 7);
	native_put_array_end(&block, 1);
	native_row_end(&block);
	BYTES_ARE("\x02\x02\x01"
		  "a\x0d"
		  "Array(String)\x02\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x01x\x00\x01"
		  "b\x0d"
		  "Array(UInt32)\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x07\0\0\0");
}

static void test_uuid_array(void **state)
{
	static const uint8_t id[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};

	(void)state;
	native_column_add(&block, "a", NATIVE_UUID_ARRAY);
	native_put_array_end(&block, 0);
	native_row_end(&block);
	native_put_item_uuid(&block, 0, id);
	native_put_array_end(&block, 0);
	native_row_end(&block);
	BYTES_ARE("\x01\x02\x01"
		  "a\x0b"
		  "Array(UUID)\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0"
		  "\x08\x07\x06\x05\x04\x03\x02\x01\x10\x0f\x0e\x0d\x0c\x0b\x0a\x09");
}

static void test_decimal(void **state)
{
	(void)state;
	native_column_add(&block, "d", NATIVE_DECIMAL38);
	native_column_add(&block, "e", NATIVE_DECIMAL38_NULL);
	native_put_decimal(&block, 0, -2);
	native_put_null(&block, 1);
	native_row_end(&block);
	native_put_decimal(&block, 0, ((__int128)1 << 64) + 5);
	native_put_decimal(&block, 1, 258);
	native_row_end(&block);
	BYTES_ARE("\x02\x02\x01"
		  "d\x0e"
		  "Decimal(38, 6)\xfe\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"
		  "\x05\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x01"
		  "e\x18"
		  "Nullable(Decimal(38, 6))\x01\x00\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
		  "\x02\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
}

/* Two arrays of a tuple: each with its own ends. */
static void test_vectors(void **state)
{
	(void)state;
	native_column_add(&block, "r", NATIVE_REGISTERS);
	native_column_add(&block, "b", NATIVE_BUCKETS);
	native_column_add(&block, "c", NATIVE_COUNTS);
	native_put_item_pair(&block, 0, 16383, 51);
	native_put_array_end(&block, 0);
	native_put_item_pair(&block, 1, -3, 1);
	native_put_item_pair(&block, 1, 4, 0x0102030405060708);
	native_put_array_end(&block, 1);
	native_put_array_end(&block, 2);
	native_row_end(&block);
	native_put_array_end(&block, 0);
	native_put_array_end(&block, 1);
	native_put_item_count(&block, 2, "/a", 2, 9);
	native_put_array_end(&block, 2);
	native_row_end(&block);
	BYTES_ARE("\x03\x02\x01r\x22Tuple(Array(UInt16), Array(UInt8))"
		  "\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\xff\x3f"
		  "\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x33"
		  "\x01"
		  "b\x22Tuple(Array(Int32), Array(UInt64))"
		  "\x02\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\xfd\xff\xff\xff\x04\0\0\0"
		  "\x02\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x08\x07\x06\x05\x04\x03\x02\x01"
		  "\x01"
		  "c\x23Tuple(Array(String), Array(UInt64))"
		  "\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02/a"
		  "\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\0");
	native_block_clear(&block);
	native_put_array_end(&block, 0);
	native_put_array_end(&block, 1);
	native_put_array_end(&block, 2);
	native_row_end(&block);
	assert_int_equal(block.column[2].more.bytes, 0);
	assert_int_equal(block.column[2].side.bytes, 8);
}

static void test_ordered(void **state)
{
	(void)state;
	native_column_add(&block, "f", NATIVE_ORDERED);
	native_put_ordered(&block, 0, &(struct native_order){-1, 2, 3}, "x", 1);
	native_row_end(&block);
	native_put_ordered(&block, 0, &(struct native_order){1, 4, 5}, "", 0);
	native_row_end(&block);
	BYTES_ARE("\x01\x02\x01"
		  "f\x24Tuple(Int64, UInt32, UInt64, String)"
		  "\xff\xff\xff\xff\xff\xff\xff\xff\x01\0\0\0\0\0\0\0\x02\0\0\0\x04\0\0\0"
		  "\x03\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\x01x\0");
}

static void test_dictionary(void **state)
{
	(void)state;
	native_column_add(&block, "c", NATIVE_LC_STRING);
	for (int i = 0; i < 5; i++) {
		const char *text[] = {"US", "", "DE", "US", "DE"};

		native_put_text(&block, 0, text[i], strlen(text[i]));
		native_row_end(&block);
	}
	BYTES_ARE("\x01\x05\x01"
		  "c\x16LowCardinality(String)\x01\0\0\0\0\0\0\0\x00\x06\0\0\0\0\0\0\x03\0\0\0\0\0\0\0"
		  "\x00\x02US\x02"
		  "DE\x05\0\0\0\0\0\0\0\x01\x00\x02\x01\x02");
}

/* The index grows wider with the number of keys, and keys stay what they were when the table grows. */
static void dictionary_of(uint32_t keys, uint8_t width_log)
{
	uint64_t flags;
	size_t before;

	native_block_clear(&block);
	for (uint32_t i = 0; i < 2 * keys; i++) {
		char text[200]; /* lengths over 127: two bytes of length in front */
		int n = snprintf(text, sizeof text, "%0*u", i % 3 ? 9 : 150, i % keys);

		native_put_text(&block, 0, text, (size_t)n);
		native_row_end(&block);
	}
	before = out.bytes = 0;
	assert_int_equal(native_block_write(&block, &out), 0);
	/* columns, rows (varuint: 1 to 3 bytes), "c", type, version */
	before = 1 + (2 * keys < 0x80 ? 1 : 2 * keys < 0x4000 ? 2 : 3) + 2 + 23 + 8;
	memcpy(&flags, out.data + before, sizeof flags);
	assert_int_equal(flags, 0x600 | width_log);
	/* Row 0 and row `keys` gave the same key if their lengths did; indexes are at the end. */
	uint32_t last = 0;
	size_t width = 1u << width_log;

	memcpy(&last, out.data + out.bytes - width, width);
	assert_in_range(last, 1, 2 * keys);
}

static void test_dictionary_widths(void **state)
{
	(void)state;
	native_column_add(&block, "c", NATIVE_LC_STRING);
	dictionary_of(60, 0);
	dictionary_of(300, 1);
	dictionary_of(70000, 2);
	dictionary_of(60, 0); /* after clear nothing of the old keys is left */
}

static const uint8_t ids[3][16] = {{1, 2, 3, 4, 5, 6, 7, 8, 9}, {0xff}, {[15] = 7}};

static const struct native_text *texts_of(uint32_t row)
{
	static char letters[200];
	static const struct native_text text[] = {{NULL, 0}, {"x", 1}, {"abc", 3}, {"abcde", 5},
		{"abcdefgh", 8}, {letters, 15}, {letters, 16}, {letters, 31}, {letters, 33}, {letters, 127},
		{letters, 128}, {letters, 200}, {"x", 1}};

	for (size_t i = 0; i < sizeof letters; i++)
		letters[i] = (char)('a' + i % 26);
	assert_true(row < sizeof text / sizeof *text);
	return &text[row];
}
#define TEXT_ROWS 13u

static void many_columns(void)
{
	native_column_add(&block, "i", NATIVE_UUID);
	native_column_add(&block, "s", NATIVE_STRING);
	native_column_add(&block, "c", NATIVE_LC_STRING);
	native_column_add(&block, "d", NATIVE_FLOAT64_NULL);
	native_column_add(&block, "n", NATIVE_LC_STRING);
	native_column_add(&block, "p", NATIVE_UINT16);
}

static void many_put_single(uint32_t row)
{
	const struct native_text *text = texts_of(row);

	native_put_uuid(&block, 0, ids[row % 3]);
	native_put_text(&block, 1, text->data, text->bytes);
	native_put_text(&block, 2, text->data, text->bytes);
	if (row % 2)
		native_put_double(&block, 3, row);
	else
		native_put_null(&block, 3);
	native_put_text(&block, 4, "node", 4);
	native_put_uint(&block, 5, row);
	native_row_end(&block);
}

static void many_put(uint32_t from, uint32_t count)
{
	uint64_t *id = native_put_room(&block, 0, NATIVE_UUID, count);
	double *number;
	uint16_t *port;
	uint8_t *null;

	native_put_texts(&block, 1, texts_of(from), count);
	native_put_texts(&block, 2, texts_of(from), count);
	native_put_same_text(&block, 4, "node", 4, count);
	number = native_put_room_null(&block, 3, NATIVE_FLOAT64_NULL, count, &null);
	port = native_put_room(&block, 5, NATIVE_UINT16, count);
	for (uint32_t k = 0; k < count; k++) {
		native_uuid(id + 2 * (size_t)k, ids[(from + k) % 3]);
		null[k] = (from + k) % 2 == 0;
		number[k] = null[k] ? 0 : from + k;
		port[k] = (uint16_t)(from + k);
	}
	native_rows_end(&block, count);
}

/* Rows that are put together are those that are put one by one, wherever they are cut. */
static void test_many(void **state)
{
	struct bytes single = {0};

	(void)state;
	many_columns();
	for (uint32_t row = 0; row < TEXT_ROWS; row++)
		many_put_single(row);
	assert_int_equal(native_block_write(&block, &single), 0);
	for (uint32_t cut = 1; cut < TEXT_ROWS; cut++) {
		native_block_clear(&block);
		many_put(0, cut);
		many_put_single(cut);
		if (cut + 1 < TEXT_ROWS)
			many_put(cut + 1, TEXT_ROWS - cut - 1);
		out.bytes = 0;
		assert_int_equal(native_block_write(&block, &out), 0);
		assert_int_equal(out.bytes, single.bytes);
		assert_memory_equal(out.data, single.data, single.bytes);
	}
	bytes_free(&single);
}

static void test_names(void **state)
{
	(void)state;
	for (int t = 0; t < NATIVE_TYPE_COUNT; t++)
		assert_int_equal(native_type_by_name(native_type_name[t]), t);
	assert_int_equal(native_type_by_name("Decimal(9)"), NATIVE_TYPE_COUNT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_fixed, begin, end),
		cmocka_unit_test_setup_teardown(test_strings, begin, end),
		cmocka_unit_test_setup_teardown(test_nullable, begin, end),
		cmocka_unit_test_setup_teardown(test_decimals, begin, end),
		cmocka_unit_test_setup_teardown(test_arrays, begin, end),
		cmocka_unit_test_setup_teardown(test_uuid_array, begin, end),
		cmocka_unit_test_setup_teardown(test_decimal, begin, end),
		cmocka_unit_test_setup_teardown(test_vectors, begin, end),
		cmocka_unit_test_setup_teardown(test_ordered, begin, end),
		cmocka_unit_test_setup_teardown(test_dictionary, begin, end),
		cmocka_unit_test_setup_teardown(test_dictionary_widths, begin, end),
		cmocka_unit_test_setup_teardown(test_many, begin, end),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
