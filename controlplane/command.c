/* The command table, request parsing and answers. No state; any thread. */
#include "command.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "drops.h"
#include "json_print.h"

const struct command command_table[COMMAND_COUNT] = {
#define COMMAND(id, words, access, where, help) {COMMAND_##id, words, ACCESS_##access, WHERE_##where, help},
#define ARG(command, name, kind, form, help)
#include "commands.def"
#undef COMMAND
#undef ARG
};

const struct command_arg command_arg_table[] = {
#define COMMAND(id, words, access, where, help)
#define ARG(command, name, kind, form, help) {COMMAND_##command, #name, ARG_##kind, FORM_##form, help},
#include "commands.def"
#undef COMMAND
#undef ARG
};
const uint32_t command_arg_count = sizeof command_arg_table / sizeof *command_arg_table;

const struct command *command_find(const char *words)
{
	for (int i = 0; i < COMMAND_COUNT; i++)
		if (!strcmp(command_table[i].words, words))
			return &command_table[i];
	return NULL;
}

const struct command_arg *command_arg_find(enum command_id command, const char *name)
{
	for (uint32_t i = 0; i < command_arg_count; i++)
		if (command_arg_table[i].command == command && !strcmp(command_arg_table[i].name, name))
			return &command_arg_table[i];
	return NULL;
}

bool command_arg_needed(const struct command_arg *arg)
{
	return arg->form == FORM_word || arg->form == FORM_must ||
	       (arg->form == FORM_words && command_table[arg->command].where == WHERE_local);
}

uint64_t command_drops(const char *name)
{
	uint64_t drops = 0;

	for (int i = 1; i < DROP_ID_MAX; i++)
		if (drop_table[i].name && (!strcmp(name, "any") || !strcmp(name, drop_table[i].name)))
			drops |= 1ull << i;
	return drops;
}

bool command_arg_word_ok(const struct command_arg *arg, const char *word)
{
	const char *p = arg->help;

	if (arg->kind == ARG_DROP)
		return command_drops(word) != 0;
	for (;; p += 3) {
		size_t n = strcspn(p, " ");

		if (strlen(word) == n && !memcmp(word, p, n))
			return true;
		p += n;
		if (strncmp(p, " | ", 3) != 0)
			return false;
	}
}

const char *command_arg_expected(const struct command_arg *arg)
{
	static const char *const expected[] = {[ARG_TEXT] = "text",
		[ARG_UINT] = "a number from 0",
		[ARG_BOOL] = "true or false",
		[ARG_FILES] = "[{name, text}, ...]",
		[ARG_DROP] = "a name of docs/drops.md, or any"};

	return arg->kind == ARG_CHOICE ? arg->help : expected[arg->kind];
}

void command_arg_usage(const struct command_arg *arg, char *out, size_t cap)
{
	char upper[32];
	size_t n = 0;

	for (; arg->name[n] && n + 1 < sizeof upper; n++)
		upper[n] =
			(char)(arg->name[n] >= 'a' && arg->name[n] <= 'z' ? arg->name[n] - 32 : arg->name[n]);
	upper[n] = 0;
	if (arg->form == FORM_word)
		snprintf(out, cap, "%s", upper);
	else if (arg->form == FORM_words)
		snprintf(out, cap, "%s...", arg->kind == ARG_FILES ? "FILE" : upper);
	else if (arg->form == FORM_flag)
		snprintf(out, cap, "--%s", arg->name);
	else
		snprintf(out, cap, "--%s %s", arg->name, arg->kind == ARG_UINT ? "N" : upper);
}

json_t *json_text_n(const char *text, size_t bytes)
{
	json_t *s = json_stringn(text, bytes);
	char *copy;

	if (s)
		return s;
	copy = malloc(bytes + 1);
	if (!copy)
		return NULL;
	for (size_t i = 0; i < bytes; i++)
		copy[i] = (unsigned char)text[i] < 0x80 ? text[i] : '?';
	s = json_stringn(copy, bytes);
	free(copy);
	return s;
}

json_t *json_read_back(const struct bytes *text)
{
	return text->failed ? NULL : json_loadb((const char *)text->data, text->bytes, JSON_ALLOW_NUL, NULL);
}

json_t *json_text(const char *text)
{
	return json_text_n(text, strlen(text));
}

json_t *json_time(int64_t ms)
{
	time_t seconds = (time_t)(ms / 1000);
	char text[40];
	struct tm tm;

	if (ms <= 0 || !gmtime_r(&seconds, &tm))
		return json_null();
	strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
	return json_sprintf("%s.%03dZ", text, (int)(ms % 1000));
}

json_t *json_version(uint64_t v)
{
	return json_sprintf("%016llx", (unsigned long long)v);
}

json_t *json_u64(uint64_t v)
{
	char digits[24];

	if (v <= INT64_MAX)
		return json_integer((json_int_t)v);
	/* JSON integers end at 2^63 in jansson; a text is better than a wrong number. */
	snprintf(digits, sizeof digits, "%llu", (unsigned long long)v);
	return json_string(digits);
}

/* {name, text}; of a list of values that rules name also list: true. */
static bool file_ok(const json_t *file)
{
	const json_t *list = json_object_get(file, "list");

	return json_is_string(json_object_get(file, "name")) &&
	       json_is_string(json_object_get(file, "text")) && (!list || json_is_boolean(list)) &&
	       json_object_size(file) == (list ? 3 : 2);
}

static bool files_ok(const json_t *v)
{
	const json_t *file;
	size_t i;

	if (!json_is_array(v))
		return false;
	json_array_foreach(v, i, file) if (!file_ok(file)) return false;
	return true;
}

static bool arg_ok(const struct command_arg *arg, const json_t *v)
{
	switch (arg->kind) {
	case ARG_TEXT:
		return json_is_string(v) && json_string_length(v) < 4096;
	case ARG_UINT:
		return json_is_integer(v) && json_integer_value(v) >= 0;
	case ARG_BOOL:
		return json_is_boolean(v);
	case ARG_FILES:
		return files_ok(v);
	case ARG_CHOICE:
	case ARG_DROP:
		return json_is_string(v) && command_arg_word_ok(arg, json_string_value(v));
	}
	return false;
}

static const char *args_check(const struct request *rq, struct err *err)
{
	const char *name;
	json_t *v;

	json_object_foreach(rq->args, name, v)
	{
		const struct command_arg *arg = command_arg_find(rq->command->id, name);

		if (!arg) {
			err_set(err, -EINVAL, "%s: unknown argument '%.60s'", rq->command->words, name);
			return "bad_argument";
		}
		if (!arg_ok(arg, v)) {
			err_set(err, -EINVAL, "%s: %s: expected %s", rq->command->words, name,
				command_arg_expected(arg));
			return "bad_argument";
		}
	}
	for (uint32_t i = 0; i < command_arg_count; i++) {
		const struct command_arg *arg = &command_arg_table[i];

		if (arg->command == rq->command->id && command_arg_needed(arg) &&
			!json_object_get(rq->args, arg->name)) {
			err_set(err, -EINVAL, "%s: %s is missing: %s", rq->command->words, arg->name,
				arg->help);
			return "bad_argument";
		}
	}
	return NULL;
}

static const char *request_check(struct request *rq, struct err *err)
{
	const json_t *v = json_object_get(rq->root, "v"), *cmd = json_object_get(rq->root, "cmd");
	const char *name;
	json_t *member;

	if (!json_is_object(rq->root)) {
		err_set(err, -EINVAL, "expected a JSON object");
		return "bad_request";
	}
	json_object_foreach(rq->root, name,
		member) if (strcmp(name, "v") != 0 && strcmp(name, "cmd") != 0 && strcmp(name, "args") != 0)
	{
		err_set(err, -EINVAL, "unknown key '%.60s': expected v, cmd, args", name);
		return "bad_request";
	}
	if (!json_is_integer(v) || json_integer_value(v) != CONTROL_PROTOCOL) {
		err_set(err, -EINVAL, "v: expected %d, the protocol's version", CONTROL_PROTOCOL);
		return "bad_request";
	}
	if (!json_is_string(cmd)) {
		err_set(err, -EINVAL, "cmd: expected the name of a command");
		return "bad_request";
	}
	rq->command = command_find(json_string_value(cmd));
	if (!rq->command || rq->command->where == WHERE_local) {
		err_set(err, -EINVAL, "'%.60s' is no command of the daemon", json_string_value(cmd));
		return "unknown_command";
	}
	rq->args = json_object_get(rq->root, "args");
	if (!rq->args) {
		rq->args = json_object();
		json_object_set_new(rq->root, "args", rq->args);
	}
	if (!json_is_object(rq->args)) {
		err_set(err, -EINVAL, "args: expected an object");
		return "bad_request";
	}
	return args_check(rq, err);
}

const char *request_parse(struct request *rq, const char *line, size_t bytes, struct err *err)
{
	json_error_t at;
	const char *code;

	*rq = (struct request){0};
	rq->root = json_loadb(line, bytes, JSON_REJECT_DUPLICATES, &at);
	if (!rq->root) {
		err_set(err, -EINVAL, "not JSON: column %d: %.160s", at.column, at.text);
		return "bad_request";
	}
	code = request_check(rq, err);
	if (code)
		request_end(rq);
	return code;
}

void request_end(struct request *rq)
{
	json_decref(rq->root);
	*rq = (struct request){0};
}

const char *request_text(const struct request *rq, const char *name, const char *def)
{
	const char *text = json_string_value(json_object_get(rq->args, name));

	return text ? text : def;
}

uint64_t request_uint(const struct request *rq, const char *name, uint64_t def)
{
	const json_t *v = json_object_get(rq->args, name);

	return v ? (uint64_t)json_integer_value(v) : def;
}

bool request_flag(const struct request *rq, const char *name)
{
	return json_is_true(json_object_get(rq->args, name));
}

static char *response_line(json_t *answer)
{
	char *text = answer ? json_print(answer, JSON_COMPACT) : NULL, *line = NULL;
	size_t n;

	json_decref(answer);
	if (!text)
		return NULL;
	n = strlen(text);
	line = realloc(text, n + 2);
	if (!line) {
		free(text);
		return NULL;
	}
	line[n] = '\n';
	line[n + 1] = 0;
	return line;
}

char *response_ok(json_t *result)
{
	return response_line(json_pack(
		"{s:i, s:b, s:o}", "v", CONTROL_PROTOCOL, "ok", 1, "result", result ? result : json_null()));
}

char *response_error(const char *code, const char *text)
{
	return response_line(json_pack("{s:i, s:b, s:{s:s, s:o}}", "v", CONTROL_PROTOCOL, "ok", 0, "error",
		"code", code, "text", json_text(text)));
}
