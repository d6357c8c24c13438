/* Any bytes as a rule file: a ruleset that matches and whose samples run, or an error with the file's name.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "rule_shadow.h"
#include "ruleset.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void keep_line(void *arg, const char *line)
{
	*(size_t *)arg += strlen(line);
}

/* An event of each type: its raw bytes are the rule text, every second one's from the first brace on, where a
 * walk over JSON begins; its fields are pieces of them. */
static void event_make(struct event *ev, uint8_t type, const uint8_t *raw, uint16_t n)
{
	const uint8_t *brace = memchr(raw, '{', n);

	if (type % 2 && brace) {
		n = (uint16_t)(n - (brace - raw));
		raw = brace;
	}
	*ev = (struct event){.raw = raw,
		.tail = raw,
		.raw_bytes = n,
		.tail_bytes = n,
		.type = type,
		.event_time_ms = 1715200123456};
	for (uint32_t f = 1; f < FIELD_ID_MAX; f++) {
		bool number = field_kind_is_number(field_table[f].kind);

		if (!(type_table[type].uses >> f & 1) || (number && n < 8))
			continue;
		ev->field_mask |= 1ull << f;
		ev->field[f] = number ? (struct span){n, 8}
				      : (struct span){(uint16_t)(f % (n + 1u)), (uint16_t)(n - f % (n + 1u))};
	}
}

static void match(const struct ruleset *rs, const uint8_t *data, size_t bytes)
{
	static uint8_t raw[4096 + EVENT_PAD_BYTES];
	struct event ev[EVENT_TYPE_MAX], *burst[EVENT_TYPE_MAX];
	struct matcher *m = matcher_new(rs, NULL);
	uint16_t n = (uint16_t)(bytes < 4096 ? bytes : 4096);
	uint32_t count = 0;

	if (!m)
		abort();
	memcpy(raw, data, n);
	for (uint32_t type = 1; type < EVENT_TYPE_MAX; type++) {
		if (!type_table[type].name)
			continue;
		event_make(&ev[count], (uint8_t)type, raw, n);
		burst[count] = &ev[count];
		count++;
	}
	matcher_run(m, burst, count);
	for (uint32_t i = 0; i < count; i++)
		for (uint32_t k = 0; k < ev[i].hit_count; k++)
			if (ev[i].hit[k] >= ruleset_match_count(rs) ||
				(k && ev[i].hit[k] <= ev[i].hit[k - 1]))
				abort();
	matcher_free(m);
}

/* What the state stage relies on. */
static void states_check(const struct ruleset *rs)
{
	const struct rule_use *use = ruleset_uses(rs);

	for (uint32_t i = 0; i < ruleset_match_count(rs); i++)
		if (use[i].state != RULE_STATE_NONE && (use[i].state >= ruleset_state_count(rs) ||
							       use[i].keyring >= ruleset_keyring_count(rs)))
			abort();
	for (uint32_t i = 0; i < ruleset_state_count(rs); i++) {
		const struct rule_state *s = ruleset_state(rs, i);

		if (s->within_ms < 0 || s->events_max < s->at_least || s->rule >= ruleset_rule_count(rs) ||
			s->match >= ruleset_match_count(rs) || s->step_count > RULE_STEPS_MAX ||
			use[s->match].state != i)
			abort();
		for (uint32_t k = 0; k < s->step_count; k++)
			if (use[s->step[k].match].state != i || use[s->step[k].match].step != k ||
				s->step[k].times_min < 1 || s->step[k].times_max < s->step[k].times_min)
				abort();
	}
}

/* Shadows of the samples are whole records. */
static int states_look(void *arg, const struct ruleset *rs, const struct rule_test *test, struct err *err)
{
	static uint64_t out[EVENT_BYTES_MAX / 8 + 1000];
	struct rule_shadow shadow[RULE_KEYRINGS_MAX];

	(void)arg, (void)err;
	for (uint32_t i = 0; i < test->count; i++) {
		uint32_t n = rule_shadows(rs, &test->event[i], shadow);

		for (uint32_t k = 0; k < n; k++) {
			uint64_t hash;

			if (shadow[k].bytes > record_bytes_of(&test->event[i]) ||
				shadow[k].bytes > sizeof out)
				abort();
			rule_shadow_write((uint8_t *)out, rs, &test->event[i], &shadow[k], 1, 0);
			if (!record_valid(out, shadow[k].bytes) ||
				!rule_key_of_record(ruleset_keyring(rs, shadow[k].keyring),
					(struct record *)out, &hash) ||
				hash != shadow[k].key_hash)
				abort();
		}
	}
	return 0;
}

struct told {
	const char *first; /* what a compile ends with */
	uint32_t count;
	bool found;
};

static void tell(void *arg, const char *line)
{
	struct told *told = arg;

	told->count++;
	told->found |= !strcmp(line, told->first);
}

/* A check tells what a compile ends with, and maybe more. */
static void check_tells(const struct rule_source *source, uint32_t count, const char *first)
{
	struct told told = {.first = first};
	struct rule_problems problems = {.line = tell, .arg = &told};
	struct ruleset *rs = NULL;
	struct err err = {{0}};

	if (!ruleset_check(&rs, source, count, 100, &problems, &err) || rs || err.text[0] || !told.count ||
		told.count != problems.count || told.count > RULE_PROBLEMS_MAX ||
		(!told.found && !problems.more))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	/* The same bytes are the list that rules may name. */
	struct rule_source source[] = {
		{"fuzz", (const char *)data, bytes, false}, {"l.txt", (const char *)data, bytes, true}};
	struct rule_tester tester = {states_look, NULL};
	struct ruleset *rs = NULL;
	struct err err = {{0}};
	size_t sum = 0;

	if (ruleset_compile(&rs, source, 2, 100, &err)) {
		if (rs || (strncmp(err.text, "fuzz:", 5) && strncmp(err.text, "l.txt:", 6) &&
				  !strstr(err.text, "together")))
			abort();
		check_tells(source, 2, err.text);
		return 0;
	}
	if (bytes)
		match(rs, data, bytes);
	if (ruleset_run_tests(rs, &tester, keep_line, &sum).not_run ||
		ruleset_expire(rs, 1800000000000, &err) < 0)
		abort();
	states_check(rs);
	ruleset_free(rs);
	return 0;
}
