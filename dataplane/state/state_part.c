/* The thread of a partition: durable blocks of the input journal through the stage into the output log;
 * checkpoints; changes of terms where the journal has a note. After a start the same code replays what is
 * behind the checkpoint. Owns its stage, the stage's plan, its reader and its lane of the output log. */
#include "state_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "crash.h"
#include "cursor.h"
#include "log.h"
#include "must.h"

#define BODY_MAGIC 0x31545453u /* "STT1" */
#define BODY_HEAD_BYTES (4u + 4u + 8u + 8u + 8u + 4u)
#define FULL_LOOK_NS 100000000u
#define REPLAY_SAY_RECORDS 4096u /* a shorter replay is over before anybody asks */

void part_fail(struct state_part *p, const char *text)
{
	pthread_mutex_lock(&p->shown_lock);
	snprintf(p->shown.error, sizeof p->shown.error, "%s", text);
	pthread_mutex_unlock(&p->shown_lock);
	atomic_store(&p->phase, STATE_FAILED);
	log_error("state", "STATE STOPPED: partition=%u %s", p->partition, text);
}

/* ---- bodies of checkpoints ---- */

void part_body(const struct state_terms *t, const struct stage *st, struct bytes *out)
{
	bytes_put_u32(out, BODY_MAGIC);
	bytes_put_u32(out, t->window_count);
	bytes_put_i64(out, t->step_ms);
	bytes_put_u64(out, t->out_of_orderness_ms);
	bytes_put_u64(out, t->memory_bytes);
	bytes_put_u32(out, st != NULL);
	for (uint32_t i = 0; i < t->window_count; i++)
		bytes_put_u64(out, t->window_uid[i]);
	if (st)
		stage_save(st, out);
}

int part_body_terms(const uint8_t *data, size_t bytes, struct state_terms *t, size_t *head, struct err *err)
{
	struct cursor c = cursor_of(data, bytes);
	uint32_t magic = cursor_le32(&c), count = cursor_le32(&c), any;

	memset(t, 0, sizeof *t);
	t->step_ms = (int64_t)cursor_le64(&c);
	t->out_of_orderness_ms = cursor_le64(&c);
	t->memory_bytes = cursor_le64(&c);
	any = cursor_le32(&c);
	if (magic != BODY_MAGIC || count > WINDOWS_MAX || any > 1 || t->step_ms <= 0)
		return err_set(err, -EINVAL, "checkpoint: its terms cannot be read");
	for (t->window_count = 0; t->window_count < count; t->window_count++)
		t->window_uid[t->window_count] = cursor_le64(&c);
	if (c.failed)
		return err_set(err, -EINVAL, "checkpoint: its terms cannot be read");
	*head = BODY_HEAD_BYTES + 8 * (size_t)count;
	return (int)any;
}

int state_terms_newest(const char *checkpoint_dir, uint64_t epoch, struct state_terms *t, struct err *err)
{
	struct checkpoint_info info;
	struct bytes body = {0};
	size_t head;
	int rc = checkpoint_read_newest(checkpoint_dir, 0, &info, &body, err);

	if (rc == 0 && info.input_epoch == epoch)
		rc = part_body_terms(body.data, body.bytes, t, &head, err) < 0 ? 0 : 1;
	bytes_free(&body);
	return rc == -ENOENT || rc == -EBADMSG ? 0 : rc;
}

/* ---- stage ---- */

static int part_emit(void *arg, const struct record *rec)
{
	struct state_part *p = arg;

	return out_emit(&p->out, rec, &p->emit_err);
}

/* Of all stages since the start. */
static void part_counts(const struct state_part *p, struct state_counts *c)
{
	const struct stage_stats *now = p->stage ? stage_stats(p->stage) : &p->base, *base = &p->base;

	*c = p->carry;
	c->records += now->records - base->records;
	c->events += now->events - base->events;
	c->late += now->late - base->late;
	c->rows += now->rows - base->rows;
	c->row_records += now->row_records - base->row_records;
	c->marks += now->marks - base->marks;
	c->alerts += now->alerts - base->alerts;
}

static void rules_show(struct part_shown *to, const struct cep *rules)
{
	to->rule_count = rules ? cep_count(rules) : 0;
	if (to->rule_count > to->rule_room) {
		to->rule_room = to->rule_count;
		to->rules = must_realloc(to->rules, to->rule_room, sizeof *to->rules);
	}
	for (uint32_t i = 0; i < to->rule_count; i++)
		to->rules[i] = *cep_stats(rules, i);
	to->rule_totals = rules ? *cep_totals(rules) : (struct cep_totals){0};
}

/* For readers: the numbers of one moment, between two blocks. */
static void part_show(struct state_part *p, uint64_t now_ns)
{
	struct part_shown *to = &p->shown;

	p->shown_old = false;
	p->shown_ns = now_ns;
	pthread_mutex_lock(&p->shown_lock);
	if (p->stage)
		to->stage = *stage_stats(p->stage);
	rules_show(to, p->stage ? stage_rules(p->stage) : NULL);
	to->base = p->base;
	to->replay = p->replay;
	part_counts(p, &to->run);
	to->input_offset = atomic_load(&p->input_offset);
	to->output_offset = atomic_load(&p->out.offset);
	to->compared = atomic_load(&p->out.compared);
	to->skipped = atomic_load(&p->out.skipped);
	to->appended = atomic_load(&p->out.appended);
	pthread_mutex_unlock(&p->shown_lock);
}

/* Puts another stage in the place of the one there is. */
static void part_take_stage(struct state_part *p, const struct state_terms *terms,
	struct window_plan *plan_take, struct stage *stage_take)
{
	part_counts(p, &p->carry);
	stage_free(p->stage);
	window_plan_free(p->plan);
	p->stage = stage_take;
	p->plan = plan_take;
	p->terms = *terms;
	p->base = *stage_stats(stage_take);
}

static int part_make_stage(struct state_part *p, const struct state_terms *terms, const uint8_t *data,
	size_t bytes, struct err *err)
{
	struct state *s = p->state;
	struct window_plan *plan;
	struct stage *stage;
	uint32_t dropped = 0;
	int rc = state_terms_stage(terms, s->windows, p->partition, s->cfg->state.source_idle, s->rules,
		s->rules_arg, part_emit, p, &plan, &stage, err);

	if (rc != 0)
		return rc;
	if (data)
		rc = stage_load(stage, data, bytes, &dropped, err);
	if (rc != 0) {
		stage_free(stage);
		window_plan_free(plan);
		return rc;
	}
	if (dropped)
		log_info("state",
			"windows that are not defined any more: state dropped partition=%u windows=%u",
			p->partition, dropped);
	part_take_stage(p, terms, plan, stage);
	return 0;
}

/* From here on other terms hold. What is defined as before keeps its state. */
static int part_change(struct state_part *p, const struct state_terms *terms, struct err *err)
{
	struct bytes saved = {0};
	int rc;

	if (p->stage)
		stage_save(p->stage, &saved);
	rc = saved.failed ? err_set(err, -ENOMEM, "no memory to change the definitions")
			  : part_make_stage(p, terms, saved.data, saved.bytes, err);
	bytes_free(&saved);
	crash_point("state_terms_changed");
	p->save_now = rc == 0;
	if (rc == 0)
		log_info("state", "terms changed partition=%u offset=%" PRIu64 " windows=%u", p->partition,
			atomic_load(&p->input_offset), terms->window_count);
	return rc;
}

/* A note of terms: each says to the merge what is in force, also if it is what was; but for one of a version
 * that did not. */
static int part_note(struct state_part *p, const struct journal_block *block, const struct state_terms *terms,
	struct err *err)
{
	int rc = p->stage && state_terms_equal(&p->terms, terms) ? 0 : part_change(p, terms, err);

	if (rc == 0)
		rc = stage_definitions(p->stage, terms->marks ? block : NULL);
	if (rc != 0 && p->emit_err.text[0])
		*err = p->emit_err;
	return rc;
}

static int part_block(struct state_part *p, const struct journal_block *block, struct err *err)
{
	struct state_terms terms;
	int rc = 0, note;

	if (p->stage)
		rc = stage_block(p->stage, block, atomic_load(&p->input_offset), err);
	else
		p->carry.records += block->record_count;
	if (rc != 0 && p->emit_err.text[0])
		*err = p->emit_err;
	if (rc != 0)
		return rc;
	atomic_store(&p->input_offset, block->first_offset + block->record_count);
	note = state_terms_of_block(block, &terms, err);
	return note > 0 ? part_note(p, block, &terms, err) : note;
}

/* ---- checkpoints ---- */

/* The input journal is full: what the oldest checkpoint holds has to go soon. */
static bool part_input_full(struct state_part *p)
{
	struct journal_partition_stats stats;
	uint64_t now_ns = clock_mono_ns();

	if (now_ns - p->full_ns < FULL_LOOK_NS)
		return p->full;
	p->full_ns = now_ns;
	journal_stats(p->state->input, p->partition, &stats);
	p->full = stats.full;
	return p->full;
}

static void part_save(struct state_part *p)
{
	struct state_save *v = &p->save;
	uint64_t offset = atomic_load(&p->input_offset);

	save_info(p->state, v, &p->out);
	v->info.input_offset = offset;
	if (p->stage) {
		v->info.watermark_ms = stage_stats(p->stage)->watermark_ms;
		v->info.generation = stage_rules(p->stage) ? cep_generation(stage_rules(p->stage)) : 0;
		v->info.window_count = p->terms.window_count;
		memcpy(v->info.window_uid, p->terms.window_uid, sizeof v->info.window_uid);
		part_body(&p->terms, p->stage, &v->body);
	} else {
		part_body(&p->state->terms, NULL, &v->body);
	}
	out_seal(&p->out);
	save_post(p->state, v, offset);
	p->save_now = false;
}

static void part_save_maybe(struct state_part *p)
{
	bool idle = atomic_load_explicit(&p->save.state, memory_order_acquire) == SAVE_IDLE;

	if (save_due(p->state, &p->save, atomic_load(&p->input_offset), part_input_full(p)) ||
		(p->save_now && idle))
		part_save(p);
}

/* ---- the thread ---- */

static int part_open(struct state_part *p, struct err *err)
{
	struct state_terms terms;
	size_t head;
	int rc = 0;

	if (p->body.bytes) {
		rc = part_body_terms(p->body.data, p->body.bytes, &terms, &head, err);
		if (rc > 0)
			rc = part_make_stage(p, &terms, p->body.data + head, p->body.bytes - head, err);
	}
	bytes_free(&p->body);
	if (rc == 0)
		rc = journal_reader_open(
			&p->reader, p->state->input, p->partition, atomic_load(&p->input_offset), err);
	if (rc == 0)
		journal_reader_gives_back(p->reader);
	return rc;
}

/* `status` shows it, too; the log is what is left of a start that took long. */
static void part_say_progress(struct state_part *p, uint64_t done)
{
	uint64_t all = p->replay_to - p->from.input_offset;
	uint32_t quarters = all < REPLAY_SAY_RECORDS ? 0 : (uint32_t)(4 * done / all);
	double seconds;

	if (quarters <= p->replay_quarters)
		return;
	p->replay_quarters = quarters;
	seconds = (double)(clock_mono_ns() - p->replay_ns) / 1e9;
	log_info("state",
		"recovering partition=%u percent=%" PRIu64 " records=%" PRIu64
		" seconds=%.1f left_seconds=%.1f",
		p->partition, 100 * done / all, all, seconds, seconds * (double)(all - done) / (double)done);
}

static void part_progress(struct state_part *p)
{
	uint64_t at = atomic_load(&p->input_offset);

	if (atomic_load_explicit(&p->phase, memory_order_relaxed) != STATE_RECOVERING)
		return;
	if (at < p->replay_to) {
		part_say_progress(p, at - p->from.input_offset);
		return;
	}
	part_counts(p, &p->replay);
	part_show(p, clock_mono_ns());
	atomic_store(&p->phase, STATE_RUNNING);
	log_info("state",
		"recovered partition=%u offsets=%" PRIu64 "..%" PRIu64 " compared=%" PRIu64 " seconds=%.1f",
		p->partition, p->from.input_offset, p->replay_to, atomic_load(&p->out.compared),
		(double)(clock_mono_ns() - p->replay_ns) / 1e9);
}

/* One block, if there is one. 0; 1: nothing came; -errno. */
static int part_step(struct state_part *p, struct err *err)
{
	struct journal_block block;
	uint64_t now_ns;
	int rc = journal_reader_next(p->reader, &block, 0, err);

	if (rc == 0) {
		out_seal(&p->out);
		if (p->shown_old)
			part_show(p, clock_mono_ns());
		rc = journal_reader_next(p->reader, &block, STATE_WAIT_MS, err);
	}
	if (rc < 0)
		return rc;
	if (rc == 0) {
		out_yield(&p->out);
		return 1;
	}
	rc = part_block(p, &block, err);
	p->shown_old = true;
	now_ns = clock_mono_ns();
	out_seal_aged(&p->out, now_ns);
	if (rc == 0 && now_ns - p->shown_ns > STATE_SHOW_NS)
		part_show(p, now_ns);
	return rc;
}

/* Input that was durable when the stop was asked for has been taken; then a last checkpoint. */
static void part_finish(struct state_part *p)
{
	out_seal(&p->out);
	save_wait(p->state, &p->save, &p->out);
	if (atomic_load(&p->save.state) == SAVE_IDLE &&
		atomic_load(&p->save.saved) != atomic_load(&p->input_offset)) {
		part_save(p);
		save_wait(p->state, &p->save, &p->out);
	}
	part_show(p, clock_mono_ns());
	atomic_store(&p->phase, STATE_STOPPED);
}

void *part_main(void *arg)
{
	struct state_part *p = arg;
	struct state *s = p->state;
	struct err err = {""};
	int rc;

	p->replay_ns = clock_mono_ns();
	rc = part_open(p, &err);
	while (rc >= 0) {
		/* Before the look for input: what was durable before the stop is found after it. */
		bool stop = atomic_load(&s->stop_parts);

		part_progress(p);
		rc = part_step(p, &err);
		if (rc < 0)
			break;
		if (stop && (rc == 1 || state_gives_up(s, clock_mono_ns())))
			break;
		part_save_maybe(p);
	}
	if (rc < 0) {
		part_show(p, clock_mono_ns());
		part_fail(p, err.text);
	} else {
		part_finish(p);
	}
	out_seal(&p->out); /* after a failure: what came out before it is as good as ever */
	out_close(&p->out);
	journal_reader_close(p->reader);
	p->reader = NULL;
	return NULL;
}
