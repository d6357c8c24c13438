/* The generator's word on scenarios against the shipped packs, through the real parser, matcher and engine:
 * each scenario that must alert does, once, under its key; nothing else does. Every shipped rule with state
 * has one that must alert and one that just must not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "gen_event.h"
#include "gen_scene.h"
#include "json.h"
#include "record.h"
#include "row.h"
#include "state_rules.h"

#define OUT_OF_ORDER_MS 5000
#define ALERTS_MAX 20000
#define TEXT_BYTES 256

struct alert {
	char text[TEXT_BYTES]; /* rule, blank, key */
};

struct run {
	struct gen_opts o;
	struct gen_maker *maker;
	struct json_parser *jp;
	struct ruleset *rs;
	struct matcher *matcher;
	struct cep *cep;
	struct alert *alert;
	uint32_t alerts, events, duplicates;
	int64_t newest_ms, step_ms;
};

static int rules_get(void *arg, uint32_t generation, struct cep_rules *out, struct err *err)
{
	(void)generation, (void)err;
	state_rules_fill(out, arg);
	return 0;
}

static int alert_take(void *arg, uint64_t offset, const struct record *rec)
{
	struct run *run = arg;
	uint32_t rule_bytes, key_bytes;
	const char *rule = row_alert_text(rec, ROW_TEXT_RULE, &rule_bytes),
		   *key = row_alert_text(rec, ROW_TEXT_KEY, &key_bytes);

	(void)offset;
	assert_true(run->alerts < ALERTS_MAX);
	snprintf(run->alert[run->alerts++].text, TEXT_BYTES, "%.*s %.*s", (int)rule_bytes, rule,
		(int)key_bytes, key);
	return 0;
}

static void run_open(struct run *run, char *const *argv, int argc)
{
	struct cep_params params = {0, rules_get, NULL, alert_take, run};
	struct err err = {""};

	*run = (struct run){.step_ms = INT64_MIN, .newest_ms = INT64_MIN};
	run->alert = calloc(ALERTS_MAX, sizeof *run->alert);
	if (gen_opts_parse(&run->o, argc, (char **)argv, &err) != GEN_OPTS_RUN)
		fail_msg("%s", err.text);
	assert_int_equal(gen_maker_new(&run->maker, &run->o, &err), 0);
	run->jp = json_parser_new(1 << 20);
	if (ruleset_compile_dir(&run->rs, PACKS_DIR, 20000, &err))
		fail_msg("%s", err.text);
	run->matcher = matcher_new(run->rs, &err);
	assert_non_null(run->matcher);
	params.rules_arg = run->rs;
	run->cep = cep_new(&params);
	assert_int_equal(cep_switch(run->cep, 1, &err), 0);
}

static void run_close(struct run *run)
{
	cep_free(run->cep);
	matcher_free(run->matcher);
	ruleset_free(run->rs);
	gen_maker_free(run->maker);
	json_parser_free(run->jp);
	free(run->alert);
}

/* As the record that comes to where the key lives. */
static void take(struct run *run, struct event *ev)
{
	static _Alignas(RECORD_ALIGN) uint8_t room[1 << 16];
	const struct cep_place place = {.generation = 1};
	int64_t watermark = run->newest_ms == INT64_MIN ? INT64_MIN : run->newest_ms - OUT_OF_ORDER_MS;
	struct err err;

	if (ev->hit_count) {
		assert_true(record_bytes_of(ev) <= sizeof room);
		record_write_event(room, ev, 0, ev->event_time_ms, 0);
		((struct record *)room)->kind = RECORD_SHADOW;
		assert_int_equal(
			cep_take(run->cep, &place, (const struct record *)room, run->events, watermark, &err),
			0);
	}
	if (ev->event_time_ms > run->newest_ms)
		run->newest_ms = ev->event_time_ms;
	if ((run->newest_ms - OUT_OF_ORDER_MS) / 1000 * 1000 > run->step_ms) {
		run->step_ms = (run->newest_ms - OUT_OF_ORDER_MS) / 1000 * 1000;
		assert_int_equal(cep_reach(run->cep, run->step_ms, 0), 0);
	}
}

static void send(struct run *run, uint32_t count)
{
	static uint8_t raw[GEN_EVENT_BYTES_MAX + EVENT_PAD_BYTES];
	struct parse_limits limits = {30ll * 86400000, 300000};

	for (; run->events < count; run->events++) {
		const struct gen_event *sent = gen_maker_next(run->maker, 0);
		struct event ev, *list = &ev;

		if (sent->reason == DROP_duplicate) {
			run->duplicates++;
			continue;
		}
		memcpy(raw, sent->raw, sent->bytes);
		json_parser_reset(run->jp);
		json_parse_event(run->jp, raw, sent->bytes, EVENT_TYPE_NONE, run->o.start_ts_ms + 3600000,
			&limits, &ev);
		assert_int_equal(ev.refused, sent->reason);
		if (ev.refused)
			continue;
		matcher_run(run->matcher, &list, 1);
		take(run, &ev);
	}
	assert_int_equal(cep_reach(run->cep, (int64_t)1 << 52, 0), 0);
}

/* How many alerts there are of this rule and key; they are taken off the list. */
static uint32_t alerts_of(struct run *run, const char *rule, const char *key)
{
	uint32_t found = 0, kept = 0;
	char text[TEXT_BYTES];

	snprintf(text, sizeof text, "%s %s", rule, key);
	for (uint32_t i = 0; i < run->alerts; i++)
		if (!strcmp(run->alert[i].text, text))
			found++;
		else
			run->alert[kept++] = run->alert[i];
	run->alerts = kept;
	return found;
}

/* Returns the text of scenarios; the caller frees it. */
static char *truth_of(struct run *run, uint32_t count)
{
	size_t bytes;
	char *text;
	FILE *truth = open_memstream(&text, &bytes);

	assert_non_null(truth);
	gen_scenes_truth(gen_maker_scenes(run->maker), truth);
	send(run, count);
	assert_int_equal(gen_scenes_end(gen_maker_scenes(run->maker)), 0);
	fclose(truth);
	return text;
}

static void check(struct run *run, char *text, uint32_t done[2], uint32_t *rules)
{
	char rule[64], expect[16], key[128], *save;
	uint32_t wrong = 0;

	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		uint32_t found, want;

		assert_int_equal(
			sscanf(line, "{\"rule\":\"%63[^\"]\",\"expect\":\"%15[^\"]\",\"key\":\"%127[^\"]\",",
				rule, expect, key),
			3);
		want = !strcmp(expect, "alert");
		if (!want && strcmp(expect, "none") != 0) {
			alerts_of(run, rule, key);
			continue;
		}
		done[want]++;
		found = alerts_of(run, rule, key);
		if (found != want && wrong++ < 20)
			print_error("%u alerts, not %u: %.200s\n", found, want, line);
		for (uint32_t i = 0; i < gen_scene_rows(); i++) {
			bool alert;

			if (!strcmp(gen_scene_rule(i, &alert), rule) && alert == want)
				rules[i]++;
		}
	}
	for (uint32_t i = 0; i < run->alerts && i < 20; i++)
		print_error("nobody's alert: %s\n", run->alert[i].text);
	assert_int_equal(wrong, 0);
	assert_int_equal(run->alerts, 0);
}

static void test_found(void **state)
{
	char *argv[] = {"sluice-gen", "--file", "-", "--count", "1", "--start-ts", "1715200123456",
		"--ts-rate", "400", "--scenarios", "60", "--mix", "all", "--dup-permille", "20",
		"--bad-permille", "10", "--disorder-ms", "3000", "--noid-permille", "5", "--extra-permille",
		"20", "--utf8-permille", "10"};
	uint32_t done[2] = {0, 0}, rules[256] = {0};
	static struct run run;
	char *text;

	(void)state;
	run_open(&run, argv, sizeof argv / sizeof *argv);
	text = truth_of(&run, 240000);
	check(&run, text, done, rules);
	free(text);
	print_message("%u events, %u duplicates; %u scenarios alert, %u do not\n", run.events, run.duplicates,
		done[1], done[0]);
	for (uint32_t i = 0; i < gen_scene_rows(); i++)
		assert_true(rules[i] > 0);
	assert_true(run.duplicates > 1000);
	run_close(&run);
}

/* The table has, of each shipped rule with state, both kinds of rows. */
static void test_all_rules(void **state)
{
	struct err err = {""};
	struct ruleset *rs;

	(void)state;
	assert_int_equal(ruleset_compile_dir(&rs, PACKS_DIR, 20000, &err), 0);
	for (uint32_t i = 0; i < ruleset_state_count(rs); i++) {
		const char *id = ruleset_rule(rs, ruleset_state(rs, i)->rule)->id;
		bool has[2] = {false, false}, alert;

		for (uint32_t row = 0; row < gen_scene_rows(); row++)
			if (!strcmp(gen_scene_rule(row, &alert), id))
				has[alert] = true;
		if (!has[0] || !has[1])
			fail_msg("gen_scene.def has no scenario %s of %s",
				has[1] ? "that must not alert" : "that must alert", id);
	}
	ruleset_free(rs);
}

/* With another seed other names, so that two generators can send to one box. */
static void test_seeds(void **state)
{
	char *argv[] = {"sluice-gen", "--file", "-", "--count", "1", "--start-ts", "1715200123456",
		"--ts-rate", "400", "--scenarios", "60", "--mix", "all", "--seed", "1"};
	char *text[3];

	(void)state;
	for (int i = 0; i < 3; i++) {
		static struct run run;

		argv[sizeof argv / sizeof *argv - 1] = i == 2 ? "2" : "1";
		run_open(&run, argv, sizeof argv / sizeof *argv);
		text[i] = truth_of(&run, 12000);
		run_close(&run);
	}
	assert_true(strlen(text[0]) > 1000);
	assert_string_equal(text[0], text[1]);
	assert_string_not_equal(text[0], text[2]);
	for (int i = 0; i < 3; i++)
		free(text[i]);
}

static void test_options(void **state)
{
	static const char *const wrong[][6] = {
		{"--scenarios", "60", "--mix", "all", "--scenario-truth", "x"}, /* no rate */
		{"--scenarios", "60", "--rate", "239", "--mix", "all"},
		{"--scenarios", "60", "--rate", "100000", "--mix", "payments"}, /* too few users */
		{"--rate", "1000", "--mix", "all", "--scenario-truth", "x"},
	};

	(void)state;
	for (uint32_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		char *argv[11] = {"sluice-gen", "--file", "-", "--count", "1"};
		struct gen_opts o;
		struct err err = {""};

		for (int k = 0; k < 6; k++)
			argv[5 + k] = (char *)wrong[i][k];
		assert_int_equal(gen_opts_parse(&o, 11, argv, &err), GEN_OPTS_WRONG);
		assert_non_null(strstr(err.text, "needs"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_found), cmocka_unit_test(test_all_rules),
		cmocka_unit_test(test_seeds), cmocka_unit_test(test_options)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
