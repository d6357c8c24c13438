/* Opening, starting, stopping the journal; consumers; numbers. Control threads. */
#include "journal_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "hash.h"
#include "random.h"

#define RECOVER_THREADS 16u

void journal_params_from_config(struct journal_params *p, const struct config *cfg)
{
	memset(p, 0, sizeof *p);
	snprintf(p->dir, sizeof p->dir, "%.200s/journal", cfg->node.data_dir);
	snprintf(p->node, sizeof p->node, "%.64s", cfg->node.id);
	p->partitions = (uint32_t)cfg->journal.partitions;
	p->block_bytes = (uint32_t)(cfg->journal.block_bytes / BLOCK_ALIGN * BLOCK_ALIGN);
	p->block_age_us = cfg->journal.block_age;
	p->segment_bytes = cfg->journal.segment_bytes / BLOCK_ALIGN * BLOCK_ALIGN;
	p->segments_max = (uint32_t)cfg->journal.segments_max;
	p->inflight = (uint32_t)cfg->journal.inflight;
	p->cache_blocks = (uint32_t)cfg->journal.cache_blocks;
	p->dedup_window_ms = cfg->journal.dedup_window;
	p->dedup_ids_max = cfg->journal.dedup_ids_max;
	p->out_of_orderness_ms = cfg->time.out_of_orderness;
	p->tick_ms = cfg->time.tick;
	p->drop_old = cfg->journal.full == CONFIG_FULL_DROP_OLD_UNSENT;
	p->retain_ms = cfg->journal.retain;
	p->retain_bytes = cfg->journal.retain_bytes;
	p->compress_after_ms = cfg->journal.compress_after;
	p->durability = (enum journal_durability)cfg->journal.durability;
	p->sync_every_us = cfg->journal.sync_every;
	snprintf(p->dirs, sizeof p->dirs, "%s", cfg->journal.dirs);
}

static int params_check(const struct journal_params *p, struct err *err)
{
	if (!p->node[0] || !p->dir[0] || !p->partitions || p->partitions > 65536)
		return err_set(err, -EINVAL, "journal: node, directory and partitions must be given");
	if (p->block_bytes % BLOCK_ALIGN || p->block_bytes < 2 * BLOCK_ALIGN || p->block_bytes > 1u << 30)
		return err_set(err, -EINVAL, "journal: block_bytes must be a multiple of 4096 from 8192 on");
	if (p->segment_bytes % BLOCK_ALIGN || p->segment_bytes < 2ull * p->block_bytes)
		return err_set(err, -EINVAL, "journal: a segment must hold two blocks at least");
	if (p->inflight < 1 || p->inflight > JOURNAL_INFLIGHT_MAX || p->cache_blocks < 1 ||
		p->segments_max < 3)
		return err_set(err, -EINVAL, "journal: inflight, cache_blocks or segments_max out of range");
	if (!p->tick_ms && !p->derived)
		return err_set(err, -EINVAL, "journal: tick must not be 0");
	return 0;
}

/* ---- making and opening ---- */

/* -EBADMSG if there are segments, which a partition that is to be made cannot have. */
static int part_dir_check(const char *dir, struct err *err)
{
	uint64_t *number = NULL;
	uint32_t count;
	int rc;

	if (access(dir, F_OK) != 0) /* also a link to nowhere */
		return errno == ENOENT ? 0 : err_set(err, -errno, "%s: %s", dir, strerror(errno));
	rc = segment_list(dir, true, &number, &count, err);
	if (rc != 0)
		return rc;
	free(number);
	if (!count)
		return 0;
	return err_set(err, -EBADMSG,
		"%s: there are segments but no journal.meta: restore it, or move the directory away", dir);
}

static int part_dir_make(const struct journal *j, uint32_t partition, struct err *err)
{
	struct mark_slot mark = {.epoch = j->meta.epoch, .partition = partition};
	char dir[PATH_BYTES];
	int fd, rc;

	store_part_dir(dir, j->params.dir, partition);
	rc = part_dir_check(dir, err); /* first: the next step removes what a link names */
	if (rc == 0)
		rc = dirs_part_make(j, partition, err);
	if (rc == 0)
		rc = durable_dir_make(dir, err);
	if (rc != 0)
		return rc;
	fd = store_mark_open(dir, true, true, err);
	if (fd < 0)
		return fd;
	rc = store_mark_write(fd, &mark);
	close(fd);
	if (rc == 0)
		rc = durable_dir_sync(dir);
	return rc ? err_set(err, rc, "%s: %s", dir, strerror(-rc)) : skip_make(dir, err);
}

/* journal.meta comes last: with it, everything else is there. */
static int journal_make(struct journal *j, struct err *err)
{
	const struct journal_params *p = &j->params;
	uint64_t random[2];
	int rc;

	do {
		rc = random_draw(random, sizeof random, err);
		if (rc != 0)
			return rc;
	} while (random[0] == 0);
	j->meta = (struct meta_file){
		.epoch = random[0],
		.key = p->key ? p->key : random[1],
		.segment_bytes = p->segment_bytes,
		.block_bytes = p->block_bytes,
		.partitions = p->partitions,
		.created_ms = clock_wall_ms(),
		.flags = p->derived ? META_F_DERIVED : 0,
		.before = p->before,
	};
	memcpy(j->meta.node, p->node, sizeof p->node);
	rc = p->derived ? 0 : dirs_check(p->dirs, err);
	if (rc != 0)
		return rc;
	for (uint32_t i = 0; i < p->partitions; i++) {
		rc = part_dir_make(j, i, err);
		if (rc != 0)
			return rc;
	}
	return store_meta_write(p->dir, &j->meta, err);
}

static int meta_check(struct journal *j, struct err *err)
{
	struct journal_params *p = &j->params;
	const struct meta_file *m = &j->meta;

	if (strcmp(m->node, p->node) != 0)
		return err_set(err, -EINVAL, "%s: this is the journal of node \"%s\", not of \"%s\"", p->dir,
			m->node, p->node);
	if (m->partitions != p->partitions)
		return err_set(err, -EINVAL,
			"%s: the journal was made with %u partitions, the configuration has %u: set it back, "
			"or change the journal by `sluiced --repartition`",
			p->dir, m->partitions, p->partitions);
	if (!!(m->flags & META_F_DERIVED) != p->derived)
		return err_set(err, -EINVAL, "%s: this is %s journal, it cannot be used as %s", p->dir,
			p->derived ? "an input" : "a derived",
			p->derived ? "a derived one" : "an input journal");
	if (m->block_bytes != p->block_bytes || m->segment_bytes != p->segment_bytes)
		log_warn("journal",
			"block and segment size stay as the journal was made dir=%s block=%u segment=%llu",
			p->dir, m->block_bytes, (unsigned long long)m->segment_bytes);
	p->block_bytes = m->block_bytes;
	p->segment_bytes = m->segment_bytes;
	if (p->derived) {
		p->dedup_window_ms = 0;
		p->durability = JOURNAL_COMMIT;
	}
	return 0;
}

static int part_init(struct journal *j, uint32_t index, struct err *err)
{
	struct journal_part *part = &j->part[index];
	const struct journal_params *p = &j->params;
	pthread_condattr_t attr;
	uint64_t bytes, seed = hash_bytes(j->meta.node, strlen(j->meta.node), j->meta.epoch);

	part->journal = j;
	part->index = index;
	part->fd[0] = part->fd[1] = part->next_fd = part->mark_fd = part->open_buf = part->skip_fd =
		part->stood_fd = -1;
	part->receive_last_ms = part->watermark_base_ms = part->watermark_next_ms = INT64_MIN;
	part->id_seed[0] = hash_u64(seed ^ hash_u64(index));
	part->id_seed[1] = hash_u64(part->id_seed[0] + 1);
	part->watermark_ns = clock_mono_ns();
	store_part_dir(part->dir, p->dir, index);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_mutex_init(&part->lock, NULL);
	pthread_mutex_init(&part->skip_lock, NULL);
	pthread_cond_init(&part->keeper_cond, &attr);
	pthread_condattr_destroy(&attr);
	part->seg_capacity = p->segments_max * (p->compress_after_ms ? COMPRESS_SEGMENTS : 1) + 2;
	part->seg = calloc(part->seg_capacity, sizeof *part->seg);
	if (!part->seg || cache_init(&part->cache, p->cache_blocks, p->inflight, p->block_bytes, &bytes) ||
		dedup_init(&part->dedup, p->dedup_window_ms, p->dedup_ids_max, j->meta.key))
		return err_set(err, -ENOMEM, "journal: no memory for the buffers of partition %u", index);
	return 0;
}

static void part_stats_init(struct journal_part *part)
{
	struct journal_partition_stats *s = &part->stats;

	memcpy(s->records, part->totals.records, sizeof s->records);
	memcpy(s->drops, part->totals.drops, sizeof s->drops);
	s->durable_bytes = part->totals.journal_bytes;
	s->blocks = part->place.seq;
	s->assigned_offset = part->place.offset;
	s->oldest_offset = part->seg_count ? part->seg[0].first_offset : part->place.offset;
	s->dedup_ids = part->dedup.count;
	s->clock_steps = part->totals.clock_steps;
	s->watermark_ms = part->watermark_next_ms;
	s->receive_last_ms = part->receive_last_ms;
	s->generation = part->generation_max;
}

/* Partitions are independent of each other; one after the other they would wait for the disk in turn. */
struct recover_work {
	struct journal *j;
	_Atomic uint32_t next; /* partition that nobody has begun */
	struct recover_result {
		int rc;
		struct err err;
	} * result;
};

static void *recover_main(void *arg)
{
	struct recover_work *w = arg;
	uint32_t i;

	while ((i = atomic_fetch_add(&w->next, 1)) < w->j->params.partitions)
		w->result[i].rc = part_recover(&w->j->part[i], &w->result[i].err);
	return NULL;
}

/* This thread, and helpers as far as there are any to be had. The first partition that failed speaks. */
static int recover_all(struct journal *j, struct err *err)
{
	struct recover_work w = {.j = j, .result = calloc(j->params.partitions, sizeof *w.result)};
	pthread_t helper[RECOVER_THREADS - 1];
	uint32_t helpers = 0;
	int rc = 0;

	if (!w.result)
		return err_set(err, -ENOMEM, "journal: out of memory");
	while (helpers < RECOVER_THREADS - 1 && helpers + 1 < j->params.partitions &&
		pthread_create(&helper[helpers], NULL, recover_main, &w) == 0)
		helpers++;
	(void)recover_main(&w);
	while (helpers)
		pthread_join(helper[--helpers], NULL);
	for (uint32_t i = 0; i < j->params.partitions && rc == 0; i++) {
		rc = w.result[i].rc;
		if (rc != 0)
			*err = w.result[i].err;
		else
			part_stats_init(&j->part[i]);
	}
	free(w.result);
	return rc;
}

static int journal_recover(struct journal *j, struct err *err)
{
	j->part = aligned_alloc(64, j->params.partitions * sizeof *j->part);
	if (!j->part)
		return err_set(err, -ENOMEM, "journal: out of memory");
	memset(j->part, 0, j->params.partitions * sizeof *j->part);
	for (uint32_t i = 0; i < j->params.partitions; i++) {
		int rc = part_init(j, i, err);

		if (rc != 0)
			return rc;
	}
	return recover_all(j, err);
}

static void part_free(struct journal_part *part)
{
	const int fds[] = {
		part->fd[0], part->fd[1], part->next_fd, part->mark_fd, part->skip_fd, part->stood_fd};

	if (!part->journal)
		return;
	for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	cache_free(&part->cache);
	dedup_free(&part->dedup);
	free(part->seg);
	free(part->pack_at);
	free(part->pack_hash);
	free(part->pack_guess);
	free(part->skips);
	free(part->stood);
	pthread_cond_destroy(&part->keeper_cond);
	pthread_mutex_destroy(&part->lock);
	pthread_mutex_destroy(&part->skip_lock);
}

static void journal_parts_free(struct journal *j)
{
	for (uint32_t i = 0; j->part && i < j->params.partitions; i++)
		part_free(&j->part[i]);
	free(j->part);
	j->part = NULL;
}

static int journal_open_dir(struct journal *j, struct err *err)
{
	int rc = store_meta_read(j->params.dir, &j->meta, err);

	if (rc == -ENOENT)
		rc = journal_make(j, err);
	if (rc == 0)
		rc = meta_check(j, err);
	if (rc == 0)
		rc = dirs_parts_check(j, err);
	if (rc == 0)
		rc = journal_recover(j, err);
	if (rc == 0)
		rc = compress_meta(j, err);
	return rc;
}

int journal_open(struct journal **out, const struct journal_params *params, struct err *err)
{
	struct journal *j;
	int rc = params_check(params, err);

	if (rc == 0)
		rc = durable_dir_make(params->dir, err);
	if (rc != 0)
		return rc;
	j = calloc(1, sizeof *j);
	if (!j)
		return err_set(err, -ENOMEM, "journal: out of memory");
	j->params = *params;
	pthread_mutex_init(&j->consumer_lock, NULL);
	pthread_mutex_init(&j->note_lock, NULL);
	j->consumer = calloc(CONSUMERS_MAX, sizeof *j->consumer);
	j->lock_fd = journal_lock(params->dir, err);
	rc = j->lock_fd < 0 ? j->lock_fd : 0;
	if (rc == 0 && !j->consumer)
		rc = err_set(err, -ENOMEM, "journal: out of memory");
	if (rc == 0)
		rc = journal_open_dir(j, err);
	if (rc == -EBADMSG && quarantine_wanted(params->dir)) {
		log_error("journal", "%s", err->text);
		journal_parts_free(j);
		j->params = *params;
		rc = quarantine_run(params->dir, err);
		if (rc == 0)
			rc = journal_open_dir(j, err);
	}
	if (rc != 0) {
		journal_close(j);
		return rc;
	}
	*out = j;
	return 0;
}

void journal_close(struct journal *j)
{
	if (!j)
		return;
	if (j->started && !j->stopped)
		journal_stop(j);
	for (uint32_t i = 0; j->started && i < j->params.partitions; i++)
		stood_keep(&j->part[i], true); /* with what sinks have delivered since the stop */
	journal_parts_free(j);
	if (j->lock_fd >= 0)
		close(j->lock_fd);
	pthread_mutex_destroy(&j->consumer_lock);
	pthread_mutex_destroy(&j->note_lock);
	free(j->consumer);
	free(j);
}

uint32_t journal_generation_floor(const struct journal *j)
{
	uint32_t floor = UINT32_MAX;

	for (uint32_t i = 0; i < j->params.partitions; i++)
		for (uint32_t k = 0; k < j->part[i].seg_count; k++)
			if (j->part[i].seg[k].generation_low < floor)
				floor = j->part[i].seg[k].generation_low;
	return floor == UINT32_MAX ? 0 : floor;
}

uint64_t journal_epoch(const struct journal *j)
{
	return j->meta.epoch;
}

const char *journal_dir(const struct journal *j)
{
	return j->params.dir;
}

const char *journal_node(const struct journal *j)
{
	return j->meta.node;
}

uint32_t journal_partitions(const struct journal *j)
{
	return j->params.partitions;
}

uint64_t journal_key(const struct journal *j)
{
	return j->meta.key;
}

uint64_t journal_before(const struct journal *j)
{
	return j->meta.before;
}
