/* sluicectl's command line, read by the command table. */
#include "cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ruleset.h"

static int usage(struct err *err, const char *fmt, const char *what)
{
	err_set(err, -EINVAL, fmt, what);
	return CLI_USAGE;
}

/* The command that the words at argv name: the longest that fits. *used: how many words. */
static const struct command *command_of(int argc, char **argv, int *used)
{
	char words[80];

	for (*used = argc < 2 ? argc : 2; *used > 0; (*used)--) {
		const struct command *found;

		if (*used == 2 && argv[1][0] == '-')
			continue;
		snprintf(words, sizeof words, "%s%s%s", argv[0], *used == 2 ? " " : "",
			*used == 2 ? argv[1] : "");
		found = command_find(words);
		if (found)
			return found;
	}
	return NULL;
}

/* Whether the array has a list of this name already. */
static bool list_known(const json_t *files, const char *name)
{
	const json_t *it;
	size_t i;

	json_array_foreach(
		files, i, it) if (json_is_true(json_object_get(it, "list")) &&
				  !strcmp(json_string_value(json_object_get(it, "name")), name)) return true;
	return false;
}

/* Appends {"name", "text"} of a rule file and {"name", "text", "list"} of the lists that it names. */
static int files_append(json_t *files, const char *path, struct err *err)
{
	struct rule_files read;
	int rc = rule_files_read(&read, &path, 1, err);

	for (uint32_t i = 0; i < read.count && rc == 0; i++) {
		const struct rule_source *source = &read.source[i];
		json_t *text;

		if (source->list && list_known(files, source->name))
			continue;
		text = json_stringn(source->text, source->bytes);
		if (!text)
			rc = err_set(err, -EINVAL, "%s: not UTF-8 text", source->name);
		else
			json_array_append_new(
				files, json_pack("{s:o, s:o, s:b}", "name", json_text(source->name), "text",
					       text, "list", (int)source->list));
	}
	rule_files_free(&read);
	return rc ? CLI_FAILED : CLI_OK;
}

/* One value of the kind; NULL: err is filled, *code says how bad. */
static json_t *value_of(const struct command_arg *arg, const char *text, struct err *err, int *code)
{
	char *end;
	unsigned long long v;

	*code = CLI_USAGE;
	if (arg->kind == ARG_TEXT)
		return json_text(text);
	if (arg->kind == ARG_CHOICE || arg->kind == ARG_DROP) {
		if (command_arg_word_ok(arg, text))
			return json_text(text);
		err_set(err, -EINVAL, "%s%s: '%.60s': expected %s", arg->form == FORM_word ? "" : "--",
			arg->name, text, command_arg_expected(arg));
		return NULL;
	}
	errno = 0;
	v = strtoull(text, &end, 10);
	if (errno || *end || text[0] < '0' || text[0] > '9' || v > INT64_MAX) {
		err_set(err, -EINVAL, "--%s: '%.60s': expected a number", arg->name, text);
		return NULL;
	}
	return json_integer((json_int_t)v);
}

/* The argument for a word without dashes: the first single one that is still open, else the list. */
static const struct command_arg *positional(const struct cli *cli)
{
	for (uint32_t i = 0; i < command_arg_count; i++) {
		const struct command_arg *arg = &command_arg_table[i];

		if (arg->command != cli->command->id)
			continue;
		if (arg->form == FORM_words ||
			(arg->form == FORM_word && !json_object_get(cli->args, arg->name)))
			return arg;
	}
	return NULL;
}

static int take_positional(struct cli *cli, const char *word, struct err *err)
{
	const struct command_arg *arg = positional(cli);
	json_t *v, *list;
	int code;

	if (!arg)
		return usage(err, "'%.60s': unexpected", word);
	list = json_object_get(cli->args, arg->name);
	if (arg->form == FORM_words && !list) {
		list = json_array();
		json_object_set_new(cli->args, arg->name, list);
	}
	if (arg->kind == ARG_FILES)
		return files_append(list, word, err);
	v = value_of(arg, word, err, &code);
	if (!v)
		return code;
	if (arg->form == FORM_word)
		json_object_set_new(cli->args, arg->name, v);
	else
		json_array_append_new(list, v);
	return CLI_OK;
}

/* "--name VALUE", "--name=VALUE" or a flag; *at moves over the value. */
static int take_option(struct cli *cli, int argc, char **argv, int *at, struct err *err)
{
	const char *text = strcmp(argv[*at], "-o") ? argv[*at] + 2 : "out", *equals = strchr(text, '=');
	size_t n = equals ? (size_t)(equals - text) : strlen(text);
	const struct command_arg *arg;
	char name[40];
	json_t *v;
	int code;

	snprintf(name, sizeof name, "%.*s", n < 39 ? (int)n : 39, text);
	arg = command_arg_find(cli->command->id, name);
	if (!arg || (arg->form != FORM_option && arg->form != FORM_must && arg->form != FORM_flag))
		return usage(err, "'%.60s': no such option here", argv[*at]);
	if (arg->form == FORM_flag) {
		if (equals)
			return usage(err, "'%.60s': takes no value", argv[*at]);
		json_object_set_new(cli->args, arg->name, json_true());
		return CLI_OK;
	}
	if (!equals && *at + 1 >= argc)
		return usage(err, "'%.60s': needs a value", argv[*at]);
	v = value_of(arg, equals ? equals + 1 : argv[++*at], err, &code);
	if (!v)
		return code;
	json_object_set_new(cli->args, arg->name, v);
	return CLI_OK;
}

/* --socket, --json, --help and --version may stand anywhere. 1: taken; 0: not one of them; -1: needs a value.
 */
static int take_global(struct cli *cli, int argc, char **argv, int *at)
{
	const char *word = argv[*at];

	if (!strcmp(word, "--json"))
		cli->json = true;
	else if (!strcmp(word, "--help") || !strcmp(word, "-h"))
		cli->help = true;
	else if (!strcmp(word, "--version"))
		cli->version = true;
	else if (!strncmp(word, "--socket=", 9))
		cli->socket = word + 9;
	else if (strcmp(word, "--socket") != 0)
		return 0;
	else if (*at + 1 < argc)
		cli->socket = argv[++*at];
	else
		return -1;
	return 1;
}

static int check_complete(const struct cli *cli, struct err *err)
{
	for (uint32_t i = 0; i < command_arg_count; i++) {
		const struct command_arg *arg = &command_arg_table[i];

		if (arg->command != cli->command->id || json_object_get(cli->args, arg->name))
			continue;
		if (command_arg_needed(arg))
			return usage(err,
				arg->form == FORM_must ? "--%s is missing; see --help"
						       : "%s is missing; see --help",
				arg->name);
	}
	return CLI_OK;
}

/* A word that commands begin with is shown with the one behind it: `rules` is no mistake, what follows is. */
static int no_command(struct err *err, int argc, char **argv)
{
	size_t n = strlen(argv[0]);
	bool first = false;

	for (int i = 0; i < COMMAND_COUNT; i++)
		first |= !strncmp(command_table[i].words, argv[0], n) && command_table[i].words[n] == ' ';
	if (!first)
		return usage(err, "'%.60s': no such command; see --help", argv[0]);
	if (argc > 1 && argv[1][0] != '-')
		err_set(err, -EINVAL, "'%.60s %.60s': no such command; see sluicectl %.60s --help", argv[0],
			argv[1], argv[0]);
	else
		err_set(err, -EINVAL,
			"'%.60s': no such command without a second word; see sluicectl %.60s --help", argv[0],
			argv[0]);
	return CLI_USAGE;
}

/* Behind words that name no command by themselves, as in `rules --help`. */
static bool asks_help(int argc, char **argv)
{
	for (int i = 0; i < argc; i++)
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
			return true;
	return false;
}

enum cli_exit cli_parse(struct cli *cli, int argc, char **argv, struct err *err)
{
	const char *env = getenv("SLUICE_SOCKET");
	int code = CLI_OK, used;

	*cli = (struct cli){.socket = env && *env ? env : CLI_SOCKET_DEFAULT, .args = json_object()};
	for (int i = 1; i < argc && code == CLI_OK; i++) {
		int global = take_global(cli, argc, argv, &i);

		if (global < 0)
			return (enum cli_exit)usage(err, "%s: needs a value", "--socket");
		if (global)
			continue;
		if (!cli->command && argv[i][0] != '-') {
			if (!strcmp(argv[i], "help")) {
				cli->help = true;
				continue;
			}
			cli->command = command_of(argc - i, argv + i, &used);
			if (!cli->command && (cli->help || asks_help(argc - i, argv + i))) {
				cli->help = true;
				cli->topic = argv[i];
				return CLI_OK;
			}
			if (!cli->command)
				return (enum cli_exit)no_command(err, argc - i, argv + i);
			i += used - 1;
		} else if (!cli->command) {
			code = usage(err, "'%.60s': no such option; see --help", argv[i]);
		} else if (!strcmp(argv[i], "-o") || (!strncmp(argv[i], "--", 2) && argv[i][2])) {
			code = take_option(cli, argc, argv, &i, err);
		} else {
			code = take_positional(cli, argv[i], err);
		}
	}
	if (cli->version)
		return (enum cli_exit)code;
	if (code == CLI_OK && !cli->help && !cli->command)
		code = usage(err, "%s", "which command? See --help");
	if (code == CLI_OK && !cli->help)
		code = check_complete(cli, err);
	return (enum cli_exit)code;
}

void cli_end(struct cli *cli)
{
	json_decref(cli->args);
}

static void help_args(FILE *out, const struct command *c)
{
	char text[60];

	for (uint32_t k = 0; k < command_arg_count; k++) {
		const struct command_arg *arg = &command_arg_table[k];

		if (arg->command != c->id)
			continue;
		command_arg_usage(arg, text, sizeof text);
		fprintf(out, command_arg_needed(arg) ? " %s" : " [%s]", text);
	}
}

void cli_help(FILE *out, const char *words)
{
	fputs("usage: sluicectl [--socket PATH] [--json] COMMAND [ARGUMENT]...\n"
	      "       sluicectl --version\n\n",
		out);
	for (int i = 0; i < COMMAND_COUNT; i++) {
		const struct command *c = &command_table[i];

		if (words && strncmp(c->words, words, strlen(words)) != 0)
			continue;
		fprintf(out, "  %s", c->words);
		help_args(out, c);
		fprintf(out, "\n        %s%s\n", c->help,
			c->access == ACCESS_write ? " (root and the daemon's user only)" : "");
		for (uint32_t k = 0; words && k < command_arg_count; k++)
			if (command_arg_table[k].command == c->id)
				fprintf(out, "          %-12s %s\n", command_arg_table[k].name,
					command_arg_table[k].help);
	}
	fputs("\nThe socket is --socket, or $SLUICE_SOCKET, or " CLI_SOCKET_DEFAULT ".\n"
	      "Exit codes: 0 done, 1 the command failed, 2 usage, 3 the daemon cannot be reached.\n",
		out);
}

int cli_time_arg(const struct cli *cli, const char *name, int64_t def, int64_t *out, struct err *err)
{
	const char *text = json_string_value(json_object_get(cli->args, name)), *rest;
	struct tm tm = {0};
	char *end;

	*out = def;
	if (!text)
		return 0;
	errno = 0;
	*out = strtoll(text, &end, 10);
	if (end != text && *end == 0 && errno == 0)
		return 0;
	rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	if (rest) {
		*out = (int64_t)timegm(&tm) * 1000;
		if (*rest == '.') {
			double fraction = strtod(rest, &end);

			*out += (int64_t)(fraction * 1000 + 0.5);
			rest = end;
		}
		if (strcmp(rest, "Z") == 0)
			return 0;
	}
	return err_set(err, -EINVAL, "--%s: 2026-01-31T12:00:00Z or milliseconds since 1970 expected", name);
}
