/* A process to be killed: two workers feed four partitions, the state stage runs over them.
 *
 *   run DIR ROUND SET: with a set of window definitions and a memory of its own; ends in order unless killed.
 *
 *   check DIR: exit code 0 if the output log is what an offline replay of the journal gives, as far as it
 * goes; prints complete=1 if it goes all the way.
 *
 *   burst DIR: many times what the log has room for, and nobody but the stage itself reads it.
 *
 *   frozen DIR: a reader that does not move, and segments for less than comes: the stage must wait, lose
 * nothing, and finish when the reader goes on. */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "state_rules.h"
#include "state_rig.h"

#define PARTITIONS 4
#define EVENTS 6000
#define STOP_LIMIT_MS 300000

struct worker {
	pthread_t thread;
	struct srig *rig;
	uint32_t index;
	uint64_t first, count;
};

static void die(const char *what, const char *why)
{
	fprintf(stderr, "state_feeder: %s: %s\n", what, why);
	exit(2);
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;

	srig_feed(w->rig, w->index, w->first, w->count);
	return NULL;
}

static void feed(struct srig *r, uint64_t first, uint64_t count)
{
	struct worker worker[SRIG_WORKERS];

	for (uint32_t w = 0; w < SRIG_WORKERS; w++) {
		worker[w] = (struct worker){.rig = r, .index = w, .first = first, .count = count};
		if (pthread_create(&worker[w].thread, NULL, worker_main, &worker[w]) != 0)
			die("thread", "none");
	}
	for (uint32_t w = 0; w < SRIG_WORKERS; w++)
		pthread_join(worker[w].thread, NULL);
}

/* 0 if nothing has failed and replay never differed. */
static int verdict(struct srig *r)
{
	struct state_stats all;
	int bad = 0;

	state_stats(r->state, &all);
	for (uint32_t p = 0; p < PARTITIONS; p++) {
		struct state_part_stats s;

		state_part_stats(r->state, p, &s);
		if (s.phase != STATE_STOPPED || s.mismatches || s.checkpoint_failures) {
			fprintf(stderr, "partition %u: %s: %s\n", p, state_phase_name[s.phase], s.error);
			bad = 4;
		}
	}
	if (all.merge_phase != STATE_STOPPED || all.merge_mismatches || all.merge_checkpoint_failures) {
		fprintf(stderr, "merge: %s: %s\n", state_phase_name[all.merge_phase], all.merge_error);
		bad = 4;
	}
	return bad;
}

static int run(const char *dir, uint64_t round, int set, uint64_t events, uint64_t segments)
{
	static struct srig r;
	struct err err = {""};
	int rc;

	srig_init(&r, dir, PARTITIONS, set, 30);
	r.cfg.state.segments_max = segments;
	r.cfg.state.memory = (1ull << 20) << set; /* changes with the definitions */
	if (srig_open(&r, &err) != 0)
		die("open", err.text);
	srig_start(&r);
	feed(&r, round * 1000000, events);
	srig_stop(&r, STOP_LIMIT_MS);
	rc = verdict(&r);
	srig_close(&r);
	return rc;
}

/* What a crash leaves of a checkpoint is no checkpoint: all that are there can be read. */
static uint32_t damaged_checkpoints(const char *dir)
{
	struct checkpoint_entry *list;
	uint32_t count, damaged = 0;
	struct err err = {""};
	char path[200];

	snprintf(path, sizeof path, "%.150s/state/checkpoints", dir);
	if (checkpoint_list(path, &list, &count, &err) != 0)
		die("checkpoints", err.text);
	for (uint32_t i = 0; i < count; i++)
		damaged += !list[i].good;
	free(list);
	return damaged;
}

static int check(const char *dir)
{
	struct ruleset_store *rulesets = NULL;
	struct srig_check c;
	uint32_t damaged = damaged_checkpoints(dir);
	char path[200];
	struct err err;
	bool good;

	snprintf(path, sizeof path, "%.150s/rulesets", dir);
	if (access(path, R_OK) == 0 && ruleset_store_open(&rulesets, dir, &err) != 0)
		die("rulesets", err.text);
	good = srig_check(dir, rulesets ? state_rules_get : NULL, rulesets, &c);
	if (rulesets)
		ruleset_store_close(rulesets);

	printf("replayed=%" PRIu64 " compared=%" PRIu64 " rows=%" PRIu64 " late=%" PRIu64 " merged=%" PRIu64
	       " longer=%" PRIu64 " differing=%" PRIu64 " damaged=%u complete=%d %s\n",
		c.replayed, c.compared, c.rows, c.late, c.merged, c.longer, c.differing, damaged, c.complete,
		c.fault);
	for (uint32_t p = 0; p <= PARTITIONS && !c.complete; p++)
		printf("log %u: ends at %" PRIu64 ", %" PRIu64 " are missing\n", p, c.log_end[p],
			c.missing[p]);
	return good ? 0 : 1;
}

/* ---- a reader that does not move ---- */

static bool anybody_waits(struct srig *r)
{
	struct state_stats all;
	bool waits;

	state_stats(r->state, &all);
	waits = all.merge_waiting;
	for (uint32_t p = 0; p < PARTITIONS; p++) {
		struct state_part_stats s;

		state_part_stats(r->state, p, &s);
		waits = waits || s.waiting;
	}
	return waits;
}

/* Stands still, then follows the ends of all logs closely. */
struct reader {
	pthread_t thread;
	struct journal *output;
	_Atomic bool stands, moves, stop;
};

static void *reader_main(void *arg)
{
	struct reader *reader = arg;
	int consumer[PARTITIONS + 1];
	struct err err = {""};

	for (uint32_t p = 0; p <= PARTITIONS; p++) {
		consumer[p] = journal_consumer_add(reader->output, p, "frozen", &err);
		journal_consumer_set(reader->output, consumer[p], 0);
	}
	atomic_store(&reader->stands, true);
	while (!atomic_load(&reader->stop)) {
		for (uint32_t p = 0; p <= PARTITIONS && atomic_load(&reader->moves); p++)
			journal_consumer_set(
				reader->output, consumer[p], journal_durable_offset(reader->output, p));
		nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
	}
	return NULL;
}

static int frozen(const char *dir)
{
	static struct reader reader;
	static struct srig r;
	struct err err = {""};
	uint64_t end_ns, round = 0;
	bool full;
	int rc;

	srig_init(&r, dir, PARTITIONS, 0, 30);
	r.cfg.state.segments_max = 3;
	if (srig_open(&r, &err) != 0)
		die("open", err.text);
	reader.output = state_output(r.state);
	if (pthread_create(&reader.thread, NULL, reader_main, &reader) != 0)
		die("thread", "none");
	while (!atomic_load(&reader.stands)) /* before retention begins */
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	srig_start(&r);
	end_ns = clock_mono_ns() + 300000000000ull;
	while (!(full = anybody_waits(&r)) && clock_mono_ns() < end_ns) {
		r.start_ms += round ? EVENTS * SRIG_EVENT_MS : 0;
		feed(&r, ++round * 1000000, EVENTS);
	}
	if (!full)
		die("frozen", "the log never became full");
	nanosleep(&(struct timespec){.tv_nsec = 500000000}, NULL);
	printf("full after %" PRIu64 " rounds\n", round);
	atomic_store(&reader.moves, true);
	srig_stop(&r, STOP_LIMIT_MS);
	atomic_store(&reader.stop, true);
	pthread_join(reader.thread, NULL);
	rc = verdict(&r);
	srig_close(&r);
	return rc;
}

int main(int argc, char **argv)
{
	if (argc < 3)
		die("usage", "run DIR ROUND SET | burst DIR | check DIR | frozen DIR");
	if (strcmp(argv[1], "check") == 0)
		return check(argv[2]);
	rig_eal("state-feeder");
	if (strcmp(argv[1], "frozen") == 0)
		return frozen(argv[2]);
	if (strcmp(argv[1], "burst") == 0)
		return run(argv[2], 1, 2, 40 * EVENTS, 3);
	return run(argv[2], strtoull(argc > 3 ? argv[3] : "0", NULL, 10),
		(int)strtoull(argc > 4 ? argv[4] : "0", NULL, 10) % 3, EVENTS, 4);
}
