/* The open span: journal records [committed, next) that one transaction will hold. The part's sink thread. */
#include "kafka_priv.h"

#include <errno.h>

#include "clock.h"
#include "enriched_json.h"

/* A span without messages (ticks, control records, suppressed events) is committed no more often than this.
 */
#define SPAN_EMPTY_AGE_MS 2000u
#define SPAN_BEHIND_MS 1000
#define SPAN_CATCH_UP_MAX_MS 1000u

/* The event once more, with what we know about it: in the same transaction, hence there exactly as often. */
static int span_enriched(struct kafka_part *kp, const struct record *rec, const struct record_key *key,
	uint32_t generation, struct err *err)
{
	int rc = rec->hit_count ? sink_ruleset_get(&kp->rules, kp->part->env, generation, &kp->at, err) : 0;

	bytes_reset(&kp->json);
	if (rc == 0)
		rc = enriched_json_put(&kp->json, rec, &kp->at, kp->rules.rs, err);
	if (rc)
		return rc;
	if (kp->json.failed)
		return err_set(err, -EIO, "no memory for an enriched event");
	kafka_message_enriched(&kp->msg, kp->headers, rec, key, &kp->at, &kp->json);
	kp->tally.bytes += kp->msg.value_bytes;
	return kafka_tx_produce(kp, &kp->msg, err);
}

/* To the topic of its type, or of the rule. */
static int span_raw(struct kafka_part *kp, const struct record *rec, const struct record_key *key,
	const char *rule_id, struct err *err)
{
	int rc = rule_id ? kafka_message_routed(&kp->msg, kp->headers, rec, key, &kp->at, rule_id)
			 : kafka_message_event(&kp->msg, kp->headers, rec, key, &kp->at);

	if (rc)
		return err_set(err, -EINVAL,
			"journal offset %lu of partition %u: event type %u has no topic here", kp->at.offset,
			kp->at.partition, rec->type);
	kp->tally.events++;
	kp->tally.bytes += kp->msg.value_bytes;
	return kafka_tx_produce(kp, &kp->msg, err);
}

static int span_event(struct kafka_part *kp, const struct record *rec, uint32_t generation, struct err *err)
{
	bool wanted = !(rec->flags & RECORD_F_SUPPRESSED), raw;
	bool enriched = wanted && kp->tx.topic[KAFKA_TOPIC_ENRICHED];
	const char *rule_id = NULL;
	struct record_key key;
	int rc = wanted ? kafka_route_of(kp, rec, generation, &rule_id, err) : 0;

	if (rc)
		return rc;
	raw = wanted && (kafka_config(kp)->events || rule_id);
	if (!raw)
		kp->tally.suppressed++;
	if (!raw && !enriched)
		return 0;
	record_key_of(&key, rec);
	if (raw)
		rc = span_raw(kp, rec, &key, rule_id, err);
	if (rc == 0 && enriched)
		rc = span_enriched(kp, rec, &key, generation, err);
	return rc;
}

static int span_record(struct kafka_part *kp, const struct record *rec, uint32_t generation, struct err *err)
{
	uint32_t messages = kp->tx.messages;
	int rc = 0;

	if (kp->next == kp->committed)
		kp->span_start_ns = clock_mono_ns();
	if (kp->lane == KAFKA_LANE_ALERTS) {
		rc = kafka_alerts_record(kp, rec, generation, err);
	} else if (rec->kind == RECORD_EVENT && kp->part->log == SINK_LOG_INPUT) {
		rc = span_event(kp, rec, generation, err);
	} else if (rec->kind == RECORD_REFUSED && kp->part->log == SINK_LOG_INPUT) {
		kafka_message_dead(&kp->msg, rec, &kp->at);
		rc = kafka_tx_produce(kp, &kp->msg, err);
		kp->tally.dead++;
		kp->tally.bytes += kp->msg.value_bytes;
	} else if (kp->part->log == SINK_LOG_OUTPUT) {
		rc = kafka_rows_record(kp, rec, err);
	} else {
		kp->tally.other++;
	}
	if (rec->receive_time_ms)
		kp->tally.last_time_ms = rec->receive_time_ms;
	/* The age of marks and ticks is not that of the first message behind them: it would go alone, and
	 * what comes with it would wait for that commit. */
	if (!messages && kp->tx.messages)
		kp->span_start_ns = clock_mono_ns();
	return rc;
}

/* Offsets are dense: a hole would be a loss. */
static int span_hole(const struct kafka_part *kp, uint64_t offset, struct err *err)
{
	return err_set(err, -EIO, "journal partition %u: offset %lu follows %lu", kp->at.partition, offset,
		kp->next);
}

bool kafka_span_wants(void *arg, const struct journal_block *block)
{
	struct kafka_part *kp = arg;
	const struct journal_counts *c = block->counts;

	if (kp->part->log != SINK_LOG_INPUT || block->first_offset < kp->next || !block->record_count)
		return true;
	if (kp->lane == KAFKA_LANE_ALERTS)
		return c->matched;
	return kafka_config(kp)->events || kp->tx.topic[KAFKA_TOPIC_ENRICHED] || c->kind[RECORD_REFUSED] ||
	       (c->matched && kafka_routes(kp, block->generation));
}

/* The same, for who sleeps: each block that may be wanted wakes the lane. */
uint32_t kafka_span_wakes(const struct kafka_part *kp)
{
	if (kp->part->log != SINK_LOG_INPUT)
		return JOURNAL_WAKE_EVERY;
	if (kp->lane == KAFKA_LANE_ALERTS)
		return JOURNAL_WAKE_MATCHED;
	if (kafka_config(kp)->events || kp->tx.topic[KAFKA_TOPIC_ENRICHED])
		return JOURNAL_WAKE_EVERY;
	return JOURNAL_WAKE_REFUSED | JOURNAL_WAKE_MATCHED;
}

/* Nothing in the block becomes a message, and a walk over records that lie in memory costs a cache miss each.
 */
static int span_pass(struct kafka_part *kp, const struct journal_block *block, struct err *err)
{
	const struct journal_counts *c = block->counts;
	uint32_t events = kp->lane == KAFKA_LANE_ALERTS ? 0 : c->kind[RECORD_EVENT];

	if (block->first_offset != kp->next)
		return span_hole(kp, block->first_offset, err);
	if (kp->next == kp->committed)
		kp->span_start_ns = clock_mono_ns();
	kp->tally.suppressed += events;
	kp->tally.other += block->record_count - events;
	kp->tally.last_time_ms = block->receive_last_ms;
	kp->next += block->record_count;
	return 0;
}

int kafka_span_add(struct kafka_part *kp, const struct journal_block *block, struct err *err)
{
	const uint8_t *at = block->data;

	atomic_fetch_add(&kp->part->stats.position_bytes, block->bytes);
	if (!block->data)
		return span_pass(kp, block, err);
	for (uint32_t i = 0; i < block->record_count; i++) {
		const struct record *rec = (const struct record *)at;
		uint64_t offset = block->first_offset + i;
		int rc;

		at += rec->bytes;
		if (offset < kp->next)
			continue;
		if (offset != kp->next)
			return span_hole(kp, offset, err);
		kp->at.offset = offset;
		rc = span_record(kp, rec, block->generation, err);
		if (rc)
			return rc;
		kp->next = offset + 1;
		if (kp->tx.messages >= kafka_config(kp)->tx_events_max) {
			rc = kafka_span_commit(kp, err);
			if (rc)
				return rc;
		}
		if ((i & 255) == 255)
			rd_kafka_poll(kp->tx.rk, 0);
	}
	return 0;
}

static uint64_t span_age_ms(const struct kafka_part *kp)
{
	return (clock_mono_ns() - kp->span_start_ns) / 1000000u;
}

/* A lane that is far behind gathers for as long as its commits take: on a busy machine, or with slow brokers,
 * one that commits after a few milliseconds of reading would never catch up. */
static uint64_t span_catch_up_ms(const struct kafka_part *kp)
{
	int64_t last_ms = kp->tally.last_time_ms; /* when what was read last had come; 0: nothing yet */

	if (kp->next == kp->committed || !last_ms || clock_wall_ms() - last_ms < SPAN_BEHIND_MS)
		return 0;
	return kp->commit_ms < SPAN_CATCH_UP_MAX_MS ? kp->commit_ms : SPAN_CATCH_UP_MAX_MS;
}

static uint64_t span_age_max_ms(const struct kafka_part *kp)
{
	uint64_t age = kafka_age_ms(kp), catch_up = span_catch_up_ms(kp);

	if (catch_up > age)
		age = catch_up;
	return kp->tx.messages || age > SPAN_EMPTY_AGE_MS ? age : SPAN_EMPTY_AGE_MS;
}

bool kafka_span_due(const struct kafka_part *kp)
{
	if (kp->next == kp->committed)
		return false;
	return span_age_ms(kp) >= span_age_max_ms(kp) ||
	       (sink_stopping(kp->part) && sink_drained(kp->part, kp->next));
}

uint32_t kafka_span_wait_ms(const struct kafka_part *kp, uint32_t limit)
{
	uint64_t age, max;

	if (kp->next == kp->committed)
		return limit;
	age = span_age_ms(kp);
	max = span_age_max_ms(kp);
	if (age >= max)
		return 0;
	return max - age < limit ? (uint32_t)(max - age) : limit;
}

int kafka_span_commit(struct kafka_part *kp, struct err *err)
{
	uint64_t start_ns = clock_mono_ns();
	int rc = kafka_tx_begin(kp, err);

	kafka_crash_point(kp, "produced");
	if (rc == 0)
		rc = kafka_tx_position(kp, kp->position_key, kp->next, err);
	kafka_crash_point(kp, "position");
	if (rc == 0)
		rc = kafka_tx_commit(&kp->tx, err);
	if (rc)
		return rc;
	kp->aborts = 0;
	kp->commit_ms = (clock_mono_ns() - start_ns) / 1000000u;
	kp->committed = kp->next;
	sink_committed(kp->part, kp->committed, &kp->tally);
	kafka_floor_write(kp, kp->committed, false);
	kp->tally = (struct sink_tally){0};
	return 0;
}

void kafka_span_reset(struct kafka_part *kp)
{
	kp->next = kp->committed;
	kp->tally = (struct sink_tally){0};
}
