/* The `anomaly` text of a definition. */
#include <errno.h>
#include <string.h>

#include "anomaly.h"
#include "merge_rig.h"

static struct agg_set *set_of(const char *text)
{
	struct agg_set *set;
	struct err err;

	if (agg_set_parse(&set, text, &err) != 0)
		fail_msg("%s", err.text);
	return set;
}

static void good_texts_are_read(void **state)
{
	struct agg_set *aggs = set_of("count, avg(metric), error_rate, sum(amount), count(status=ok)");
	struct anomaly_set set;
	struct err err;

	(void)state;
	assert_int_equal(anomaly_set_parse(&set, "", aggs, &err), 0);
	assert_int_equal(set.count, 0);
	assert_int_equal(
		anomaly_set_parse(&set,
			" zscore(count, 60, 3) ;ewma(avg_metric,0.25,4.5); seasonal(error_rate,1d,2);"
			"zscore(sum_amount,5,0.1);",
			aggs, &err),
		0);
	assert_int_equal(set.count, 4);
	assert_int_equal(set.spec[0].kind, ANOMALY_ZSCORE);
	assert_int_equal(set.spec[0].scale, ANOMALY_COUNT);
	assert_int_equal(set.spec[0].samples, 60);
	assert_true(set.spec[0].factor == 3);
	assert_string_equal(set.spec[0].text, "zscore(count,60,3)");
	assert_int_equal(set.spec[1].kind, ANOMALY_EWMA);
	assert_int_equal(set.spec[1].scale, ANOMALY_VALUE);
	assert_true(set.spec[1].alpha == 0.25 && set.spec[1].factor == 4.5);
	assert_string_equal(set.spec[1].label, "avg_metric");
	assert_int_equal(set.spec[2].kind, ANOMALY_SEASONAL);
	assert_int_equal(set.spec[2].scale, ANOMALY_SHARE);
	assert_int_equal(set.spec[2].period_ms, 86400000);
	assert_int_equal(set.spec[3].scale, ANOMALY_VALUE);
	agg_set_free(aggs);
}

static void bad_texts_are_explained(void **state)
{
	static const struct {
		const char *text, *says;
	} row[] = {
		{"zscore", "expected zscore(LABEL,N,K), ewma(LABEL,ALPHA,K) or seasonal(LABEL,PERIOD,K)"},
		{"zscore(count,60,3", "expected zscore"},
		{"zcore(count,60,3)", "no detector `zcore`"},
		{"zscore(count,60)", "expected zscore(LABEL,N,K)"},
		{"ewma(count,60,3,4)", "expected ewma(LABEL,ALPHA,K)"},
		{"zscore(,60,3)", "expected zscore(LABEL,N,K)"},
		{"zscore(clicks,60,3)", "no value `clicks`; it has count, avg_metric, last_user_id"},
		{"zscore(last_user_id,60,3)", "`last_user_id` is not a number"},
		{"zscore(count,4,3)", "N is `4`, not a whole number from 5 to 10000"},
		{"zscore(count,5.5,3)", "N is `5.5`"},
		{"zscore(count,-5,3)", "N is `-5`"},
		{"zscore(count,10001,3)", "N is `10001`"},
		{"zscore(count,60,0)", "K is `0`, not a number from 0.1 to 1000"},
		{"zscore(count,60,nan)", "K is `nan`"},
		{"zscore(count,60,3x)", "K is `3x`"},
		{"ewma(count,1,3)", "ALPHA is `1`"},
		{"ewma(count,,3)", "ALPHA is ``"},
		{"seasonal(count,day,3)", "expected a duration"},
		{"seasonal(count,10,3)", "expected a duration"},
		{"seasonal(count,10ms,3)", "expected a duration"},
		{"zscore(count,60,3); zscore(count, 60, 3)", "stands there twice"},
		{"zscore(count,5,1);zscore(count,5,2);zscore(count,5,3);zscore(count,5,4);zscore(count,5,5);"
		 "zscore(count,5,6);zscore(count,5,7);zscore(count,5,8);zscore(count,5,9)",
			"more than 8 detectors"},
		{"zscore(aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa,5,3)",
			"no label is so long"},
	};
	struct agg_set *aggs = set_of("count, avg(metric), last(user_id)");
	char longer[200];
	struct err err;

	(void)state;
	for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
		struct anomaly_set set;

		err.text[0] = 0;
		assert_int_equal(anomaly_set_parse(&set, row[i].text, aggs, &err), -EINVAL);
		if (!strstr(err.text, row[i].says))
			fail_msg("%s: said %s", row[i].text, err.text);
		assert_int_equal(merge_anomaly_check(row[i].text, aggs, &err), -EINVAL);
	}
	memset(longer, 'x', sizeof longer - 1);
	longer[sizeof longer - 1] = 0;
	assert_int_equal(merge_anomaly_check(longer, aggs, &err), -EINVAL);
	assert_non_null(strstr(err.text, "more than 127 bytes"));
	agg_set_free(aggs);
}

static void periods_must_fit_the_windows(void **state)
{
	static const struct {
		enum window_kind kind;
		int64_t size_ms;
		const char *text;
		int rc;
	} row[] = {
		{WINDOW_TUMBLING, 60000, "seasonal(count,1d,3)", 0},
		{WINDOW_TUMBLING, 60000, "seasonal(count,90s,3)", -EINVAL},
		{WINDOW_TUMBLING, 5000, "seasonal(count,1d,3)", 0},
		{WINDOW_TUMBLING, 1000, "seasonal(count,1d,3)", -EINVAL}, /* 86400 windows */
		{WINDOW_FUNNEL, 60000, "seasonal(count,1h,3)", 0},
		{WINDOW_SESSION, 60000, "seasonal(count,1h,3)", -EINVAL},
		{WINDOW_SESSION, 60000, "zscore(count,10,3)", 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
		struct window_def *def =
			rig_def(1, row[i].kind, row[i].size_ms, 0, FIELD_NONE, "count", row[i].text);
		struct err err;

		assert_int_equal(merge_anomaly_check(row[i].text, def->aggs, &err), 0);
		assert_int_equal(merge_anomaly_check_window(def, &err), row[i].rc);
		if (row[i].rc)
			assert_non_null(strstr(err.text, "multiple of the distance"));
		rig_def_free(def);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_texts_are_read),
		cmocka_unit_test(bad_texts_are_explained),
		cmocka_unit_test(periods_must_fit_the_windows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
