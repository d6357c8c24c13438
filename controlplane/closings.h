/* What people said of alerts: true, false, or unsure. Kept in DATA_DIR/alerts-closed.log, one line each,
 * whole and synced before the answer; what came last about an alert holds, what came before stays as its
 * history.
 *
 *   crc32c in 8 hex digits, a space, JSON, newline. The CRC is that of the JSON's bytes. JSON is one of
 *   {"t": ms, "uid": n, "pid": n, "as": "true"|"false"|"unsure", "alert": id, "rule": id, "version": hex,
 * "note": text}
 *   {"folded": [true, false, unsure], "rule": id, "version": hex}
 *
 * Bounded: beyond CLOSINGS_MAX lines the older half is folded into counts, by rule and version, and the file
 * written anew. An alert that was folded is not known any more: closing it again counts once more.
 *
 * The file may hold any bytes: what is none of these lines, or has another CRC, is passed over and counted.
 * Any control thread. Who reads waits for no disk: the server's thread does. */
#ifndef SLUICE_CLOSINGS_H
#define SLUICE_CLOSINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

#define CLOSINGS_MAX 20000u	    /* lines about alerts */
#define CLOSINGS_TALLIES_MAX 65536u /* rules and their versions */
#define CLOSING_LINE_MAX 4096u
#define CLOSING_ID_BYTES 400 /* of an alert: an address and a rule's id */
#define CLOSING_NOTE_BYTES 401
#define CLOSING_RULE_BYTES 256

enum closing_as { CLOSED_TRUE, CLOSED_FALSE, CLOSED_UNSURE, CLOSING_AS_COUNT };
extern const char *const closing_as_name[];
/* CLOSING_AS_COUNT: none of them. */
enum closing_as closing_as_of(const char *name);

struct closing {
	int64_t time_ms; /* wall clock */
	uint32_t uid, pid;
	enum closing_as as;
	char alert[CLOSING_ID_BYTES], rule[CLOSING_RULE_BYTES];
	char version[17]; /* of the rule: hash of what it says; "": not known */
	char note[CLOSING_NOTE_BYTES];
};

struct closing_counts {
	uint64_t n[CLOSING_AS_COUNT];
};
/* true / (true + false); NAN if there is none. */
double closing_precision(const struct closing_counts *c);

/* A line of the file, without its newline. 1: about an alert, *c is filled. 2: folded counts: *counts, and
 * rule and version in *c. 0: none of ours. */
int closing_parse(const char *line, size_t bytes, struct closing *c, struct closing_counts *counts);

struct closings;
/* Reads what there is. -errno with err: the file cannot be read or written. */
int closings_open(struct closings **out, const char *data_dir, struct err *err);
void closings_close(struct closings *s);
/* Durable when it returns 0. *was: what the alert was closed as before, or CLOSING_AS_COUNT. On an error
 * nothing has changed. */
int closings_put(struct closings *s, const struct closing *c, enum closing_as *was, struct err *err);
/* What is known of an alert, oldest first; each returns non-zero to stop. */
void closings_each(
	struct closings *s, const char *alert, int (*each)(void *arg, const struct closing *c), void *arg);
/* What the alert is closed as; CLOSING_AS_COUNT: open, or not known any more. */
enum closing_as closings_of(struct closings *s, const char *alert);
/* Alerts of a rule that are closed: of this version of it, and of all others. */
void closings_count(struct closings *s, const char *rule, const char *version, struct closing_counts *here,
	struct closing_counts *others);
/* Lines that were passed over when the file was read. */
uint64_t closings_damaged(struct closings *s);

#endif
