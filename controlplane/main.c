/* sluiced: command line, checks, then the daemon. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "config_table.h"
#include "daemon.h"
#include "eal.h"
#include "event_config.h"
#include "format.h"
#include "frame_key.h"
#include "hash_process.h"
#include "log.h"
#include "options.h"
#include "protect.h"
#include "sink.h"
#include "version.h"

/* Workers, writers and sinks inherit the mask: signals arrive at the control server's signalfd only. */
static void signals_block(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
}

/* No program that this one might start gets more rights than it has; and what people did does not lie about
 * in core files unless somebody asks for them. */
static void rights_limit(const struct config *cfg)
{
	struct rlimit core;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		log_warn("control", "PR_SET_NO_NEW_PRIVS: %s", strerror(errno));
	if (cfg->control.core_files || getrlimit(RLIMIT_CORE, &core))
		return;
	/* Of files 1 byte is as good as none; a pipe gets a dump at 0, too, and none at 1 (core(5),
	 * do_coredump()). */
	core.rlim_cur = core.rlim_max < 1 ? core.rlim_max : 1;
	if (setrlimit(RLIMIT_CORE, &core))
		log_warn("control", "RLIMIT_CORE: %s", strerror(errno));
}

static const char no_sink[] =
	"no sink is enabled: events stay in the journal only until their segment is used again";

static bool sink_configured(const struct config *cfg)
{
	bool any = false;

#define SINK(id, name, section, help) any = any || cfg->section.enabled;
#include "sinks.def"
#undef SINK
	return any;
}

/* What reads no rule and no table. The files with keys are tried as the user of this process. */
static int config_checks(const struct config *cfg, struct err *err)
{
	int (*const each[])(const struct config *, struct err *) = {config_check, event_config_check,
		format_config_check, protect_config_check, frame_config_check};
	int rc = 0;

	for (size_t i = 0; i < sizeof each / sizeof *each && rc == 0; i++)
		rc = each[i](cfg, err);
	return rc;
}

static void window_note(void *arg, const char *text)
{
	fprintf(arg, "note: %s\n", text);
}

static int check(const struct config *cfg)
{
	struct enrich_set *tables = NULL;
	struct window_plan *plan = NULL;
	struct ruleset *rs = NULL;
	struct err err = {0};

	if (config_checks(cfg, &err) || sinks_check(cfg, &err) || rules_of_dir(cfg, &rs, &err) ||
		enrich_set_load(&tables, cfg, &err) ||
		(cfg->state.enabled && window_plan_make(&plan, cfg, &err))) {
		fprintf(stderr, "sluiced: %s\n", err.text);
		return 1;
	}
	printf("configuration, rules, windows and tables are valid (ports: %u, listeners: %u, rules: %u, "
	       "windows: %u); devices and servers are tried at start\n",
		cfg->ports_count, cfg->listeners_count, ruleset_rule_count(rs), plan ? plan->count : 0);
	if (!sink_configured(cfg))
		printf("note: %s\n", no_sink);
	if (plan)
		window_plan_fit(plan, window_note, stdout);
	/* No fault of a file that may be for another machine. */
	if (eal_cores_check(cfg, &err))
		printf("note: no start on this machine: %s\n", err.text);
	window_plan_free(plan);
	enrich_set_free(tables);
	ruleset_free(rs);
	return 0;
}

static int run(const struct config *cfg, int argc, char **argv)
{
	static struct daemon daemon;
	struct err err = {0};

	if (config_checks(cfg, &err) || eal_cores_check(cfg, &err)) {
		fprintf(stderr, "sluiced: %s\n", err.text);
		return 1;
	}
	log_init((enum log_level)cfg->log.level, cfg->log.format == 1);
	if (!sink_configured(cfg))
		log_warn("control", "%s", no_sink);
	/* That sink will refuse by itself: it is no reason to take no events, nor to starve the others. */
	if (sinks_check(cfg, &err))
		log_error("control", "%s", err.text);
	signals_block();
	umask(027);
	rights_limit(cfg);
	if (daemon_start(&daemon, cfg, argc, argv, &err)) {
		log_error("control", "%s", err.text);
		return 1;
	}
	daemon_run(&daemon);
	daemon_end(&daemon);
	return 0;
}

static int change(const struct config *cfg, bool raise)
{
	struct err err = {0};

	log_init((enum log_level)cfg->log.level, cfg->log.format == 1);
	umask(027);
	if (config_check(cfg, &err) || event_config_check(cfg, &err) || repartition(cfg, raise, &err)) {
		fprintf(stderr, "sluiced: %s\n", err.text);
		return 1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	static struct config cfg;
	struct err err = {0};
	enum options_do what;
	int rc = options_read(argc, argv, &cfg, &what, &err);

	if (rc == 0)
		rc = hash_process_key_draw(&err);
	if (what == OPTIONS_HELP) {
		options_help(stdout);
		return 0;
	}
	if (rc) {
		fprintf(stderr, "sluiced: %s\n", err.text);
		return 1;
	}
	switch (what) {
	case OPTIONS_VERSION:
		version_print("sluiced");
		return 0;
	case OPTIONS_PRINT:
		config_print(&cfg, stdout, true);
		return 0;
	case OPTIONS_CHECK:
		return check(&cfg);
	case OPTIONS_REPARTITION:
	case OPTIONS_REPARTITION_RAISE:
		return change(&cfg, what == OPTIONS_REPARTITION_RAISE);
	default:
		return run(&cfg, argc, argv);
	}
}
