/* The command table and a parsed request. Constant tables; requests belong to who parsed them. */
#ifndef SLUICE_COMMAND_H
#define SLUICE_COMMAND_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"
#include "err.h"

#define CONTROL_PROTOCOL 1
#define CONTROL_REQUEST_BYTES_MAX (16u << 20) /* one line, with its newline: lists of rules are long */

enum command_id {
#define COMMAND(id, words, access, where, help) COMMAND_##id,
#define ARG(command, name, kind, form, help)
#include "commands.def"
#undef COMMAND
#undef ARG
	COMMAND_COUNT
};

enum command_access { ACCESS_read, ACCESS_write };
enum command_where { WHERE_view, WHERE_fast, WHERE_slow, WHERE_local };
enum arg_kind { ARG_TEXT, ARG_UINT, ARG_BOOL, ARG_FILES, ARG_CHOICE, ARG_DROP };
enum arg_form { FORM_word, FORM_words, FORM_option, FORM_must, FORM_flag };

struct command {
	enum command_id id;
	const char *words;
	enum command_access access;
	enum command_where where;
	const char *help;
};

struct command_arg {
	enum command_id command;
	const char *name;
	enum arg_kind kind;
	enum arg_form form;
	const char *help;
};

extern const struct command command_table[COMMAND_COUNT];
extern const struct command_arg command_arg_table[];
extern const uint32_t command_arg_count;

const struct command *command_find(const char *words);
const struct command_arg *command_arg_find(enum command_id command, const char *name);
/* Whether the command is nothing without it. */
bool command_arg_needed(const struct command_arg *arg);
/* Of CHOICE and DROP: is it one of the words? */
bool command_arg_word_ok(const struct command_arg *arg, const char *word);
/* What the kind takes, for errors. */
const char *command_arg_expected(const struct command_arg *arg);
/* A bit for each drop of the name, or for all of them: any; 0: there is none. */
uint64_t command_drops(const char *name);
/* "--partition N", "FILE...", for usage lines and docs. */
void command_arg_usage(const struct command_arg *arg, char *out, size_t cap);

struct request {
	const struct command *command;
	json_t *root; /* owned */
	json_t *args; /* borrowed from root; an object, maybe empty */
};

/* Parses and checks one request line: version, command, each argument against the table. Returns NULL, or the
 * error's code for the answer ("bad_request", "unknown_command", "bad_argument"), with err filled.
 * request_end() only after success. Input may be any bytes. */
const char *request_parse(struct request *rq, const char *line, size_t bytes, struct err *err);
void request_end(struct request *rq);

/* Arguments; the default if not given. */
const char *request_text(const struct request *rq, const char *name, const char *def);
uint64_t request_uint(const struct request *rq, const char *name, uint64_t def);
bool request_flag(const struct request *rq, const char *name);

/* Answers as one line with its newline, malloc'ed; NULL without memory. result is consumed. */
char *response_ok(json_t *result);
char *response_error(const char *code, const char *text);

/* A JSON string of any bytes: what is not UTF-8 becomes '?'. */
json_t *json_text(const char *text);
json_t *json_text_n(const char *text, size_t bytes);
/* What we have written ourselves, read back: texts of senders in it may have zero bytes. NULL: no memory. */
json_t *json_read_back(const struct bytes *text);
json_t *json_u64(uint64_t v);
json_t *json_time(int64_t ms);	  /* as RFC 3339; null for 0 and before */
json_t *json_version(uint64_t v); /* 16 hex digits */

#endif
