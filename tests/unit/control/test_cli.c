/* sluicectl's command line, and its tables. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli.h"

static struct cli cli;
static struct err err;

/* Splits line at blanks and parses it. */
static enum cli_exit parse(const char *line)
{
	static char text[400];
	char *argv[20] = {"sluicectl"}, *save;
	int argc = 1;

	snprintf(text, sizeof text, "%s", line);
	for (char *word = strtok_r(text, " ", &save); word; word = strtok_r(NULL, " ", &save))
		argv[argc++] = word;
	err.text[0] = 0;
	return cli_parse(&cli, argc, argv, &err);
}

static void test_good(void **state)
{
	static const char *const words[] = {"alerts close x --as unsure", "log-level error",
		"log-level debug", "capture all -o f --drop any", "capture all -o f --drop not_ip"};

	(void)state;
	unsetenv("SLUICE_SOCKET");
	assert_int_equal(parse("status"), CLI_OK);
	assert_int_equal(cli.command->id, COMMAND_status);
	assert_string_equal(cli.socket, CLI_SOCKET_DEFAULT);
	assert_false(cli.json);
	cli_end(&cli);
	assert_int_equal(parse("--socket /a status --json"), CLI_OK);
	assert_string_equal(cli.socket, "/a");
	assert_true(cli.json);
	cli_end(&cli);
	assert_int_equal(parse("--version"), CLI_OK);
	assert_true(cli.version && !cli.command);
	cli_end(&cli);
	assert_int_equal(parse("rules show --version"), CLI_OK);
	assert_true(cli.version);
	cli_end(&cli);
	assert_int_equal(parse("rules show bots --socket=/b"), CLI_OK);
	assert_int_equal(cli.command->id, COMMAND_rules_show);
	assert_string_equal(json_string_value(json_object_get(cli.args, "id")), "bots");
	cli_end(&cli);
	assert_int_equal(parse("journal dump --partition 3 --count=5 --ids --dir /j"), CLI_OK);
	assert_int_equal(json_integer_value(json_object_get(cli.args, "partition")), 3);
	assert_int_equal(json_integer_value(json_object_get(cli.args, "count")), 5);
	assert_true(json_is_true(json_object_get(cli.args, "ids")));
	cli_end(&cli);
	for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
		assert_int_equal(parse(words[i]), CLI_OK);
		cli_end(&cli);
	}
	assert_int_equal(parse("rules apply"), CLI_OK); /* rules.dir again */
	cli_end(&cli);
	setenv("SLUICE_SOCKET", "/env", 1);
	assert_int_equal(parse("rules --help"), CLI_OK); /* rules is no command by itself */
	assert_true(cli.help);
	assert_string_equal(cli.topic, "rules");
	cli_end(&cli);
	assert_int_equal(parse("help"), CLI_OK);
	assert_true(cli.help);
	assert_string_equal(cli.socket, "/env");
	cli_end(&cli);
}

static void test_usage(void **state)
{
	static const struct {
		const char *line, *text;
	} row[] = {
		{"", "which command"},
		{"statu", "'statu': no such command"},
		{"rules", "'rules': no such command without a second word; see sluicectl rules --help"},
		{"rules chek x", "'rules chek': no such command; see sluicectl rules --help"},
		{"--bogus status", "'--bogus': no such option"},
		{"status extra", "'extra': unexpected"},
		{"status --count 1", "'--count': no such option here"},
		{"rules show", "id is missing"},
		{"rules check", "files is missing"},
		{"journal dump --count", "'--count': needs a value"},
		{"journal dump --count x", "--count: 'x': expected a number"},
		{"journal dump --count -1", "--count: '-1': expected a number"},
		{"journal dump --ids=1", "'--ids=1': takes no value"},
		{"status --socket", "--socket: needs a value"},
		{"alerts close x", "--as is missing"},
		{"alerts close x --as maybe", "--as: 'maybe': expected true | false | unsure"},
		{"alerts close x --as true|", "--as: 'true|': expected"},
		{"alerts close x --as=", "--as: '': expected"},
		{"capture all", "--out is missing"},
		{"capture all -o f --drop nodrop", "--drop: 'nodrop': expected a name"},
		{"support-bundle", "--out is missing"},
		{"log-level loud", "level: 'loud': expected error | warn | info | debug"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
		int code = parse(row[i].line);

		if (code != CLI_USAGE || !strstr(err.text, row[i].text))
			fail_msg("%s: code %d: %s", row[i].line, code, err.text);
		cli_end(&cli);
	}
}

static void test_files(void **state)
{
	char path[] = "/tmp/sluice_cli_XXXXXX", line[100];
	int fd = mkstemp(path);
	const json_t *files;

	(void)state;
	assert_int_equal(write(fd, "rules: []\n", 10), 10);
	snprintf(line, sizeof line, "rules apply %s %s", path, path);
	assert_int_equal(parse(line), CLI_OK);
	files = json_object_get(cli.args, "files");
	assert_int_equal(json_array_size(files), 2);
	assert_string_equal(
		json_string_value(json_object_get(json_array_get(files, 1), "text")), "rules: []\n");
	cli_end(&cli);
	assert_int_equal(pwrite(fd, "\xff\xfe", 2, 0), 2);
	assert_int_equal(parse(line), CLI_FAILED);
	assert_non_null(strstr(err.text, "not UTF-8"));
	cli_end(&cli);
	close(fd);
	unlink(path);
	assert_int_equal(parse(line), CLI_FAILED);
	cli_end(&cli);
	assert_int_equal(parse("rules apply /tmp"), CLI_FAILED);
	assert_non_null(strstr(err.text, "/tmp: a folder: name the files in it"));
	cli_end(&cli);
}

static void test_render(void **state)
{
	char *text;
	size_t bytes;
	FILE *out = open_memstream(&text, &bytes);
	json_t *v = json_pack(
		"{s:s, s:i, s:{s:i, s:b}, s:[{s:s, s:i}, {s:s, s:i}], s:[s, s], s:[], s:f, s:n}", "name",
		"h\xc3\xa9", "count", 5, "inner", "a", 1, "b", 0, "rows", "k", "\xc3\xa9", "n", 1, "k",
		"bb\x1b", "n", 100, "notes", "one", "two", "empty", "rate", 1234567.0, "none");

	(void)state;
	render_result(out, v);
	fclose(out);
	assert_string_equal(text, "name   h\xc3\xa9\n"
				  "count  5\n"
				  "inner  a=1 b=no\n"
				  "rows:\n"
				  "  k      n\n"
				  "  \xc3\xa9      1\n"
				  "  bb?  100\n"
				  "notes:\n"
				  "  one\n"
				  "  two\n"
				  "empty  -\n"
				  "rate   1234567\n"
				  "none   -\n");
	free(text);
	json_decref(v);
}

/* Times as people read them; a list of many texts does not make a column of a table wide. */
static void test_render_alerts(void **state)
{
	char *text;
	size_t bytes;
	FILE *out = open_memstream(&text, &bytes);
	json_t *v = json_pack("{s:I, s:i, s:[{s:I, s:[s,s,s,s,s], s:[s,s]}]}", "last_time",
		(json_int_t)1796003172566, "wait_time", 250, "rows", "first_time", (json_int_t)1796003172566,
		"evidence", "a/0/1", "a/0/2", "a/0/3", "a/0/4", "a/0/5", "actions", "alert", "tag");

	(void)state;
	render_result(out, v);
	fclose(out);
	assert_string_equal(text, "last_time  2026-11-30T01:46:12.566Z\n"
				  "wait_time  250\n"
				  "rows:\n"
				  "  first_time                evidence        actions\n"
				  "  2026-11-30T01:46:12.566Z  a/0/1, ... (5)  alert, tag\n");
	free(text);
	json_decref(v);
}

/* What a row does not have is not what it has a dash for; one long value does not make all lines long. */
static void test_render_rows(void **state)
{
	char *text, *want, long_text[101] = {0};
	size_t bytes;
	FILE *out = open_memstream(&text, &bytes);
	json_t *v;

	(void)state;
	memset(long_text, 'x', sizeof long_text - 1);
	v = json_pack("{s:[{s:n, s:i}, {s:s, s:i}, {s:s, s:i}, {s:s, s:i}]}", "rows", "page", "count", 1,
		"page", "-", "count", 2, "page", "", "count", 3, "page", long_text, "count", 4);
	render_result(out, v);
	fclose(out);
	assert_true(asprintf(&want,
			    "rows:\n"
			    "  page  count\n"
			    "  -         1\n"
			    "  \"-\"       2\n"
			    "            3\n"
			    "  %s      4\n",
			    long_text) > 0);
	assert_string_equal(text, want);
	free(want);
	free(text);
	json_decref(v);
}

static void test_unreachable(void **state)
{
	struct client_link link;

	(void)state;
	assert_int_equal(client_connect(&link, "/tmp/sluice_no_such_socket", &err), CLI_UNREACHABLE);
	assert_non_null(strstr(err.text, "cannot reach sluiced"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_good), cmocka_unit_test(test_usage),
		cmocka_unit_test(test_files), cmocka_unit_test(test_render),
		cmocka_unit_test(test_render_alerts), cmocka_unit_test(test_render_rows),
		cmocka_unit_test(test_unreachable)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
