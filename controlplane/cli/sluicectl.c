/* sluicectl: a thin client of the control socket, and the commands that need no daemon. */
#include <string.h>

#include "cli.h"
#include "hash_process.h"
#include "json_print.h"
#include "version.h"

typedef enum cli_exit (*local_fn)(const struct cli *cli, FILE *out, struct err *err);

#define LOCAL_view(id) NULL
#define LOCAL_fast(id) NULL
#define LOCAL_slow(id) NULL
#define LOCAL_local(id) local_##id
static const local_fn local_table[COMMAND_COUNT] = {
#define COMMAND(id, words, access, where, help) [COMMAND_##id] = LOCAL_##where(id),
#define ARG(command, name, kind, form, help)
#include "commands.def"
#undef COMMAND
#undef ARG
};

void cli_print(const struct cli *cli, FILE *out, json_t *result)
{
	if (cli->json) {
		json_print_file(result, out, JSON_INDENT(2) | JSON_ENSURE_ASCII);
		fputc('\n', out);
	} else {
		render_result(out, result);
	}
	json_decref(result);
}

static enum cli_exit remote_run(const struct cli *cli, FILE *out, struct err *err)
{
	struct client_link link;
	json_t *result = NULL;
	enum cli_exit code = client_connect(&link, cli->socket, err);

	if (code == CLI_OK)
		code = client_call(&link, cli->command->words, cli->args, &result, err);
	if (code == CLI_OK) {
		cli_print(cli, out, result);
		fflush(out);
		if (cli->command->id == COMMAND_stop)
			client_wait_end(&link);
	}
	client_close_link(&link);
	return code;
}

int main(int argc, char **argv)
{
	struct err err = {0};
	struct cli cli;
	enum cli_exit code = cli_parse(&cli, argc, argv, &err);

	if (code == CLI_OK && hash_process_key_draw(&err))
		code = CLI_FAILED;
	if (code == CLI_OK && cli.version)
		version_print("sluicectl");
	else if (code == CLI_OK && cli.help)
		cli_help(stdout, cli.command ? cli.command->words : cli.topic);
	else if (code == CLI_OK && local_table[cli.command->id])
		code = local_table[cli.command->id](&cli, stdout, &err);
	else if (code == CLI_OK)
		code = remote_run(&cli, stdout, &err);
	if (code != CLI_OK && err.text[0]) {
		fputs("sluicectl: ", stderr);
		render_text(stderr, err.text);
		fputc('\n', stderr);
	}
	cli_end(&cli);
	if (fflush(stdout) && code == CLI_OK)
		code = CLI_FAILED;
	return code;
}
