/* `sluiced --repartition`: a data directory in another number of partitions, while no daemon runs. The
 * argument is in docs/decisions/0006-partition-count.md. One thread of control; journals and state bring
 * theirs.
 *
 * Until next/ is whole nothing of the old installation is changed but that its input ends with a tick and its
 * state stands there. From then on the file DATA_DIR/repartition says so, and what is left are renames: they
 * are finished by running it again, and until then no daemon starts. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "crash.h"
#include "durable.h"
#include "eal.h"
#include "epoch.h"
#include "log.h"
#include "state.h"
#include "state_rules.h"

#define MARKER "repartition"
#define NOTE_TIMEOUT_MS 10000u
#define STOP_NS 120000000000ull
#define SAY_NS 10000000000ull
#define WAIT_NS 15000000000ull /* for room in the output log */
#define TICK_NEVER_MS (366ull * 86400000ull)
#define BATCH_BYTES 16384u /* of lanes that nobody uses */

static const struct durable_points marker_points = {
	"repartition_written", "repartition_synced", "repartition_renamed", "repartition_dir_synced"};

/* What moves, in this order. */
static const char *const names[] = {"journal", "output", "state", "sinks"};
#define NAMES (sizeof names / sizeof *names)

struct change {
	struct config cfg; /* partitions and EAL as this process wants them */
	uint32_t from, to;
	bool raise;
	char dir[EPOCH_PATH_BYTES], next[EPOCH_PATH_BYTES], before[EPOCH_PATH_BYTES];
	struct journal *journal; /* the old one */
	struct handoff handoff;
	bool handoff_made;
	struct state *state; /* NULL: off */
	struct ruleset_store *rules;
	int64_t watermark_ms, receive_last_ms;
	uint32_t generation;
	uint64_t epoch, epoch_next, ids;
};

static void path_of(char out[2 * EPOCH_PATH_BYTES], const char *dir, const char *name)
{
	snprintf(out, 2 * EPOCH_PATH_BYTES, "%s/%s", dir, name);
}

static bool is_there(const char *dir, const char *name)
{
	char path[2 * EPOCH_PATH_BYTES];

	path_of(path, dir, name);
	return access(path, F_OK) == 0;
}

int epoch_lock(const char *data_dir, struct err *err)
{
	int fd = journal_lock(data_dir, err);

	if (fd == -EBUSY)
		err_set(err, -EBUSY,
			"%s is in use by another process: a sluiced, or a change of its partitions",
			data_dir);
	return fd;
}

int epoch_check(const char *data_dir, struct err *err)
{
	if (!is_there(data_dir, MARKER))
		return 0;
	return err_set(err, -EBUSY,
		"%s: a change of the number of partitions was interrupted: run `sluiced --repartition` with "
		"the same configuration, which finishes it",
		data_dir);
}

/* ---- the renames ---- */

/* Old out, new in. What is still in next/ has not come to its place. */
static int swap_one(struct change *c, const char *name, struct err *err)
{
	char here[2 * EPOCH_PATH_BYTES], next[2 * EPOCH_PATH_BYTES], before[2 * EPOCH_PATH_BYTES];
	int rc = 0;

	path_of(here, c->dir, name);
	path_of(next, c->next, name);
	path_of(before, c->before, name);
	if (!is_there(c->next, name))
		return 0;
	if (is_there(c->dir, name))
		rc = durable_move(here, before, err);
	crash_point("repartition_out");
	if (rc == 0)
		rc = durable_move(next, here, err);
	crash_point("repartition_in");
	return rc;
}

static int swap_all(struct change *c, struct err *err)
{
	char marker[2 * EPOCH_PATH_BYTES];
	int rc = durable_dir_make(c->before, err);

	for (size_t i = 0; i < NAMES && rc == 0; i++)
		rc = swap_one(c, names[i], err);
	if (rc == 0)
		rc = journal_tree_remove(c->next, err);
	crash_point("repartition_swapped");
	path_of(marker, c->dir, MARKER);
	if (rc == 0 && unlink(marker) != 0)
		rc = err_set(err, -errno, "%s: %s", marker, strerror(errno));
	if (rc == 0 && (rc = durable_dir_sync(c->dir)) != 0)
		rc = err_set(err, rc, "%s: fsync: %s", c->dir, strerror(-rc));
	crash_point("repartition_done");
	return rc;
}

/* partitions=N, as the interrupted change had it. */
static int marker_read(const struct change *c, uint32_t *partitions, struct err *err)
{
	char path[2 * EPOCH_PATH_BYTES], text[200] = "";
	FILE *in;
	size_t n;

	path_of(path, c->dir, MARKER);
	in = fopen(path, "re");
	if (!in)
		return err_set(err, -errno, "%s: %s", path, strerror(errno));
	n = fread(text, 1, sizeof text - 1, in);
	fclose(in);
	text[n] = 0;
	if (sscanf(text, "sluice-repartition/1 partitions=%u", partitions) != 1)
		return err_set(err, -EBADMSG, "%s: cannot be read", path);
	return 0;
}

static int marker_write(const struct change *c, struct err *err)
{
	char text[200];
	struct durable_piece piece = {text, 0};

	piece.bytes = (size_t)snprintf(text, sizeof text,
		"sluice-repartition/1 partitions=%u from=%u epoch=%016" PRIx64 " before=%016" PRIx64 "\n",
		c->to, c->from, c->epoch_next, c->epoch);
	return durable_write(c->dir, MARKER, &piece, 1, &marker_points, err);
}

static int finish(struct change *c, struct err *err)
{
	uint32_t partitions;
	int rc = marker_read(c, &partitions, err);

	if (rc == 0 && partitions != c->to)
		return err_set(err, -EINVAL,
			"an interrupted change to %u partitions has to be finished first: set "
			"journal.partitions to %u",
			partitions, partitions);
	if (rc == 0)
		rc = swap_all(c, err);
	if (rc == 0)
		printf("finished: %s has %u partitions\n", c->dir, c->to);
	return rc;
}

/* ---- the old installation: to its end, and to one watermark ---- */

/* Nobody delivers here: all that is there stays. */
static int hold(struct journal *j, struct err *err)
{
	int rc = 0;

	for (uint32_t p = 0; p < journal_partitions(j) && rc >= 0; p++)
		rc = journal_consumer_add(j, p, "repartition", err);
	return rc < 0 ? rc : 0;
}

static int old_start(struct change *c, struct err *err)
{
	struct journal_params params;
	int rc;

	journal_params_from_config(&params, &c->cfg);
	params.partitions = c->from;
	params.tick_ms = TICK_NEVER_MS; /* the clock moves no watermark here */
	rc = journal_open(&c->journal, &params, err);
	if (rc != 0)
		return rc;
	c->epoch = journal_epoch(c->journal);
	rc = hold(c->journal, err);
	if (rc == 0 && c->cfg.state.enabled)
		rc = state_open(&c->state, &c->cfg, c->journal, err);
	if (rc == 0 && c->state)
		rc = hold(state_output(c->state), err);
	if (rc == 0 && c->state)
		rc = ruleset_store_open(&c->rules, c->dir, err);
	if (rc == 0 && c->state)
		state_rules(c->state, state_rules_get, c->rules);
	if (rc == 0)
		rc = handoff_create(&c->handoff, 1, c->from, 2, BATCH_BYTES, err);
	c->handoff_made = rc == 0;
	if (rc == 0)
		rc = journal_start(c->journal, &c->handoff, err);
	if (rc == 0 && c->state)
		rc = state_start(c->state, err);
	return rc;
}

/* 1: the state has taken all input; 0: not yet; or why it never will. */
static int state_idle(struct change *c, uint64_t *left, uint64_t *waiting_ns, struct err *err)
{
	struct state_stats all;
	bool idle = true, waiting;

	state_stats(c->state, &all);
	waiting = all.merge_waiting;
	*left = 0;
	if (all.merge_phase == STATE_FAILED)
		return err_set(err, -EIO, "the merge has stopped: %s", all.merge_error);
	for (uint32_t p = 0; p < c->from; p++) {
		uint64_t end = journal_durable_offset(c->journal, p);
		struct state_part_stats s;

		state_part_stats(c->state, p, &s);
		if (s.phase == STATE_FAILED)
			return err_set(err, -EIO, "state of partition %u has stopped: %s", p, s.error);
		waiting |= s.waiting;
		*left += end > s.stage.input_offset ? end - s.stage.input_offset : 0;
		idle = idle && s.phase == STATE_RUNNING && s.stage.input_offset == end;
	}
	if (!waiting)
		*waiting_ns = clock_mono_ns();
	if (clock_mono_ns() - *waiting_ns > WAIT_NS)
		return err_set(err, -ENOSPC,
			"the output log is full: a sink has not taken its rows. Start sluiced and bring the "
			"sink back, or raise state.segments_max");
	return idle;
}

static int state_settle(struct change *c, struct err *err)
{
	uint64_t waiting_ns = clock_mono_ns(), said_ns = waiting_ns, left;
	int rc;

	while ((rc = state_idle(c, &left, &waiting_ns, err)) == 0) {
		if (clock_mono_ns() - said_ns > SAY_NS) {
			said_ns = clock_mono_ns();
			log_info("control", "state: records to be computed yet=%" PRIu64, left);
		}
		nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
	}
	return rc < 0 ? rc : 0;
}

/* The highest watermark, to which all are brought: no state can be put back. */
static int watermark_find(struct change *c, struct err *err)
{
	uint64_t limit_ms = c->cfg.time.out_of_orderness + 2 * c->cfg.time.tick;
	int64_t low_ms = INT64_MAX;

	for (uint32_t p = 0; p < c->from; p++) {
		struct state_part_stats s;

		state_part_stats(c->state, p, &s);
		if (s.stage.watermark_ms > c->watermark_ms)
			c->watermark_ms = s.stage.watermark_ms;
		if (s.stage.watermark_ms != INT64_MIN && s.stage.watermark_ms < low_ms)
			low_ms = s.stage.watermark_ms;
	}
	if (c->raise || c->watermark_ms == INT64_MIN || (uint64_t)(c->watermark_ms - low_ms) <= limit_ms)
		return 0;
	return err_set(err, -EINVAL,
		"watermarks of partitions are %" PRId64 " ms apart (`sluicectl windows`), more than "
		"time.out_of_orderness and two ticks: all would be "
		"raised to the highest, and events of the slow ones could be late. Run sluiced until they "
		"have "
		"come together and stop it again, or raise them by `sluiced --repartition=raise`",
		c->watermark_ms - low_ms);
}

static int old_end(struct change *c, struct err *err)
{
	int rc = c->state ? state_settle(c, err) : 0;

	if (rc == 0 && c->state)
		rc = watermark_find(c, err);
	if (rc == 0 && c->watermark_ms != INT64_MIN)
		rc = journal_tick(c->journal, c->watermark_ms, NOTE_TIMEOUT_MS, err);
	if (rc == -ETIMEDOUT)
		err_prefix(err,
			"no room for the last records: bring the sink back that holds the journal, or "
			"raise journal.segments_max");
	if (rc == 0 && c->state)
		rc = state_settle(c, err);
	if (rc != 0)
		return rc;
	journal_stop(c->journal);
	if (c->state)
		state_stop(c->state, clock_mono_ns() + STOP_NS);
	crash_point("repartition_old_ended");
	for (uint32_t p = 0; p < c->from; p++) {
		struct journal_partition_stats s;

		journal_stats(c->journal, p, &s);
		if (s.failed || s.durable_offset != s.assigned_offset)
			return err_set(err, -EIO, "the journal's partition %u has not ended in order", p);
		if (s.receive_last_ms > c->receive_last_ms)
			c->receive_last_ms = s.receive_last_ms;
		if (s.generation > c->generation)
			c->generation = s.generation;
		if (!c->state && s.watermark_ms > c->watermark_ms)
			c->watermark_ms = s.watermark_ms;
	}
	return 0;
}

static void old_close(struct change *c)
{
	state_close(c->state);
	if (c->rules)
		ruleset_store_close(c->rules);
	c->rules = NULL;
	if (c->journal)
		journal_close(c->journal);
	if (c->handoff_made)
		handoff_free(&c->handoff);
	c->state = NULL;
	c->journal = NULL;
	c->handoff_made = false;
}

/* ---- next/ ---- */

/* Its first blocks carry on what must not go back. */
static int next_begin(struct change *c, struct journal *j, struct err *err)
{
	struct handoff handoff;
	char text[100];
	int rc = handoff_create(&handoff, 1, c->to, 2, BATCH_BYTES, err);

	if (rc != 0)
		return rc;
	journal_carry(j, c->watermark_ms, c->receive_last_ms, c->generation);
	rc = journal_start(j, &handoff, err);
	snprintf(text, sizeof text, "event=epoch before=%016" PRIx64 " partitions=%u", c->epoch, c->from);
	if (rc == 0)
		rc = journal_note(j, text, NOTE_TIMEOUT_MS, err);
	journal_stop(j);
	handoff_free(&handoff);
	return rc;
}

static int next_journal(struct change *c, struct err *err)
{
	struct journal_params params;
	struct journal *j = NULL;
	int rc;

	journal_params_from_config(&params, &c->cfg);
	snprintf(params.dir, sizeof params.dir, "%.240s/journal", c->next);
	params.partitions = c->to;
	params.tick_ms = TICK_NEVER_MS;
	params.before = c->epoch;
	params.key = journal_key(c->journal);
	rc = journal_open(&j, &params, err);
	if (rc != 0)
		return rc;
	c->epoch_next = journal_epoch(j);
	rc = journal_carry_ids(j, journal_dir(c->journal), c->cfg.journal.dedup_window, &c->ids, err);
	crash_point("repartition_ids");
	if (rc == 0)
		rc = next_begin(c, j, err);
	journal_close(j);
	return rc;
}

static int next_state(struct change *c, struct err *err)
{
	struct state_gather_to to = {.input_epoch = c->epoch_next, .partitions = c->to};
	char dir[2 * EPOCH_PATH_BYTES];
	struct journal_params params;
	struct journal *output = NULL;
	int rc;

	state_output_params(&c->cfg, c->to, &params);
	snprintf(params.dir, sizeof params.dir, "%.240s/output", c->next);
	params.before = journal_epoch(state_output(c->state));
	rc = journal_open(&output, &params, err);
	if (rc != 0)
		return rc;
	to.output_epoch = journal_epoch(output);
	journal_close(output);
	path_of(dir, c->next, "state");
	to.state_dir = dir;
	return state_gather(c->state, &to, err);
}

static int next_make(struct change *c, struct err *err)
{
	char dir[2 * EPOCH_PATH_BYTES];
	int rc = journal_tree_remove(c->next, err);

	path_of(dir, c->next, "sinks");
	if (rc == 0)
		rc = durable_dir_make(dir, err);
	if (rc == 0)
		rc = next_journal(c, err);
	if (rc == 0 && c->state)
		rc = next_state(c, err);
	if (rc == 0 && (rc = durable_dir_sync(c->next)) != 0)
		rc = err_set(err, rc, "%s: fsync: %s", c->next, strerror(-rc));
	crash_point("repartition_built");
	return rc;
}

/* ---- all ---- */

static int refusals(struct change *c, const struct journal_meta *meta, struct err *err)
{
	if (strcmp(meta->node, c->cfg.node.id) != 0)
		return err_set(err, -EINVAL, "%s is the data directory of node \"%s\", not of \"%s\"", c->dir,
			meta->node, c->cfg.node.id);
	if (access(c->before, F_OK) == 0)
		return err_set(err, -EEXIST,
			"%s is still there: a sink has not delivered the epoch before the last change. Run "
			"sluiced until it has (`sluicectl sinks`); to give that up, or where no sink is "
			"enabled, move it away",
			c->before);
	if (!c->cfg.state.enabled && (is_there(c->dir, "state") || is_there(c->dir, "output")))
		return err_set(err, -EINVAL,
			"state.enabled is off, but %s has a state, which would not come along: enable it, or "
			"move state and output away",
			c->dir);
	return 0;
}

static int change_run(struct change *c, struct err *err)
{
	char dir[2 * EPOCH_PATH_BYTES];
	struct journal_meta meta;
	uint64_t start_ns = clock_mono_ns();
	int rc;

	path_of(dir, c->dir, "journal");
	rc = journal_meta_read(dir, &meta, err);
	if (rc != 0)
		return rc;
	c->from = meta.partitions;
	if (c->from == c->to) {
		printf("nothing to do: %s has %u partitions\n", c->dir, c->to);
		return 0;
	}
	rc = refusals(c, &meta, err);
	if (rc != 0)
		return rc;
	rc = eal_start(&c->cfg, err);
	if (rc == 0)
		rc = old_start(c, err);
	if (rc == 0)
		rc = old_end(c, err);
	if (rc == 0)
		rc = next_make(c, err);
	old_close(c);
	if (rc == 0)
		rc = marker_write(c, err);
	if (rc == 0)
		rc = swap_all(c, err);
	if (rc == 0)
		printf("changed: %s has %u partitions instead of %u; epoch %016" PRIx64
		       " instead of %016" PRIx64 ", %" PRIu64
		       " event ids remembered, %.1f s. Start sluiced: sinks deliver what is left "
		       "in %s first\n",
			c->dir, c->to, c->from, c->epoch_next, c->epoch, c->ids,
			(double)(clock_mono_ns() - start_ns) / 1e9, c->before);
	return rc;
}

int repartition(const struct config *cfg, bool raise, struct err *err)
{
	static struct change c;
	int lock, rc;

	c = (struct change){.cfg = *cfg,
		.to = (uint32_t)cfg->journal.partitions,
		.raise = raise,
		.watermark_ms = INT64_MIN,
		.receive_last_ms = INT64_MIN};
	snprintf(c.dir, sizeof c.dir, "%.250s", cfg->node.data_dir);
	snprintf(c.next, sizeof c.next, "%.250s/next", cfg->node.data_dir);
	snprintf(c.before, sizeof c.before, "%.250s/before", cfg->node.data_dir);
	c.cfg.ports_count = 0;
	c.cfg.worker.count = 1;
	c.cfg.worker.cores[0] = c.cfg.eal.main_cores[0] = 0;
	c.cfg.eal.hugepages = false;
	lock = epoch_lock(c.dir, err);
	if (lock < 0)
		return lock;
	rc = is_there(c.dir, MARKER) ? finish(&c, err) : change_run(&c, err);
	close(lock);
	return rc;
}
