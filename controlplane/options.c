/* sluiced's command line. Start-up only. */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <string.h>

enum {
	OPT_CONFIG = 256,
	OPT_SET,
	OPT_KAFKA,
	OPT_CLICKHOUSE,
	OPT_CHECK,
	OPT_PRINT,
	OPT_VERSION,
	OPT_HELP,
	OPT_REPARTITION
};

static const struct option option_table[] = {
	{"config", required_argument, NULL, OPT_CONFIG},
	{"set", required_argument, NULL, OPT_SET},
	{"kafka", required_argument, NULL, OPT_KAFKA},
	{"clickhouse", required_argument, NULL, OPT_CLICKHOUSE},
	{"check-config", no_argument, NULL, OPT_CHECK},
	{"print-config", no_argument, NULL, OPT_PRINT},
	{"repartition", optional_argument, NULL, OPT_REPARTITION},
	{"version", no_argument, NULL, OPT_VERSION},
	{"help", no_argument, NULL, OPT_HELP},
	{0},
};

void options_help(FILE *out)
{
	fputs("usage: sluiced [--config FILE] [--set section.key=value]... [--kafka=HOST:PORT] "
	      "[--clickhouse=URL]\n"
	      "               [--check-config | --print-config | --repartition[=raise] | --version | "
	      "--help]\n\n"
	      "  --config FILE            configuration (YAML); docs/config.md lists the keys\n"
	      "  --set section.key=value  set one key; stands above the file; repeatable\n"
	      "  --kafka=HOST:PORT        deliver to this Kafka (kafka.enabled, kafka.brokers)\n"
	      "  --clickhouse=URL         deliver to this ClickHouse (clickhouse.enabled, clickhouse.url)\n"
	      "  --check-config           check configuration and rules, run nothing; exit code 0 or 1\n"
	      "  --print-config           print the configuration that would be in force, as YAML\n"
	      "  --repartition[=raise]    change the data directory to journal.partitions, while no daemon "
	      "runs;\n"
	      "                           raise: also if watermarks of partitions are far apart\n"
	      "  --version                print the version\n\n"
	      "SIGTERM drains and ends (exit code 0); another one, a second later or more, ends at once.\n"
	      "SIGHUP reads FILE again, as `sluicectl config reload` does.\n",
		out);
}

/* enabled=true and one more key of a section. */
static int sink_set(
	struct config *cfg, const char *section, const char *key, const char *value, struct err *err)
{
	char text[400];
	int rc;

	snprintf(text, sizeof text, "%s.enabled=true", section);
	rc = config_set(cfg, text, err);
	if (rc)
		return rc;
	snprintf(text, sizeof text, "%s.%s=%s", section, key, value);
	return config_set(cfg, text, err);
}

static int option_apply(int opt, struct config *cfg, enum options_do *what, struct err *err)
{
	int rc = 0;

	switch (opt) {
	case OPT_CONFIG:
		break; /* read before the others */
	case OPT_SET:
		rc = config_set(cfg, optarg, err);
		break;
	case OPT_KAFKA:
		rc = sink_set(cfg, "kafka", "brokers", optarg, err);
		break;
	case OPT_CLICKHOUSE:
		rc = sink_set(cfg, "clickhouse", "url", optarg, err);
		break;
	case OPT_CHECK:
		*what = OPTIONS_CHECK;
		break;
	case OPT_PRINT:
		*what = OPTIONS_PRINT;
		break;
	case OPT_REPARTITION:
		if (optarg && strcmp(optarg, "raise") != 0)
			return err_set(err, -EINVAL, "--repartition=%.40s: only raise can be given", optarg);
		*what = optarg ? OPTIONS_REPARTITION_RAISE : OPTIONS_REPARTITION;
		break;
	case OPT_VERSION:
		*what = OPTIONS_VERSION;
		break;
	case OPT_HELP:
		*what = OPTIONS_HELP;
		break;
	default:
		return err_set(err, -EINVAL, "unknown option; sluiced --help lists all");
	}
	if (rc && opt != OPT_CONFIG)
		err_prefix(err, "command line");
	return rc;
}

int options_read(int argc, char **argv, struct config *cfg, enum options_do *what, struct err *err)
{
	const char *file = NULL;
	int opt, rc = 0;

	*what = OPTIONS_RUN;
	opterr = 0;
	optind = 0;
	while ((opt = getopt_long(argc, argv, "", option_table, NULL)) != -1) {
		if (opt == OPT_CONFIG && file)
			return err_set(err, -EINVAL, "--config: given twice");
		if (opt == OPT_CONFIG)
			file = optarg;
		if (opt == '?')
			return err_set(err, -EINVAL,
				"%.80s: unknown option or without its value; sluiced --help lists all",
				argv[optind - 1]);
	}
	if (optind < argc)
		return err_set(err, -EINVAL, "%.80s: unexpected; sluiced --help lists all", argv[optind]);
	if (file)
		rc = config_load(cfg, file, err);
	else
		config_defaults(cfg);
	optind = 0;
	while (rc == 0 && (opt = getopt_long(argc, argv, "", option_table, NULL)) != -1)
		rc = option_apply(opt, cfg, what, err);
	return rc;
}
