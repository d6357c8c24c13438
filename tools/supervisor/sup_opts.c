/* Command line of sluice-supervisor. */
#include "sup_opts.h"

#include <errno.h>
#include <getopt.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	OPT_DATA = 1,
	OPT_KAFKA,
	OPT_CLICKHOUSE,
	OPT_KAFKA_LIBS,
	OPT_CHDB,
	OPT_CHEMBED,
	OPT_SLUICED,
	OPT_CONFIG,
	OPT_SET,
	OPT_KAFKA_PORT,
	OPT_CLICKHOUSE_PORT,
	OPT_KAFKA_HEAP,
	OPT_STATE,
	OPT_DEMO,
	OPT_SERVERS,
	OPT_HELP,
	OPT_VERSION
};

static const struct option rows[] = {
	{"data", required_argument, NULL, OPT_DATA},
	{"kafka", required_argument, NULL, OPT_KAFKA},
	{"clickhouse", required_argument, NULL, OPT_CLICKHOUSE},
	{"kafka-libs", required_argument, NULL, OPT_KAFKA_LIBS},
	{"chdb", required_argument, NULL, OPT_CHDB},
	{"chembed", required_argument, NULL, OPT_CHEMBED},
	{"sluiced", required_argument, NULL, OPT_SLUICED},
	{"config", required_argument, NULL, OPT_CONFIG},
	{"set", required_argument, NULL, OPT_SET},
	{"kafka-port", required_argument, NULL, OPT_KAFKA_PORT},
	{"clickhouse-port", required_argument, NULL, OPT_CLICKHOUSE_PORT},
	{"kafka-heap", required_argument, NULL, OPT_KAFKA_HEAP},
	{"state-file", required_argument, NULL, OPT_STATE},
	{"demo", no_argument, NULL, OPT_DEMO},
	{"servers-only", no_argument, NULL, OPT_SERVERS},
	{"help", no_argument, NULL, OPT_HELP},
	{"version", no_argument, NULL, OPT_VERSION},
	{NULL, 0, NULL, 0},
};

void sup_opts_help(void)
{
	printf("sluice-supervisor: starts and watches Kafka, ClickHouse and sluiced, for trial use\n\n"
	       "  --data DIR              directory of all data and logs (./sluice-data)\n"
	       "  --kafka HOST:PORT       use this cluster instead of starting a broker\n"
	       "  --clickhouse URL        use this server instead of starting one\n"
	       "  --kafka-port N          port of the broker that is started (a free one)\n"
	       "  --clickhouse-port N     HTTP port of the ClickHouse that is started (a free one)\n"
	       "  --kafka-heap SIZE       Java heap of the broker (384m)\n"
	       "  --kafka-libs DIR        Kafka's jars ($SLUICE_CACHE/kafka-libs, see ./run deps)\n"
	       "  --chdb FILE             the ClickHouse engine ($SLUICE_CACHE/chdb/libchdb.so)\n"
	       "  --chembed FILE          its launcher (beside this program)\n"
	       "  --sluiced FILE          the daemon (beside this program)\n"
	       "  --config FILE           configuration of sluiced\n"
	       "  --set SECTION.KEY=V     passed on to sluiced; may be repeated\n"
	       "  --state-file FILE       addresses and process ids as key=value lines\n"
	       "  --servers-only          do not start sluiced\n"
	       "  --demo                  a sluiced that ends is reported, not started again\n"
	       "  --version               print the version\n");
}

static int copy(char *to, size_t bytes, const char *from, const char *what, struct err *err)
{
	if (strlen(from) >= bytes)
		return err_set(err, -EINVAL, "%s: longer than %zu bytes", what, bytes - 1);
	memcpy(to, from, strlen(from) + 1);
	return 0;
}

static int port(uint16_t *to, const char *text, struct err *err)
{
	char *end;
	unsigned long v = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || v > 65535)
		return err_set(err, -EINVAL, "%s: expected a port, 0 to 65535", text);
	*to = (uint16_t)v;
	return 0;
}

/* The first of these places, seen from the folder of this program, where there is such a program; else the
 * first: installed together, or as the build lays them out. */
static void find_program(char *out, size_t bytes, const char *dir, const char *const place[2])
{
	for (int i = 0; i < 2; i++) {
		snprintf(out, bytes, "%s/%s", dir, place[i]);
		if (access(out, X_OK) == 0)
			return;
	}
	snprintf(out, bytes, "%s/%s", dir, place[0]);
}

static void defaults(struct sup_opts *o)
{
	static const char *const chembed[2] = {"chembed", "../chembed"};
	static const char *const sluiced[2] = {"sluiced", "../../controlplane/sluiced"};
	const char *cache = getenv("SLUICE_CACHE"), *home = getenv("HOME"), *dir;
	char base[200], self[200] = "";
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);

	memset(o, 0, sizeof *o);
	if (cache && *cache)
		snprintf(base, sizeof base, "%s", cache);
	else
		snprintf(base, sizeof base, "%s/.cache/sluice", home && *home ? home : "/root");
	snprintf(o->data, sizeof o->data, "sluice-data");
	snprintf(o->kafka_libs, sizeof o->kafka_libs, "%s/kafka-libs", base);
	snprintf(o->chdb, sizeof o->chdb, "%s/chdb/libchdb.so", base);
	snprintf(o->kafka_heap, sizeof o->kafka_heap, "384m");
	dir = n > 0 ? dirname(self) : ".";
	find_program(o->chembed, sizeof o->chembed, dir, chembed);
	find_program(o->sluiced, sizeof o->sluiced, dir, sluiced);
}

static int take(struct sup_opts *o, int option, const char *value, struct err *err)
{
	switch (option) {
	case OPT_DATA:
		return copy(o->data, sizeof o->data, value, "--data", err);
	case OPT_KAFKA:
		o->kafka = value;
		return 0;
	case OPT_CLICKHOUSE:
		o->clickhouse = value;
		return 0;
	case OPT_KAFKA_LIBS:
		return copy(o->kafka_libs, sizeof o->kafka_libs, value, "--kafka-libs", err);
	case OPT_CHDB:
		return copy(o->chdb, sizeof o->chdb, value, "--chdb", err);
	case OPT_CHEMBED:
		return copy(o->chembed, sizeof o->chembed, value, "--chembed", err);
	case OPT_SLUICED:
		return copy(o->sluiced, sizeof o->sluiced, value, "--sluiced", err);
	case OPT_CONFIG:
		o->config = value;
		return 0;
	case OPT_SET:
		if (o->set_count == SUP_SETS_MAX)
			return err_set(err, -EINVAL, "more than %d times --set", SUP_SETS_MAX);
		o->set[o->set_count++] = value;
		return 0;
	case OPT_KAFKA_PORT:
		return port(&o->kafka_port, value, err);
	case OPT_CLICKHOUSE_PORT:
		return port(&o->clickhouse_port, value, err);
	case OPT_KAFKA_HEAP:
		return copy(o->kafka_heap, sizeof o->kafka_heap, value, "--kafka-heap", err);
	case OPT_STATE:
		return copy(o->state_file, sizeof o->state_file, value, "--state-file", err);
	case OPT_DEMO:
		o->demo = true;
		return 0;
	default:
		o->servers_only = true;
		return 0;
	}
}

enum sup_opts_result sup_opts_parse(struct sup_opts *o, int argc, char **argv, struct err *err)
{
	int option;

	defaults(o);
	optind = 0;
	opterr = 0;
	while ((option = getopt_long(argc, argv, "+", rows, NULL)) != -1) {
		if (option == OPT_HELP)
			return SUP_OPTS_HELP;
		if (option == OPT_VERSION)
			return SUP_OPTS_VERSION;
		if (option == '?') {
			err_set(err, -EINVAL,
				"%s: no such option, or its value is missing; --help lists them",
				argv[optind - 1]);
			return SUP_OPTS_WRONG;
		}
		if (take(o, option, optarg, err))
			return SUP_OPTS_WRONG;
	}
	if (optind < argc) {
		err_set(err, -EINVAL, "%s: not understood; options begin with --", argv[optind]);
		return SUP_OPTS_WRONG;
	}
	if (o->servers_only && o->kafka && o->clickhouse) {
		err_set(err, -EINVAL, "nothing to start");
		return SUP_OPTS_WRONG;
	}
	return SUP_OPTS_RUN;
}
