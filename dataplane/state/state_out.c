/* Records into a partition of the output log. While a replay runs below the log's end each record is compared
 * with what the log has; beyond it records go into batches, and a full log is waited for. Thread: the
 * partition's one producer. In: records of a stage or the merge, borrowed for the call. Out: batches of a
 * lane that belongs to this thread. */
#include "state_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "clock.h"
#include "crash.h"
#include "log.h"

#define FULL_LOOK_NS 10000000u

static void count_up(_Atomic uint64_t *word)
{
	atomic_store_explicit(
		word, atomic_load_explicit(word, memory_order_relaxed) + 1, memory_order_relaxed);
}

int out_open(struct state_out *o, struct state *s, uint32_t partition, uint64_t offset, struct err *err)
{
	struct journal_partition_stats stats;

	journal_stats(s->output, partition, &stats);
	o->state = s;
	o->partition = partition;
	atomic_store(&o->offset, offset);
	o->compare_from = stats.oldest_offset;
	o->compare_end = stats.durable_offset;
	if (offset > o->compare_end)
		return err_set(err, -EINVAL,
			"output log partition %u ends at %" PRIu64 ", before offset %" PRIu64, partition,
			o->compare_end, offset);
	return 0;
}

void out_close(struct state_out *o)
{
	journal_reader_close(o->reader);
	o->reader = NULL;
}

/* ---- comparing ---- */

/* The log's record at o->offset. */
static int out_record(struct state_out *o, uint64_t offset, const struct record **rec, struct err *err)
{
	int rc;

	if (!o->reader) {
		rc = journal_reader_open(&o->reader, o->state->output, o->partition, offset, err);
		if (rc != 0)
			return rc;
		o->at_offset = offset;
	}
	while (!o->at || o->at == o->block.data + o->block.bytes) {
		rc = journal_reader_next(o->reader, &o->block, 1000, err);
		if (rc == 0)
			rc = err_set(err, -EIO, "output log partition %u: offset %" PRIu64 " cannot be read",
				o->partition, offset);
		if (rc < 0)
			return rc;
		o->at = o->block.data;
		for (uint64_t i = o->block.first_offset; i < o->at_offset; i++)
			o->at += ((const struct record *)o->at)->bytes;
	}
	*rec = (const struct record *)o->at;
	o->at += (*rec)->bytes;
	o->at_offset++;
	return 0;
}

static const char *kind_name(const struct record *rec)
{
	static const char *const name[] = {"?", "event", "refused", "control", "tick", "row", "late", "mark"};

	return name[rec->kind & 7];
}

static int out_mismatch(struct state_out *o, uint64_t offset, const struct record *log,
	const struct record *here, struct err *err)
{
	char anew[2 * STATE_PATH_BYTES];

	count_up(&o->mismatches);
	state_anew(o->state, anew);
	return err_set(err, -EILSEQ,
		"REPLAY DIFFERS: output log partition %u has at offset %" PRIu64
		" a %s of type %u, %u bytes, time %" PRId64
		"; replay gives a %s of type %u, %u bytes, time %" PRId64
		". This binary computes otherwise than the one that wrote it, or memory or disk is faulty. "
		"Start that "
		"binary, or %s",
		o->partition, offset, kind_name(log), log->type, log->bytes, log->event_time_ms,
		kind_name(here), here->type, here->bytes, here->event_time_ms, anew);
}

static int out_compare(struct state_out *o, uint64_t offset, const struct record *rec, struct err *err)
{
	const struct record *log;
	int rc;

	if (offset < o->compare_from) {
		count_up(&o->skipped);
		return 0;
	}
	rc = out_record(o, offset, &log, err);
	if (rc != 0)
		return rc;
	if (log->bytes != rec->bytes || memcmp(log, rec, rec->bytes) != 0)
		return out_mismatch(o, offset, log, rec, err);
	count_up(&o->compared);
	if (offset + 1 == o->compare_end)
		out_close(o); /* nothing more to compare */
	return 0;
}

/* ---- appending ---- */

/* The overlap between the oldest checkpoint and the log's end is there for the self-check only. When the log
 * is full, going on is worth more. */
void out_yield(struct state_out *o)
{
	struct journal_partition_stats stats;

	if (journal_durable_offset(o->state->output, o->partition) >=
		atomic_load_explicit(&o->offset, memory_order_relaxed)) {
		atomic_store(&o->waiting, false);
		return;
	}
	journal_stats(o->state->output, o->partition, &stats);
	if (!stats.full)
		return;
	if (!atomic_load(&o->waiting))
		log_warn("state",
			"output log full: waiting for its readers; rows before offset %" PRIu64
			" will not be compared in a replay partition=%u",
			stats.durable_offset, o->partition);
	atomic_store(&o->waiting, true);
	journal_consumer_set(o->state->output, o->consumer, stats.durable_offset);
}

static bool out_failed(const struct state_out *o)
{
	struct journal_partition_stats stats;

	journal_stats(o->state->output, o->partition, &stats);
	return stats.failed;
}

/* An empty batch; the writer sends them home. */
static int out_take(struct state_out *o, struct err *err)
{
	struct batch_lane *lane = handoff_lane(&o->state->handoff, 0, o->partition);
	uint64_t since_ns = 0, looked_ns = 0;
	struct batch *b;

	while (!(b = batch_take_empty(lane))) {
		uint64_t now_ns = clock_mono_ns();

		since_ns = since_ns ? since_ns : now_ns;
		if (now_ns - since_ns > FULL_LOOK_NS && now_ns - looked_ns > FULL_LOOK_NS) {
			looked_ns = now_ns;
			if (out_failed(o))
				return err_set(err, -EIO, "output log partition %u has failed", o->partition);
			if (state_gives_up(o->state, now_ns))
				return err_set(err, -ECANCELED,
					"stopped while output log partition %u was full", o->partition);
			out_yield(o);
		}
		state_nap(200);
	}
	atomic_store(&o->waiting, false);
	o->batch = b;
	o->batch->generation = 0;
	o->batch->opened_ns = clock_mono_ns();
	o->batch->watermark_base_ms = INT64_MIN;
	o->batch->receive_first_ms = o->batch->receive_last_ms = INT64_MIN;
	memset(o->batch->drop_delta, 0, sizeof o->batch->drop_delta);
	return 0;
}

void out_seal(struct state_out *o)
{
	if (!o->batch)
		return;
	batch_hand_over(&o->state->handoff, o->batch);
	o->batch = NULL;
	crash_point("state_batch_sealed");
}

void out_seal_aged(struct state_out *o, uint64_t now_ns)
{
	if (o->batch && now_ns - o->batch->opened_ns > STATE_SEAL_NS)
		out_seal(o);
}

static int out_append(struct state_out *o, const struct record *rec, struct err *err)
{
	struct batch *b = o->batch;
	int rc;

	if (rec->bytes > STATE_BATCH_BYTES)
		return err_set(err, -EMSGSIZE, "a %s of %u bytes: more than the output log takes",
			kind_name(rec), rec->bytes);
	if (b && b->capacity - b->bytes < rec->bytes)
		out_seal(o);
	if (!o->batch) {
		rc = out_take(o, err);
		if (rc != 0)
			return rc;
	}
	b = o->batch;
	memcpy(b->data + b->bytes, rec, rec->bytes);
	b->bytes += rec->bytes;
	b->record_count++;
	if (b->record_count == 1)
		b->receive_first_ms = rec->receive_time_ms;
	if (rec->receive_time_ms > b->receive_last_ms)
		b->receive_last_ms = rec->receive_time_ms;
	count_up(&o->appended);
	return 0;
}

int out_emit(struct state_out *o, const struct record *rec, struct err *err)
{
	uint64_t offset = atomic_load_explicit(&o->offset, memory_order_relaxed);
	int rc = offset < o->compare_end ? out_compare(o, offset, rec, err) : out_append(o, rec, err);

	if (rc == 0)
		atomic_store_explicit(&o->offset, offset + 1, memory_order_relaxed);
	return rc;
}
