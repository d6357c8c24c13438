/* Opening and closing the state stage, and its numbers. Control threads. */
#include "state_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "durable.h"
#include "log.h"

void state_nap(uint32_t us)
{
	nanosleep(&(struct timespec){.tv_nsec = (long)us * 1000}, NULL);
}

void state_anew(const struct state *s, char out[2 * STATE_PATH_BYTES])
{
	snprintf(out, 2 * STATE_PATH_BYTES,
		"to begin anew without it, move %.250s and %.250s away while the daemon is stopped",
		s->state_dir, s->output_dir);
}

/* ---- opening ---- */

static int dirs_make(struct state *s, struct checkpoint_entry **list, uint32_t *count, struct err *err)
{
	const char *data_dir = s->cfg->node.data_dir;
	int rc;

	snprintf(s->state_dir, sizeof s->state_dir, "%.200s/state", data_dir);
	snprintf(s->output_dir, sizeof s->output_dir, "%.200s/output", data_dir);
	snprintf(s->checkpoint_dir, sizeof s->checkpoint_dir, "%.200s/state/checkpoints", data_dir);
	rc = durable_dir_make(s->checkpoint_dir, err);
	if (rc == 0)
		rc = checkpoint_list(s->checkpoint_dir, list, count, err);
	return rc ? rc : recover_output_check(s, *count, err);
}

void state_output_params(const struct config *cfg, uint32_t partitions, struct journal_params *p)
{
	journal_params_from_config(p, cfg);
	snprintf(p->dir, sizeof p->dir, "%.200s/output", cfg->node.data_dir);
	p->partitions = partitions + 1;
	if (p->block_bytes < STATE_BLOCK_BYTES)
		p->block_bytes = STATE_BLOCK_BYTES;
	p->segment_bytes = cfg->state.segment_bytes / 4096 * 4096;
	p->segments_max = (uint32_t)cfg->state.segments_max;
	p->derived = true;
}

static void window_warn(void *arg, const char *text)
{
	(void)arg;
	log_warn("state", "%s", text);
}

static int windows_open(struct state *s, struct err *err)
{
	char dir[STATE_PATH_BYTES + 16];
	int rc;

	snprintf(dir, sizeof dir, "%s/windows", s->state_dir);
	rc = durable_dir_make(dir, err);
	if (rc == 0)
		rc = window_plan_make(&s->plan, s->cfg, err);
	if (rc == 0)
		rc = window_store_open(&s->windows, dir, err);
	for (uint32_t i = 0; rc == 0 && i < s->plan->count; i++)
		rc = window_store_put(s->windows, s->plan->def[i], err);
	if (rc == 0)
		state_terms_make(&s->terms, s->cfg, s->plan);
	if (rc == 0)
		window_plan_fit(s->plan, window_warn, NULL);
	return rc;
}

static int parts_make(struct state *s, struct err *err)
{
	s->part = calloc(s->partitions, sizeof *s->part);
	s->hot = hot_new((uint32_t)s->cfg->state.hot_windows, s->cfg->state.hot_bytes);
	if (!s->part || !s->hot || merge_state_init(s) != 0)
		return err_set(err, -ENOMEM, "state: no memory");
	s->merge.state = s;
	s->merge.save.who = CHECKPOINT_MERGE;
	s->merge.save.out_partition = s->partitions;
	pthread_mutex_init(&s->merge.shown_lock, NULL);
	for (uint32_t p = 0; p < s->partitions; p++) {
		struct state_part *part = &s->part[p];

		part->state = s;
		part->partition = p;
		part->save.who = part->save.out_partition = p;
		pthread_mutex_init(&part->shown_lock, NULL);
	}
	return 0;
}

int state_open(struct state **out, const struct config *cfg, struct journal *input, struct err *err)
{
	struct state *s = calloc(1, sizeof *s);
	struct checkpoint_entry *list = NULL;
	struct journal_params params;
	pthread_condattr_t attr;
	uint32_t count = 0;
	int rc;

	if (!s)
		return err_set(err, -ENOMEM, "state: no memory");
	s->cfg = cfg;
	s->input = input;
	s->partitions = journal_partitions(input);
	pthread_mutex_init(&s->write_lock, NULL);
	pthread_mutex_init(&s->save_lock, NULL);
	pthread_mutex_init(&s->request_lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&s->save_cond, &attr);
	pthread_condattr_destroy(&attr);
	rc = parts_make(s, err);
	if (rc == 0)
		rc = dirs_make(s, &list, &count, err);
	if (rc == 0) {
		state_output_params(cfg, s->partitions, &params);
		rc = journal_open(&s->output, &params, err);
	}
	if (rc == 0)
		rc = windows_open(s, err);
	if (rc == 0)
		rc = recover_state(s, list, count, err);
	if (rc == 0)
		rc = merge_bounds_begin(s, err);
	free(list);
	if (rc != 0) {
		state_close(s);
		return rc;
	}
	*out = s;
	return 0;
}

void state_close(struct state *s)
{
	if (!s)
		return;
	state_stop(s, 1);
	for (uint32_t p = 0; s->part && p < s->partitions; p++) {
		struct state_part *part = &s->part[p];

		stage_free(part->stage);
		window_plan_free(part->plan);
		bytes_free(&part->body);
		bytes_free(&part->save.body);
		free(part->shown.rules);
		pthread_mutex_destroy(&part->shown_lock);
	}
	merge_state_free(s);
	pthread_mutex_destroy(&s->merge.shown_lock);
	if (s->output)
		journal_close(s->output);
	if (s->handoff_made)
		handoff_free(&s->handoff);
	if (s->windows)
		window_store_close(s->windows);
	if (s->plan)
		window_plan_free(s->plan);
	hot_free(s->hot);
	free(s->part);
	pthread_cond_destroy(&s->save_cond);
	pthread_mutex_destroy(&s->write_lock);
	pthread_mutex_destroy(&s->save_lock);
	pthread_mutex_destroy(&s->request_lock);
	free(s);
}

/* ---- what others borrow ---- */

void state_rules(struct state *s, cep_rules_get rules, void *arg)
{
	s->rules = rules;
	s->rules_arg = arg;
}

uint32_t state_generation_floor(const struct state *s)
{
	return s->generation_floor;
}

struct journal *state_output(struct state *s)
{
	return s->output;
}

struct window_store *state_windows(struct state *s)
{
	return s->windows;
}

const struct window_plan *state_plan(const struct state *s)
{
	return s->plan;
}

struct hot *state_hot(struct state *s)
{
	return s->hot;
}

/* ---- numbers ---- */

uint32_t state_rule_stats(const struct state *s, uint32_t partition, struct cep_stats *out, uint32_t room)
{
	struct state_part *p = &s->part[partition];
	uint32_t count;

	pthread_mutex_lock(&p->shown_lock);
	count = p->shown.rule_count;
	if (count && room)
		memcpy(out, p->shown.rules, (count < room ? count : room) * sizeof *out);
	pthread_mutex_unlock(&p->shown_lock);
	return count;
}

void state_rule_totals(const struct state *s, uint32_t partition, struct cep_totals *out)
{
	struct state_part *p = &s->part[partition];

	pthread_mutex_lock(&p->shown_lock);
	*out = p->shown.rule_totals;
	pthread_mutex_unlock(&p->shown_lock);
}

void state_part_stats(const struct state *s, uint32_t partition, struct state_part_stats *out)
{
	struct state_part *p = &s->part[partition];
	const struct state_save *v = &p->save;

	memset(out, 0, sizeof *out);
	pthread_mutex_lock(&p->shown_lock);
	out->stage = p->shown.stage;
	out->base = p->shown.base;
	out->run = p->shown.run;
	out->replay = p->shown.replay;
	out->stage.input_offset = p->shown.input_offset;
	out->output_offset = p->shown.output_offset;
	out->compared = p->shown.compared;
	out->skipped = p->shown.skipped;
	out->appended = p->shown.appended;
	memcpy(out->error, p->shown.error, sizeof out->error);
	pthread_mutex_unlock(&p->shown_lock);
	out->phase = (enum state_phase)atomic_load(&p->phase);
	out->mismatches = atomic_load(&p->out.mismatches);
	out->waiting = atomic_load(&p->out.waiting);
	out->replay_from = p->from.input_offset;
	out->replay_to = p->replay_to;
	out->checkpoints = atomic_load(&v->count);
	out->checkpoint_failures = atomic_load(&v->failures);
	out->checkpoint_seq = atomic_load(&v->seq);
	out->checkpoint_bytes = atomic_load(&v->bytes);
	out->checkpoint_gather_ns = atomic_load(&v->gather_ns);
	out->checkpoint_ns = atomic_load(&v->ns);
	out->checkpoint_ms = atomic_load(&v->ms);
}

void state_stats(const struct state *s, struct state_stats *out)
{
	struct state_merge *m = (struct state_merge *)(uintptr_t)&s->merge;
	const struct state_save *v = &m->save;

	memset(out, 0, sizeof *out);
	out->partitions = s->partitions;
	pthread_mutex_lock(&m->shown_lock);
	out->merge = m->shown;
	memcpy(out->merge_error, m->error, sizeof out->merge_error);
	pthread_mutex_unlock(&m->shown_lock);
	out->merge_phase = (enum state_phase)atomic_load(&m->phase);
	out->merge_output_offset = atomic_load(&m->out.offset);
	out->merge_compared = atomic_load(&m->out.compared);
	out->merge_skipped = atomic_load(&m->out.skipped);
	out->merge_appended = atomic_load(&m->out.appended);
	out->merge_mismatches = atomic_load(&m->out.mismatches);
	out->merge_waiting = atomic_load(&m->out.waiting);
	out->merge_checkpoints = atomic_load(&v->count);
	out->merge_checkpoint_failures = atomic_load(&v->failures);
	out->merge_checkpoint_seq = atomic_load(&v->seq);
	out->merge_checkpoint_bytes = atomic_load(&v->bytes);
	out->merge_checkpoint_gather_ns = atomic_load(&v->gather_ns);
	out->merge_checkpoint_ns = atomic_load(&v->ns);
	out->merge_checkpoint_ms = atomic_load(&v->ms);
}
