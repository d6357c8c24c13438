/* Formats in the configuration. */
#include "format_util.h"

static struct config cfg;

static int check(int format, const char *type, struct err *err)
{
	config_defaults(&cfg);
	cfg.listeners_count = 1;
	cfg.listeners[0].format = format;
	snprintf(cfg.listeners[0].name, sizeof cfg.listeners[0].name, "in");
	snprintf(cfg.listeners[0].type, sizeof cfg.listeners[0].type, "%s", type);
	return format_config_check(&cfg, err);
}

static void test_listener_type(void **state)
{
	struct err err = {0};

	(void)state;
	for (int format = 0; format < CONFIG_FORMAT_COUNT; format++) {
		enum event_type type = format_table[format].type;

		assert_int_equal(check(format, "auto", &err), 0);
		if (type == EVENT_TYPE_NONE)
			assert_int_equal(check(format, "click", &err), 0);
		else
			assert_int_equal(check(format, type_table[type].name, &err), 0);
	}
	assert_int_equal(check(CONFIG_FORMAT_STATSD, "click", &err), -EINVAL);
	assert_string_equal(
		err.text, "listeners: 'in': type: 'click': events of its format are of type telemetry");
}

/* A format is in the table, or it is JSON. */
static void test_table(void **state)
{
	(void)state;
	for (int format = 0; format < CONFIG_FORMAT_COUNT; format++)
		assert_int_equal(format_table[format].next == NULL,
			format == CONFIG_FORMAT_JSON || format == CONFIG_FORMAT_NDJSON ||
				format == CONFIG_FORMAT_SLUICE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_listener_type), cmocka_unit_test(test_table)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
