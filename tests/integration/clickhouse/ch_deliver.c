/* A process with a journal and the ClickHouse sink, for tests that kill it:
 *
 *   ch_deliver run DIR URL DATABASE FEED    takes up the journal in DIR, feeds FEED new events to it as a
 * worker would, and ends when everything durable is delivered: exit 0. SIGTERM: stops within CH_DRAIN_MS;
 * exit 4 if something is left. Refused: exit 3. ch_deliver rows DIR                     reads the journal
 * offline and prints the rows that must be at the server: table, partition, offset, event id or rule id
 * Environment: CH_RANGE_EVENTS, CH_RANGE_AGE_MS, CH_TIMEOUT_MS, CH_WINDOW, CH_DRAIN_MS, CH_NO_CREATE,
 * CH_FEED_PAUSE_MS (after every 128 events), CH_FEED_ON (further events until SIGUSR1), CH_FEED_KNOWN (no
 * event has keys that its type does not know), CH_LOST, CH_CA, CH_CERT, CH_KEY, CH_NO_VERIFY, CH_COMPRESSION
 * (0 none, 1 lz4, 2 zstd), SLUICE_CRASH. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "drops.h"
#include "eal_rig.h"
#include "hash.h"
#include "journal.h"
#include "made_event.h"
#include "sink.h"

#define PARTITIONS 4u
#define DAY_MS 86400000ll

/* This process has no other sink. */
const struct sink_ops sink_kafka_ops = {.name = "kafka"}, sink_kafka_alerts_ops = {.name = "kafka_alerts"},
		      sink_webhook_ops = {.name = "webhook"};

static volatile sig_atomic_t stop_wanted, feed_on;

/* In this order, so that index 0 tags, 1 alerts, 2 does both. */
static const char rules_yaml[] =
	"rules:\n"
	"  - id: r-tag\n    title: T\n    severity: low\n    when: {type: click, page: /t}\n    then: [tag]\n"
	"  - id: r-alert\n    title: A\n    severity: high\n    when: {type: click, page: /a}\n    then: "
	"[alert]\n"
	"  - id: r-both\n    title: B\n    severity: critical\n    when: {type: click, page: /b}\n    then: "
	"[alert, tag]\n";

static void die(const char *what, const struct err *err)
{
	fprintf(stderr, "ch_deliver: %s: %s\n", what, err->text);
	exit(1);
}

static uint64_t env_number(const char *name, uint64_t missing)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 10) : missing;
}

static void env_text(config_str out, const char *name)
{
	const char *text = getenv(name);

	snprintf(out, sizeof(config_str), "%s", text ? text : "");
}

static void nap_ms(long ms)
{
	nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

static struct journal_params params_of(const char *dir)
{
	struct journal_params p = {.partitions = PARTITIONS,
		.block_bytes = 131072,
		.block_age_us = 1000,
		.segment_bytes = 4 << 20,
		.segments_max = 64,
		.inflight = 4,
		.cache_blocks = 4,
		.dedup_window_ms = 600000,
		.dedup_ids_max = 1000000,
		.out_of_orderness_ms = 10000,
		.tick_ms = 200};

	snprintf(p.dir, sizeof p.dir, "%s/journal", dir);
	snprintf(p.node, sizeof p.node, "it's node 1");
	return p;
}

/* ---- feeding ---- */

static struct made_event made;

/* Event number n of this run: types, months, hits, suppression and refusals follow from n. */
static void event_make(uint64_t n, uint64_t run, bool known)
{
	static const uint16_t hits[] = {0, 1, 2};
	int64_t now = clock_wall_ms();
	uint64_t id = hash_u64(run + n);
	char text[64];

	if (n % 3)
		made_begin(&made, EVENT_TYPE_click,
			known ? "{\"page\":\"/x\",\"country\":\"\"}" : "{\"page\":\"/x\",\"unknown\":[1]}",
			now - (int64_t)(n % 4) * 16 * DAY_MS, id);
	else
		made_begin(&made, EVENT_TYPE_platform, "{\"source\":\"web\"}", now, id);
	made.ev.known = known;
	made.ev.field_mask |= FBIT(event_id);
	snprintf(text, sizeof text, "u%" PRIu64, n % 1000);
	made_text(&made, FIELD_user_id, text);
	if (n % 3 == 0) {
		made_text(&made, FIELD_source, "web");
		made_number(&made, FIELD_metric, (double)n);
	} else {
		snprintf(text, sizeof text, "/p/%" PRIu64, n % 777);
		made_text(&made, FIELD_page, text);
	}
	if (n % 40 == 0) {
		made.ev.hit = hits + n / 40 % 2;
		made.ev.hit_count = 2;
	}
}

static void record_put(struct batch *b, uint64_t n)
{
	int64_t now = clock_wall_ms();

	if (n % 100 == 50) {
		made.ev.refused = DROP_missing_field;
		made.ev.refused_field = FIELD_page;
		b->bytes += record_write_refused(b->data + b->bytes, &made.ev, n, now, 10);
	} else {
		b->bytes += record_write_event(
			b->data + b->bytes, &made.ev, n, now, n % 80 == 0 ? RECORD_F_SUPPRESSED : 0);
	}
	b->record_count++;
	b->receive_last_ms = now;
	b->watermark_base_ms = now;
}

static struct batch *batch_open(struct handoff *h, uint32_t partition, uint32_t generation)
{
	struct batch_lane *lane = handoff_lane(h, 0, partition);
	struct batch *b;

	while (!(b = batch_take_empty(lane)))
		nap_ms(1);
	b->generation = generation;
	b->receive_first_ms = b->receive_last_ms = clock_wall_ms();
	b->opened_ns = clock_mono_ns();
	b->watermark_base_ms = INT64_MIN;
	memset(b->drop_delta, 0, sizeof b->drop_delta);
	return b;
}

static void feed(struct handoff *h, uint32_t generation, uint64_t count)
{
	uint64_t run = hash_u64(clock_mono_ns() ^ (uint64_t)getpid() << 32);
	long pause_ms = (long)env_number("CH_FEED_PAUSE_MS", 0);
	bool known = getenv("CH_FEED_KNOWN") != NULL;
	uint64_t n = 0;

	while ((n < count || feed_on) && !stop_wanted) {
		uint32_t partition = (uint32_t)(n / 128 % PARTITIONS);
		struct batch *b = batch_open(h, partition, generation);

		for (uint32_t i = 0; i < 128 && (n < count || feed_on); i++, n++) {
			event_make(n, run, known);
			if (b->bytes + record_bytes_of(&made.ev) > b->capacity)
				break;
			record_put(b, n);
		}
		batch_hand_over(h, b);
		nap_ms(pause_ms);
	}
}

/* ---- run ---- */

static void on_signal(int signo)
{
	if (signo == SIGUSR1)
		feed_on = 0;
	else
		stop_wanted = 1;
}

static struct config config_of(char **arg)
{
	static struct config cfg;

	cfg.clickhouse.enabled = true;
	cfg.clickhouse.create = !getenv("CH_NO_CREATE");
	snprintf(cfg.node.data_dir, sizeof cfg.node.data_dir, "%s", arg[0]);
	snprintf(cfg.clickhouse.url, sizeof cfg.clickhouse.url, "%s", arg[1]);
	snprintf(cfg.clickhouse.database, sizeof cfg.clickhouse.database, "%s", arg[2]);
	snprintf(cfg.clickhouse.user, sizeof cfg.clickhouse.user, "default");
	env_text(cfg.clickhouse.lost, "CH_LOST");
	env_text(cfg.clickhouse.ca_file, "CH_CA");
	env_text(cfg.clickhouse.cert_file, "CH_CERT");
	env_text(cfg.clickhouse.key_file, "CH_KEY");
	cfg.clickhouse.tls_verify = !getenv("CH_NO_VERIFY");
	cfg.clickhouse.compression = (int)env_number("CH_COMPRESSION", 0);
	cfg.clickhouse.letters_max = env_number("CH_LETTERS_MAX", 64 << 20);
	cfg.clickhouse.range_events = env_number("CH_RANGE_EVENTS", 2000);
	cfg.clickhouse.range_age = env_number("CH_RANGE_AGE_MS", 50);
	cfg.clickhouse.dedup_window = env_number("CH_WINDOW", 10000);
	cfg.clickhouse.timeout = env_number("CH_TIMEOUT_MS", 30000);
	return cfg;
}

/* Waits until each partition is delivered. 0; 3: refused; 4: stopped. */
static int wait_delivered(const struct sink_group *group, const struct journal *j)
{
	for (;; nap_ms(10)) {
		uint32_t done = 0;

		for (uint32_t p = 0; p < group->part_count; p++) {
			struct sink_part *part = &group->part[p];

			if (atomic_load(&part->stats.state) == SINK_REFUSED) {
				fprintf(stderr, "refused: %s\n", part->error);
				return 3;
			}
			done += atomic_load(&part->stats.state) == SINK_RUNNING &&
				atomic_load(&part->stats.position) >= journal_durable_offset(j, p) &&
				!atomic_load(&part->stats.parked);
		}
		if (done == group->part_count)
			return 0;
		if (stop_wanted)
			return 4;
	}
}

static uint32_t rules_load(struct ruleset_store **store, const char *dir)
{
	struct rule_source source = {"rules.yaml", rules_yaml, sizeof rules_yaml - 1, false};
	struct ruleset *rs;
	uint32_t generation;
	struct err err;

	if (ruleset_store_open(store, dir, &err))
		die("rulesets", &err);
	if (ruleset_compile(&rs, &source, 1, 1000, &err))
		die("rules", &err);
	if (ruleset_store_put(*store, rs, &generation, &err))
		die("rulesets", &err);
	ruleset_free(rs);
	return generation;
}

/* CPU time of a sink's thread until now. */
static uint64_t thread_us(const struct sink_part *part)
{
	struct timespec used = {0};
	clockid_t clock;

	if (pthread_getcpuclockid(part->thread, &clock) == 0)
		clock_gettime(clock, &used);
	return (uint64_t)used.tv_sec * 1000000u + (uint64_t)used.tv_nsec / 1000u;
}

static void totals_print(const struct sink_group *group)
{
	uint64_t sum[9] = {0};

	for (uint32_t p = 0; p < group->part_count; p++) {
		const struct sink_stats *s = &group->part[p].stats;

		sum[0] += atomic_load(&s->events);
		sum[1] += atomic_load(&s->suppressed);
		sum[2] += atomic_load(&s->alerts);
		sum[3] += atomic_load(&s->dead);
		sum[4] += atomic_load(&s->other);
		sum[5] += atomic_load(&s->commits);
		sum[6] += atomic_load(&s->retries);
		sum[7] += atomic_load(&s->errors);
		sum[8] += thread_us(&group->part[p]);
	}
	printf("events=%lu suppressed=%lu alerts=%lu dead=%lu other=%lu commits=%lu retries=%lu errors=%lu "
	       "thread_us=%lu\n",
		sum[0], sum[1], sum[2], sum[3], sum[4], sum[5], sum[6], sum[7], sum[8]);
	fflush(stdout);
}

static int run(char **arg)
{
	static struct sink_group group[SINK_GROUP_MAX];
	struct journal_params params = params_of(arg[0]);
	struct config cfg = config_of(arg);
	struct sink_env env = {.cfg = &cfg, .data_dir = cfg.node.data_dir};
	struct handoff handoff;
	uint32_t generation;
	struct err err;
	int rc;

	rig_eal("deliver");
	feed_on = getenv("CH_FEED_ON") != NULL;
	signal(SIGTERM, on_signal);
	signal(SIGUSR1, on_signal);
	generation = rules_load(&env.rules, arg[0]);
	if (handoff_create(&handoff, 1, PARTITIONS, 4, 65536, &err))
		die("handoff", &err);
	if (journal_open(&env.journal, &params, &err))
		die("journal", &err);
	if (sinks_start(group, &env, &err))
		die("sinks", &err);
	if (journal_start(env.journal, &handoff, &err))
		die("journal", &err);
	printf("started\n");
	fflush(stdout);
	feed(&handoff, generation, strtoull(arg[3], NULL, 10));
	journal_stop(env.journal);
	rc = wait_delivered(&group[SINK_clickhouse], env.journal);
	totals_print(&group[SINK_clickhouse]);
	sinks_stop(group, env_number("CH_DRAIN_MS", 5000));
	sinks_free(group);
	journal_close(env.journal);
	ruleset_store_close(env.rules);
	handoff_free(&handoff);
	return rc;
}

/* ---- rows ---- */

static void row_print(const char *table, uint32_t partition, uint64_t offset, const struct record *rec)
{
	printf("%s\t%u\t%" PRIu64 "\t", table, partition, offset);
	for (int i = 0; i < 16; i++)
		printf("%02x", rec->event_id[i]);
	printf("\n");
}

static int rows_of_block(void *arg, const struct journal_scan_block *b)
{
	static const char *const alerting[] = {NULL, "r-alert", "r-both"};
	const uint8_t *at = b->block.data;

	(void)arg;
	for (uint32_t i = 0; b->intact && i < b->block.record_count; i++) {
		const struct record *rec = (const struct record *)at;
		uint64_t offset = b->block.first_offset + i;

		at += rec->bytes;
		if (rec->kind == RECORD_REFUSED)
			row_print("dead_letters", b->block.partition, offset, rec);
		if (rec->kind != RECORD_EVENT)
			continue;
		if (!(rec->flags & RECORD_F_SUPPRESSED))
			row_print(rec->type == EVENT_TYPE_click ? "clicks_raw" : "events_raw",
				b->block.partition, offset, rec);
		for (uint32_t k = 0; k < rec->hit_count; k++)
			if (alerting[record_hits(rec)[k]])
				printf("alerts\t%u\t%" PRIu64 "\t%s\n", b->block.partition, offset,
					alerting[record_hits(rec)[k]]);
	}
	return b->intact ? 0 : 1;
}

static int rows(const char *dir)
{
	struct journal_params params = params_of(dir);
	struct err err;

	for (uint32_t p = 0; p < PARTITIONS; p++)
		if (journal_scan(params.dir, p, rows_of_block, NULL, &err) < 0)
			die("scan", &err);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 6 && strcmp(argv[1], "run") == 0)
		return run(argv + 2);
	if (argc == 3 && strcmp(argv[1], "rows") == 0)
		return rows(argv[2]);
	fprintf(stderr, "usage: ch_deliver run DIR URL DATABASE FEED | rows DIR\n");
	return 2;
}
