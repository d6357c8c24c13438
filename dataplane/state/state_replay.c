/* See state_replay.h. Pulls: the merge says of which partition it wants a record, that partition's blocks are
 * run through its stage until there is one. Memory: what one block emits, per partition. */
#include "state_replay.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crc32c.h"
#include "state_begin.h"
#include "state_priv.h"

struct replay;

struct replay_part {
	struct replay *replay;
	uint32_t partition;
	struct journal_scanner *scanner;
	struct state_terms terms;
	bool termed;		  /* terms are known */
	struct window_plan *plan; /* of the stage, if by a note */
	struct stage *stage;
	struct bytes queue; /* emitted, for the merge */
	size_t at;	    /* of the next one */
	uint64_t at_offset; /* its offset */
	bool begun, ended;
};

struct replay {
	const struct state_replay_params *params;
	struct state_replay_result *result;
	struct replay_part *part;
	struct state_begin *begin; /* of each partition; all zero with a plan */
	struct merge *merge;
	struct merge_bounds bounds;
	uint32_t merge_partitions; /* 1 if only one is replayed */
	bool gone;		   /* the beginning of a partition */
	int stop;		   /* what emit returned */
};

static int replay_record(struct replay *r, uint32_t partition, const struct record *rec)
{
	struct state_replay_log *log = &r->result->log[partition];

	if (r->params->emit)
		r->stop = r->params->emit(r->params->arg, partition, log->emitted, rec);
	log->kinds[rec->kind & 7]++;
	log->emitted++;
	log->crc = crc32c(log->crc, rec, rec->bytes);
	return r->stop;
}

static int part_emit(void *arg, const struct record *rec)
{
	struct replay_part *p = arg;

	bytes_put(&p->queue, rec, rec->bytes);
	if (p->queue.failed)
		return -ENOMEM;
	return replay_record(p->replay, p->partition, rec);
}

static int merge_emit(void *arg, const struct record *rec)
{
	struct replay *r = arg;

	return replay_record(r, r->result->partitions, rec);
}

static const struct window_def *merge_window(void *arg, uint64_t uid)
{
	struct replay *r = arg;
	struct err ignored;
	const struct window_def *def = r->params->plan ? window_plan_find(r->params->plan, uid) : NULL;

	return def || !r->params->windows ? def : window_store_get(r->params->windows, uid, &ignored);
}

/* ---- a partition ---- */

/* A stage under the partition's terms, with the state of the one before. */
static int part_stage(struct replay_part *p, struct err *err)
{
	const struct state_replay_params *params = p->replay->params;
	struct window_plan *plan = NULL;
	struct bytes saved = {0};
	struct stage *stage = NULL;
	uint32_t dropped;
	int rc;

	if (params->plan) {
		const struct stage_params sp = {.plan = params->plan,
			.partition = p->partition,
			.out_of_orderness_ms = params->terms->out_of_orderness_ms,
			.source_idle_ms = params->source_idle_ms,
			.memory_bytes = params->terms->memory_bytes,
			.rules = params->rules,
			.rules_arg = params->rules_arg};

		return stage_new(&p->stage, &sp, part_emit, p, err);
	}
	if (p->stage)
		stage_save(p->stage, &saved);
	rc = state_terms_stage(&p->terms, params->windows, p->partition, params->source_idle_ms,
		params->rules, params->rules_arg, part_emit, p, &plan, &stage, err);
	if (rc == 0 && p->stage)
		rc = saved.failed ? err_set(err, -ENOMEM, "no memory")
				  : stage_load(stage, saved.data, saved.bytes, &dropped, err);
	bytes_free(&saved);
	stage_free(p->stage);
	window_plan_free(p->plan);
	p->stage = stage;
	p->plan = plan;
	return rc;
}

/* A note: from here on its terms hold. As state_part.c does it. */
static int part_note(struct replay_part *p, const struct journal_block *block, struct err *err)
{
	struct state_terms terms;
	int rc;

	if (p->replay->params->plan)
		return 0;
	rc = state_terms_of_block(block, &terms, err);
	if (rc <= 0)
		return rc;
	rc = 0;
	if (!p->stage || !state_terms_equal(&terms, &p->terms)) {
		p->terms = terms;
		p->termed = true;
		if (block->receive_last_ms < p->replay->params->from_ms)
			return 0;
		rc = part_stage(p, err);
	}
	return rc ? rc : stage_definitions(p->stage, terms.marks ? block : NULL);
}

static uint64_t block_events(const struct journal_block *block)
{
	const uint8_t *at = block->data;
	uint64_t events = 0;

	for (uint32_t i = 0; i < block->record_count; i++) {
		const struct record *rec = (const struct record *)at;

		events += rec->kind == RECORD_EVENT;
		at += rec->bytes;
	}
	return events;
}

/* What is said of a partition whose beginning is gone. */
static void part_say_begin(const struct replay_part *p, struct state_replay_log *log)
{
	const struct state_begin *b = &p->replay->begin[p->partition];
	int n = snprintf(log->begin, sizeof log->begin,
		"begins at offset %" PRIu64
		"; windows that began before are incomplete, rules over time begin "
		"with the next note of rules; ",
		log->first_offset);
	char *to = log->begin + n;
	size_t cap = sizeof log->begin - (size_t)n;

	if (p->replay->params->plan)
		snprintf(to, cap, "definitions as configured");
	else if (b->known)
		snprintf(to, cap, "definitions taken from %s%s", b->from,
			b->certain ? "" : ", others may have been in force");
	else if ((log->off = b->certain))
		snprintf(to, cap, "no definitions were in force: %s", b->from);
	else
		snprintf(to, cap, "definitions are not known");
}

static int part_take(struct replay_part *p, const struct journal_block *block, struct err *err)
{
	const struct state_replay_params *params = p->replay->params;
	struct state_replay_log *log = &p->replay->result->log[p->partition];
	int rc = 0;

	if (!p->begun) {
		log->first_offset = block->first_offset;
		if (block->first_offset > 0 || p->replay->begin[p->partition].looked)
			part_say_begin(p, log);
		p->begun = true;
	}
	if (block->receive_last_ms >= params->from_ms) {
		/* Where the note stands the running stage begins behind it. */
		if (!p->stage && (params->plan || p->termed))
			rc = part_stage(p, err);
		if (rc == 0 && p->stage)
			rc = stage_block(p->stage, block, block->first_offset, err);
		else
			log->passed_over += block_events(block);
		log->blocks++;
		log->records += block->record_count;
	}
	log->input_offset = block->first_offset + block->record_count;
	return rc ? rc : part_note(p, block, err);
}

/* The next block through the stage. */
static int part_pull(struct replay_part *p, struct err *err)
{
	struct state_replay_log *log = &p->replay->result->log[p->partition];
	struct journal_scan_block b;
	int rc = journal_scanner_next(p->scanner, &b, err);

	if (rc > 0 && !b.intact) {
		log->damaged = true;
		snprintf(log->fault, sizeof log->fault, "segment %" PRIu64 ", file offset %" PRIu64 ": %s",
			b.segment, b.file_offset, b.fault ? b.fault : "damaged");
		rc = 0;
	}
	if (rc <= 0 || b.block.receive_last_ms >= p->replay->params->to_ms) {
		p->ended = true;
		return rc < 0 ? rc : 0;
	}
	return part_take(p, &b.block, err);
}

/* 1: *rec is the next emitted record; 0: there are no more. */
static int part_next(struct replay_part *p, const struct record **rec, struct err *err)
{
	while (p->at == p->queue.bytes) {
		int rc;

		bytes_reset(&p->queue);
		p->at = 0;
		if (p->ended)
			return 0;
		rc = part_pull(p, err);
		if (rc != 0)
			return rc;
	}
	*rec = (const struct record *)(p->queue.data + p->at);
	p->at += (*rec)->bytes;
	p->at_offset++;
	return 1;
}

/* ---- a journal that goes on from another one ---- */

static int gathered_read(
	const struct replay *r, uint64_t epoch, uint32_t who, struct bytes *body, struct err *err)
{
	const char *dir = r->params->checkpoint_dir;
	struct checkpoint_entry *list;
	struct checkpoint_info info;
	uint32_t count;
	int rc = checkpoint_list(dir, &list, &count, err), found = 0;

	if (rc != 0)
		return rc;
	for (uint32_t i = 0; i < count && !found; i++) {
		found = list[i].good && list[i].info.who == who && list[i].info.input_epoch == epoch &&
			strcmp(list[i].info.savepoint, STATE_SAVEPOINT_GATHERED) == 0;
		if (found)
			rc = checkpoint_read(list[i].path, &info, body, err);
	}
	free(list);
	return found ? rc
		     : err_set(err, -ENODATA,
			       "%s: the journal goes on from another one, and the savepoint \"%s\" with what "
			       "it "
			       "began with is gone: give a configuration to begin empty",
			       dir, STATE_SAVEPOINT_GATHERED);
}

static int part_begin(struct replay_part *p, uint64_t epoch, struct err *err)
{
	struct bytes body = {0};
	uint32_t dropped;
	size_t head;
	int rc = gathered_read(p->replay, epoch, p->partition, &body, err);

	if (rc == 0)
		rc = part_body_terms(body.data, body.bytes, &p->terms, &head, err);
	if (rc > 0)
		rc = part_stage(p, err);
	if (rc == 0 && p->stage)
		rc = stage_load(p->stage, body.data + head, body.bytes - head, &dropped, err);
	p->termed = p->stage != NULL;
	bytes_free(&body);
	return rc;
}

static int replay_begin(struct replay *r, uint64_t epoch, struct err *err)
{
	const struct state_replay_params *params = r->params;
	struct bytes body = {0};
	int rc = 0;

	for (uint32_t i = 0; i < r->result->partitions && rc == 0; i++)
		if (r->part[i].scanner)
			rc = part_begin(&r->part[i], epoch, err);
	if (rc == 0 && params->partition == UINT32_MAX)
		rc = gathered_read(r, epoch, CHECKPOINT_MERGE, &body, err);
	if (rc == 0 && body.bytes)
		rc = merge_load(r->merge, body.data, body.bytes, err);
	bytes_free(&body);
	return rc;
}

/* ---- all ---- */

/* Until the merge wants a record of a partition that has ended; then nothing more can come out of it. */
static int replay_merge(struct replay *r, struct err *err)
{
	for (;;) {
		int want = merge_wants(r->merge, -1), rc;
		const struct record *rec = NULL;
		struct replay_part *p;

		if (want < 0) {
			rc = merge_run(r->merge, err);
			if (rc != 0)
				return rc;
			continue;
		}
		p = &r->part[r->merge_partitions == 1 && r->params->partition != UINT32_MAX
				     ? r->params->partition
				     : (uint32_t)want];
		rc = part_next(p, &rec, err);
		if (rc <= 0)
			return rc;
		rc = merge_feed(r->merge, (uint32_t)want, rec, p->at_offset - 1, err);
		if (rc != 0)
			return rc;
	}
}

static int replay_run(struct replay *r, struct err *err)
{
	int rc = replay_merge(r, err);

	for (uint32_t i = 0; i < r->result->partitions && rc == 0; i++) {
		const struct record *rec;

		while (r->part[i].scanner && (rc = part_next(&r->part[i], &rec, err)) > 0)
			;
		if (r->part[i].stage)
			r->result->log[i].events = stage_stats(r->part[i].stage)->events;
	}
	if (rc == 0)
		rc = merge_run(r->merge, err);
	return rc;
}

/* What each partition begins with whose first records are gone. */
static int replay_find(struct replay *r, const struct journal_meta *meta, struct err *err)
{
	const struct state_replay_params *params = r->params;
	int rc = params->plan ? 0
			      : state_begin_find(params->journal_dir, params->checkpoint_dir, meta,
					params->partition, r->begin, err);

	for (uint32_t i = 0; i < meta->partitions && rc == 0; i++) {
		r->part[i].termed = r->begin[i].known;
		r->part[i].terms = r->begin[i].terms;
		r->gone |= r->begin[i].looked;
	}
	return rc;
}

/* The first terms that are known; the step is the same in all of a journal. -ENOENT: there are none. */
static int replay_terms(const struct replay *r, struct state_terms *terms, struct err *err)
{
	const struct state_replay_params *params = r->params;
	uint32_t first = params->partition == UINT32_MAX ? 0 : params->partition;
	struct state_note note;
	int rc;

	if (params->plan) {
		*terms = *params->terms;
		return 0;
	}
	for (uint32_t i = 0; i < r->result->partitions; i++)
		if (r->part[i].termed) {
			*terms = r->part[i].terms;
			return 0;
		}
	rc = state_note_first(params->journal_dir, first, UINT64_MAX, &note, err);
	if (rc != 0)
		return rc;
	*terms = note.terms;
	return note.found ? 0
			  : err_set(err, -ENOENT, "%s: %s window definitions: give a configuration",
				    params->journal_dir,
				    r->gone ? "its beginning is gone, and no note and no checkpoint names"
					    : "it names no");
}

static int replay_bounds(struct replay *r, const struct state_terms *terms, struct err *err)
{
	const struct state_replay_params *params = r->params;
	int rc = params->plan || !params->state_dir ? -ENOENT
						    : merge_bounds_read(&r->bounds, params->state_dir, err);

	if (rc != -ENOENT)
		return rc;
	merge_bounds_init(&r->bounds, terms->memory_bytes);
	return 0;
}

static int replay_open(struct replay *r, struct err *err)
{
	const struct state_replay_params *params = r->params;
	struct merge_params mp = {.window = merge_window,
		.window_arg = r,
		.partitions = r->merge_partitions,
		.bounds = &r->bounds,
		.silent_has_all = r->gone || params->from_ms != INT64_MIN};
	struct state_terms terms;
	int rc = replay_terms(r, &terms, err);

	if (rc == 0)
		rc = replay_bounds(r, &terms, err);
	if (rc != 0)
		return rc;
	mp.step_ms = terms.step_ms;
	for (uint32_t i = 0; i < r->result->partitions; i++) {
		r->part[i].replay = r;
		r->part[i].partition = i;
		if (params->partition != UINT32_MAX && params->partition != i)
			continue;
		rc = journal_scanner_open(&r->part[i].scanner, params->journal_dir, i, err);
		if (rc != 0)
			return rc;
	}
	return merge_new(&r->merge, &mp, merge_emit, r, err);
}

int state_replay(
	const struct state_replay_params *params, struct state_replay_result *result, struct err *err)
{
	struct replay r = {.params = params, .result = result};
	struct journal_meta meta;
	int rc = journal_meta_read(params->journal_dir, &meta, err);

	memset(result, 0, sizeof *result);
	if (rc != 0)
		return rc;
	if (params->partition != UINT32_MAX && params->partition >= meta.partitions)
		return err_set(err, -EINVAL, "%s: the journal has no partition %u", params->journal_dir,
			params->partition);
	result->partitions = meta.partitions;
	r.merge_partitions = params->partition == UINT32_MAX ? meta.partitions : 1;
	result->log = calloc(meta.partitions + 1, sizeof *result->log);
	r.part = calloc(meta.partitions, sizeof *r.part);
	r.begin = calloc(meta.partitions, sizeof *r.begin);
	rc = result->log && r.part && r.begin ? replay_find(&r, &meta, err)
					      : err_set(err, -ENOMEM, "no memory");
	if (rc == 0)
		rc = replay_open(&r, err);
	/* What it began with fits only all partitions, from their first record on. */
	if (rc == 0 && meta.before && !r.gone && params->checkpoint_dir && !params->plan &&
		params->from_ms == INT64_MIN)
		rc = replay_begin(&r, meta.epoch, err);
	if (rc == 0)
		rc = replay_run(&r, err);
	for (uint32_t i = 0; r.part && i < meta.partitions; i++) {
		journal_scanner_close(r.part[i].scanner);
		stage_free(r.part[i].stage);
		window_plan_free(r.part[i].plan);
		bytes_free(&r.part[i].queue);
	}
	result->incomplete = r.merge ? merge_stats(r.merge)->incomplete : 0;
	merge_free(r.merge);
	free(r.begin);
	free(r.part);
	return r.stop ? r.stop : rc;
}
