/* The merge thread: partitions 0..P-1 of the output log through the merge into partition P, and into the hot
 * rows. Owns the merge, a reader of each partial log, and the lane of partition P. */
#include "state_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "crash.h"
#include "log.h"

#define FULL_LOOK_NS 50000000u

struct merge_input { /* a partial log */
	struct journal_reader *reader;
	struct journal_block block;
	const uint8_t *at; /* next record of block; NULL: no block */
	uint64_t offset;   /* of the next record */
};

static void merge_fail(struct state_merge *m, const char *text)
{
	pthread_mutex_lock(&m->shown_lock);
	snprintf(m->error, sizeof m->error, "%s", text);
	pthread_mutex_unlock(&m->shown_lock);
	atomic_store(&m->phase, STATE_FAILED);
	log_error("state", "MERGE STOPPED: %s", text);
}

static void merge_hot_put(struct state_merge *m, const struct record *rec)
{
	if (rec->kind == RECORD_ROW && !row_is_alert(rec))
		hot_put(m->state->hot, rec);
}

static void merge_show(struct state_merge *m, uint64_t now_ns)
{
	m->shown_ns = now_ns;
	pthread_mutex_lock(&m->shown_lock);
	m->shown = *merge_stats(m->merge);
	pthread_mutex_unlock(&m->shown_lock);
}

/* More is coming: what is old goes out, and is shown, but not in front of a run that is due: a step that is
 * known would be taken for one that is out. */
static void merge_age(struct state_merge *m)
{
	uint64_t now_ns = clock_mono_ns();

	out_seal_aged(&m->out, now_ns);
	if (now_ns - m->shown_ns > STATE_SHOW_NS && merge_wants(m->merge, -1) >= 0)
		merge_show(m, now_ns);
}

static int merge_emit(void *arg, const struct record *rec)
{
	struct state_merge *m = arg;
	int rc = out_emit(&m->out, rec, &m->emit_err);

	if (rc == 0)
		merge_hot_put(m, rec);
	return rc;
}

static const struct window_def *merge_window_def(void *arg, uint64_t uid)
{
	struct state_merge *m = arg;
	struct err ignored; /* who asks says what is missing */

	return window_store_get(m->state->windows, uid, &ignored);
}

static int merge_do_run(struct state_merge *m, struct err *err)
{
	int rc = merge_run(m->merge, err);

	if (rc != 0 && m->emit_err.text[0])
		*err = m->emit_err;
	return rc;
}

/* ---- checkpoints ---- */

static void merge_do_save(struct state_merge *m)
{
	struct state *s = m->state;
	struct state_save *v = &m->save;

	save_info(s, v, &m->out);
	v->info.watermark_ms = merge_stats(m->merge)->step_ms;
	v->info.window_count = s->plan->count;
	for (uint32_t i = 0; i < s->plan->count; i++)
		v->info.window_uid[i] = s->plan->def[i]->uid;
	merge_save(m->merge, &v->body);
	for (uint32_t p = 0; p < s->partitions; p++)
		v->positions[p] = merge_position(m->merge, p);
	out_seal(&m->out);
	save_post(s, v, m->fed);
}

/* A partial log is full: it waits for the oldest checkpoint of the merge to go. */
static bool merge_pressure(struct state_merge *m)
{
	struct state *s = m->state;
	uint64_t now_ns = clock_mono_ns();

	if (now_ns - m->full_ns < FULL_LOOK_NS)
		return m->full;
	m->full_ns = now_ns;
	m->full = false;
	for (uint32_t p = 0; p < s->partitions && !m->full; p++) {
		struct journal_partition_stats stats;

		journal_stats(s->output, p, &stats);
		m->full = stats.full;
	}
	return m->full;
}

static int merge_save_maybe(struct state_merge *m, struct err *err)
{
	int rc;

	if (!save_due(m->state, &m->save, m->fed, merge_pressure(m)))
		return 0;
	rc = merge_do_run(m, err); /* a save comes behind a run */
	if (rc == 0)
		merge_do_save(m);
	return rc;
}

/* ---- input ---- */

static bool input_has(const struct merge_input *in)
{
	return in->at && in->at != in->block.data + in->block.bytes;
}

/* Waits for the next record of a partial log. 1: it is there; 0: none within the time; -errno. */
static int input_wait(struct state_merge *m, uint32_t partition, uint32_t timeout_ms, struct err *err)
{
	struct merge_input *in = &m->input[partition];
	int rc;

	if (input_has(in))
		return 1;
	in->at = NULL;
	rc = journal_reader_next(in->reader, &in->block, timeout_ms, err);
	if (rc <= 0)
		return rc;
	in->at = in->block.data;
	for (uint64_t i = in->block.first_offset; i < in->offset; i++)
		in->at += ((const struct record *)in->at)->bytes;
	return 1;
}

/* Any of the partitions that the merge needs, from the first on, that has a record: one that is silent must
 * not keep the others' from being known. If none has, what came of the records so far goes out before the
 * wait. */
static int input_any(struct state_merge *m, uint32_t first, uint32_t *partition, struct err *err)
{
	int rc;

	*partition = first;
	do {
		rc = input_wait(m, *partition, 0, err);
		if (rc != 0)
			return rc;
		*partition = (uint32_t)merge_wants(m->merge, (int)*partition);
	} while (*partition != first);
	out_seal(&m->out);
	merge_show(m, clock_mono_ns());
	return input_wait(m, first, STATE_WAIT_MS, err);
}

/* The next record; behind one that the merge passes over it wants the same partition, whose block goes on. */
static int input_feed(struct state_merge *m, uint32_t partition, struct err *err)
{
	struct merge_input *in = &m->input[partition];
	const struct record *rec;
	int rc;

	do {
		rec = (const struct record *)in->at;
		in->at += rec->bytes;
		m->fed++;
		rc = merge_feed(m->merge, partition, rec, in->offset++, err);
	} while (rc == 0 && merge_passes_over(rec) && input_has(in));
	if (rc == 0 && !input_has(in))
		merge_age(m);
	return rc;
}

/* A record, with those in front of it in its block that are passed over, or a run. 0; 1: nothing came;
 * -errno. */
static int merge_step(struct state_merge *m, struct err *err)
{
	int want = merge_wants(m->merge, -1), rc;
	uint32_t partition;

	if (want < 0) {
		rc = merge_do_run(m, err);
		if (rc == 0)
			merge_age(m);
		return rc;
	}
	rc = input_any(m, (uint32_t)want, &partition, err);
	if (rc < 0)
		return rc;
	if (rc == 0) {
		out_yield(&m->out);
		return 1;
	}
	return input_feed(m, partition, err);
}

/* ---- the thread ---- */

static void refill_block(struct state_merge *m, const struct journal_block *block)
{
	const uint8_t *p = block->data;

	for (uint32_t i = 0; i < block->record_count; i++) {
		const struct record *rec = (const struct record *)p;

		if (row_valid(rec))
			merge_hot_put(m, rec);
		p += rec->bytes;
	}
}

/* Up to the merged log's end as it is now; damaged blocks are passed over. What rows there are then is for
 * readers alone: nothing that comes out depends on them. */
static int refill_read(struct state_merge *m, uint64_t from, uint64_t end, struct err *err)
{
	struct state *s = m->state;
	struct journal_reader *reader;
	struct journal_block block;
	int rc = journal_reader_open(&reader, s->output, s->partitions, from, err);

	if (rc != 0)
		return rc;
	while (from < end && !state_gives_up(s, clock_mono_ns())) {
		rc = journal_reader_next(reader, &block, 1000, err);
		if (rc == -EBADMSG && journal_reader_resync(reader, &from, err) == 0)
			continue;
		if (rc <= 0)
			break;
		refill_block(m, &block);
		from = block.first_offset + block.record_count;
	}
	journal_reader_close(reader);
	return rc < 0 ? rc : 0;
}

/* What readers were shown before the restart, as far as it is kept: about twice the bytes that stay. */
static void merge_refill(struct state_merge *m)
{
	struct state *s = m->state;
	struct journal_partition_stats stats;
	uint64_t mean, back, from;
	struct err err;

	journal_stats(s->output, s->partitions, &stats);
	if (stats.oldest_offset >= stats.durable_offset)
		return;
	mean = stats.durable_bytes / stats.durable_offset + 1;
	back = 2 * s->cfg->state.hot_bytes / mean;
	from = stats.durable_offset - stats.oldest_offset > back ? stats.durable_offset - back
								 : stats.oldest_offset;
	if (refill_read(m, from, stats.durable_offset, &err) != 0)
		log_warn("state", "rows from before the start are missing in `windows rows`: %s", err.text);
}

static int merge_make(struct state_merge *m, struct err *err)
{
	struct state *s = m->state;
	const struct merge_params params = {.window = merge_window_def,
		.window_arg = m,
		.partitions = s->partitions,
		.step_ms = s->terms.step_ms,
		.bounds = &m->bounds};
	struct merge *merge;
	int rc = merge_new(&merge, &params, merge_emit, m, err);

	if (rc != 0)
		return rc;
	if (m->body.bytes)
		rc = merge_load(merge, m->body.data, m->body.bytes, err);
	bytes_free(&m->body);
	m->merge = merge;
	return rc;
}

static int merge_open(struct state_merge *m, struct err *err)
{
	struct state *s = m->state;
	int rc = merge_make(m, err);

	for (uint32_t p = 0; rc == 0 && p < s->partitions; p++) {
		m->input[p].offset = m->save.positions[p] = merge_position(m->merge, p);
		rc = journal_reader_open(&m->input[p].reader, s->output, p, m->input[p].offset, err);
	}
	/* The saver looks at it only with the merge's first checkpoint. */
	if (rc == 0 && m->from.seq)
		save_positions_keep(s, m->from.seq, m->save.positions);
	if (rc == 0)
		merge_refill(m);
	return rc;
}

static int merge_finish(struct state_merge *m, struct err *err)
{
	int rc = merge_do_run(m, err);

	if (rc != 0)
		return rc;
	out_seal(&m->out);
	save_wait(m->state, &m->save, &m->out);
	if (atomic_load(&m->save.state) == SAVE_IDLE && atomic_load(&m->save.saved) != m->fed) {
		merge_do_save(m);
		save_wait(m->state, &m->save, &m->out);
	}
	merge_show(m, clock_mono_ns());
	atomic_store(&m->phase, STATE_STOPPED);
	return 0;
}

/* From here on state.memory is what is configured now. What is in the log was merged under the bound before,
 * and so is all of the steps that it may reach into. Written down first: whatever is killed when, another
 * start changes over at the same row. */
static void merge_bound_change(struct state_merge *m)
{
	struct state *s = m->state;
	struct merge_bounds bounds = m->bounds;
	int64_t step_ms = m->from.watermark_ms + s->terms.step_ms;
	int64_t reached_ms = merge_reached(m->merge);
	struct err err;

	if (merge_bounds_last(&bounds) == s->cfg->state.memory)
		return;
	merge_bounds_add(&bounds, reached_ms > step_ms ? reached_ms : step_ms, s->cfg->state.memory);
	if (merge_bounds_write(&bounds, s->state_dir, &err) != 0) {
		log_warn("state", "state.memory is %" PRIu64 " for the merge until the next start: %s",
			merge_bounds_last(&m->bounds), err.text);
		return;
	}
	m->bounds = bounds;
	merge_bounds_changed(m->merge);
	crash_point("state_memory_changed");
}

static void merge_progress(struct state_merge *m)
{
	if (atomic_load_explicit(&m->phase, memory_order_relaxed) != STATE_RECOVERING ||
		atomic_load_explicit(&m->out.offset, memory_order_relaxed) < m->out.compare_end)
		return;
	merge_bound_change(m);
	atomic_store(&m->phase, STATE_RUNNING);
	log_info("state", "merge recovered rows=%" PRIu64 " compared=%" PRIu64, m->out.compare_end,
		atomic_load(&m->out.compared));
}

void *merge_main(void *arg)
{
	struct state_merge *m = arg;
	struct state *s = m->state;
	struct err err = {""};
	int rc = merge_open(m, &err);

	while (rc >= 0) {
		bool stop = atomic_load(&s->stop_merge);

		merge_progress(m);
		rc = merge_step(m, &err);
		if (rc < 0)
			break;
		if (stop && (rc == 1 || state_gives_up(s, clock_mono_ns())))
			break;
		rc = merge_save_maybe(m, &err);
	}
	if (rc >= 0)
		rc = merge_finish(m, &err);
	if (rc < 0)
		merge_fail(m, err.text);
	out_seal(&m->out);
	for (uint32_t p = 0; p < s->partitions; p++)
		journal_reader_close(m->input[p].reader);
	out_close(&m->out);
	return NULL;
}

/* A version that wrote no such file took what was configured, as the partitions did. */
int merge_bounds_begin(struct state *s, struct err *err)
{
	struct merge_bounds *b = &s->merge.bounds;
	struct state_terms terms;
	int rc = merge_bounds_read(b, s->state_dir, err);

	if (rc != -ENOENT)
		return rc;
	rc = state_terms_newest(s->checkpoint_dir, journal_epoch(s->input), &terms, err);
	if (rc < 0)
		return rc;
	merge_bounds_init(b, rc ? terms.memory_bytes : s->cfg->state.memory);
	return merge_bounds_write(b, s->state_dir, err);
}

int merge_state_init(struct state *s)
{
	struct state_merge *m = &s->merge;
	size_t kept = s->cfg->state.checkpoints_kept + 1;

	m->input = calloc(s->partitions, sizeof *m->input);
	m->consumer = calloc(s->partitions, sizeof *m->consumer);
	m->save.positions = calloc(s->partitions, sizeof *m->save.positions);
	m->saved = calloc(kept, sizeof *m->saved);
	if (!m->input || !m->consumer || !m->save.positions || !m->saved)
		return -ENOMEM;
	for (size_t i = 0; i < kept; i++) {
		m->saved[i].positions = calloc(s->partitions, sizeof *m->saved[i].positions);
		if (!m->saved[i].positions)
			return -ENOMEM;
	}
	return 0;
}

void merge_state_free(struct state *s)
{
	struct state_merge *m = &s->merge;

	merge_free(m->merge);
	bytes_free(&m->body);
	bytes_free(&m->save.body);
	for (size_t i = 0; m->saved && i <= s->cfg->state.checkpoints_kept; i++)
		free(m->saved[i].positions);
	free(m->saved);
	free(m->save.positions);
	free(m->consumer);
	free(m->input);
}
