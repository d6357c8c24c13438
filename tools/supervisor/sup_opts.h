/* Options of sluice-supervisor. Read once, then constant; texts point into argv, the environment, or here. */
#ifndef SLUICE_SUP_OPTS_H
#define SLUICE_SUP_OPTS_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"

#define SUP_SETS_MAX 64

struct sup_opts {
	char data[200];	      /* directory of everything */
	char kafka_libs[300]; /* jars */
	char chdb[300];	      /* libchdb.so */
	char chembed[300];    /* its launcher */
	char sluiced[300];
	char state_file[300]; /* key=value lines for scripts; empty = none */
	char kafka_heap[16];
	const char *kafka;	/* HOST:PORT of a cluster to use; NULL = start one */
	const char *clickhouse; /* URL of a server to use; NULL = start one */
	const char *config;	/* of sluiced, or NULL */
	const char *set[SUP_SETS_MAX];
	uint32_t set_count;
	uint16_t kafka_port, clickhouse_port; /* 0 = a free one */
	bool demo;			      /* sluiced that ends is reported, not started again */
	bool servers_only;
};

enum sup_opts_result { SUP_OPTS_RUN, SUP_OPTS_HELP, SUP_OPTS_VERSION, SUP_OPTS_WRONG };

enum sup_opts_result sup_opts_parse(struct sup_opts *o, int argc, char **argv, struct err *err);
void sup_opts_help(void);

#endif
