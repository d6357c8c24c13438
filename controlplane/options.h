/* sluiced's command line. */
#ifndef SLUICE_OPTIONS_H
#define SLUICE_OPTIONS_H

#include <stdbool.h>
#include <stdio.h>

#include "config.h"
#include "err.h"

enum options_do {
	OPTIONS_RUN,
	OPTIONS_CHECK,
	OPTIONS_PRINT,
	OPTIONS_VERSION,
	OPTIONS_HELP,
	OPTIONS_REPARTITION,
	OPTIONS_REPARTITION_RAISE
};

/* Reads the command line into a configuration: the file first, then the assignments in their order. Returns
 * 0, -EINVAL for usage, or what config_load() gave. */
int options_read(int argc, char **argv, struct config *cfg, enum options_do *what, struct err *err);
void options_help(FILE *out);

#endif
