/* Request lines: what is taken, what is refused and with which code; answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "command.h"

static void test_good(void **state)
{
	static const char line[] =
		"{\"v\":1,\"cmd\":\"rules apply\",\"args\":{\"files\":[{\"name\":\"a\",\"text\":\"b\"}]}}";
	struct request rq;
	struct err err;

	(void)state;
	assert_null(request_parse(&rq, line, sizeof line - 1, &err));
	assert_int_equal(rq.command->id, COMMAND_rules_apply);
	assert_int_equal(json_array_size(json_object_get(rq.args, "files")), 1);
	request_end(&rq);
	assert_null(request_parse(&rq, "{\"v\":1,\"cmd\":\"status\"}", 22, &err));
	assert_int_equal(json_object_size(rq.args), 0);
	assert_string_equal(request_text(&rq, "x", "default"), "default");
	assert_int_equal(request_uint(&rq, "x", 7), 7);
	assert_false(request_flag(&rq, "x"));
	request_end(&rq);
}

static void test_bad(void **state)
{
	static const struct {
		const char *line, *code, *text;
	} row[] = {
		{"", "bad_request", "not JSON"},
		{"status", "bad_request", "not JSON"},
		{"{\"v\":1,\"cmd\":\"status\"", "bad_request", "not JSON"},
		{"[1]", "bad_request", "expected a JSON object"},
		{"{\"cmd\":\"status\"}", "bad_request", "v: expected 1"},
		{"{\"v\":2,\"cmd\":\"status\"}", "bad_request", "v: expected 1"},
		{"{\"v\":1}", "bad_request", "cmd: expected"},
		{"{\"v\":1,\"cmd\":7}", "bad_request", "cmd: expected"},
		{"{\"v\":1,\"v\":1,\"cmd\":\"status\"}", "bad_request", "duplicate"},
		{"{\"v\":1,\"cmd\":\"status\",\"x\":1}", "bad_request", "unknown key 'x'"},
		{"{\"v\":1,\"cmd\":\"status\",\"args\":[]}", "bad_request", "args: expected an object"},
		{"{\"v\":1,\"cmd\":\"statu\"}", "unknown_command", "'statu'"},
		{"{\"v\":1,\"cmd\":\"journal ls\"}", "unknown_command", "no command of the daemon"},
		{"{\"v\":1,\"cmd\":\"status\",\"args\":{\"a\":1}}", "bad_argument", "unknown argument 'a'"},
		{"{\"v\":1,\"cmd\":\"drain\",\"args\":{\"timeout\":\"x\"}}", "bad_argument",
			"timeout: expected a number"},
		{"{\"v\":1,\"cmd\":\"drain\",\"args\":{\"timeout\":-1}}", "bad_argument",
			"timeout: expected a number"},
		{"{\"v\":1,\"cmd\":\"stop\",\"args\":{\"now\":1}}", "bad_argument",
			"now: expected true or false"},
		{"{\"v\":1,\"cmd\":\"log-level\"}", "bad_argument", "level is missing"},
		{"{\"v\":1,\"cmd\":\"log-level\",\"args\":{\"level\":\"loud\"}}", "bad_argument",
			"level: expected error | warn"},
		{"{\"v\":1,\"cmd\":\"log-level\",\"args\":{\"level\":1}}", "bad_argument", "level: expected"},
		{"{\"v\":1,\"cmd\":\"alerts close\",\"args\":{\"id\":\"x\"}}", "bad_argument",
			"as is missing"},
		{"{\"v\":1,\"cmd\":\"tap open\",\"args\":{\"drop\":\"\"}}", "bad_argument", "drop: expected"},
		{"{\"v\":1,\"cmd\":\"rules apply\",\"args\":{\"files\":[{\"name\":1}]}}", "bad_argument",
			"files: expected"},
		{"{\"v\":1,\"cmd\":\"st\\u0000atus\"}", "bad_request", "not JSON"},
	};
	struct request rq;
	struct err err;

	(void)state;
	for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
		const char *code;

		err.text[0] = 0;
		code = request_parse(&rq, row[i].line, strlen(row[i].line), &err);
		if (!code || strcmp(code, row[i].code) != 0 || !strstr(err.text, row[i].text))
			fail_msg("%s: got %s: %s", row[i].line, code ? code : "(taken)", err.text);
	}
}

static void test_deep(void **state)
{
	char *line = malloc(100001);
	struct request rq;
	struct err err;

	(void)state;
	memset(line, '[', 100000);
	assert_string_equal(request_parse(&rq, line, 100000, &err), "bad_request");
	free(line);
}

static void test_answers(void **state)
{
	char *line = response_ok(json_pack("{s:i, s:f}", "a", 1, "b", 0.1));

	(void)state;
	assert_string_equal(line, "{\"v\":1,\"ok\":true,\"result\":{\"a\":1,\"b\":0.1}}\n");
	free(line);
	line = response_error("failed", "bad \xff byte\n");
	assert_string_equal(
		line, "{\"v\":1,\"ok\":false,\"error\":{\"code\":\"failed\",\"text\":\"bad ? byte\\n\"}}\n");
	free(line);
}

/* Each row can be found by its words, and its words by no other row. */
static void test_table(void **state)
{
	(void)state;
	for (int i = 0; i < COMMAND_COUNT; i++) {
		assert_int_equal(command_table[i].id, i);
		assert_ptr_equal(command_find(command_table[i].words), &command_table[i]);
		assert_true(strlen(command_table[i].help) > 10);
		if (command_table[i].where == WHERE_local)
			assert_int_equal(command_table[i].access, ACCESS_read);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_good), cmocka_unit_test(test_bad),
		cmocka_unit_test(test_deep), cmocka_unit_test(test_answers), cmocka_unit_test(test_table)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
