/* Writes events into a real journal and delivers it by the real Kafka sink, in one process, as the daemon
 * does. Killed and started again by the tests; made to crash by SLUICE_CRASH. kafka_feed DIR BROKERS PREFIX
 * RF EVENTS RATE [DRAIN_MS] Ends when EVENTS are fed (0: only what the journal has is delivered) or at
 * SIGTERM, then drains. Prints a line a partition. Exit: 0 all delivered, 3 not all, 1 error. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "eal_rig.h"
#include "log.h"
#include "sink.h"
#include "sink_rig.h"

/* This program has the Kafka sinks only; the runner's table names all. */
const struct sink_ops sink_clickhouse_ops, sink_webhook_ops;

static volatile sig_atomic_t stop_asked;

static void on_signal(int number)
{
	(void)number;
	stop_asked = 1;
}

static int fail(const char *what, const struct err *err)
{
	fprintf(stderr, "kafka_feed: %s: %s\n", what, err->text);
	return 1;
}

static void feed_all(struct rig_feed *feed, uint64_t events, uint64_t rate)
{
	uint64_t start = clock_mono_ns();

	for (uint64_t n = 0; n < events && !stop_asked; n++) {
		rig_feed_event(feed, n);
		if (n % 100 != 99)
			continue;
		rig_feed_seal(feed);
		while (rate && !stop_asked && clock_mono_ns() - start < (n + 1) * 1000000000ull / rate)
			nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	}
	rig_feed_seal(feed);
}

static int report(const struct sink_group *group, struct journal *j)
{
	int rc = 0;

	for (uint32_t p = 0; p < group->part_count; p++) {
		const struct sink_stats *s = &group->part[p].stats;
		uint64_t durable = journal_durable_offset(j, p);

		printf("%s partition=%u position=%lu durable=%lu events=%lu suppressed=%lu alerts=%lu "
		       "dead=%lu "
		       "other=%lu "
		       "commits=%lu retries=%lu errors=%lu\n",
			group->name, p, s->position, durable, s->events, s->suppressed, s->alerts, s->dead,
			s->other, s->commits, s->retries, s->errors);
		if (s->position != durable)
			rc = 3;
	}
	return rc;
}

static int drain(struct sink_group *group, struct journal *j, uint64_t drain_ms)
{
	uint64_t start = clock_mono_ns();
	int rc;

	sinks_stop(group, drain_ms);
	rc = report(&group[SINK_kafka], j) | report(&group[SINK_kafka_alerts], j);
	printf("stopped in %lu ms\n", (clock_mono_ns() - start) / 1000000);
	sinks_free(group);
	return rc;
}

int main(int argc, char **argv)
{
	static struct config cfg;
	static struct sink_group group[SINK_GROUP_MAX];
	struct journal_params params;
	struct sink_env env = {.cfg = &cfg, .data_dir = cfg.node.data_dir};
	struct handoff handoff;
	struct rig_feed feed = {.handoff = &handoff, .nonce = clock_mono_ns() ^ (uint64_t)getpid() << 40};
	struct err err = {0};
	bool writers;
	int rc;

	if (argc < 7) {
		fprintf(stderr, "kafka_feed DIR BROKERS PREFIX RF EVENTS RATE [DRAIN_MS]\n");
		return 2;
	}
	log_init(LOG_LEVEL_INFO, false);
	signal(SIGTERM, on_signal);
	rig_eal("feed");
	mkdir(argv[1], 0755);
	rig_config(&cfg, argv[2], argv[3], strtoull(argv[4], NULL, 10));
	rig_journal_params(&params, argv[1]);
	feed.generation = rig_ruleset(&env.rules, argv[1], &err);
	if (!feed.generation)
		return fail("rules", &err);
	writers = strcmp(argv[5], "-") != 0;
	if (handoff_create(&handoff, 1, RIG_PARTITIONS, 16, 65536, &err) ||
		journal_open(&env.journal, &params, &err) ||
		(writers && journal_start(env.journal, &handoff, &err)))
		return fail("journal", &err);
	/* The comparison reads the whole journal: a consumer without a position keeps it. */
	for (uint32_t p = 0; p < RIG_PARTITIONS; p++)
		if (journal_consumer_add(env.journal, p, "comparison", &err) < 0)
			return fail("journal", &err);
	if (sinks_start(group, &env, &err))
		return fail("sinks", &err);
	if (writers) {
		feed_all(&feed, strtoull(argv[5], NULL, 10), strtoull(argv[6], NULL, 10));
		journal_stop(env.journal);
	}
	rc = drain(group, env.journal, argc > 7 ? strtoull(argv[7], NULL, 10) : 60000);
	journal_close(env.journal);
	handoff_free(&handoff);
	ruleset_store_close(env.rules);
	return rc;
}
