/* `where`: cases by hand, and random filters over random records against a model that keeps texts and numbers
 * apart from the code under test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <stdio.h>

#include "hash.h"
#include "state_sample.h"
#include "window_priv.h"

static struct state_sample s;

static bool passes(const char *where)
{
	struct window_canon canon = {0}, again = {0};
	struct window_filter *f, *g;
	struct err err;
	bool pass;

	if (window_filter_parse(&f, WINDOW_TYPES_ALL, where, &canon, &err))
		fail_msg("%s: %s", where, err.text);
	if (window_filter_parse(&g, WINDOW_TYPES_ALL, canon.text, &again, &err))
		fail_msg("%s: %s", canon.text, err.text);
	assert_string_equal(canon.text, again.text);
	pass = window_filter_match(f, state_sample_record(&s, 1));
	assert_true(pass == window_filter_match(g, state_sample_record(&s, 1)));
	window_filter_free(f);
	window_filter_free(g);
	return pass;
}

static void test_cases(void **state)
{
	(void)state;
	assert_true(window_filter_match(NULL, NULL));
	state_sample_init(&s, EVENT_TYPE_click, 1000);
	state_sample_text(&s, FIELD_page, "/a b");
	state_sample_text(&s, FIELD_country, "");
	state_sample_number(&s, FIELD_metric, 0.5);
	state_sample_decimal(&s, FIELD_amount, -12500000);
	state_sample_text(&s, FIELD_ts, "1970-01-01T00:00:01Z");
	state_sample_text(&s, FIELD_attributes, "{}");
	assert_true(passes(""));
	assert_true(passes("type = click"));
	assert_false(passes("type != click"));
	assert_true(passes("type in (platform, click)"));
	assert_false(passes("type in (platform, log) and page exists"));
	assert_true(passes("page = '/a b'"));
	assert_true(passes("page in (x, \"/a b\", y)"));
	assert_false(passes("page = '/a'"));
	assert_false(passes("page = '/a b '"));
	assert_true(passes("page != x and page exists"));
	assert_false(passes("page != '/a b'"));
	assert_true(passes("country = ''"));
	assert_true(passes("country exists"));
	/* A field that is not there passes no test, as NULL does in SQL. */
	assert_false(passes("user_id exists"));
	assert_false(passes("user_id != x"));
	assert_false(passes("value != 1"));
	assert_false(passes("value < 1"));
	assert_true(passes("metric = 0.5"));
	assert_true(passes("metric = '5e-1'"));
	assert_true(passes("metric >= .5 and metric <= 0.5"));
	assert_false(passes("metric > 0.5"));
	assert_false(passes("metric < 0.5"));
	assert_true(passes("metric in (1, 2, 0.50)"));
	assert_true(passes("amount = -12.5"));
	assert_true(passes("amount < -12.499999 and amount > -12.500001"));
	assert_false(passes("amount in (12.5, 0)"));
	assert_true(passes("ts = 1000"));
	assert_false(passes("ts < 1000"));
	assert_true(passes("attributes exists"));
	assert_false(passes("properties exists"));
}

/* ---- against a model ---- */

static uint64_t seed;

static uint32_t roll(uint32_t n)
{
	seed = hash_u64(seed + 0x9e37);
	return (uint32_t)(seed >> 33) % n;
}

static const char *const texts[] = {
	"", "a", "b", "aa", "a b", "and", "it's", "\"", "\\", "a,b", "(a)", "x=y", "DE"};
static const char *const numbers[] = {"-1", "0", "0.5", "1", "2.25", "1000000", "0.000001", "-0.1"};
static const double number_value[] = {-1, 0, 0.5, 1, 2.25, 1000000, 0.000001, -0.1};
static const int64_t decimal_value[] = {-1000000, 0, 500000, 1000000, 2250000, 1000000000000, 1, -100000};
#define TEXTS 13
#define NUMBERS 8

/* Fields of the model: what a record has of each, as an index into the lists above, or -1. */
static const enum field_id field[] = {
	FIELD_page, FIELD_user_id, FIELD_referrer, FIELD_metric, FIELD_value, FIELD_amount};
#define FIELDS 6
#define FIRST_NUMBER 3

static void put_text(char *to, const char *text)
{
	char quote = strchr(text, '\'') || roll(2) ? '"' : '\'';
	char *p = to + strlen(to);

	if (*text && !strpbrk(text, " '\"\\,()=") && roll(2)) {
		memcpy(p, text, strlen(text) + 1);
		return;
	}
	*p++ = quote;
	for (; *text; text++) {
		if (*text == quote || *text == '\\')
			*p++ = '\\';
		*p++ = *text;
	}
	*p++ = quote;
	*p = 0;
}

static void put(char *to, const char *text)
{
	memcpy(to + strlen(to), text, strlen(text) + 1);
}

/* Adds one test to the text; whether it holds. */
static bool random_test(char *where, const int have[FIELDS], unsigned type)
{
	static const char *const op[] = {"=", "!=", "<", "<=", ">", ">="};
	uint32_t f = roll(FIELDS + 1), o = roll(f >= FIRST_NUMBER && f < FIELDS ? 6 : 2);
	uint32_t count = roll(3) ? 0 : 1 + roll(3), values = f < FIRST_NUMBER ? TEXTS : NUMBERS,
		 want = roll(values);
	bool any = false, blank = roll(2);
	double v, w;

	if (f == FIELDS) {
		unsigned t = 1 + roll(9);

		put(where, o ? "type!=" : "type =");
		put(where, type_table[t].name);
		return (type == t) != (o == 1);
	}
	put(where, field_table[field[f]].name);
	if (roll(8) == 0) {
		put(where, " exists");
		return have[f] >= 0;
	}
	put(where, blank ? " " : "");
	put(where, count ? blank ? "in (" : " in(" : op[o]);
	for (uint32_t i = 0; i < (count ? count : 1); i++, want = roll(values)) {
		put(where, i ? " ," : " ");
		if (f < FIRST_NUMBER)
			put_text(where, texts[want]);
		else
			put(where, numbers[want]);
		any |= have[f] == (int)want;
		if (!count)
			break;
	}
	put(where, count ? ")" : "");
	if (have[f] < 0)
		return false;
	if (count)
		return any;
	if (o < 2)
		return any == (o == 0);
	v = number_value[have[f]];
	w = number_value[want];
	return o == 2 ? v < w : o == 3 ? v <= w : o == 4 ? v > w : v >= w;
}

static void test_model(void **state)
{
	uint32_t passed = 0;

	(void)state;
	for (uint32_t i = 0; i < 300000; i++) {
		unsigned type = 1 + roll(9);
		uint32_t tests, mask = roll(4) ? WINDOW_TYPES_ALL : roll(1024);
		struct window_canon canon = {0};
		struct window_filter *f;
		char where[1024] = "";
		int have[FIELDS];
		bool want;
		struct err err;

		seed = i;
		state_sample_init(&s, (enum event_type)type, 5);
		for (uint32_t k = 0; k < FIELDS; k++) {
			have[k] = (int)roll(k < FIRST_NUMBER ? TEXTS + 2 : NUMBERS + 2) - 2;
			have[k] = have[k] < 0 ? -1 : have[k];
			if (have[k] < 0)
				continue;
			if (k < FIRST_NUMBER)
				state_sample_text(&s, field[k], texts[have[k]]);
			else if (field[k] == FIELD_amount)
				state_sample_decimal(&s, field[k], decimal_value[have[k]]);
			else
				state_sample_number(&s, field[k], number_value[have[k]]);
		}
		want = mask >> type & 1;
		tests = roll(4);
		for (uint32_t k = 0; k < tests; k++) {
			put(where, k ? " and " : "");
			want &= random_test(where, have, type);
		}
		if (window_filter_parse(&f, mask, where, &canon, &err)) {
			if (!strstr(err.text, "no event type passes") || want)
				fail_msg("%u: %s: %s", i, where, err.text);
			continue;
		}
		if (window_filter_match(f, state_sample_record(&s, 1)) != want)
			fail_msg("%u: %s: expected %d", i, where, want);
		passed += want;
		window_filter_free(f);
	}
	assert_in_range(passed, 50000, 250000);
}

/* Any text: an error with a reason, or a filter whose canonical text is taken again and is itself. */
static void test_hostile(void **state)
{
	static const char *const word[] = {"page", "metric", "amount", "type", "ts", " ", "and ", " in ", "(",
		")", ",", "=", "!=", "<", ">=", "'", "\"", "\\", "1", "-", ".", "e", "click", "exists", "x",
		"\x80", "!"};
	uint32_t good = 0;

	(void)state;
	for (uint32_t i = 0; i < 300000; i++) {
		struct window_canon canon = {0}, again = {0};
		struct window_filter *f;
		struct err err = {""};
		char text[400] = "";
		uint32_t words = 1 + roll(12);

		seed = i;
		for (uint32_t k = 0; k < words; k++)
			put(text, word[roll(sizeof word / sizeof *word)]);
		if (window_filter_parse(&f, WINDOW_TYPES_ALL, text, &canon, &err)) {
			assert_null(f);
			assert_true(err.text[0]);
			continue;
		}
		good++;
		window_filter_free(f);
		assert_int_equal(window_filter_parse(&f, WINDOW_TYPES_ALL, canon.text, &again, &err), 0);
		window_filter_free(f);
		assert_string_equal(canon.text, again.text);
	}
	assert_in_range(good, 500, 299000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_model),
		cmocka_unit_test(test_hostile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
