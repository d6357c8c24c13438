/* See rules_try.h. Pulls blocks of the partition that is furthest behind in receive time, matches their
 * events with both rulesets, and hands what rules with state are to see to the lanes, which run about half a
 * second behind: until then every partition's share of that time has been read. One thread. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "journal.h"
#include "must.h"
#include "rules_try_priv.h"
#include "state_terms.h"
#include "watermark.h"

/* Records of one moment reach the journal's partitions by different batches: so much later at most. */
#define SKEW_MS 500
#define DRAIN_MS 50 /* of receive time between two drains */
#define PROGRESS_NS 2000000000ull

static void fault(const struct try_run *t, const char *text)
{
	if (t->params->fault)
		t->params->fault(t->params->arg, text);
}

/* ---- watermarks ---- */

static void lanes_step(struct try_run *t, uint32_t p, int64_t receive_ms, int64_t step_ms)
{
	for (int s = 0; s < TRY_SIDES; s++)
		if (t->side[s].lane && step_ms != TRY_NO_TIME)
			try_lane_step(&t->side[s].lane[p], receive_ms, step_ms);
}

/* ---- blocks ---- */

/* Which keyrings of each side are keyed as one that was in force in this block. */
static void live_set(struct try_reader *r, uint32_t generation)
{
	struct try_run *t = r->t;
	struct err ignored;

	if (generation == r->generation)
		return;
	r->generation = generation;
	if (t->params->store && generation)
		(void)ruleset_stand_at(&r->live, t->params->store, generation, &ignored);
	else if (t->params->store)
		ruleset_stand_leave(&r->live, t->params->store);
	for (int s = 0; s < TRY_SIDES; s++) {
		struct try_side *side = &t->side[s];

		memset(side->alike, 0, sizeof side->alike);
		for (uint32_t k = 0; k < ruleset_keyring_count(side->rs); k++)
			for (uint32_t i = 0; r->live.rs && i < ruleset_keyring_count(r->live.rs); i++) {
				const struct rule_keyring *a = ruleset_keyring(side->rs, k),
							  *b = ruleset_keyring(r->live.rs, i);

				if (a->count == b->count && memcmp(a->field, b->field, a->count) == 0)
					side->alike[k] |= 1u << i;
			}
	}
}

static int terms_take(struct try_reader *r, const struct journal_block *block, struct err *err)
{
	struct state_terms terms;
	int rc = state_terms_of_block(block, &terms, err);

	if (rc > 0) {
		r->part[r->p].unit_ms = terms.step_ms;
		r->part[r->p].out_of_orderness_ms = terms.out_of_orderness_ms;
		r->t->out->terms_known = true;
	}
	return rc < 0 ? rc : 0;
}

static int block_take(struct try_reader *r, const struct journal_block *block, struct err *err)
{
	struct try_part *part = &r->part[r->p];
	const uint8_t *at = block->data;
	int64_t step_ms;

	if (block->first_offset > part->next_offset && part->next_offset)
		r->t->out->trimmed += block->first_offset - part->next_offset;
	part->frontier_ms = block->receive_last_ms;
	if (block->receive_last_ms >= r->t->start_ms) {
		live_set(r, block->generation);
		for (uint32_t i = 0; i < block->record_count; i++) {
			const struct record *rec = (const struct record *)at;

			at += rec->bytes;
			if (block->first_offset + i < part->next_offset)
				continue;
			if (rec->receive_time_ms >= r->t->params->to_ms) {
				part->frontier_ms = TRY_NEVER;
				break;
			}
			try_record_take(r, rec, block->first_offset + i);
		}
		try_burst_run(r);
	}
	part->next_offset = block->first_offset + block->record_count;
	step_ms = stage_time_usable(block->watermark_ms) && part->frontier_ms != TRY_NEVER
			  ? try_part_raise(part, block->watermark_ms)
			  : TRY_NO_TIME;
	lanes_step(r->t, r->p, block->receive_last_ms, step_ms);
	return terms_take(r, block, err);
}

/* Retention has taken the segment that comes next: goes on with the oldest that is there. False: it has not.
 */
static int part_again(struct try_reader *r, struct err *err)
{
	struct try_part *part = &r->part[r->p];
	struct journal_scanner *scanner;
	struct journal_scan_block b;
	int rc = journal_scanner_open(&scanner, r->t->params->journal_dir, r->p, err);

	if (rc != 0)
		return rc;
	rc = journal_scanner_next(scanner, &b, err);
	if (rc == 1 && b.intact && b.block.first_offset > part->next_offset) {
		journal_scanner_close(part->scanner);
		part->scanner = scanner;
		rc = block_take(r, &b.block, err);
		return rc < 0 ? rc : 1;
	}
	journal_scanner_close(scanner);
	return rc < 0 ? rc : 0;
}

static int part_pull(struct try_reader *r, uint32_t p, struct err *err)
{
	struct try_part *part = &r->part[p];
	struct journal_scan_block b;
	int rc;

	r->p = p;
	rc = journal_scanner_next(part->scanner, &b, err);
	if (rc == 1 && b.intact)
		return block_take(r, &b.block, err);
	if (rc == 1) {
		char text[256];

		rc = part_again(r, err);
		if (rc > 0)
			return 0;
		snprintf(text, sizeof text, "partition %u, segment %" PRIu64 ", file offset %" PRIu64 ": %s",
			p, b.segment, b.file_offset, b.fault ? b.fault : "damaged");
		fault(r->t, text);
	}
	part->frontier_ms = TRY_NEVER;
	return rc < 0 ? rc : 0;
}

/* ---- all ---- */
static int lanes_drain(struct try_reader *r, int64_t horizon_ms, struct err *err)
{
	struct try_run *t = r->t;
	int rc = 0;

	r->drained_ms = horizon_ms;
	for (uint32_t p = 0; p < t->partitions; p++)
		for (int s = 0; s < TRY_SIDES && !rc; s++) {
			if (t->side[s].lane)
				rc = try_lane_drain(&t->side[s].lane[p], horizon_ms, err);
		}
	return rc;
}

static size_t lanes_bytes(const struct try_run *t)
{
	size_t sum = 0;

	for (int s = 0; s < TRY_SIDES; s++)
		for (uint32_t p = 0; t->side[s].lane && p < t->partitions; p++)
			sum += t->side[s].lane[p].bytes;
	return sum;
}

static void progress_tell(struct try_reader *r, int64_t receive_ms)
{
	const struct rules_try_params *params = r->t->params;
	uint64_t now_ns = clock_mono_ns();

	if (!params->progress || now_ns - r->told_ns < PROGRESS_NS)
		return;
	r->told_ns = now_ns;
	params->progress(
		params->arg, &(struct rules_try_progress){r->t->out->events + r->t->out->warm_up_events,
				     receive_ms, (double)(now_ns - r->start_ns) / 1e9});
}

static int parts_run(struct try_reader *r, struct err *err)
{
	const size_t most = r->t->params->queue_bytes ? r->t->params->queue_bytes : RULES_TRY_QUEUE_BYTES;
	const uint32_t partitions = r->t->partitions;
	int rc = 0;

	while (!rc) {
		int64_t lowest_ms = TRY_NEVER, horizon_ms;
		uint32_t p = 0;
		bool full;

		for (uint32_t i = 0; i < partitions; i++)
			if (r->part[i].frontier_ms < lowest_ms) {
				lowest_ms = r->part[i].frontier_ms;
				p = i;
			}
		if (lowest_ms == TRY_NEVER)
			break;
		rc = part_pull(r, p, err);
		if (lowest_ms == TRY_NO_TIME)
			continue;
		full = lanes_bytes(r->t) > most; /* as where the clock stood still for long */
		horizon_ms = full ? lowest_ms + 1 : lowest_ms - SKEW_MS;
		if (!rc && (full || horizon_ms >= r->drained_ms + DRAIN_MS))
			rc = lanes_drain(r, horizon_ms, err);
		progress_tell(r, lowest_ms);
	}
	return rc ? rc : lanes_drain(r, TRY_NEVER, err);
}

/* Time settings: of a checkpoint, until the journal has a note. */
static int terms_find(struct try_reader *r, uint64_t epoch, struct state_terms *terms, struct err *err)
{
	const struct rules_try_params *params = r->t->params;
	int rc = params->checkpoint_dir ? state_terms_newest(params->checkpoint_dir, epoch, terms, err) : 0;

	r->t->out->terms_known = rc > 0;
	if (rc == 0) {
		terms->step_ms = params->step_ms;
		terms->out_of_orderness_ms = params->out_of_orderness_ms;
	}
	return rc < 0 ? rc : 0;
}

static int parts_open(struct try_reader *r, struct err *err)
{
	struct try_run *t = r->t;
	struct state_terms terms;
	struct journal_meta meta;
	int rc = journal_meta_read(t->params->journal_dir, &meta, err);

	if (rc == 0)
		rc = terms_find(r, meta.epoch, &terms, err);
	if (rc != 0)
		return rc;
	t->partitions = meta.partitions;
	r->part = must_calloc(meta.partitions, sizeof *r->part);
	for (uint32_t p = 0; p < meta.partitions && rc == 0; p++) {
		r->part[p].frontier_ms = r->part[p].watermark_ms = r->part[p].step_ms = TRY_NO_TIME;
		r->part[p].unit_ms = terms.step_ms;
		r->part[p].out_of_orderness_ms = terms.out_of_orderness_ms;
		rc = journal_scanner_open_since(
			&r->part[p].scanner, t->params->journal_dir, p, t->start_ms, err);
	}
	return rc;
}

static int sides_open(struct try_run *t, struct err *err)
{
	int rc = 0;

	for (int s = 0; s < TRY_SIDES; s++) {
		t->side[s].t = t;
		t->side[s].index = (enum rules_try_side)s;
		t->side[s].rs = t->params->rules[s];
	}
	if (!try_rows_make(t))
		return err_set(err, -ENOMEM, "no memory");
	for (int s = 0; s < TRY_SIDES && rc == 0; s++) {
		struct try_side *side = &t->side[s];

		side->matcher = matcher_new(side->rs, err);
		if (!side->matcher)
			return -ENOMEM;
		if (!ruleset_state_count(side->rs))
			continue;
		side->lane = must_calloc(t->partitions, sizeof *side->lane);
		for (uint32_t p = 0; p < t->partitions; p++)
			try_lane_init(&side->lane[p], side, p);
	}
	return rc;
}

/* What is left in the lanes' state, by rule. */
static void state_sum(struct try_run *t)
{
	for (int s = 0; s < TRY_SIDES; s++)
		for (uint32_t p = 0; t->side[s].lane && p < t->partitions; p++) {
			const struct cep *cep = t->side[s].lane[p].cep;

			for (uint32_t i = 0; i < cep_count(cep); i++) {
				const struct cep_stats *stats = cep_stats(cep, i);
				struct rules_try_row *row = try_row_find(t, cep_rule_id(cep, i));

				t->out->keys[s] += stats->keys;
				t->out->memory_bytes[s] += stats->memory_bytes;
				if (!row)
					continue;
				row->waiting[s] += stats->waiting;
				row->partials[s] += stats->partials;
				row->late[s] += stats->late;
				row->evictions[s] += stats->evictions;
				row->cut[s] += stats->cut;
			}
		}
}

static void reader_free(struct try_reader *r)
{
	struct try_run *t = r->t;

	for (uint32_t p = 0; r->part && p < t->partitions; p++)
		journal_scanner_close(r->part[p].scanner);
	for (int s = 0; s < TRY_SIDES; s++) {
		for (uint32_t p = 0; t->side[s].lane && p < t->partitions; p++)
			try_lane_free(&t->side[s].lane[p]);
		free(t->side[s].lane);
		if (t->side[s].matcher)
			matcher_free(t->side[s].matcher);
		free(t->side[s].row);
	}
	if (t->params->store)
		ruleset_stand_leave(&r->live, t->params->store);
	try_map_free(&t->pairs);
	try_map_free(&t->keys);
	free(t->touched);
	free(t->mark);
	free(r->part);
	free(r->data);
	free(r);
}

static int64_t start_of(const struct rules_try_params *params)
{
	int64_t back = params->warm_up_ms;

	if (params->from_ms == INT64_MIN)
		return INT64_MIN;
	for (int s = 0; s < TRY_SIDES && params->warm_up_ms < 0; s++) {
		int64_t ms = rules_try_look_back(params->rules[s]);

		back = ms > back ? ms : back;
	}
	return params->from_ms < INT64_MIN + back ? INT64_MIN : params->from_ms - back;
}

int rules_try(const struct rules_try_params *params, struct rules_try_result *out, struct err *err)
{
	struct try_run t = {.params = params, .out = out, .start_ms = start_of(params)};
	struct try_reader *r = must_calloc(1, sizeof *r);
	int rc;

	memset(out, 0, sizeof *out);
	out->start_ms = t.start_ms;
	out->lowest_watermark_ms = INT64_MIN;
	r->t = &t;
	r->start_ns = r->told_ns = clock_mono_ns();
	r->drained_ms = INT64_MIN / 2;
	r->data = must_realloc(NULL, 1, TRY_DATA_BYTES);
	rc = parts_open(r, err);
	if (rc == 0)
		rc = sides_open(&t, err);
	if (rc == 0)
		rc = parts_run(r, err);
	if (rc == 0)
		state_sum(&t);
	for (uint32_t p = 0; rc == 0 && p < t.partitions; p++) {
		const struct try_part *part = &r->part[p];

		if (!p || part->watermark_ms < out->lowest_watermark_ms)
			out->lowest_watermark_ms = part->watermark_ms;
		out->step_ms = part->unit_ms;
		out->out_of_orderness_ms = part->out_of_orderness_ms;
	}
	out->seconds = (double)(clock_mono_ns() - r->start_ns) / 1e9;
	reader_free(r);
	return rc;
}

void rules_try_free(struct rules_try_result *out)
{
	for (uint32_t i = 0; i < out->row_count; i++) {
		for (uint32_t k = 0; k < out->row[i].example_count; k++)
			free(out->row[i].example[k].alert);
		free(out->row[i].example);
	}
	free(out->row);
	memset(out, 0, sizeof *out);
}
