/* Values from files of their own, and addresses: what matches, what is refused, and that a stored generation
 * has its lists and its expired rules. */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "record.h"
#include "rule_event_make.h"

static const char rules[] =
	"rules:\n"
	"- {id: page, when: {page: {in: {file: lists/pages.txt}, nocase: true}}, then: tag}\n"
	"- {id: value, when: {value: {in: {file: numbers.txt}}}, then: tag}\n"
	"- {id: net, when: {ip: {cidr: {file: nets.txt}}}, then: tag}\n"
	"- {id: from, when: {src_addr: {cidr: [192.0.2.0/24, 2001:db8::/32]}}, then: tag}\n"
	"- {id: attr, when: {attributes.peer: {cidr: 10.0.0.0/8}}, then: tag}\n";
static const char pages[] = "# what is sold\n/A\r\n\n/b c\n~\n/last";

static struct rule_source sources[] = {{"d/r.yaml", rules, sizeof rules - 1, false},
	{"d/lists/pages.txt", pages, sizeof pages - 1, true}, {"d/numbers.txt", "5\n-1.5\n", 7, true},
	{"d/nets.txt", "10.1.0.0/16\n10.0.0.0/15\n192.0.2.7\n2001:db8::/48\n", 0, true}};
#define SOURCES (sizeof sources / sizeof *sources)

static bool hits(struct matcher *m, struct made_event *e, uint16_t rule)
{
	struct event *ev = &e->ev;

	matcher_run(m, &ev, 1);
	for (uint32_t i = 0; i < ev->hit_count; i++)
		if (ev->hit[i] == rule)
			return true;
	return false;
}

static bool text_hits(struct matcher *m, uint8_t type, enum field_id field, const char *text, uint16_t rule)
{
	static struct made_event e;

	made_reset(&e, type);
	made_text(&e, field, text, strlen(text));
	return hits(m, &e, rule);
}

static void matches(const struct ruleset *rs)
{
	static const char *const in[] = {
		"10.0.0.0", "10.1.255.255", "192.0.2.7", "2001:db8::1", "::ffff:10.0.0.1"};
	static const char *const out[] = {"10.2.0.0", "9.255.255.255", "192.0.2.6", "192.0.2.8",
		"2001:db8:1::", "x", "", "::", "255.255.255.255"};
	struct matcher *m = matcher_of(rs);
	static struct made_event e;

	assert_true(text_hits(m, EVENT_TYPE_click, FIELD_page, "/a", 0));
	assert_true(text_hits(m, EVENT_TYPE_click, FIELD_page, "/B C", 0));
	assert_true(text_hits(m, EVENT_TYPE_click, FIELD_page, "/last", 0));
	assert_true(text_hits(m, EVENT_TYPE_click, FIELD_page, "~", 0));
	assert_false(text_hits(m, EVENT_TYPE_click, FIELD_page, "", 0));
	assert_false(text_hits(m, EVENT_TYPE_click, FIELD_page, "# what is sold", 0));
	for (int i = 0; i < 3; i++) {
		static const double values[] = {5, -1.5, 1.5};

		made_reset(&e, EVENT_TYPE_custom);
		made_number(&e, FIELD_value, values[i]);
		assert_int_equal(hits(m, &e, 1), i < 2);
	}
	for (size_t i = 0; i < sizeof in / sizeof *in; i++)
		assert_true(text_hits(m, EVENT_TYPE_transaction, FIELD_ip, in[i], 2));
	for (size_t i = 0; i < sizeof out / sizeof *out; i++)
		assert_false(text_hits(m, EVENT_TYPE_transaction, FIELD_ip, out[i], 2));
	made_reset(&e, EVENT_TYPE_click);
	assert_false(hits(m, &e, 3));
	memcpy(e.ev.src_addr, "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\2\x09", 16);
	assert_true(hits(m, &e, 3));
	e.ev.src_addr[14] = 3;
	assert_false(hits(m, &e, 3));
	memcpy(e.ev.src_addr, "\x20\x01\x0d\xb8\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 16);
	assert_true(hits(m, &e, 3));
	for (int i = 0; i < 2; i++) {
		int n = snprintf(
			(char *)e.raw, sizeof e.raw, "{\"peer\":\"%s\"}", i ? "10.9.8.7" : "11.9.8.7");

		made_reset(&e, EVENT_TYPE_custom);
		e.ev.raw_bytes = (uint32_t)n;
		assert_int_equal(hits(m, &e, 4), i);
	}
	matcher_free(m);
}

static void test_matches(void **state)
{
	struct ruleset *rs;
	struct err err;

	(void)state;
	sources[3].bytes = strlen(sources[3].text);
	if (ruleset_compile(&rs, sources, SOURCES, 10, &err))
		fail_msg("%s", err.text);
	matches(rs);
	ruleset_free(rs);
}

static void refused_files(uint32_t which, const char *text, const char *want)
{
	struct rule_source with[SOURCES];
	struct ruleset *rs;
	struct err err;

	memcpy(with, sources, sizeof with);
	with[which].text = text;
	with[which].bytes = strlen(text);
	assert_int_equal(ruleset_compile(&rs, with, SOURCES, 10, &err), -EINVAL);
	if (strncmp(err.text, want, strlen(want)) != 0)
		fail_msg("want %s\nhave %s", want, err.text);
}

static void test_refused(void **state)
{
	char longer[2200];

	(void)state;
	refused_files(2, "5\n\nx\n", "d/numbers.txt:3:1: rule value: value: expected a number");
	refused_files(3, "10.0.0.0/8\n10.0.0.1/8\n", "d/nets.txt:2:1: rule net: cidr: expected addresses");
	refused_files(3, "\n# nothing\n", "d/r.yaml:4:38: rule net: file: d/nets.txt holds no value");
	memset(longer, 'x', sizeof longer);
	longer[2100] = 0;
	refused_files(1, longer, "d/lists/pages.txt:1:1: rule page: page: 2100 bytes");
}

/* A generation is self-contained, and means the same rules in force wherever it is loaded. */
static void test_stored(void **state)
{
	static const char more[] = "rules:\n- {id: gone, when: {page: /}, then: tag, expires: 2020-01-01}\n"
				   "- {id: state, when: {page: /}, by: user_id, suppress: 1m, then: alert}\n";
	struct rule_source with[SOURCES + 1];
	char dir[] = "/tmp/sluice_list_XXXXXX", command[100], version[17];
	struct ruleset_store *st;
	const struct ruleset *kept;
	struct ruleset *rs;
	uint32_t generation;
	struct err err;

	(void)state;
	memcpy(with, sources, sizeof sources);
	with[SOURCES] = (struct rule_source){"d/s.yaml", more, sizeof more - 1, false};
	assert_non_null(mkdtemp(dir));
	for (int run = 0; run < 2; run++) {
		assert_int_equal(ruleset_store_open(&st, dir, &err), 0);
		if (ruleset_compile(&rs, with, SOURCES + 1, 10, &err))
			fail_msg("%s", err.text);
		assert_int_equal(ruleset_expire(rs, 1900000000000 + run, &err), 1);
		memcpy(version, ruleset_version(rs), 17);
		assert_int_equal(ruleset_store_put(st, rs, &generation, &err), 0);
		assert_int_equal(generation, 1); /* the same rules in force, though later */
		kept = ruleset_store_get(st, 1, &err);
		if (!kept)
			fail_msg("%s", err.text);
		assert_string_equal(ruleset_version(kept), version);
		assert_true(ruleset_rule(kept, 5)->expired);
		assert_int_equal(ruleset_state_count(kept), 1);
		assert_int_equal(ruleset_state(kept, 0)->uid, ruleset_state(rs, 0)->uid);
		assert_int_equal(ruleset_state(kept, 0)->rule, 6);
		ruleset_free(rs);
		if (ruleset_store_load(st, 1, 100, &rs, &err))
			fail_msg("%s", err.text);
		matches(rs);
		ruleset_free(rs);
		ruleset_store_close(st);
	}
	/* Another list is another version. */
	with[2].text = "6\n";
	with[2].bytes = 2;
	assert_int_equal(ruleset_compile(&rs, with, SOURCES + 1, 10, &err), 0);
	assert_int_equal(ruleset_expire(rs, 1900000000000, &err), 1);
	assert_string_not_equal(ruleset_version(rs), version);
	ruleset_free(rs);
	snprintf(command, sizeof command, "rm -r %s", dir);
	assert_int_equal(system(command), 0);
}

/* From disk: rule files and, beside them, what they name. */
static void test_files(void **state)
{
	char dir[] = "/tmp/sluice_list_XXXXXX", command[200], path[100];
	const char *one = path;
	struct rule_files files;
	struct ruleset *rs;
	struct err err;
	FILE *f;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/r.yaml", dir);
	f = fopen(path, "w");
	fputs("rules:\n- {id: a, when: {any: [{page: {in: {file: l.txt}}}, {ip: {cidr: {file: l.txt}}}]}, "
	      "then: tag}\n",
		f);
	fclose(f);
	assert_int_equal(rule_files_read(&files, &one, 1, &err), -ENOENT);
	snprintf(command, sizeof command, "%s:2:43: %s/l.txt: ", path, dir);
	if (strncmp(err.text, command, strlen(command)) != 0)
		fail_msg("want %s\nhave %s", command, err.text);
	snprintf(command, sizeof command, "echo 10.0.0.0/8 > %s/l.txt", dir);
	assert_int_equal(system(command), 0);
	assert_int_equal(rule_files_read_dir(&files, dir, &err), 0);
	assert_int_equal(files.count, 2); /* each list once */
	assert_true(files.source[1].list);
	rule_files_free(&files);
	if (ruleset_compile_dir(&rs, dir, 10, &err))
		fail_msg("%s", err.text);
	ruleset_free(rs);
	snprintf(command, sizeof command, "rm -r %s", dir);
	assert_int_equal(system(command), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_matches), cmocka_unit_test(test_refused),
		cmocka_unit_test(test_stored), cmocka_unit_test(test_files)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
