/* The state of a stage that has stopped, as what another number of partitions starts from: files of
 * definitions and checkpoints (merge_gather(), stage_gather()). Set-up thread, after all others have ended.
 *
 * All partitions must stand at one step, at the end of their input, and all that they emitted must be durable
 * and merged: then nothing that comes later can be of a row that is out already, and no row waits that would
 * have to be carried over.
 *
 * What was written is read and loaded once more: else only the next start would find a fault, when the state
 * before has made way. */
#include "state_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "crash.h"
#include "durable.h"

static int nothing_emitted(void *arg, const struct record *rec)
{
	(void)arg, (void)rec;
	return -EPROTO;
}

/* ---- checks ---- */

static int part_ended(struct state *s, uint32_t partition, struct err *err)
{
	struct state_part *p = &s->part[partition];
	uint64_t input = atomic_load(&p->input_offset), output = atomic_load(&p->out.offset);

	if (atomic_load(&p->phase) != STATE_STOPPED || !p->stage)
		return err_set(err, -EIO, "state of partition %u has not ended in order: %s", partition,
			p->shown.error[0] ? p->shown.error : "it did not come to its end in time");
	if (input != journal_durable_offset(s->input, partition) ||
		output != journal_durable_offset(s->output, partition))
		return err_set(err, -EIO,
			"state of partition %u is at offset %" PRIu64 " of its input, which ends at %" PRIu64
			", and has emitted %" PRIu64 " records, of which %" PRIu64
			" are durable: it did not come to its end in time",
			partition, input, journal_durable_offset(s->input, partition), output,
			journal_durable_offset(s->output, partition));
	if (!state_terms_equal(&p->terms, &s->terms))
		return err_set(err, -EIO, "state of partition %u is under other definitions than configured",
			partition);
	return 0;
}

/* What the merge has not read of a partial log may only be what it passes over: once it has read all the rows
 * and marks it needs, it may still be stopped in front of such records. */
static int partial_merged(struct state *s, uint32_t partition, struct err *err)
{
	uint64_t at = merge_position(s->merge.merge, partition);
	uint64_t end = journal_durable_offset(s->output, partition);
	struct journal_reader *reader = NULL;
	struct journal_block block;
	int rc = at == end ? 0 : journal_reader_open(&reader, s->output, partition, at, err);

	while (rc == 0 && at < end) {
		const uint8_t *p;
		uint64_t offset;

		rc = journal_reader_next(reader, &block, 1000, err);
		if (rc <= 0) {
			rc = rc ? rc : err_set(err, -EIO, "output log partition %u ends early", partition);
			break;
		}
		rc = 0;
		p = block.data;
		offset = block.first_offset;
		for (uint32_t i = 0; i < block.record_count && rc == 0; i++, offset++) {
			const struct record *rec = (const struct record *)p;

			if (offset >= at && !merge_passes_over(rec))
				rc = err_set(err, -EIO,
					"output log partition %u, offset %" PRIu64 " is not merged yet",
					partition, offset);
			p += rec->bytes;
		}
		at = offset;
	}
	journal_reader_close(reader);
	return rc;
}

static int all_ended(struct state *s, struct err *err)
{
	uint64_t end = journal_durable_offset(s->output, s->partitions);
	int rc = 0;

	for (uint32_t p = 0; p < s->partitions && rc == 0; p++)
		rc = part_ended(s, p, err);
	if (rc == 0 &&
		(atomic_load(&s->merge.phase) != STATE_STOPPED || atomic_load(&s->merge.out.offset) != end))
		rc = err_set(err, -EIO, "the merge has not ended in order: %s",
			s->merge.error[0] ? s->merge.error : "it did not come to its end in time");
	for (uint32_t p = 0; p < s->partitions && rc == 0; p++)
		rc = partial_merged(s, p, err);
	return rc;
}

/* ---- writing ---- */

/* generation: of rules in force, or 0 */
static int gather_write(struct state *s, const struct state_gather_to *to, const char *dir, uint32_t who,
	int64_t watermark_ms, uint32_t generation, const struct bytes *body, struct err *err)
{
	struct checkpoint_info info = {.input_epoch = to->input_epoch,
		.output_epoch = to->output_epoch,
		.who = who,
		.seq = STATE_SEQ_FIRST + 1,
		.created_ms = clock_wall_ms(),
		.watermark_ms = watermark_ms,
		.step_ms = s->terms.step_ms,
		.partitions = to->partitions,
		.generation = generation,
		.window_count = s->terms.window_count,
		.body_bytes = body->bytes};
	int rc;

	snprintf(info.node, sizeof info.node, "%s", journal_node(s->input));
	snprintf(info.savepoint, sizeof info.savepoint, "%s", STATE_SAVEPOINT_GATHERED);
	memcpy(info.window_uid, s->terms.window_uid, sizeof info.window_uid);
	if (body->failed)
		return err_set(err, -ENOMEM, "no memory for the state");
	rc = checkpoint_write(dir, &info, body, err);
	crash_point("state_gathered");
	return rc;
}

static int gather_part(struct state *s, const struct state_gather_to *to, const char *dir, uint32_t partition,
	const struct stage_saved *saved, struct err *err)
{
	struct window_plan *plan = NULL;
	struct stage *stage = NULL;
	struct bytes body = {0};
	int rc = state_terms_stage(&s->terms, s->windows, partition, s->cfg->state.source_idle, s->rules,
		s->rules_arg, nothing_emitted, NULL, &plan, &stage, err);

	if (rc == 0)
		rc = stage_gather(stage, saved, s->partitions, to->partitions, err);
	if (rc == 0) {
		part_body(&s->terms, stage, &body);
		rc = gather_write(s, to, dir, partition, stage_stats(stage)->watermark_ms,
			stage_rules(stage) ? cep_generation(stage_rules(stage)) : 0, &body, err);
	}
	bytes_free(&body);
	stage_free(stage);
	window_plan_free(plan);
	return rc;
}

static int gather_parts(struct state *s, const struct state_gather_to *to, const char *dir, struct err *err)
{
	struct stage_saved *saved = calloc(s->partitions, sizeof *saved);
	struct bytes *body = calloc(s->partitions, sizeof *body);
	int rc = saved && body ? 0 : err_set(err, -ENOMEM, "no memory for the state");

	for (uint32_t p = 0; p < s->partitions && rc == 0; p++) {
		stage_save(s->part[p].stage, &body[p]);
		saved[p] = (struct stage_saved){body[p].data, body[p].bytes};
		if (body[p].failed)
			rc = err_set(err, -ENOMEM, "no memory for the state");
	}
	for (uint32_t p = 0; p < to->partitions && rc == 0; p++)
		rc = gather_part(s, to, dir, p, saved, err);
	for (uint32_t p = 0; body && p < s->partitions; p++)
		bytes_free(&body[p]);
	free(body);
	free(saved);
	return rc;
}

static const struct window_def *gather_window(void *arg, uint64_t uid)
{
	struct err ignored; /* who asks says what is missing */

	return window_store_get(arg, uid, &ignored);
}

/* Of the new number of partitions. */
static int gather_merge_new(struct state *s, const struct state_gather_to *to, struct window_store *windows,
	struct merge **merge, struct err *err)
{
	const struct merge_params params = {.window = gather_window,
		.window_arg = windows,
		.partitions = to->partitions,
		.step_ms = s->terms.step_ms,
		.memory_bytes = s->cfg->state.memory};

	return merge_new(merge, &params, nothing_emitted, NULL, err);
}

static int gather_merge(struct state *s, const struct state_gather_to *to, const char *dir, struct err *err)
{
	struct bytes old = {0}, body = {0};
	struct merge *merge = NULL;
	int rc;

	merge_save(s->merge.merge, &old);
	rc = old.failed ? err_set(err, -ENOMEM, "no memory for the state")
			: gather_merge_new(s, to, s->windows, &merge, err);
	if (rc == 0)
		rc = merge_gather(merge, old.data, old.bytes, err);
	if (rc == 0) {
		merge_save(merge, &body);
		rc = gather_write(s, to, dir, CHECKPOINT_MERGE, merge_stats(merge)->step_ms, 0, &body, err);
	}
	merge_free(merge);
	bytes_free(&old);
	bytes_free(&body);
	return rc;
}

/* ---- what was written is what a start can begin with ---- */

static int part_loads(struct state *s, struct window_store *windows, uint32_t partition,
	const struct bytes *body, struct err *err)
{
	struct window_plan *plan = NULL;
	struct stage *stage = NULL;
	struct state_terms terms;
	uint32_t dropped;
	size_t head;
	int rc = part_body_terms(body->data, body->bytes, &terms, &head, err);

	if (rc <= 0)
		return rc ? rc : err_set(err, -EINVAL, "it holds no state");
	rc = state_terms_stage(&terms, windows, partition, s->cfg->state.source_idle, s->rules, s->rules_arg,
		nothing_emitted, NULL, &plan, &stage, err);
	if (rc == 0)
		rc = stage_load(stage, body->data + head, body->bytes - head, &dropped, err);
	stage_free(stage);
	window_plan_free(plan);
	return rc;
}

static int merge_loads(struct state *s, const struct state_gather_to *to, struct window_store *windows,
	const struct bytes *body, struct err *err)
{
	struct merge *merge = NULL;
	int rc = gather_merge_new(s, to, windows, &merge, err);

	if (rc == 0)
		rc = merge_load(merge, body->data, body->bytes, err);
	merge_free(merge);
	return rc;
}

/* Each checkpoint, with the definitions beside it. */
static int gather_loads(struct state *s, const struct state_gather_to *to, const char *dir,
	const char *windows_dir, struct err *err)
{
	struct window_store *windows = NULL;
	int rc = window_store_open(&windows, windows_dir, err);

	for (uint32_t p = 0; p <= to->partitions && rc == 0; p++) {
		bool merge = p == to->partitions;
		struct checkpoint_info info;
		struct bytes body = {0};

		rc = checkpoint_read_newest(dir, merge ? CHECKPOINT_MERGE : p, &info, &body, err);
		if (rc == 0)
			rc = merge ? merge_loads(s, to, windows, &body, err)
				   : part_loads(s, windows, p, &body, err);
		bytes_free(&body);
		if (rc && merge)
			err_prefix(err, "the merge's new checkpoint cannot be loaded");
		else if (rc)
			err_prefix(err, "the new checkpoint of partition %u cannot be loaded", p);
	}
	window_store_close(windows);
	return rc;
}

int state_gather(struct state *s, const struct state_gather_to *to, struct err *err)
{
	char windows[STATE_PATH_BYTES + 32], checkpoints[STATE_PATH_BYTES + 32];
	int rc = all_ended(s, err);

	if (rc != 0)
		return rc;
	snprintf(windows, sizeof windows, "%.300s/windows", to->state_dir);
	snprintf(checkpoints, sizeof checkpoints, "%.300s/checkpoints", to->state_dir);
	rc = durable_dir_make(windows, err);
	if (rc == 0)
		rc = window_store_link(s->windows, windows, err);
	if (rc == 0)
		rc = durable_dir_make(checkpoints, err);
	if (rc == 0)
		rc = gather_parts(s, to, checkpoints, err);
	if (rc == 0)
		rc = gather_merge(s, to, checkpoints, err);
	return rc ? rc : gather_loads(s, to, checkpoints, windows, err);
}
