/* Checkpoints on their way to disk. A producer hands over its state as bytes and goes on; the saver waits
 * until the output records before it are durable, then writes, trims, and lets retention move
 * (docs/exactly-once.md: order of durability). Saver thread; save_due() and save_post() belong to the
 * producers'. */
#include "state_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "crash.h"
#include "log.h"

/* ---- producers ---- */

/* Each has a time of its own within checkpoint_every: all at once, partitions with many keys would take every
 * core for a while. */
static uint64_t save_next_ns(const struct state *s, const struct state_save *v, uint64_t now_ns)
{
	uint64_t every_ns = s->cfg->state.checkpoint_every * 1000000ull;
	uint64_t place_ns = every_ns * v->out_partition / (s->partitions + 1);
	uint64_t next_ns = now_ns + every_ns - (now_ns + every_ns - place_ns) % every_ns;

	return next_ns < now_ns + every_ns / 2 ? next_ns + every_ns : next_ns;
}

bool save_due(struct state *s, struct state_save *v, uint64_t progress, bool pressure)
{
	uint64_t now_ns, request = atomic_load(&s->request);
	bool news = progress != atomic_load_explicit(&v->saved, memory_order_relaxed);

	/* Acquire: pairs with the saver's release; the slot is the producer's again. */
	if (atomic_load_explicit(&v->state, memory_order_acquire) != SAVE_IDLE)
		return false;
	if (!news && atomic_load(&v->served) < request)
		atomic_store(&v->served, request);
	now_ns = clock_mono_ns();
	if (!v->due_ns)
		v->due_ns = save_next_ns(s, v, now_ns);
	/* A full log waits for the oldest checkpoint kept to go: also the same state once more moves it on,
	 * until all that are kept are of this place. */
	if (pressure &&
		(news || atomic_load_explicit(&v->same, memory_order_relaxed) <
				 s->cfg->state.checkpoints_kept) &&
		now_ns - v->pressure_ns > STATE_PRESSURE_NS) {
		v->pressure_ns = now_ns;
		return true;
	}
	return news && (atomic_load(&v->served) < request || now_ns >= v->due_ns);
}

void save_info(const struct state *s, struct state_save *v, const struct state_out *o)
{
	struct checkpoint_info *info = &v->info;

	memset(info, 0, sizeof *info);
	snprintf(info->node, sizeof info->node, "%s", journal_node(s->input));
	info->input_epoch = journal_epoch(s->input);
	info->output_epoch = journal_epoch(s->output);
	info->who = v->who;
	info->seq = v->next_seq;
	info->output_offset = atomic_load_explicit(&o->offset, memory_order_relaxed);
	info->created_ms = clock_wall_ms();
	info->partitions = s->partitions;
	info->step_ms = s->terms.step_ms;
	v->began_ns = clock_mono_ns();
	bytes_reset(&v->body);
}

void save_post(struct state *s, struct state_save *v, uint64_t progress)
{
	uint64_t now_ns;

	v->progress = progress;
	v->request = atomic_load(&s->request);
	v->next_seq++;
	now_ns = clock_mono_ns();
	atomic_store(&v->gather_ns, now_ns - v->began_ns);
	v->due_ns = save_next_ns(s, v, now_ns);
	atomic_store_explicit(&v->state, SAVE_POSTED, memory_order_release);
	pthread_mutex_lock(&s->save_lock);
	pthread_cond_signal(&s->save_cond);
	pthread_mutex_unlock(&s->save_lock);
}

void save_wait(struct state *s, struct state_save *v, struct state_out *o)
{
	for (uint32_t i = 1; atomic_load_explicit(&v->state, memory_order_acquire) != SAVE_IDLE &&
			     !state_gives_up(s, clock_mono_ns());
		i++) {
		state_nap(500);
		if (i % 20 == 0)
			out_yield(o);
	}
}

/* ---- the saver ---- */

/* The merge's place in each partial log is in the body of its checkpoints only: remembered here. Of
 * checkpoints of an earlier run it is not known; until they are trimmed everything is held. */
void save_positions_keep(struct state *s, uint64_t seq, const uint64_t *positions)
{
	struct state_merge *m = &s->merge;
	struct merge_saved *low = &m->saved[0];

	for (uint64_t i = 1; i <= s->cfg->state.checkpoints_kept; i++)
		if (m->saved[i].seq < low->seq)
			low = &m->saved[i];
	low->seq = seq;
	memcpy(low->positions, positions, s->partitions * sizeof *positions);
}

static void save_positions_retain(struct state *s, uint64_t seq)
{
	struct state_merge *m = &s->merge;

	for (uint64_t i = 0; i <= s->cfg->state.checkpoints_kept; i++)
		for (uint32_t p = 0; m->saved[i].seq == seq && p < s->partitions; p++)
			journal_consumer_set(s->output, m->consumer[p], m->saved[i].positions[p]);
}

/* What the oldest checkpoint that is kept needs, no more. */
static void save_retain(struct state *s, struct state_save *v, const struct checkpoint_info *oldest)
{
	struct state_merge *m = &s->merge;

	if (v->who != CHECKPOINT_MERGE) {
		const struct state_part *p = &s->part[v->who];

		journal_consumer_set(s->input, p->consumer, oldest->input_offset);
		journal_consumer_set(s->output, p->out.consumer, oldest->output_offset);
		return;
	}
	journal_consumer_set(s->output, m->out.consumer, oldest->output_offset);
	save_positions_retain(s, oldest->seq);
}

/* A full disk: older checkpoints hold segments of the logs, and room that the new one needs. Without one more
 * nothing would ever go, so all but the newest good one have to. */
static int save_file(struct state *s, struct state_save *v, struct err *err)
{
	int rc = checkpoint_write(s->checkpoint_dir, &v->info, &v->body, err);
	struct checkpoint_info oldest;
	struct err ignored;

	if (rc != -ENOSPC && rc != -EDQUOT)
		return rc;
	log_warn("state", "disk full: older checkpoints are removed: %s", err->text);
	if (checkpoint_trim(s->checkpoint_dir, v->who, 1, &oldest, &ignored) != 0)
		return rc;
	save_retain(s, v, &oldest);
	return checkpoint_write(s->checkpoint_dir, &v->info, &v->body, err);
}

static int save_write(struct state *s, struct state_save *v, struct err *err)
{
	struct checkpoint_info oldest;
	uint64_t start_ns = clock_mono_ns();
	int rc;

	crash_point("state_output_durable");
	if (v->body.failed)
		return err_set(err, -ENOMEM, "no memory for a checkpoint");
	v->info.body_bytes = v->body.bytes;
	rc = save_file(s, v, err);
	if (rc != 0)
		return rc;
	crash_point("state_checkpoint_written");
	atomic_store(&v->ns, clock_mono_ns() - start_ns);
	atomic_store(&v->bytes, v->body.bytes);
	atomic_store(&v->ms, v->info.created_ms);
	atomic_store(&v->seq, v->info.seq);
	atomic_store(&v->same, atomic_load(&v->saved) == v->progress ? atomic_load(&v->same) + 1 : 1);
	atomic_store(&v->saved, v->progress);
	atomic_fetch_add(&v->count, 1);
	if (v->who == CHECKPOINT_MERGE)
		save_positions_keep(s, v->info.seq, v->positions);
	rc = checkpoint_trim(
		s->checkpoint_dir, v->who, (uint32_t)s->cfg->state.checkpoints_kept, &oldest, err);
	crash_point("state_checkpoint_trimmed");
	if (rc == 0)
		save_retain(s, v, &oldest);
	return rc;
}

static bool save_ready(const struct state *s, const struct state_save *v)
{
	return journal_durable_offset(s->output, v->out_partition) >= v->info.output_offset;
}

/* Writes what is posted and ready. *left: some are not. True if it wrote any. */
static bool saver_round(struct state *s, bool *left)
{
	bool any = false;

	*left = false;
	for (uint32_t i = 0; i <= s->partitions; i++) {
		struct state_save *v = i < s->partitions ? &s->part[i].save : &s->merge.save;
		struct err err = {""};
		int rc;

		/* Acquire: pairs with the release in save_post(). */
		if (atomic_load_explicit(&v->state, memory_order_acquire) != SAVE_POSTED)
			continue;
		if (!save_ready(s, v)) {
			*left = true;
			continue;
		}
		any = true;
		/* Before the request counts as served: who waits for it looks at both. */
		pthread_mutex_lock(&s->write_lock);
		rc = save_write(s, v, &err);
		pthread_mutex_unlock(&s->write_lock);
		if (rc != 0) {
			atomic_fetch_add(&v->failures, 1);
			log_error("state", "no checkpoint of %s %u: %s",
				v->who == CHECKPOINT_MERGE ? "the merge, log partition" : "partition",
				v->out_partition, err.text);
		}
		if (v->request > atomic_load(&v->served))
			atomic_store(&v->served, v->request);
		atomic_store_explicit(&v->state, SAVE_IDLE, memory_order_release);
	}
	return any;
}

void *saver_main(void *arg)
{
	struct state *s = arg;
	bool left;

	for (;;) {
		bool stop = atomic_load(&s->stop_saver);
		struct timespec until;
		uint64_t ns;

		if (saver_round(s, &left))
			continue;
		if (stop && (!left || state_gives_up(s, clock_mono_ns())))
			return NULL;
		ns = clock_mono_ns() + (left ? 1000000u : 50000000u);
		until = (struct timespec){(time_t)(ns / 1000000000ull), (long)(ns % 1000000000ull)};
		pthread_mutex_lock(&s->save_lock);
		/* A wake-up too many, or one that is missed, costs one look or 50 ms. */
		(void)pthread_cond_timedwait(&s->save_cond, &s->save_lock, &until);
		pthread_mutex_unlock(&s->save_lock);
	}
}
