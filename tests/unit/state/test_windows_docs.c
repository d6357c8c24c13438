/* docs/windows.md and docs/sluice.yaml: every example is taken, every kind, key, aggregate, detector and
 * shipped window stands there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <stdio.h>

#include "anomaly.h"
#include "config_table.h"
#include "window.h"

static char *page;
static struct config cfg;
static struct err err;

static int setup(void **state)
{
	FILE *f = fopen(DOCS "/windows.md", "re");
	size_t n;

	(void)state;
	page = calloc(1, 1 << 20);
	if (!f || !page)
		return -1;
	n = fread(page, 1, (1 << 20) - 1, f);
	fclose(f);
	return n > 1000 ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	free(page);
	return 0;
}

static void fits_not(void *arg, const char *text)
{
	(void)arg;
	fail_msg("%s", text);
}

static void test_examples(void **state)
{
	bool kind[4] = {false};
	uint32_t examples = 0;

	(void)state;
	for (char *at = page; (at = strstr(at, "```yaml\n")) != NULL; examples++) {
		char *end = strstr(at += 8, "```");
		struct window_plan *plan;

		assert_non_null(end);
		if (config_parse(&cfg, at, (size_t)(end - at), "docs/windows.md", &err) ||
			window_plan_make(&plan, &cfg, &err))
			fail_msg("%s in:\n%.*s", err.text, (int)(end - at), at);
		assert_true(plan->count > 0 && cfg.windows_count == plan->count);
		window_plan_fit(plan, fits_not, NULL);
		for (uint32_t i = 0; i < plan->count; i++)
			kind[plan->def[i]->kind] = true;
		window_plan_free(plan);
		at = end + 3;
	}
	assert_true(examples >= 8 && kind[0] && kind[1] && kind[2] && kind[3]);
}

static void has(const char *before, const char *name, const char *after)
{
	char want[128];

	snprintf(want, sizeof want, "%s%s%s", before, name, after);
	if (!strstr(page, want))
		fail_msg("docs/windows.md does not have %s", want);
}

/* In an example, or in a sentence. */
static void has_key(const char *name)
{
	char used[64], told[64];

	snprintf(used, sizeof used, "%s: ", name);
	snprintf(told, sizeof told, "`%s`", name);
	if (!strstr(page, used) && !strstr(page, told))
		fail_msg("docs/windows.md does not have %s", told);
}

static void test_complete(void **state)
{
	struct window_plan *plan;

	(void)state;
	for (int i = 0; i < 4; i++)
		has("**", window_kind_name[i], "**");
	for (uint32_t i = 0; i < config_key_count; i++)
		if (!strcmp(config_key_table[i].section, "windows"))
			has_key(config_key_table[i].name);
#define AGG(id, name, argument, parts, help) has("`", #name, "");
#include "agg.def"
#undef AGG
	for (int i = 0; i <= ANOMALY_SEASONAL; i++)
		has("| `", anomaly_kind_name[i], "(LABEL, ");
	config_defaults(&cfg);
	assert_int_equal(window_plan_make(&plan, &cfg, &err), 0);
	for (uint32_t i = 0; i < plan->count; i++)
		has("| `", plan->def[i]->name, "` |");
	window_plan_free(plan);
}

static void test_example_file(void **state)
{
	struct window_plan *plan;

	(void)state;
	if (config_load(&cfg, DOCS "/sluice.yaml", &err) || config_check(&cfg, &err) ||
		window_plan_make(&plan, &cfg, &err))
		fail_msg("%s", err.text);
	assert_true(cfg.state.enabled && plan->count > 0 && cfg.windows_count == plan->count);
	window_plan_free(plan);
	/* The sink that is off there is ready to be switched on. */
	assert_true(cfg.kafka.enabled && cfg.clickhouse.enabled && !cfg.webhook.enabled && *cfg.webhook.url);
	if (config_set(&cfg, "webhook.enabled=true", &err) || config_check(&cfg, &err))
		fail_msg("%s", err.text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_examples),
		cmocka_unit_test(test_complete),
		cmocka_unit_test(test_example_file),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
