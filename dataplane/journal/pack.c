/* From batches to the open block: duplicates, offsets, made ids, counters. Writer thread only.
 *
 * Three passes over a batch: the first checks the records and prefetches the buckets of their ids, the
 * second, over the ids alone, the places of those that seem to be known, the third decides; then the bytes
 * are copied, in one piece if no record is left out. */
#include "journal_priv.h"

#include <stdlib.h>
#include <string.h>

#include "crc32c.h"
#include "hash.h"

#define PACK_AHEAD 2048u  /* bytes that are on their way while a record is looked at */
#define PACK_PIECE 12288u /* is copied and then summed up: both in the first-level cache */

void drop_count(struct journal_part *part, enum drop_reason reason, uint64_t count)
{
	part->totals.drops[reason] += count;
	stat_set(&part->stats.drops[reason], part->totals.drops[reason]);
}

void pack_drops(struct journal_part *part, const struct batch *b)
{
	for (int i = 0; i < DROP_ID_MAX; i++)
		if (b->drop_delta[i])
			drop_count(part, (enum drop_reason)i, b->drop_delta[i]);
}

/* A batch comes from another core, and each record says where the next one is: without this the pass would
 * wait for its lines one after the other. at: of a record of `bytes` bytes. Not what lies behind the batch:
 * the worker may be filling it. */
static inline void pack_prefetch(const struct batch *b, uint32_t at, uint32_t bytes)
{
	uint32_t end = at + PACK_AHEAD + bytes;

	if (end > b->bytes)
		end = b->bytes;
	for (at += PACK_AHEAD; at < end; at += 64)
		__builtin_prefetch(b->data + at);
}

/* Passes over the records of a batch and stops the process at one that is not well-formed: only a bug of ours
 * can make it, and in the journal it would be damage. */
static uint32_t pack_index(struct journal_part *part, const struct batch *b)
{
	const struct dedup *dedup = &part->dedup;
	uint32_t count = 0;

	for (uint32_t at = 0; at < b->bytes; count++) {
		const struct record *rec = (const struct record *)(b->data + at);
		const uint8_t *id;
		uint8_t room[16];
		uint64_t hash;

		if (count == part->pack_max || !record_valid(rec, b->bytes - at)) {
			log_error("journal", "malformed record from worker %u at byte %u of a batch",
				b->worker, at);
			abort();
		}
		hash = dedup_of_record(dedup, rec, room, &id);
		if (hash)
			dedup_prefetch(dedup, hash);
		pack_prefetch(b, at, rec->bytes);
		part->pack_at[count] = at;
		part->pack_hash[count] = hash;
		at += rec->bytes;
	}
	return count;
}

/* Of the record's address. */
static void pack_make_id(const struct journal_part *part, struct record *rec, uint64_t offset)
{
	record_number_id(rec->event_id, offset, part->id_seed);
	rec->flags |= RECORD_F_ID_MADE;
}

static void pack_times(struct journal_part *part, const struct batch *b, uint64_t now_ns)
{
	int64_t base = b->watermark_base_ms;

	if (b->receive_last_ms > part->receive_last_ms)
		part->receive_last_ms = b->receive_last_ms;
	if (base == INT64_MIN || part->journal->params.derived)
		return;
	atomic_store_explicit(&part->event_ns, now_ns, memory_order_relaxed);
	if (base > part->watermark_base_ms) {
		int64_t late = (int64_t)part->journal->params.out_of_orderness_ms;
		int64_t mark = base < INT64_MIN + late ? INT64_MIN : base - late;

		part->watermark_base_ms = base;
		part->base_moved = true;
		if (mark > part->watermark_next_ms) {
			part->watermark_next_ms = mark;
			part->watermark_ns = now_ns;
		}
	}
}

static void pack_copy(struct journal_part *part, const uint8_t *from, uint32_t bytes)
{
	uint8_t *to = part->cache.buf[part->open_buf].mem + BLOCK_HEADER_BYTES + part->open_bytes;

	part->open_bytes += bytes;
	/* The sum here, where the bytes are in the cache, not over the whole block when it is full. */
	while (bytes) {
		uint32_t piece = bytes < PACK_PIECE ? bytes : PACK_PIECE;

		memcpy(to, from, piece);
		part->open_crc = crc32c(part->open_crc, from, piece);
		to += piece;
		from += piece;
		bytes -= piece;
	}
}

/* by_kind: records that were known, by record_kind & 7. */
static void pack_duplicates(struct journal_part *part, const uint32_t by_kind[8])
{
	uint32_t events = by_kind[RECORD_EVENT], shadows = by_kind[RECORD_SHADOW & 7];

	stat_set(&part->stats.duplicates, part->stats.duplicates + events);
	drop_count(part, DROP_duplicate, events);
	drop_count(part, DROP_shadow_duplicate, shadows);
	/* Its reason is counted, and its dead letter is there. */
	stat_set(&part->stats.refused_lost, part->stats.refused_lost + by_kind[RECORD_REFUSED]);
}

/* ---- what the acker is told ---- */

static void ack_tell(struct journal_part *part)
{
	struct ack_lanes *lanes = part->journal->handoff->acks;

	if (!part->ack.bits)
		return;
	part->ack.offset = part->place.offset;
	if (!ack_lane_done(lanes, part->index, &part->ack))
		stat_set(&part->stats.acks_lost, part->stats.acks_lost + 1);
	part->ack.bits = 0;
}

/* What is known already waits for the offsets given out so far: the first one of it has a lower one. */
static void ack_add(struct journal_part *part, const struct record *rec)
{
	struct record_producer from = record_producer(rec);
	uint8_t refused = rec->kind == RECORD_REFUSED ? rec->reason : 0;
	struct ack_done *ack = &part->ack;

	if (ack->bits && (ack->producer != from.id || ack->dst_port != rec->dst_port ||
				 ack->refused != refused || from.sequence - ack->first >= 64))
		ack_tell(part);
	if (!ack->bits)
		*ack = (struct ack_done){.producer = from.id,
			.first = from.sequence,
			.dst_port = rec->dst_port,
			.refused = refused};
	ack->bits |= 1ull << (from.sequence - ack->first);
}

static void ack_end(struct journal_part *part)
{
	if (!part->ack.bits)
		return;
	ack_tell(part);
	/* Else the writer rings when they are durable. */
	if (part->place.offset == atomic_load_explicit(&part->durable_offset, memory_order_relaxed))
		ack_lanes_ring(part->journal->handoff->acks);
}

/* The records that are no duplicates, with the offsets from part->place.offset on. */
static void pack_records(struct journal_part *part, struct batch *b, uint32_t count)
{
	uint32_t from = 0, duplicates[8] = {0}, left_out = 0, events = 0;
	bool derived = part->journal->params.derived, acks = part->journal->handoff->acks;
	int64_t time_ms = part->receive_last_ms;

	for (uint32_t i = 0; i < count; i++) {
		uint32_t at = part->pack_at[i];
		struct record *rec = (struct record *)(b->data + at);

		events += rec->kind == RECORD_EVENT;
		if (acks && rec->flags & RECORD_F_ACK)
			ack_add(part, rec);
		if (rec->receive_time_ms > time_ms)
			time_ms = rec->receive_time_ms;
		else if (!derived && rec->receive_time_ms < time_ms)
			/* a clock that was set back, or another worker's batch that waited */
			rec->receive_time_ms = time_ms;
		if (part->pack_hash[i] && !dedup_add_record(&part->dedup, rec, part->pack_hash[i],
						  part->pack_guess[i], time_ms)) {
			pack_copy(part, b->data + from, at - from);
			from = at + rec->bytes;
			duplicates[rec->kind & 7]++;
			left_out++;
			continue;
		}
		if (rec->kind == RECORD_EVENT && !(rec->field_mask & FBIT(event_id)) &&
			!(rec->flags & RECORD_F_ID_MADE))
			pack_make_id(part, rec, part->place.offset);
		part->totals.records[rec->kind & 7]++;
		block_count(&part->open_counts, rec);
		part->place.offset++;
	}
	pack_copy(part, b->data + from, b->bytes - from);
	part->receive_last_ms = time_ms;
	part->open_records += count - left_out;
	ack_end(part);
	stat_set(&part->stats.assigned_offset, part->place.offset);
	stat_set(&part->stats.batch_records, part->stats.batch_records + count);
	stat_set(&part->stats.events_batched, part->stats.events_batched + events);
	/* Release: pairs with the keeper's acquire in ids.c. */
	atomic_store_explicit(&part->ids_added, part->dedup.added, memory_order_release);
	stat_set(&part->stats.dedup_ids, part->dedup.count);
	stat_set(&part->stats.dedup_evicted, part->dedup.evicted);
	if (left_out)
		pack_duplicates(part, duplicates);
}

enum pack_answer pack_batch(struct journal_part *part, struct batch *b, uint64_t now_ns)
{
	enum pack_answer answer;
	uint32_t count;

	if (b->bytes == 0) {
		pack_times(part, b, now_ns);
		pack_drops(part, b);
		return PACK_DONE;
	}
	if (b->generation > part->generation_max && !part->journal->params.derived) {
		char text[64];

		snprintf(text, sizeof text, "event=generation generation=%u", b->generation);
		answer = writer_block(part, b->bytes + 512, b->generation, now_ns);
		if (answer != PACK_DONE)
			return answer;
		part->generation_max = b->generation;
		(void)pack_own(part, RECORD_CONTROL, text, 0, now_ns);
	}
	answer = writer_block(part, b->bytes, b->generation, now_ns);
	if (answer != PACK_DONE)
		return answer;
	if (part->open_records == 0 && b->receive_first_ms > part->open_receive_first_ms)
		part->open_receive_first_ms = b->receive_first_ms;
	count = pack_index(part, b);
	dedup_guess(&part->dedup, part->pack_hash, part->pack_guess, count);
	pack_records(part, b, count);
	pack_times(part, b, now_ns);
	pack_drops(part, b);
	return PACK_DONE;
}

enum pack_answer pack_own(
	struct journal_part *part, enum record_kind kind, const char *text, int64_t time_ms, uint64_t now_ns)
{
	uint64_t space[(sizeof(struct record) + JOURNAL_NOTE_MAX) / 8 + 1] = {0};
	struct record *rec = (struct record *)space;
	uint32_t payload = text ? (uint32_t)strnlen(text, JOURNAL_NOTE_MAX) : 0;
	int64_t wall_ms = clock_wall_ms();
	enum pack_answer answer;

	rec->bytes = (uint32_t)RTE_ALIGN_CEIL(sizeof *rec + payload, RECORD_ALIGN);
	answer = writer_block(part, rec->bytes, part->generation, now_ns);
	if (answer != PACK_DONE)
		return answer;
	if (wall_ms > part->receive_last_ms)
		part->receive_last_ms = wall_ms;
	rec->kind = (uint8_t)kind;
	rec->receive_time_ms = part->receive_last_ms;
	rec->event_time_ms = kind == RECORD_TICK ? time_ms : part->receive_last_ms;
	rec->raw_bytes = payload;
	rec->payload_bytes = payload;
	if (payload)
		memcpy(rec + 1, text, payload);
	pack_copy(part, (const uint8_t *)rec, rec->bytes);
	part->totals.records[kind]++;
	block_count(&part->open_counts, rec);
	part->place.offset++;
	part->open_records++;
	stat_set(&part->stats.assigned_offset, part->place.offset);
	return PACK_DONE;
}

/* Alone in its block, so that whoever reads can change over between two blocks. */
enum pack_answer pack_note(struct journal_part *part, uint64_t now_ns)
{
	enum pack_answer answer;

	/* Acquire: pairs with the release in journal_note(), which fills the text. */
	if (atomic_load_explicit(&part->note_state, memory_order_acquire) != NOTE_POSTED)
		return PACK_DONE;
	part->seal_due = part->open_buf >= 0 && part->open_records;
	answer = pack_own(part, part->note_is_tick ? RECORD_TICK : RECORD_CONTROL,
		part->note_is_tick ? NULL : part->note_text, part->note_tick_ms, now_ns);
	if (answer != PACK_DONE)
		return answer;
	if (part->note_is_tick && part->note_tick_ms > part->watermark_next_ms) {
		part->watermark_next_ms = part->note_tick_ms;
		part->watermark_ns = now_ns;
	}
	part->seal_due = true;
	atomic_store_explicit(&part->note_end, part->place.offset, memory_order_relaxed);
	/* Release: pairs with the acquire in journal_note(), which then reads note_end. */
	atomic_store_explicit(&part->note_state, NOTE_NONE, memory_order_release);
	return PACK_DONE;
}

void pack_discard(struct journal_part *part, struct batch *b, enum drop_reason reason)
{
	uint32_t count = pack_index(part, b), events = 0, shadows = 0;

	for (uint32_t i = 0; i < count; i++) {
		const struct record *rec = (const struct record *)(b->data + part->pack_at[i]);

		events += rec->kind == RECORD_EVENT;
		shadows += rec->kind == RECORD_SHADOW;
	}
	stat_set(&part->stats.batch_records, part->stats.batch_records + count);
	stat_set(&part->stats.events_batched, part->stats.events_batched + events);
	/* A refused event has been counted under its own reason already: here it only loses its dead letter.
	 */
	stat_set(&part->stats.refused_lost, part->stats.refused_lost + count - events - shadows);
	drop_count(part, reason, events);
	drop_count(part, DROP_shadow_lost, shadows);
	pack_drops(part, b);
}
