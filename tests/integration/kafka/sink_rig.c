/* Configuration, rules and events of the sink tests. The events are records as a worker writes them (by the
 * same functions): clicks, platform events, events with rule hits, suppressed ones, refused ones. */
#include "sink_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "hash.h"

static const char rules_text[] = "rules:\n"
				 "  - id: only-tag\n"
				 "    title: Tagged\n"
				 "    severity: info\n"
				 "    when: {page: {prefix: /tag}}\n"
				 "    then: [tag]\n"
				 "  - id: alerting\n"
				 "    title: Says \"alert\"\n"
				 "    severity: high\n"
				 "    when: {page: {prefix: /alert}}\n"
				 "    then: [alert, tag]\n"
				 "  - id: alert-and-drop\n"
				 "    title: Alerts, then drops\n"
				 "    severity: critical\n"
				 "    when: {page: {prefix: /drop}}\n"
				 "    then: [alert, drop]\n";

static uint64_t number_of(const char *name)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 10) : 0;
}

static void text_of(config_str out, const char *name)
{
	const char *text = getenv(name);

	snprintf(out, sizeof(config_str), "%s", text ? text : "");
}

void rig_config(struct config *cfg, const char *brokers, const char *prefix, uint64_t replication)
{
	struct config_kafka *k = &cfg->kafka;

	memset(cfg, 0, sizeof *cfg);
	k->enabled = true;
	snprintf(k->brokers, sizeof k->brokers, "%s", brokers);
	snprintf(k->topic_click, sizeof k->topic_click, "%s.click", prefix);
	snprintf(k->topic_platform, sizeof k->topic_platform, "%s.platform", prefix);
	snprintf(k->topic_alerts, sizeof k->topic_alerts, "%s.alerts", prefix);
	/* Without raw events: the rest must be there all the same. */
	k->events = !getenv("RIG_EVENTS_OFF");
	k->enriched = true;
	snprintf(k->topic_enriched, sizeof k->topic_enriched, "%s.enriched", prefix);
	snprintf(k->topic_dead, sizeof k->topic_dead, "%s.dead", prefix);
	snprintf(k->topic_positions, sizeof k->topic_positions, "%s.positions", prefix);
	k->partitions = 12;
	k->partitions_other = 6;
	k->replication = replication;
	k->min_isr = replication > 1 ? replication - 1 : 1;
	k->tx_events_max = 5000;
	k->tx_age = 100;
	k->tx_age_alerts = 5;
	k->tx_timeout = 60000;
	/* Shorter than the daemon's configuration allows: tests wait for transactions to time out. */
	if (getenv("RIG_TX_TIMEOUT_MS")) {
		k->tx_timeout = strtoull(getenv("RIG_TX_TIMEOUT_MS"), NULL, 10);
		snprintf(k->options, sizeof k->options, "socket.timeout.ms=%lu", k->tx_timeout);
	}
	k->compression = 1;
	k->mode = getenv("RIG_AT_LEAST_ONCE") ? 1 : 0;
	k->security = (int)number_of("RIG_SECURITY");
	k->sasl_mechanism = (int)number_of("RIG_SASL_MECHANISM");
	snprintf(k->headers, sizeof k->headers, "%s",
		getenv("RIG_HEADERS") ? getenv("RIG_HEADERS") : "address,content-type,event-id");
	text_of(k->ca_file, "RIG_CA");
	text_of(k->cert_file, "RIG_CERT");
	text_of(k->key_file, "RIG_KEY");
	text_of(k->sasl_user, "RIG_USER");
	text_of(k->sasl_password_file, "RIG_PASSWORD");
}

void rig_journal_params(struct journal_params *params, const char *dir)
{
	*params = (struct journal_params){
		.node = RIG_NODE,
		.partitions = RIG_PARTITIONS,
		.block_bytes = 131072,
		.block_age_us = 1000,
		.segment_bytes = 4 << 20,
		.segments_max = 32,
		.inflight = 4,
		.cache_blocks = 8,
		.dedup_window_ms = 60000,
		.dedup_ids_max = 100000,
		.out_of_orderness_ms = 10000,
		.tick_ms = 500,
	};
	snprintf(params->dir, sizeof params->dir, "%s/journal", dir);
}

uint32_t rig_ruleset(struct ruleset_store **store, const char *dir, struct err *err)
{
	const struct rule_source source = {"rig.yaml", rules_text, sizeof rules_text - 1, false};
	struct ruleset *rs = NULL;
	uint32_t generation = 0;
	char path[300];

	snprintf(path, sizeof path, "%s/rulesets", dir);
	if (ruleset_store_open(store, path, err) || ruleset_compile(&rs, &source, 1, 100, err))
		return 0;
	if (ruleset_store_put(*store, rs, &generation, err))
		generation = 0;
	ruleset_free(rs);
	return generation;
}

static struct span span_of(const char *raw, const char *value)
{
	const char *at = strstr(raw, value);

	return (struct span){(uint16_t)(at - raw), (uint16_t)strlen(value)};
}

/* A batch with room for one more record of at most 4 KiB; waits for the partition's writer if need be. */
static struct batch *batch_of(struct rig_feed *feed, uint32_t partition)
{
	struct batch_lane *lane = handoff_lane(feed->handoff, 0, partition);
	struct batch *b = feed->open[partition];

	if (b && b->capacity - b->bytes < 4096) {
		feed->open[partition] = NULL;
		batch_hand_over(feed->handoff, b);
		b = NULL;
	}
	if (b)
		return b;
	while (!(b = batch_take_empty(lane)))
		nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
	b->generation = feed->generation;
	b->opened_ns = clock_mono_ns();
	b->receive_first_ms = clock_wall_ms();
	b->watermark_base_ms = INT64_MIN;
	memset(b->drop_delta, 0, sizeof b->drop_delta);
	feed->open[partition] = b;
	return b;
}

static void put_event(struct rig_feed *feed, struct event *ev, const char *key, uint16_t flags)
{
	uint64_t hash = hash_bytes(key, strlen(key), 0);
	struct batch *b = batch_of(feed, (uint32_t)(hash % RIG_PARTITIONS));
	int64_t now = clock_wall_ms();

	ev->event_time_ms = now - 100;
	ev->dst_port = 9000;
	ev->src_port = 4000;
	memcpy(ev->src_addr, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x7f\0\0\x01", 16);
	if (ev->refused)
		b->bytes += record_write_refused(b->data + b->bytes, ev, hash, now, 4096);
	else
		b->bytes += record_write_event(b->data + b->bytes, ev, hash, now, flags);
	b->record_count++;
	b->receive_last_ms = now;
	b->watermark_base_ms = now - 100;
}

void rig_feed_event(struct rig_feed *feed, uint64_t n)
{
	static const uint16_t hits[][2] = {{0}, {1}, {0, 1}, {2}, {1, 2}};
	static const uint8_t hit_counts[] = {1, 1, 2, 1, 2};
	uint64_t a = hash_bytes(&n, sizeof n, feed->nonce), b = hash_u64(a);
	uint32_t which = n % 20 < 5 ? (uint32_t)(n % 20) : UINT32_MAX;
	char raw[512], user[32], id[40];
	struct event ev = {.raw = (uint8_t *)raw};

	snprintf(user, sizeof user, "u%lu", a % 1000);
	snprintf(id, sizeof id, "%08x-%04x-%04x-%04x-%012lx", (uint32_t)(a >> 32),
		(uint32_t)(a >> 16 & 0xffff), (uint32_t)(a & 0xffff), (uint32_t)(b >> 48),
		b & 0xffffffffffff);
	for (int i = 0; i < 8; i++) {
		ev.event_id[i] = (uint8_t)(a >> (56 - 8 * i));
		ev.event_id[8 + i] = (uint8_t)(b >> (56 - 8 * i));
	}
	ev.type = n % 3 ? EVENT_TYPE_click : EVENT_TYPE_platform;
	ev.raw_bytes = (uint32_t)snprintf(raw, sizeof raw,
		"{\"event_id\":\"%s\",\"user_id\":\"%s\",\"page\":\"/p/%lu\","
		"\"source\":\"web\",\"filler\":\"%0*d\"}",
		id, user, a % 50, (int)(a % 200), 0);
	ev.field_mask = FBIT(event_id) | FBIT(user_id) | FBIT(page) | FBIT(source);
	ev.field[FIELD_event_id] = span_of(raw, id);
	ev.field[FIELD_user_id] = span_of(raw, user);
	ev.field[FIELD_page] = span_of(raw, "/p/");
	ev.field[FIELD_source] = span_of(raw, "web");
	if (n % 4 == 0) {
		ev.tail = (const uint8_t *)"gold";
		ev.tail_bytes = 4;
		ev.field_mask |= FBIT(user_segment);
		ev.field[FIELD_user_segment] = (struct span){(uint16_t)ev.raw_bytes, 4};
	}
	if (which < 5) {
		ev.hit = hits[which];
		ev.hit_count = hit_counts[which];
	}
	if (n % 20 == 7) {
		ev.refused = DROP_bad_json;
		ev.type = EVENT_TYPE_NONE;
	}
	put_event(feed, &ev, user, which == 3 || which == 4 ? RECORD_F_SUPPRESSED : 0);
}

void rig_feed_seal(struct rig_feed *feed)
{
	for (uint32_t p = 0; p < RIG_PARTITIONS; p++) {
		if (feed->open[p])
			batch_hand_over(feed->handoff, feed->open[p]);
		feed->open[p] = NULL;
	}
}
