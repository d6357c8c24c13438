/* A process to be killed: two workers feed four partitions, one sink a partition appends what is durable to a
 * file.
 *
 *   journal_feeder run DIR ROUND     sends ids around the lowest one that no sink has; ends in order unless
 * killed journal_feeder check DIR COUNT   exit 0 if every id below the lowest missing one is in exactly one
 * sink file once, offsets ascend, and at least COUNT ids have arrived
 *
 * A sink file is the truth of the test: entries {offset, id}, appended by write(2), whose end is also the
 * sink's committed position. So after any kill: an id that was delivered is in it, and a second time is a
 * duplicate. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "journal_rig.h"

#define PARTITIONS 4
#define WORKERS 2
#define BACK 30000  /* ids sent again below the lowest missing one */
#define AHEAD 30000 /* and new ones */

struct entry {
	uint64_t offset, id;
};

struct sink {
	pthread_t thread;
	struct rig *rig;
	uint32_t partition;
	int consumer, fd;
	uint64_t position;
};

struct worker {
	pthread_t thread;
	struct rig *rig;
	uint32_t index, round;
	uint64_t first, last;
};

static _Atomic bool input_ended;

static void die(const char *what, const char *why)
{
	fprintf(stderr, "journal_feeder: %s: %s\n", what, why);
	exit(2);
}

static int sink_file(const char *dir, uint32_t partition)
{
	char path[256];
	int fd;

	snprintf(path, sizeof path, "%s/sink-%u", dir, partition);
	fd = open(path, O_RDWR | O_CREAT, 0644);
	if (fd < 0)
		die(path, strerror(errno));
	return fd;
}

/* All whole entries; half of one, left by a kill, is cut off. */
static struct entry *sink_load(int fd, uint64_t *count)
{
	struct stat st;
	struct entry *e;

	if (fstat(fd, &st) != 0)
		die("fstat", strerror(errno));
	*count = (uint64_t)st.st_size / sizeof *e;
	if (ftruncate(fd, (off_t)(*count * sizeof *e)) != 0)
		die("ftruncate", strerror(errno));
	e = malloc(*count * sizeof *e + 1);
	if (!e || pread(fd, e, *count * sizeof *e, 0) != (ssize_t)(*count * sizeof *e))
		die("sink file", "cannot be read");
	return e;
}

/* Marks the ids of all sinks; returns how many faults there are. positions may be NULL. */
static int sinks_load(
	const char *dir, uint8_t **seen, uint64_t *seen_max, uint64_t *total, uint64_t *positions)
{
	int faults = 0;

	*seen_max = 0;
	*total = 0;
	*seen = NULL;
	for (uint32_t p = 0; p < PARTITIONS; p++) {
		uint64_t count, last = 0;
		int fd = sink_file(dir, p);
		struct entry *e = sink_load(fd, &count);

		for (uint64_t i = 0; i < count; i++) {
			if (e[i].id == 0 || e[i].id > 100000000 || e[i].id % PARTITIONS != p ||
				(i && e[i].offset <= last)) {
				fprintf(stderr,
					"partition %u entry %" PRIu64 ": id %" PRIu64 " offset %" PRIu64
					" after %" PRIu64 "\n",
					p, i, e[i].id, e[i].offset, last);
				faults++;
				continue;
			}
			last = e[i].offset;
			if (e[i].id >= *seen_max) {
				uint64_t more = e[i].id * 2 + 1024;

				*seen = realloc(*seen, more);
				if (!*seen)
					die("memory", "none");
				memset(*seen + *seen_max, 0, more - *seen_max);
				*seen_max = more;
			}
			if ((*seen)[e[i].id]++) {
				fprintf(stderr,
					"id %" PRIu64 " twice, second at partition %u offset %" PRIu64 "\n",
					e[i].id, p, e[i].offset);
				faults++;
			}
			++*total;
		}
		if (positions)
			positions[p] = count ? last + 1 : 0;
		free(e);
		close(fd);
	}
	return faults;
}

static uint64_t lowest_missing(const uint8_t *seen, uint64_t seen_max)
{
	uint64_t id = 1;

	while (id < seen_max && seen[id])
		id++;
	return id;
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	struct batch *open[PARTITIONS] = {NULL};
	uint32_t since = 0;

	for (uint64_t id = w->first; id <= w->last; id++) {
		uint32_t p = (uint32_t)(id % PARTITIONS);
		int64_t now = clock_wall_ms();

		if ((id + w->round) / 7 % WORKERS != w->index)
			continue;
		if (!open[p])
			open[p] = rig_batch(w->rig, w->index, p);
		if (!rig_event(w->rig, open[p], id, now, now)) {
			rig_seal(w->rig, open[p]);
			open[p] = NULL;
			id--;
			continue;
		}
		/* Batches of very different sizes. */
		if (++since > 1 + id * 2654435761u % 97) {
			rig_seal(w->rig, open[p]);
			open[p] = NULL;
			since = 0;
		}
	}
	for (uint32_t p = 0; p < PARTITIONS; p++)
		if (open[p])
			rig_seal(w->rig, open[p]);
	return NULL;
}

static void sink_deliver(struct sink *s, const struct journal_block *block)
{
	static _Thread_local struct entry out[65536];
	const uint8_t *p = block->data;
	uint32_t count = 0;

	for (uint32_t i = 0; i < block->record_count; i++) {
		const struct record *rec = (const struct record *)p;
		uint64_t offset = block->first_offset + i;

		p += rec->bytes;
		if (rec->kind == RECORD_EVENT && offset >= s->position)
			out[count++] = (struct entry){offset, rig_id_number(rec->event_id)};
	}
	if (count && write(s->fd, out, count * sizeof *out) != (ssize_t)(count * sizeof *out))
		die("sink file", strerror(errno));
	s->position = block->first_offset + block->record_count;
	journal_consumer_set(s->rig->journal, s->consumer, s->position);
}

static void *sink_main(void *arg)
{
	struct sink *s = arg;
	struct journal_reader *reader;
	struct journal_block block;
	struct err err;

	if (journal_reader_open(&reader, s->rig->journal, s->partition, s->position, &err) != 0)
		die("reader", err.text);
	for (;;) {
		bool ended = atomic_load(&input_ended);
		int rc = journal_reader_next(reader, &block, 20, &err);

		if (rc < 0)
			die("reader", err.text);
		if (rc == 1)
			sink_deliver(s, &block);
		else if (ended)
			break;
	}
	journal_reader_close(reader);
	return NULL;
}

/* The durability mode of the run, by $FEEDER_DURABILITY. */
static enum journal_durability durability(void)
{
	const char *mode = getenv("FEEDER_DURABILITY");

	if (!mode || strcmp(mode, "commit") == 0)
		return JOURNAL_COMMIT;
	if (strcmp(mode, "interval") == 0)
		return JOURNAL_INTERVAL;
	if (strcmp(mode, "async") != 0)
		die("FEEDER_DURABILITY", mode);
	return JOURNAL_ASYNC;
}

static void rig_make(struct rig *rig, const char *dir)
{
	struct err err;

	memset(rig, 0, sizeof *rig);
	rig->event_bytes = 120;
	rig->params = (struct journal_params){
		.partitions = PARTITIONS,
		.block_bytes = 65536,
		.block_age_us = 1000,
		.segment_bytes = 1 << 20,
		.segments_max = 8,
		.inflight = 4,
		.cache_blocks = 4,
		.dedup_window_ms = 3600000,
		.dedup_ids_max = 200000,
		.out_of_orderness_ms = 10000,
		.tick_ms = 100,
		.compress_after_ms = getenv("FEEDER_COMPRESS") ? 1 : 0,
		.durability = durability(),
		.sync_every_us = 3000,
	};
	snprintf(rig->params.dir, sizeof rig->params.dir, "%.200s/journal", dir);
	snprintf(rig->params.node, sizeof rig->params.node, "feeder");
	if (handoff_create(&rig->handoff, WORKERS, PARTITIONS, 4, 16384, &err) != 0)
		die("handoff", err.text);
	if (journal_open(&rig->journal, &rig->params, &err) != 0)
		die("journal_open", err.text);
}

/* Until some segments are compressed; the bound decides nothing. */
static void compress_wait(struct rig *rig)
{
	uint64_t end = clock_mono_ns() + 10000000000ull, sum = 0;

	while (sum < 6 && clock_mono_ns() < end) {
		sum = 0;
		for (uint32_t p = 0; p < PARTITIONS; p++) {
			struct journal_partition_stats s;

			journal_stats(rig->journal, p, &s);
			sum += s.compressed;
		}
		usleep(5000);
	}
}

static int run(const char *dir, uint32_t round)
{
	static struct rig rig;
	struct worker worker[WORKERS];
	struct sink sink[PARTITIONS];
	uint64_t positions[PARTITIONS], seen_max, total, missing;
	uint8_t *seen;
	struct err err;

	if (sinks_load(dir, &seen, &seen_max, &total, positions) != 0)
		return 3;
	missing = lowest_missing(seen, seen_max);
	free(seen);
	rig_make(&rig, dir);
	for (uint32_t p = 0; p < PARTITIONS; p++) {
		sink[p] = (struct sink){
			.rig = &rig, .partition = p, .position = positions[p], .fd = sink_file(dir, p)};
		if (lseek(sink[p].fd, 0, SEEK_END) < 0)
			die("lseek", strerror(errno));
		sink[p].consumer = journal_consumer_add(rig.journal, p, "file", &err);
		journal_consumer_set(rig.journal, sink[p].consumer, positions[p]);
		if (pthread_create(&sink[p].thread, NULL, sink_main, &sink[p]) != 0)
			die("thread", "none");
	}
	if (journal_start(rig.journal, &rig.handoff, &err) != 0)
		die("journal_start", err.text);
	for (uint32_t w = 0; w < WORKERS; w++) {
		worker[w] = (struct worker){.rig = &rig,
			.index = w,
			.round = round,
			.first = missing > BACK ? missing - BACK : 1,
			.last = missing + AHEAD};
		if (pthread_create(&worker[w].thread, NULL, worker_main, &worker[w]) != 0)
			die("thread", "none");
	}
	for (uint32_t w = 0; w < WORKERS; w++)
		pthread_join(worker[w].thread, NULL);
	if (getenv("FEEDER_COMPRESS"))
		compress_wait(&rig);
	journal_stop(rig.journal);
	atomic_store(&input_ended, true);
	for (uint32_t p = 0; p < PARTITIONS; p++) {
		pthread_join(sink[p].thread, NULL);
		close(sink[p].fd);
	}
	journal_close(rig.journal);
	handoff_free(&rig.handoff);
	return 0;
}

struct whole {
	uint64_t next, blocks, faults;
};

static int whole_block(void *arg, const struct journal_scan_block *b)
{
	struct whole *w = arg;

	w->faults += !b->intact || (w->blocks && b->block.first_offset != w->next);
	w->next = b->block.first_offset + b->block.record_count;
	w->blocks++;
	return 0;
}

/* What the journal still has, raw or compressed, is whole. */
static int whole_check(const char *dir)
{
	int faults = 0;

	for (uint32_t p = 0; p < PARTITIONS; p++) {
		struct whole w = {0};
		char journal[256];
		struct err err;

		snprintf(journal, sizeof journal, "%s/journal", dir);
		if (journal_scan(journal, p, whole_block, &w, &err) < 0)
			die("journal_scan", err.text);
		printf("partition %u: %" PRIu64 " blocks, faults %" PRIu64 "\n", p, w.blocks, w.faults);
		faults += w.faults != 0 || w.blocks == 0;
	}
	return faults;
}

static int check(const char *dir, uint64_t want)
{
	uint64_t seen_max, total, missing, positions[PARTITIONS];
	uint8_t *seen;
	int faults = sinks_load(dir, &seen, &seen_max, &total, positions);

	missing = lowest_missing(seen, seen_max);
	free(seen);
	faults += whole_check(dir);
	printf("ids delivered %" PRIu64 ", all up to %" PRIu64 ", faults %d\n", total, missing - 1, faults);
	return faults || missing - 1 < want ? 1 : 0;
}

int main(int argc, char **argv)
{
	char *end = NULL;
	uint64_t number = argc == 4 ? strtoull(argv[3], &end, 10) : 0;

	if (argc != 4 || *end)
		die("usage", "run DIR ROUND | check DIR COUNT");
	if (strcmp(argv[1], "check") == 0)
		return check(argv[2], number);
	rig_eal("feeder");
	return run(argv[2], (uint32_t)number);
}
