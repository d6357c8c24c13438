/* Lookup tables: every key of a file is found with its value and no other is; each fault is refused with its
 * line. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "enrich_files.h"
#include "lookup.h"

static struct lookup_want want = {"t.csv", "", "", 20, 10, 1 << 20};

static int parse(struct lookup *lk, const char *text, size_t bytes, struct err *err)
{
	char *copy = malloc(bytes + 1);
	int rc;

	memcpy(copy, text, bytes);
	rc = lookup_parse(lk, copy, bytes, &want, err);
	memset(copy, 0xff, bytes); /* nothing may point into the file's bytes afterwards */
	free(copy);
	return rc;
}

/* The value of a key, or NULL. */
static const char *value_of(const struct lookup *lk, const char *key)
{
	static char out[32];
	uint32_t bytes = (uint32_t)strlen(key);
	const struct lookup_slot *s = lookup_find(lk, lookup_hash(key, bytes), key, bytes);

	if (!s)
		return NULL;
	memcpy(out, lk->text + s->value_at, s->value_bytes);
	out[s->value_bytes] = 0;
	return out;
}

static void test_values(void **state)
{
	static const char text[] =
		"user,segment,more\r\nu1,gold,x\r\n\"u,2\",\"sil\"\"ver\",\r\nu3,,y\r\nu\xc3\xa9,gold,";
	struct lookup lk;
	struct err err = {{0}};
	uint64_t version;

	(void)state;
	if (parse(&lk, text, sizeof text - 1, &err))
		fail_msg("%s", err.text);
	assert_int_equal(lk.rows, 4);
	assert_string_equal(value_of(&lk, "u1"), "gold");
	assert_string_equal(value_of(&lk, "u,2"), "sil\"ver");
	assert_string_equal(value_of(&lk, "u3"), "");
	assert_string_equal(value_of(&lk, "u\xc3\xa9"), "gold");
	assert_null(value_of(&lk, "u"));
	assert_null(value_of(&lk, ""));
	assert_null(value_of(&lk, "user"));
	version = lk.version;
	lookup_free(&lk);
	want.key_column = "more";
	want.value_column = "user";
	assert_int_equal(parse(&lk, "user,segment,more\na,b,c\n", 24, &err), 0);
	assert_string_equal(value_of(&lk, "c"), "a");
	assert_null(value_of(&lk, "a"));
	assert_int_not_equal(lk.version, version);
	lookup_free(&lk);
	want.key_column = want.value_column = "";
	assert_int_equal(parse(&lk, "k,v\n", 4, &err), 0); /* no rows: a table that knows nothing */
	assert_null(value_of(&lk, "k"));
	lookup_free(&lk);
}

static void test_errors(void **state)
{
	static const struct {
		const char *text, *key_column, *says;
	} row[] = {
		{"", "", "t.csv: no header row"},
		{"\n\n", "", "no header row"},
		{"k\na\n", "", "lookups.value_column"},
		{"k,v\na,b\n", "user", "lookups.key_column wants: user"},
		{"k,k,v\na,b,c\n", "k", "column 'k' is there twice"},
		{"k,v\na,b\nc\n", "", "line 3: 1 columns, the header row has 2"},
		{"k,v\na,b\nc,d,e\n", "", "line 3: 3 columns"},
		{"k,v\na,b\n,d\n", "", "line 3: the key is empty"},
		{"k,v\n123456789012345678901,b\n", "", "line 2: the key has 21 bytes, its field at most 20"},
		{"k,v\na,12345678901\n", "", "line 2: the value has 11 bytes"},
		{"k,v\na\xff,b\n", "", "line 2: not UTF-8"},
		{"k,v\na,\xed\xa0\x80\n", "", "line 2: not UTF-8"},
		{"k,v\na,b\n\nc,d\na,e\n", "", "line 5: the key 'a' is in line 2 already"},
		{"k,v\n\"a\nb\",b\nc,d\n\"a\nb\",e\n", "", "line 5: the key 'a?b' is in line 2 already"},
		{"k,v\na,\"b\n", "", "line 2: a quote in the row"},
	};
	struct lookup lk;
	struct err err;

	(void)state;
	for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
		want.key_column = row[i].key_column;
		err.text[0] = 0;
		assert_int_equal(parse(&lk, row[i].text, strlen(row[i].text), &err), -EINVAL);
		if (!strstr(err.text, row[i].says) || strncmp(err.text, "t.csv: ", 7) != 0)
			fail_msg("%zu: %s", i, err.text);
		assert_null(lk.slot);
		assert_null(lk.text);
	}
	want.key_column = "";
}

static size_t rows_write(char *out, size_t cap, uint32_t rows)
{
	size_t n = (size_t)snprintf(out, cap, "key,value\n");

	for (uint32_t i = 0; i < rows; i++)
		n += (size_t)snprintf(out + n, cap - n, "u%u,s%u\n", i, i % 7);
	return n;
}

/* Tables of many sizes against what was written; keys that are prefixes of each other, and absent ones. */
static void test_many(void **state)
{
	char *text = malloc(1 << 21), key[24], value[24];
	struct lookup lk;
	struct err err;

	(void)state;
	for (uint32_t rows = 1; rows <= 65536; rows = rows * 3 + 1) {
		size_t n = rows_write(text, 1 << 21, rows);

		if (parse(&lk, text, n, &err))
			fail_msg("%s", err.text);
		assert_int_equal(lk.rows, rows);
		for (uint32_t i = 0; i < rows; i++) {
			snprintf(key, sizeof key, "u%u", i);
			snprintf(value, sizeof value, "s%u", i % 7);
			assert_string_equal(value_of(&lk, key), value);
			snprintf(key, sizeof key, "u%u", i + rows);
			assert_null(value_of(&lk, key));
		}
		lookup_free(&lk);
	}
	free(text);
}

static void test_file(void **state)
{
	struct lookup_want of = {NULL, "", "", 20, 10, 1000};
	struct lookup lk;
	struct err err = {{0}};
	char path[64];

	(void)state;
	file_path(path);
	of.file = path;
	file_write_text(path, "k,v\na,b\n");
	assert_int_equal(lookup_load(&lk, &of, &err), 0);
	assert_int_equal(truncate(path, 0), 0);
	assert_string_equal(value_of(&lk, "a"), "b");
	lookup_free(&lk);
	unlink(path);
	assert_int_equal(lookup_load(&lk, &of, &err), -ENOENT);
	assert_non_null(strstr(err.text, path));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
