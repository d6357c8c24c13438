/* The text of aggregates: what is accepted, names, parts shared, refusals and what they say. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "agg_priv.h"

static struct agg_set *parse(const char *text)
{
	struct agg_set *set = NULL;
	struct err err = {""};

	if (agg_set_parse(&set, text, &err))
		fail_msg("%s: %s", text, err.text);
	return set;
}

static void refuse(const char *text, const char *why)
{
	struct agg_set *set = NULL;
	struct err err = {""};

	assert_int_equal(agg_set_parse(&set, text, &err), -EINVAL);
	assert_null(set);
	if (!strstr(err.text, why))
		fail_msg("%s: \"%s\" does not say \"%s\"", text, err.text, why);
}

static void test_labels(void **state)
{
	static const char *const label[] = {"count", "count_status_ok", "count_page__a_b_", "sum_metric",
		"min_metric", "max_metric", "avg_metric", "variance_metric", "error_rate", "first_page",
		"last_metric"};
	struct agg_set *set =
		parse(" count ,count( status = ok ), count(page=\"/a)b,\"),sum(metric),min(metric)\n,"
		      "max(metric),avg(metric),variance( metric ),error_rate,first(page),last(metric)");

	(void)state;
	assert_int_equal(agg_set_count(set), sizeof label / sizeof *label);
	for (uint32_t i = 0; i < agg_set_count(set); i++)
		assert_string_equal(agg_set_spec(set, i)->label, label[i]);
	assert_int_equal(agg_set_spec(set, 1)->kind, AGG_count);
	assert_int_equal(agg_set_spec(set, 1)->field, FIELD_status);
	assert_string_equal(agg_set_spec(set, 1)->value, "ok");
	assert_string_equal(agg_set_spec(set, 2)->value, "/a)b,");
	assert_int_equal(agg_set_spec(set, 2)->value_bytes, 5);
	assert_true(agg_set_fields(set) & FBIT(metric));
	assert_true(agg_set_fields(set) & FBIT(status));
	assert_true(agg_set_fields(set) & FBIT(page));
	assert_false(agg_set_fields(set) & FBIT(user_id));
	assert_int_equal(agg_set_cell_bytes(set) % 8, 0);
	agg_set_free(set);
}

static void test_parts_are_shared(void **state)
{
	struct agg_set *one = parse("avg(metric)"), *two = parse("sum(metric), avg(metric)"),
		       *rate = parse("error_rate, count");

	(void)state;
	assert_int_equal(agg_set_cell_bytes(one), 16);
	assert_int_equal(agg_set_cell_bytes(two), 16);
	assert_int_equal(agg_set_cell_bytes(rate), 16);
	agg_set_free(one);
	agg_set_free(two);
	agg_set_free(rate);
}

static void test_refusals(void **state)
{
	char many[1024] = "count";

	(void)state;
	refuse("", "no aggregate");
	refuse("  ", "no aggregate");
	refuse("count,", "no aggregate \"");
	refuse("counts", "no aggregate \"counts\"");
	refuse("count count", "comma");
	refuse("count, count", "two aggregates would be named count");
	refuse("count(page=a.b), count(page=a-b)", "two aggregates would be named count_page_a_b");
	refuse("sum", "needs a field");
	refuse("sum()", "no such field");
	refuse("sum(nothing)", "no such field");
	refuse("sum(page)", "not a number field");
	refuse("sum(metric", "expected )");
	refuse("count(page)", "expected =");
	refuse("count(page=)", "1 to 47 bytes");
	refuse("count(page=a", "no end");
	refuse("count(page=\"a)", "no end");
	refuse("count(page=0123456789012345678901234567890123456789012345678)", "1 to 47 bytes");
	refuse("count(metric=x)", "not a number");
	refuse("count(metric=nan)", "not a number");
	refuse("error_rate(status)", "takes no argument");
	refuse("top(metric)", "not a text field");
	refuse("top(page,0)", "from 1 to 100");
	refuse("top(page,101)", "from 1 to 100");
	refuse("top(page,x)", "from 1 to 100");
	for (int i = 0; i < AGG_MAX; i++)
		snprintf(many + strlen(many), sizeof many - strlen(many), ", count(page=%d)", i);
	refuse(many, "more than 16");
}

static void test_aliases_and_types(void **state)
{
	struct agg_set *set;
	struct err err;

	(void)state;
	assert_int_equal(
		agg_set_parse(&set, "count(type=conversion) as sales, avg(metric) in x", &err), -EINVAL);
	assert_int_equal(
		agg_set_parse(&set, "count(type=conversion) as sales, avg(metric) as x , count(type = click)",
			&err),
		0);
	assert_string_equal(agg_set_spec(set, 0)->label, "sales");
	assert_string_equal(agg_set_spec(set, 1)->label, "x");
	assert_string_equal(agg_set_spec(set, 2)->label, "count_type_click");
	agg_set_free(set);
	assert_int_equal(agg_set_parse(&set, "count(type=nothing)", &err), -EINVAL);
	assert_non_null(strstr(err.text, "nothing"));
	assert_int_equal(agg_set_parse(&set, "count as a, avg(metric) as a", &err), -EINVAL);
	assert_int_equal(agg_set_parse(&set, "count as", &err), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_aliases_and_types),
		cmocka_unit_test(test_labels),
		cmocka_unit_test(test_parts_are_shared),
		cmocka_unit_test(test_refusals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
