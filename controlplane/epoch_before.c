/* The logs of the epoch before, as long as a sink has not delivered them: opened for readers, written by
 * nobody. Set-up and server thread; a thread of its own removes the files. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "crash.h"
#include "durable.h"
#include "epoch.h"
#include "log.h"
#include "window.h"

static void *sweep(void *arg)
{
	struct epoch_before *b = arg;
	struct err err;

	if (journal_tree_remove(b->done, &err) != 0)
		log_warn("control", "%s", err.text);
	return NULL;
}

static void sweep_start(struct epoch_before *b)
{
	int rc = b->sweeping ? 0 : pthread_create(&b->sweeper, NULL, sweep, b);

	if (rc != 0)
		log_warn("control", "%s stays until the next start: %s", b->done, strerror(rc));
	b->sweeping |= rc == 0;
}

/* A log for readers alone: nothing is remembered, and one block is held. */
static int log_open(struct journal **out, const struct config *cfg, const char *dir, struct err *err)
{
	struct journal_params params;
	struct journal_meta meta;
	int rc = journal_meta_read(dir, &meta, err);

	if (rc != 0)
		return rc;
	journal_params_from_config(&params, cfg);
	snprintf(params.dir, sizeof params.dir, "%.255s", dir);
	params.partitions = meta.partitions;
	params.derived = meta.derived;
	params.dedup_window_ms = 0;
	params.cache_blocks = 1;
	params.inflight = 1;
	return journal_open(out, &params, err);
}

static int logs_open(struct epoch_before *b, const struct config *cfg, struct err *err)
{
	char dir[EPOCH_PATH_BYTES + 32];
	struct journal *input, *output;
	struct err ignored;
	struct journal_meta meta;
	int rc;

	snprintf(dir, sizeof dir, "%s/journal", b->dir);
	rc = log_open(&input, cfg, dir, err);
	if (rc != 0)
		return rc;
	b->env.journal = input;
	snprintf(dir, sizeof dir, "%s/output", b->dir);
	if (journal_meta_read(dir, &meta, &ignored) == -ENOENT)
		return 0;
	rc = log_open(&output, cfg, dir, err);
	if (rc != 0)
		return rc;
	b->env.output = output;
	snprintf(dir, sizeof dir, "%s/state/windows", b->dir);
	return window_store_open(&b->env.windows, dir, err);
}

int epoch_before_open(struct epoch_before *b, const struct config *cfg, struct err *err)
{
	int rc;

	memset(b, 0, sizeof *b);
	snprintf(b->dir, sizeof b->dir, "%.280s/before", cfg->node.data_dir);
	snprintf(b->done, sizeof b->done, "%.280s/before.done", cfg->node.data_dir);
	b->env.cfg = cfg;
	b->env.data_dir = b->dir;
	if (access(b->done, F_OK) == 0)
		sweep_start(b);
	if (access(b->dir, F_OK) != 0)
		return 0;
	rc = logs_open(b, cfg, err);
	if (rc != 0) {
		err_prefix(err, "the epoch before, which a sink may not have delivered yet");
		return rc;
	}
	log_info("control", "the epoch before is delivered first: dir=%s epoch=%016" PRIx64 " partitions=%u",
		b->dir, journal_epoch(b->env.journal), journal_partitions(b->env.journal));
	return 0;
}

void epoch_before_tick(struct epoch_before *b, const struct sink_group *group)
{
	struct err err;

	if (!b->env.journal || b->over || !sinks_before_delivered(group))
		return;
	if (b->sweeping) {
		pthread_join(b->sweeper, NULL);
		b->sweeping = false;
	}
	b->over = true;
	crash_point("epoch_before_delivered");
	if (epoch_letters_keep(b->env.cfg->node.data_dir, b->dir, journal_epoch(b->env.journal), &err) != 0 ||
		journal_tree_remove(b->done, &err) != 0 || durable_move(b->dir, b->done, &err) != 0) {
		log_error("control", "the epoch before is delivered, but stays: %s", err.text);
		return;
	}
	crash_point("epoch_before_moved");
	log_info("control", "the epoch before is delivered by every sink: removed");
	sweep_start(b);
}

void epoch_before_close(struct epoch_before *b)
{
	if (b->sweeping)
		pthread_join(b->sweeper, NULL);
	if (b->env.output)
		journal_close(b->env.output);
	if (b->env.journal)
		journal_close(b->env.journal);
	if (b->env.windows)
		window_store_close(b->env.windows);
	memset(b, 0, sizeof *b);
}
