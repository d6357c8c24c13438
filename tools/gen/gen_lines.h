/* Events that are already there, one a line: what --lines sends instead of made ones. One thread. */
#ifndef SLUICE_GEN_LINES_H
#define SLUICE_GEN_LINES_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"

#define GEN_LINE_MAX 65535u

struct gen_lines;

/* path: "-" = standard input. Nothing is waited for: a FIFO may get its writer later. */
int gen_lines_open(struct gen_lines **out, const char *path, struct err *err);
/* Whether path is the file that is read: writing to it would destroy it. */
bool gen_lines_are_of(const struct gen_lines *l, const char *path);
/* The next line without its end (\n or \r\n), perhaps of no bytes; borrowed until the next call. One of more
 * than line_max bytes, the same in each call and at most GEN_LINE_MAX, is an error, again and again. 1: there
 * it is; 0: no more; -EAGAIN: none yet, gen_lines_wait() waits; others: err says why. */
int gen_lines_next(
	struct gen_lines *l, uint32_t line_max, const char **text, uint32_t *bytes, struct err *err);
/* Until there is something to read, a signal comes, or wait_ms have passed. */
void gen_lines_wait(const struct gen_lines *l, int wait_ms);
void gen_lines_close(struct gen_lines *l);

#endif
