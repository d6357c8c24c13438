/* Starting and stopping the threads of the state stage; checkpoints by command. Control threads. */
#include "state_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "log.h"

#define NOTE_TIMEOUT_MS 5000u

static int thread_start(
	pthread_t *thread, bool *runs, void *(*run)(void *), void *arg, const char *name, struct err *err)
{
	int rc = pthread_create(thread, NULL, run, arg);

	if (rc != 0)
		return err_set(err, -rc, "state: no thread %s: %s", name, strerror(rc));
	*runs = true;
	pthread_setname_np(*thread, name);
	return 0;
}

/* A full input journal takes the note later, but before anything else: no reason not to start. */
static int terms_note(struct state *s, struct err *err)
{
	char text[JOURNAL_NOTE_MAX + 1];
	int rc;

	state_terms_print(&s->terms, text);
	rc = journal_note(s->input, text, NOTE_TIMEOUT_MS, err);
	if (rc == -ETIMEDOUT || rc == -EIO) {
		log_warn("state", "%s", err->text);
		rc = 0;
	}
	return rc;
}

static int output_start(struct state *s, struct err *err)
{
	int rc = handoff_create(&s->handoff, 1, s->partitions + 1, STATE_BATCHES, STATE_BATCH_BYTES, err);

	s->handoff_made = rc == 0;
	if (rc == 0)
		rc = journal_start(s->output, &s->handoff, err);
	s->output_runs = rc == 0;
	return rc;
}

static int parts_start(struct state *s, struct err *err)
{
	int rc = out_open(&s->merge.out, s, s->partitions, s->merge.from.output_offset, err);

	for (uint32_t i = 0; i < s->partitions && rc == 0; i++) {
		struct state_part *p = &s->part[i];

		atomic_store(&p->input_offset, p->from.input_offset);
		p->shown.input_offset = p->from.input_offset;
		p->shown.output_offset = p->from.output_offset;
		p->replay_to = journal_durable_offset(s->input, i);
		rc = out_open(&p->out, s, i, p->from.output_offset, err);
	}
	for (uint32_t i = 0; i < s->partitions && rc == 0; i++) {
		struct state_part *p = &s->part[i];
		char name[24];

		snprintf(name, sizeof name, "state-%u", i);
		atomic_store(&p->phase, STATE_RECOVERING);
		rc = thread_start(&p->thread, &p->runs, part_main, p, name, err);
	}
	if (rc != 0)
		return rc;
	atomic_store(&s->merge.phase, STATE_RECOVERING);
	return thread_start(&s->merge.thread, &s->merge.runs, merge_main, &s->merge, "state-merge", err);
}

int state_start(struct state *s, struct err *err)
{
	int rc = output_start(s, err);

	if (rc == 0)
		rc = terms_note(s, err);
	if (rc == 0)
		rc = thread_start(&s->saver, &s->saver_runs, saver_main, s, "state-save", err);
	if (rc == 0)
		rc = parts_start(s, err);
	if (rc != 0)
		state_stop(s, 1);
	return rc;
}

/* True if all that the partition's thread has sealed is durable, or never will be. */
static bool part_landed(const struct state *s, uint32_t partition)
{
	struct journal_partition_stats stats;

	journal_stats(s->output, partition, &stats);
	return stats.failed || stats.durable_offset >= atomic_load(&s->part[partition].out.offset);
}

/* In the order of the flow: each finds what the one before has left. */
void state_stop(struct state *s, uint64_t deadline_ns)
{
	atomic_store(&s->stop_deadline_ns, deadline_ns ? deadline_ns : 1);
	atomic_store(&s->stop_parts, true);
	for (uint32_t i = 0; s->part && i < s->partitions; i++) {
		if (s->part[i].runs)
			pthread_join(s->part[i].thread, NULL);
		s->part[i].runs = false;
	}
	/* What the partitions have sealed is on its way; the merge wants all of it. */
	for (uint32_t i = 0; s->output_runs && i < s->partitions; i++)
		while (!part_landed(s, i) && !state_gives_up(s, clock_mono_ns()))
			state_nap(500);
	atomic_store(&s->stop_merge, true);
	if (s->merge.runs)
		pthread_join(s->merge.thread, NULL);
	s->merge.runs = false;
	atomic_store(&s->stop_saver, true);
	if (s->saver_runs)
		pthread_join(s->saver, NULL);
	s->saver_runs = false;
	if (s->output_runs)
		journal_stop(s->output);
	s->output_runs = false;
}

void state_hurry(struct state *s, uint64_t deadline_ns)
{
	atomic_store(&s->hurry_deadline_ns, deadline_ns ? deadline_ns : 1);
}

/* ---- checkpoints by command ---- */

static int request_wait(const struct state_save *v, const _Atomic int *phase, uint64_t request,
	uint64_t failures, uint64_t end_ns, struct err *err)
{
	while (atomic_load(&v->served) < request) {
		int now = atomic_load(phase);

		if (now != STATE_RECOVERING && now != STATE_RUNNING)
			return err_set(err, -EIO, "partition %u of the output log: its thread is %s",
				v->out_partition, state_phase_name[now]);
		if (clock_mono_ns() > end_ns)
			return err_set(err, -ETIMEDOUT, "no checkpoint of output log partition %u in time",
				v->out_partition);
		state_nap(1000);
	}
	if (atomic_load(&v->failures) != failures)
		return err_set(err, -EIO,
			"the checkpoint of output log partition %u failed; the log says why",
			v->out_partition);
	return 0;
}

static bool name_good(const char *name)
{
	size_t n = strlen(name);

	return n > 0 && n < sizeof((struct checkpoint_info *)0)->savepoint && name[0] != '.' &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == n;
}

/* Two under one name could not be told apart. */
static int name_free(const struct state *s, const char *name, struct err *err)
{
	struct checkpoint_entry *list;
	uint32_t count;
	int rc = checkpoint_list(s->checkpoint_dir, &list, &count, err);

	if (rc)
		return rc;
	for (uint32_t i = 0; i < count && !rc; i++)
		if (!strcmp(list[i].info.savepoint, name))
			rc = err_set(err, -EEXIST,
				"there is a savepoint %s: take another name, or remove %s and its like first",
				name, list[i].path);
	free(list);
	return rc;
}

/* The newest checkpoints once more, as files that stay. */
static int savepoint_make(struct state *s, const char *name, struct err *err)
{
	int rc = 0;

	pthread_mutex_lock(&s->write_lock);
	for (uint32_t i = 0; i <= s->partitions && rc == 0; i++) {
		uint32_t who = i < s->partitions ? i : CHECKPOINT_MERGE;
		struct checkpoint_info info;
		struct bytes body = {0};

		rc = checkpoint_read_newest(s->checkpoint_dir, who, &info, &body, err);
		snprintf(info.savepoint, sizeof info.savepoint, "%s", name);
		if (rc == 0)
			rc = checkpoint_write(s->checkpoint_dir, &info, &body, err);
		bytes_free(&body);
	}
	pthread_mutex_unlock(&s->write_lock);
	return rc;
}

int state_checkpoint(struct state *s, const char *savepoint, uint32_t timeout_ms, struct err *err)
{
	uint64_t end_ns = clock_mono_ns() + timeout_ms * 1000000ull, request, failures[257];
	int rc = 0;

	if (savepoint && !name_good(savepoint))
		return err_set(err, -EINVAL, "name: up to 63 letters, digits, - _ . expected");
	if (s->partitions >= sizeof failures / sizeof *failures)
		return err_set(err, -EINVAL, "more than 256 partitions");
	pthread_mutex_lock(&s->request_lock);
	rc = savepoint ? name_free(s, savepoint, err) : 0;
	for (uint32_t i = 0; i < s->partitions; i++)
		failures[i] = atomic_load(&s->part[i].save.failures);
	failures[s->partitions] = atomic_load(&s->merge.save.failures);
	request = rc ? 0 : atomic_fetch_add(&s->request, 1) + 1;
	for (uint32_t i = 0; i < s->partitions && rc == 0; i++)
		rc = request_wait(&s->part[i].save, &s->part[i].phase, request, failures[i], end_ns, err);
	if (rc == 0)
		rc = request_wait(
			&s->merge.save, &s->merge.phase, request, failures[s->partitions], end_ns, err);
	if (rc == 0 && savepoint)
		rc = savepoint_make(s, savepoint, err);
	pthread_mutex_unlock(&s->request_lock);
	return rc;
}
