/* Events that are already there, one a line: what --lines sends instead of made ones. One thread. */
#ifndef SLUICE_GEN_LINES_H
#define SLUICE_GEN_LINES_H

#include <stdint.h>

#include "err.h"

struct gen_lines;

/* path: "-" = standard input. Lines of more than line_max bytes are refused when they come. */
int gen_lines_open(struct gen_lines **out, const char *path, uint32_t line_max, struct err *err);
/* The next line without its end (\n or \r\n), lines without bytes left out; borrowed until the next call.
 * 1: there it is; 0: no more; -EAGAIN: none yet, gen_lines_wait() waits; others: err says why. */
int gen_lines_next(struct gen_lines *l, const char **text, uint32_t *bytes, struct err *err);
/* Until there is something to read, a signal comes, or wait_ms have passed. */
void gen_lines_wait(const struct gen_lines *l, int wait_ms);
void gen_lines_close(struct gen_lines *l);

#endif
