/* Windows that none of their event types can fit: what is told of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "window.h"

static struct config cfg;

static void lines_add(void *arg, const char *text)
{
	char *lines = arg;

	snprintf(lines + strlen(lines), 2048 - strlen(lines), "%s\n", text);
}

/* What is told of an entry: as many lines as `words` has parts, and each part in a line. */
static void told(const char *entry, const char *words)
{
	char text[1024], list[512], lines[2048] = "", *save = NULL;
	struct window_plan *plan;
	uint32_t parts = 0, told = 0;
	struct err err;

	snprintf(text, sizeof text, "windows:\n  - {name: w, %s}\n", entry);
	if (config_parse(&cfg, text, strlen(text), "test", &err) || window_plan_make(&plan, &cfg, &err))
		fail_msg("%s: %s", entry, err.text);
	window_plan_fit(plan, lines_add, lines);
	window_plan_free(plan);
	snprintf(list, sizeof list, "%s", words);
	for (const char *p = lines; (p = strchr(p, '\n')) != NULL; p++)
		told++;
	for (char *word = strtok_r(list, "|", &save); word; word = strtok_r(NULL, "|", &save), parts++)
		if (!strstr(lines, word))
			fail_msg("'%s' is not told of %s:\n%s", word, entry, lines);
	if (parts != told)
		fail_msg("for %s:\n%s", entry, lines);
}

static void test_fit(void **state)
{
	char lines[2048] = "";
	struct window_plan *plan;
	struct err err;

	(void)state;
	told("size: 1m, types: click, where: amount > 5",
		"window w: where: amount: none of the event types that it takes (click) has the field "
		"amount: no event passes");
	told("size: 1m, where: 'type in (click, log) and amount exists'",
		"(click, log) has the field amount");
	told("size: 1m, where: 'amount > 5 and page = /a'",
		"where: page: none of the event types that it takes (transaction)");
	told("size: 1m, types: 'click, transaction', where: amount > 5, by: page",
		"by: page: none of the event types that it takes (transaction) has the field page: it is "
		"absent in every row");
	told("size: 1m, types: log, by: 'source, country', aggregates: 'count, sum(amount) as money, "
	     "distinct(page), error_rate'",
		"by: country|aggregates: money: none of the event types that it takes (log) has the field "
		"amount|"
		"aggregates: distinct_page");
	told("size: 1m, types: log, aggregates: 'count(type=log), count(type=click), count(card=x)'",
		"aggregates: count_type_click: it takes other event types (log)|aggregates: count_card_x");
	told("kind: funnel, by: user_id, size: 1h, within: 1h, where: value > 1, types: 'page_view, "
	     "conversion, transaction', "
	     "steps: 'view: page exists; pay: type = transaction; card: card exists; buy: type = conversion'",
		"steps: pay: type: it takes other event types (page_view, conversion)|"
		"steps: card: card: none of the event types that it takes (page_view, conversion) has the "
		"field card");
	/* A type that has it is enough; enrichment may fill its fields for all; an attribute may be anywhere.
	 */
	told("size: 1m, types: 'click, transaction', by: 'page, geo_country, attributes.x', aggregates: "
	     "'sum(amount)'",
		"");
	told("size: 1m, where: 'amount > 5 and ts > 0 and user_segment = a', by: merchant", "");
	config_defaults(&cfg);
	assert_int_equal(window_plan_make(&plan, &cfg, &err), 0);
	window_plan_fit(plan, lines_add, lines);
	assert_string_equal(lines, "");
	window_plan_free(plan);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_fit)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
