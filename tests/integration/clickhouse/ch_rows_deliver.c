/* A process with an output log and the ClickHouse sink, for tests that kill it:
 *
 *   ch_rows_deliver run DIR URL DATABASE FEED   takes up the log in DIR, feeds FEED new records to each
 * partition, ends when all is delivered: exit 0; refused: 3; SIGTERM: 4 ch_rows_deliver rows DIR what must be
 * at the server: table, partition, offset, what it adds Environment: CH_RANGE_EVENTS, CH_RANGE_AGE_MS,
 * CH_TIMEOUT_MS, CH_FEED_PAUSE_MS, SLUICE_CRASH. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "eal_rig.h"
#include "rows_rig.h"

/* This process has no other sink. */
const struct sink_ops sink_kafka_ops = {.name = "kafka"}, sink_kafka_alerts_ops = {.name = "kafka_alerts"},
		      sink_webhook_ops = {.name = "webhook"};

static volatile sig_atomic_t stop_wanted;

static void on_signal(int signo)
{
	(void)signo;
	stop_wanted = 1;
}

static uint64_t env_number(const char *name, uint64_t missing)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 10) : missing;
}

static void config_make(struct config *cfg, char **arg)
{
	cfg->clickhouse.enabled = true;
	cfg->clickhouse.create = true;
	snprintf(cfg->node.data_dir, sizeof cfg->node.data_dir, "%s", arg[0]);
	cfg->clickhouse.letters_max = 64 << 20;
	snprintf(cfg->clickhouse.url, sizeof cfg->clickhouse.url, "%s", arg[1]);
	snprintf(cfg->clickhouse.database, sizeof cfg->clickhouse.database, "%s", arg[2]);
	snprintf(cfg->clickhouse.user, sizeof cfg->clickhouse.user, "default");
	cfg->clickhouse.range_events = env_number("CH_RANGE_EVENTS", 2000);
	cfg->clickhouse.range_age = env_number("CH_RANGE_AGE_MS", 50);
	cfg->clickhouse.dedup_window = 10000;
	cfg->clickhouse.timeout = env_number("CH_TIMEOUT_MS", 30000);
}

/* 0; 3: refused; 4: stopped. */
static int wait_delivered(struct sink_group *group)
{
	for (;; nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL)) {
		uint32_t done = 0, parts = 0;

		for (uint32_t g = 0; g < SINK_GROUP_MAX; g++)
			for (uint32_t p = 0; p < group[g].part_count; p++) {
				struct sink_part *part = &group[g].part[p];

				if (atomic_load(&part->stats.state) == SINK_REFUSED) {
					fprintf(stderr, "refused: %s\n", part->error);
					return 3;
				}
				parts++;
				done += atomic_load(&part->stats.state) == SINK_RUNNING &&
					atomic_load(&part->stats.position) >=
						journal_durable_offset(part->journal, p);
			}
		if (done == parts)
			return 0;
		if (stop_wanted)
			return 4;
	}
}

static void totals_print(const struct sink_group *group)
{
	uint64_t rows = 0, late = 0, alerts = 0, suppressed = 0, other = 0;

	for (uint32_t p = 0; p < group->part_count; p++) {
		const struct sink_stats *s = &group->part[p].stats;

		rows += atomic_load(&s->rows);
		late += atomic_load(&s->late);
		alerts += atomic_load(&s->alerts);
		suppressed += atomic_load(&s->suppressed);
		other += atomic_load(&s->other);
	}
	printf("rows=%lu late=%lu alerts=%lu suppressed=%lu other=%lu\n", rows, late, alerts, suppressed,
		other);
	fflush(stdout);
}

static int run(char **arg)
{
	static struct sink_group group[SINK_GROUP_MAX];
	static struct config cfg;
	static struct rows_rig rig;
	struct sink_env env = {.cfg = &cfg, .data_dir = cfg.node.data_dir};
	struct err err;
	int rc;

	rig_eal("rows-deliver");
	signal(SIGTERM, on_signal);
	config_make(&cfg, arg);
	rows_rig_open(&rig, arg[0], &env);
	if (sinks_register(&env, &err)) {
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	rows_rig_start(&rig);
	if (sinks_start(group, &env, &err)) {
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	printf("started\n");
	fflush(stdout);
	rows_rig_feed(
		&rig, strtoull(arg[3], NULL, 10), (uint32_t)env_number("CH_FEED_PAUSE_MS", 0), &stop_wanted);
	rows_rig_stop(&rig);
	rc = wait_delivered(group);
	totals_print(&group[SINK_LOG_OUTPUT * SINK_ID_MAX + SINK_clickhouse]);
	sinks_stop(group, 5000);
	sinks_free(group);
	rows_rig_close(&rig);
	return rc;
}

static struct rows_rig offline;

static int block_rows(void *arg, const struct journal_scan_block *b)
{
	static const char *const table[ROWS_WINDOWS] = {"pages_agg", "visits", "buy", NULL, "pages_old_agg"};
	struct bytes record = {0};

	for (uint32_t i = 0; b->intact && i < b->block.record_count; i++) {
		uint32_t partition = b->block.partition;
		uint64_t n = b->block.first_offset + i;
		struct rows_record r = rows_rig_record(&offline, partition, n, &record);
		const char *name = r.fate == ROWS_ROW	    ? table[r.window]
				   : r.fate == ROWS_ALERTED ? "alerts"
				   : r.fate == ROWS_LATE    ? "events_late"
							    : NULL;

		if (name)
			printf("%s\t%u\t%lu\t%ld\n", name, partition, n, r.count);
		*(uint64_t *)arg = n + 1;
	}
	bytes_free(&record);
	return b->intact ? 0 : 1;
}

static int rows(const char *dir)
{
	char path[300];
	struct err err;

	rows_rig_windows(&offline);
	snprintf(path, sizeof path, "%s/output", dir);
	for (uint32_t p = 0; p < ROWS_PARTITIONS; p++) {
		uint64_t end = 0;

		if (journal_scan(path, p, block_rows, &end, &err) < 0) {
			fprintf(stderr, "scan: %s\n", err.text);
			return 1;
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 6 && strcmp(argv[1], "run") == 0)
		return run(argv + 2);
	if (argc == 3 && strcmp(argv[1], "rows") == 0)
		return rows(argv[2]);
	fprintf(stderr, "usage: ch_rows_deliver run DIR URL DATABASE FEED | rows DIR\n");
	return 2;
}
