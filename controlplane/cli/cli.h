/* sluicectl's parts: the command line, the connection, tables, and the commands that need no daemon. One
 * thread. */
#ifndef SLUICE_CLI_H
#define SLUICE_CLI_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "command.h"

enum cli_exit { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2, CLI_UNREACHABLE = 3 };

struct journal_meta;

#define CLI_SOCKET_DEFAULT "/run/sluice/control.sock"

struct cli {
	const char *socket;
	bool json; /* print the result as JSON */
	bool help;
	bool version;		       /* the program's, whatever else is said */
	const char *topic;	       /* with help: the first words of what it is asked for, or NULL */
	const struct command *command; /* NULL with help, version */
	json_t *args;		       /* owned; by the command's table, FILES read */
};

/* args.c: reads the command line by the command table. CLI_OK, CLI_USAGE, or CLI_FAILED if a file cannot be
 * read. */
enum cli_exit cli_parse(struct cli *cli, int argc, char **argv, struct err *err);
void cli_end(struct cli *cli);
/* An option with a time: RFC 3339 in UTC, or milliseconds since 1970; def where it is not given. 0 or
 * -EINVAL.
 */
int cli_time_arg(const struct cli *cli, const char *name, int64_t def, int64_t *out, struct err *err);
/* All commands, or those whose words begin with `words`. */
void cli_help(FILE *out, const char *words);

/* client.c: one request, one answer. */
struct client_link {
	int fd;
};
enum cli_exit client_connect(struct client_link *link, const char *path, struct err *err);
/* CLI_OK: *result is owned by the caller. CLI_FAILED, CLI_USAGE (an argument): the daemon said no, err has
 * its text. CLI_UNREACHABLE: no answer. */
enum cli_exit client_call(
	struct client_link *link, const char *words, const json_t *args, json_t **result, struct err *err);
/* Waits until the daemon has closed the connection, as it does when it ends. */
void client_wait_end(struct client_link *link);
void client_close_link(struct client_link *link);

/* render.c: a result for people: scalars as lines, lists of objects as tables. */
void render_result(FILE *out, const json_t *result);
/* Text from elsewhere on a terminal: control characters become '?'. */
void render_text(FILE *out, const char *text);

/* Commands that sluicectl does itself. Return the exit code; what they have to say goes to out or err. */
#define LOCAL_DECLARE_view(id)
#define LOCAL_DECLARE_fast(id)
#define LOCAL_DECLARE_slow(id)
#define LOCAL_DECLARE_local(id) enum cli_exit local_##id(const struct cli *cli, FILE *out, struct err *err);
#define COMMAND(id, words, access, where, help) LOCAL_DECLARE_##where(id)
#define ARG(command, name, kind, form, help)
#include "commands.def"
#undef COMMAND
#undef ARG

/* Reads a journal's description; says so if `dir` is the directory that the journal's is in. As
 * journal_meta_read(). */
int cli_journal_meta(const char *dir, struct journal_meta *meta, struct err *err);
/* The journal directory that `--dir` gives, or that of the running daemon. */
enum cli_exit cli_journal_dir(const struct cli *cli, char *dir, size_t cap, struct err *err);
/* The same for node.data_dir. */
enum cli_exit cli_data_dir(const struct cli *cli, char *dir, size_t cap, struct err *err);
/* local_check.c: the rule files of argument `files`, compiled together; NULL with err. */
struct ruleset *cli_files_compile(const struct cli *cli, struct err *err);
/* Prints a local command's result as asked for. Consumes it. */
void cli_print(const struct cli *cli, FILE *out, json_t *result);

#endif
