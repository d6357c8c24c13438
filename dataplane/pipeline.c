/* The stages of an RX worker, in order. Worker thread. Owns nothing: mbufs are the caller's, batches go
 * through the lanes, and every event that does not end in a batch is counted under a name. */
#include "pipeline_priv.h"

#include <rte_branch_prediction.h>
#include <string.h>

#include "hash.h"
#include "ndjson.h"
#include "partition_key.h"
#include "rule_shadow.h"

_Static_assert(DECODE_TAIL_BYTES >= EVENT_PAD_BYTES, "what the decoder has made can be parsed where it lies");

static uint32_t partition_of(const struct pipeline *pl, uint64_t key_hash)
{
	return hash_partition(key_hash, pl->partitions);
}

/* The lane has no batches but those that are kept for listeners of higher priority. Then not even the open
 * one is filled: what it has room for would be taken from them. */
static bool batches_are_kept(const struct pipeline *pl, uint32_t partition, uint8_t listener)
{
	uint32_t kept = pl->kept_batches[listener];

	return kept && batch_free_count(handoff_lane(pl->handoff, pl->worker, partition)) < kept;
}

static void listener_drop(struct pipeline *pl, uint8_t listener, enum drop_reason why)
{
	pl->stats->drops[why]++;
	pl->stats->listener[listener].dropped[why]++;
}

static void event_drop(struct pipeline *pl, const struct event *ev, uint8_t listener, enum drop_reason why)
{
	listener_drop(pl, listener, why);
	if (ev->producer)
		producer_dropped(pl, ev, listener, why);
}

static void batch_count(struct pipeline *pl, struct batch *b, uint32_t bytes)
{
	b->bytes += bytes;
	b->record_count++;
	b->receive_last_ms = pl->now.wall_ms;
}

/* The event once more where keys of rules have their state. It is in a batch already: what has no room here
 * is lost for those rules only. */
static void append_shadows(
	struct pipeline *pl, const struct event *ev, uint8_t listener, int64_t base, uint16_t flags)
{
	const struct ruleset *rs = matcher_ruleset(pl->matcher);
	struct rule_shadow shadow[RULE_KEYRINGS_MAX];
	uint32_t count = rule_shadows(rs, ev, shadow);

	for (uint32_t i = 0; i < count; i++) {
		uint32_t partition = partition_of(pl, shadow[i].key_hash);
		struct batch *b = NULL;

		if (!batches_are_kept(pl, partition, listener))
			b = batch_room(pl, partition, shadow[i].bytes);
		if (!b) {
			pl->stats->drops[DROP_shadow_no_batch]++;
			continue;
		}
		if (base > b->watermark_base_ms)
			b->watermark_base_ms = base;
		rule_shadow_write(b->data + b->bytes, rs, ev, &shadow[i], pl->now.wall_ms, flags);
		batch_count(pl, b, shadow[i].bytes);
		pl->stats->shadows++;
	}
}

/* Of an event, refused or not. One that its producer has numbered may come again from anywhere, and has to
 * find itself. */
static inline __attribute__((always_inline)) uint64_t event_key_hash(const struct event *ev)
{
	const uint8_t *key;
	uint32_t bytes;
	uint64_t hash = event_partition_key(ev, &key, &bytes);

	if (unlikely(ev->producer && key == ev->src_addr))
		return hash_bytes(ev->event_id, sizeof ev->event_id, 0);
	return hash;
}

/* An event that a rule drops, and no other wants. It does not hold event time back: the watermark is taken
 * before filters. */
static __attribute__((noinline)) void append_dropped(struct pipeline *pl, const struct event *ev,
	uint8_t listener, uint32_t bytes, uint32_t partition, int64_t base)
{
	struct batch *b;

	if (bytes > pl->handoff->batch_bytes) {
		event_drop(pl, ev, listener, DROP_record_too_big);
		return;
	}
	b = batches_are_kept(pl, partition, listener) ? NULL : batch_open(pl, partition);
	if (b && base > b->watermark_base_ms)
		b->watermark_base_ms = base;
	event_drop(pl, ev, listener, DROP_rule_drop);
}

/* Flags of an event that a rule drops, or that rules with state are to see. One without an id is given it
 * here: its shadows name it, too. */
static __attribute__((noinline)) uint16_t event_flags(struct pipeline *pl, struct event *ev)
{
	uint16_t flags = ev->actions & RULE_ACTION_DROP ? RECORD_F_SUPPRESSED : 0;

	if (!(ev->actions & RULE_ACTION_STATE) || ev->field_mask & FBIT(event_id) || ev->producer)
		return flags;
	record_number_id(ev->event_id, pl->ids_made++, pl->id_seed);
	return flags | RECORD_F_ID_MADE | RECORD_F_ID_WORKER;
}

static inline void append_event(struct pipeline *pl, struct event *ev, uint8_t listener)
{
	uint32_t bytes = record_bytes_of(ev), partition;
	uint64_t key_hash = event_key_hash(ev);
	int64_t now_ms = pl->now.wall_ms;
	int64_t base = ev->event_time_ms < now_ms ? ev->event_time_ms : now_ms;
	uint16_t flags = 0;
	struct batch *b;

	partition = partition_of(pl, key_hash);
	if (unlikely(ev->actions & (RULE_ACTION_DROP | RULE_ACTION_STATE))) {
		if (!(ev->actions & (RULE_ACTION_ALERT | RULE_ACTION_STATE))) {
			append_dropped(pl, ev, listener, bytes, partition, base);
			return;
		}
		flags = event_flags(pl, ev);
	}
	if (unlikely(bytes > pl->handoff->batch_bytes)) {
		event_drop(pl, ev, listener, DROP_record_too_big);
		return;
	}
	if (unlikely(batches_are_kept(pl, partition, listener))) {
		event_drop(pl, ev, listener, pl->shed[listener]);
		return;
	}
	b = batch_room(pl, partition, bytes);
	if (unlikely(!b)) {
		event_drop(pl, ev, listener, DROP_no_batch);
		return;
	}
	if (base > b->watermark_base_ms)
		b->watermark_base_ms = base;
	record_write_sized(b->data + b->bytes, bytes, ev, key_hash, now_ms, flags);
	batch_count(pl, b, bytes);
	pl->stats->listener[listener].accepted++;
	if (unlikely(ev->actions & RULE_ACTION_STATE))
		append_shadows(pl, ev, listener, base, flags);
}

/* What the bytes of a refused event are: JSON by the parser's word only if it read them to their end. */
static enum protect_text refused_text(const struct pipeline *pl, const struct event *ev, uint8_t listener)
{
	bool foreign = pl->format[listener]->next;

	switch (ev->refused) {
	case DROP_bad_format:
	case DROP_too_long:
		if (!foreign && ev->raw_bytes <= EVENT_BYTES_MAX)
			return PROTECT_JSON;
		return pl->format[listener] == &format_table[CONFIG_FORMAT_GELF] ? PROTECT_PACKED
										 : PROTECT_TEXT;
	case DROP_bad_json:
	case DROP_bad_utf8:
	case DROP_too_deep:
		return PROTECT_TEXT;
	default:
		return PROTECT_JSON;
	}
}

/* Bytes of a refused event that may be kept; protects them. */
static uint32_t refused_limit(struct pipeline *pl, struct event *ev, uint8_t listener)
{
	if (pl->protector && pl->dead_tokens >= record_refused_bytes(ev, pl->dead_letter_bytes) &&
		!protect_refused(pl->protector, ev, refused_text(pl, ev, listener), &pl->stats->protect))
		return 0;
	return pl->dead_letter_bytes;
}

/* Dead letters are spread by source, under a byte quota, so that garbage cannot fill the disk. */
static __attribute__((noinline)) void append_refused(struct pipeline *pl, struct event *ev, uint8_t listener)
{
	struct listener_stats *ls = &pl->stats->listener[listener];
	uint64_t key_hash = event_key_hash(ev);
	uint32_t partition = partition_of(pl, key_hash);
	uint32_t limit = refused_limit(pl, ev, listener);
	uint32_t bytes = record_refused_bytes(ev, limit);
	struct batch *b;

	ls->refused[ev->refused]++;
	if (pl->dead_tokens < bytes) {
		event_drop(pl, ev, listener, DROP_dead_letter_quota);
		return;
	}
	if (batches_are_kept(pl, partition, listener)) {
		event_drop(pl, ev, listener, pl->shed[listener]);
		return;
	}
	b = batch_room(pl, partition, bytes);
	if (!b) {
		event_drop(pl, ev, listener, DROP_no_batch);
		return;
	}
	pl->dead_tokens -= bytes;
	batch_count(pl, b, record_write_refused(b->data + b->bytes, ev, key_hash, pl->now.wall_ms, limit));
	ls->refused_kept++;
	pl->stats->drops[ev->refused]++;
}

/* The events that are not refused. Most often these are all. */
static struct event *const *events_accepted(struct pipeline *pl, uint32_t *count)
{
	*count = pl->event_count;
	if (!pl->refused_count)
		return pl->all;
	*count = 0;
	for (uint32_t i = 0; i < pl->event_count; i++)
		if (!pl->event[i].refused)
			pl->accepted[(*count)++] = &pl->event[i];
	return pl->accepted;
}

/* Enriches, matches, protects and appends what has been parsed so far. The raw bytes that events point to
 * must still be there. */
static void events_flush(struct pipeline *pl)
{
	struct event *end = pl->event + pl->event_count;
	const uint8_t *listener = pl->event_listener;
	uint32_t count;
	struct event *const *accepted = events_accepted(pl, &count);

	if (count && pl->enrich)
		enrich_run(pl->enricher, pl->enrich, accepted, count, &pl->stats->enrich);
	if (count)
		matcher_run(pl->matcher, accepted, count);
	for (struct event *ev = pl->event; ev < end; ev++, listener++) {
		if (unlikely(ev->refused))
			append_refused(pl, ev, *listener);
		else if (unlikely(pl->protector != NULL) &&
			 !protect_event(pl->protector, ev, &pl->stats->protect))
			event_drop(pl, ev, *listener, DROP_protect_failed);
		else
			append_event(pl, ev, *listener);
	}
	pl->event_count = 0;
	pl->refused_count = 0;
	bytes_reset(&pl->written);
	json_parser_reset(pl->parser);
}

/* Takes the next place of the chunk, ev, with what is known of an event without reading it; of no producer.
 */
static inline void event_open(struct pipeline *pl, const struct datagram *dg, struct event *ev)
{
	pl->event_listener[pl->event_count++] = dg->listener;
	memcpy(ev->src_addr, dg->src_addr, sizeof ev->src_addr);
	ev->src_port = dg->src_port;
	ev->dst_port = dg->dst_port;
	ev->producer = ev->sequence = 0;
	ev->ack = false;
	pl->stats->listener[dg->listener].events++;
}

/* written: where its fields are, if that is known. */
static inline void event_parse(struct pipeline *pl, const struct datagram *dg, const uint8_t *raw,
	uint32_t bytes, const struct json_written *written)
{
	enum event_type hint = pl->hint[dg->listener];
	struct event *ev;

	if (pl->event_count == PIPELINE_EVENTS || !json_parser_room(pl->parser, bytes))
		events_flush(pl);
	ev = &pl->event[pl->event_count];
	event_open(pl, dg, ev);
	if (written)
		json_take_written(
			pl->parser, raw, bytes, written, hint, pl->now.wall_ms, &pl->live->limits, ev);
	else
		json_parse_event(pl->parser, raw, bytes, hint, pl->now.wall_ms, &pl->live->limits, ev);
	pl->refused_count += ev->refused != DROP_NONE;
	if (!pl->frame.producer)
		return;
	ev->producer = pl->frame.producer;
	ev->sequence = pl->frame.sequence - 1;
	ev->ack = pl->frame.ack;
	/* The journal makes ids of addresses, which an event that comes twice does not have twice. */
	if (ev->refused || !(ev->field_mask & FBIT(event_id)))
		record_producer_id(ev->event_id, ev);
}

/* What its format does not know goes to the dead letters as it came. */
static void event_refuse(
	struct pipeline *pl, const struct datagram *dg, const struct format_reader *r, enum drop_reason why)
{
	struct event *ev = &pl->event[pl->event_count];

	event_open(pl, dg, ev);
	ev->raw = ev->tail = r->piece;
	ev->raw_bytes = r->piece_bytes;
	ev->tail_bytes = 0;
	ev->type = pl->format[dg->listener]->type;
	ev->event_time_ms = 0;
	ev->field_mask = 0;
	ev->refused = (uint8_t)why;
	pl->refused_count++;
	ev->refused_field = 0;
	ev->actions = 0;
	ev->hit_count = 0;
	ev->hit = NULL;
}

/* A foreign format: each event is written as JSON, and parsed from there. */
static void datagram_rewrite(struct pipeline *pl, const struct datagram *dg, const uint8_t *payload)
{
	struct format_reader r = format_open(payload, dg->bytes, pl->now.wall_ms, dg->src_addr);
	const struct format *format = pl->format[dg->listener];
	enum format_answer answer;
	struct bytes out;

	for (;;) {
		/* Before it is written: what a flush gives back must not hold it. */
		if (pl->event_count == PIPELINE_EVENTS || !json_parser_room(pl->parser, EVENT_BYTES_MAX) ||
			pl->written.capacity - pl->written.bytes < EVENT_BYTES_MAX + 2 * EVENT_PAD_BYTES)
			events_flush(pl);
		out = (struct bytes){pl->written.data + pl->written.bytes, 0, EVENT_BYTES_MAX, false, true};
		answer = format->next(&r, &out);
		if (answer == FORMAT_END)
			return;
		if (answer == FORMAT_REFUSED || out.failed) {
			event_refuse(pl, dg, &r, out.failed ? DROP_too_long : DROP_bad_format);
			continue;
		}
		memset(out.data + out.bytes, 0, EVENT_PAD_BYTES);
		pl->written.bytes += out.bytes + EVENT_PAD_BYTES;
		event_parse(pl, dg, out.data, (uint32_t)out.bytes, &r.written);
	}
}

/* A line at `at` that no shape takes. Returns where the next one begins. */
static __attribute__((noinline)) const uint8_t *line_parse(
	struct pipeline *pl, const struct datagram *dg, const uint8_t *at, const uint8_t *end)
{
	struct ndjson lines = {at, end};
	const uint8_t *line;
	uint32_t bytes;

	if (ndjson_next(&lines, &line, &bytes))
		event_parse(pl, dg, line, bytes, NULL);
	return lines.at;
}

/* Nearly all lines are such as a learned shape takes, which finds their ends by itself. */
static inline void lines_parse(struct pipeline *pl, const struct datagram *dg, const uint8_t *payload)
{
	const uint8_t *at = payload, *end = payload + dg->bytes;
	enum event_type hint = pl->hint[dg->listener];

	while (at < end) {
		uint32_t left = (uint32_t)(end - at), bytes;
		struct event *ev;

		if (unlikely(pl->event_count == PIPELINE_EVENTS))
			events_flush(pl);
		ev = &pl->event[pl->event_count];
		bytes = json_parse_line(pl->parser, at, left, hint, pl->now.wall_ms, &pl->live->limits, ev);
		if (likely(bytes != 0)) {
			event_open(pl, dg, ev);
			at += bytes + (bytes < left);
		} else {
			at = line_parse(pl, dg, at, end);
		}
	}
}

/* Opens the datagram of a producer. False: it is dropped. */
static bool frame_admit(struct pipeline *pl, const struct datagram *dg)
{
	enum drop_reason why = frame_open(&pl->frame, dg->payload, dg->bytes, &pl->keys[dg->listener]);

	if (!why) {
		producer_heard(pl, dg);
		return true;
	}
	listener_drop(pl, dg->listener, why);
	if (why == DROP_frame_version && pl->frame.ack)
		producer_reject(pl, dg, why);
	pl->frame = (struct frame){0};
	return false;
}

/* Events that their producer numbers, of the opened datagram, which lies at payload now. */
static void frame_parse(struct pipeline *pl, const struct datagram *dg, const uint8_t *payload)
{
	const uint8_t *event;
	uint32_t bytes;

	pl->frame.at = payload + (pl->frame.at - dg->payload);
	while (frame_next(&pl->frame, &event, &bytes))
		event_parse(pl, dg, event, bytes, NULL);
	pl->frame = (struct frame){0};
}

/* Events of a payload that has room for wide reads behind it. */
static inline void payload_parse(struct pipeline *pl, const struct datagram *dg, const uint8_t *payload)
{
	if (likely(pl->line_split[dg->listener]))
		lines_parse(pl, dg, payload);
	else if (pl->format[dg->listener]->next)
		datagram_rewrite(pl, dg, payload);
	else if (pl->framed[dg->listener])
		frame_parse(pl, dg, payload);
	else
		event_parse(pl, dg, payload, dg->bytes, NULL);
}

/* From a payload in the scratch, which holds one at a time. */
static __attribute__((noinline)) void scratch_parse(struct pipeline *pl, const struct datagram *dg)
{
	memset(pl->scratch + dg->bytes, 0, EVENT_PAD_BYTES);
	payload_parse(pl, dg, pl->scratch);
	events_flush(pl);
}

/* A chunk of a message, and the message when that was the last. */
static void chunk_parse(struct pipeline *pl, const struct datagram *dg)
{
	struct datagram whole = *dg;

	if (gelf_chunk_take(&pl->chunks, dg->listener, dg->src_addr, dg->src_port, dg->payload, dg->bytes,
		    pl->now.mono_ns, pl->scratch, &whole.bytes))
		scratch_parse(pl, &whole);
}

/* Whatever can be between a datagram and its being read. False: it is dropped, or a chunk. */
static __attribute__((noinline)) bool datagram_admit(struct pipeline *pl, const struct datagram *dg)
{
	enum drop_reason why = DROP_NONE;

	if (pl->live->allow[dg->listener].count && !ip_list_has(&pl->live->allow[dg->listener], dg->src_addr))
		why = DROP_source_denied;
	else if (!admit_take(&pl->admit, dg->listener, dg->src_addr, pl->now.mono_ns))
		why = DROP_rate_limited;
	else if (dg->bytes == 0)
		why = DROP_empty_datagram;
	if (why) {
		listener_drop(pl, dg->listener, why);
		return false;
	}
	if (pl->chunked[dg->listener] && gelf_is_chunk(dg->payload, dg->bytes)) {
		chunk_parse(pl, dg);
		return false;
	}
	return !pl->framed[dg->listener] || frame_admit(pl, dg);
}

static inline void datagram_parse(struct pipeline *pl, const struct datagram *dg)
{
	struct listener_stats *ls = &pl->stats->listener[dg->listener];
	uint64_t open = pl->plain & pl->live->from_all;

	ls->datagrams++;
	ls->bytes += dg->bytes;
	if (unlikely(!(open >> dg->listener & 1) || !dg->bytes) && !datagram_admit(pl, dg))
		return;
	ls->datagrams_read++;
	if (likely(dg->readable >= dg->bytes + EVENT_PAD_BYTES)) {
		payload_parse(pl, dg, dg->payload);
	} else {
		memcpy(pl->scratch, dg->payload, dg->bytes);
		scratch_parse(pl, dg);
	}
}

static void dead_tokens_refill(struct pipeline *pl)
{
	uint64_t passed_ns = pl->now.mono_ns - pl->dead_refill_ns;

	if (passed_ns < 1000000)
		return;
	pl->dead_refill_ns = pl->now.mono_ns;
	if (passed_ns > 1000000000ull)
		passed_ns = 1000000000ull;
	pl->dead_tokens += pl->live->dead_rate * (passed_ns / 1000) / 1000000;
	if (pl->dead_tokens > pl->live->dead_rate)
		pl->dead_tokens = pl->live->dead_rate;
}

static void frames_count(struct pipeline *pl, struct rte_mbuf *const *mbuf, uint32_t n)
{
	uint64_t bytes = 0;

	pl->stats->frames += n;
	for (uint32_t i = 0; i < n; i++)
		bytes += mbuf[i]->pkt_len;
	pl->stats->frame_bytes += bytes;
}

void pipeline_drop(struct pipeline *pl, struct rte_mbuf *const *mbuf, uint32_t n, enum drop_reason why,
	struct burst_time now)
{
	pl->now = now;
	frames_count(pl, mbuf, n);
	pl->stats->drops[why] += n;
	drops_collect(pl);
}

void pipeline_burst(struct pipeline *pl, struct rte_mbuf *const *mbuf, uint32_t n, struct burst_time now)
{
	struct datagram dg[PIPELINE_BURST_MAX];

	pl->now = now;
	dead_tokens_refill(pl);
	decode_tick(&pl->decoder, now.mono_ns);
	frames_count(pl, mbuf, n);
	gelf_chunks_expire(&pl->chunks, now.mono_ns, false);
	/* Once, unless datagrams have to be put into the decoder's memory: each such one ends a round. */
	for (uint32_t next = 0; next < n;) {
		uint32_t count = decode_burst(&pl->decoder, mbuf, n, &next, dg);

		for (uint32_t i = 0; i < count; i++)
			datagram_parse(pl, &dg[i]);
		events_flush(pl);
	}
	drops_collect(pl);
}

void pipeline_end(struct pipeline *pl, struct burst_time now)
{
	decode_end(&pl->decoder);
	gelf_chunks_expire(&pl->chunks, now.mono_ns, true);
	drops_collect(pl);
	pipeline_seal(pl, now, true);
}

void pipeline_set_matcher(struct pipeline *pl, struct matcher *matcher, uint32_t generation)
{
	pipeline_seal(pl, pl->now, true);
	pl->matcher = matcher;
	pl->generation = generation;
}
