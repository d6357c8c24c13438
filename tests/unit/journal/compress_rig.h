/* What the tests of compressed segments share. */
#ifndef SLUICE_COMPRESS_RIG_H
#define SLUICE_COMPRESS_RIG_H

#include "journal_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "journal_priv.h"

#define EVENTS 30000

static struct rig rig;

__attribute__((format(printf, 1, 2))) static inline void command(const char *format, ...)
{
	char text[600];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	if (system(text) != 0)
		fail_msg("%s", text);
}

static inline bool there(const char *name)
{
	char path[300];

	snprintf(path, sizeof path, "%s/p0/%s", rig.dir, name);
	return access(path, F_OK) == 0;
}

static inline void consumer_at(uint64_t offset)
{
	struct err err;

	journal_consumer_set(rig.journal, journal_consumer_add(rig.journal, 0, "sink", &err), offset);
}

/* Events of many sizes, in blocks of many sizes. */
static inline void fill(uint64_t first, uint64_t last)
{
	for (uint64_t id = first, n = 1; id <= last; id += n, n = n * 7 % 997 + 1) {
		if (id + n > last + 1)
			n = last + 1 - id;
		rig.event_bytes = 96 + n % 13 * 40;
		rig_feed(&rig, 0, 0, id, n);
		if (n % 5 == 0)
			rig_settle(&rig, 0);
	}
	rig_settle(&rig, 0);
}

/* The bound ends a test that hangs, and decides nothing. */
static inline void wait_for(bool (*reached)(const struct journal_partition_stats *s))
{
	uint64_t end = clock_mono_ns() + 200000000000ull;
	struct journal_partition_stats s;

	while (s = rig_stats(&rig, 0), !reached(&s)) {
		if (clock_mono_ns() > end)
			fail_msg("compressed %llu of %llu bytes, failed %llu",
				(unsigned long long)s.compressed_segments, (unsigned long long)s.disk_bytes,
				(unsigned long long)(s.compress_failed + s.compress_disk_full));
		nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
	}
}

static inline uint64_t segments_made(void)
{
	struct part_tail tail;

	tail_get(&rig.journal->part[0], &tail);
	return tail.segment;
}

static inline uint32_t segments_kept(void)
{
	struct journal_part *part = &rig.journal->part[0];
	uint32_t count;

	pthread_mutex_lock(&part->lock);
	count = part->seg_count;
	pthread_mutex_unlock(&part->lock);
	return count;
}

/* All but the last two. */
static inline bool all_compressed(const struct journal_partition_stats *s)
{
	return s->compressed_segments + 2 >= segments_kept() &&
	       rig.journal->part[0].compress.state == COMPRESS_IDLE;
}

/* A journal of several segments, raw in DIR.raw, all but the last two compressed in DIR, and open. */
static inline void both_make(void)
{
	rig_init(&rig, 1, 1);
	rig.params.segments_max = 32;
	rig.noise = true;
	rig_start(&rig);
	fill(1, EVENTS);
	assert_true(segments_made() > 5);
	rig_close(&rig);
	command("rm -rf %s.raw && cp -r %s %s.raw", rig.dir, rig.dir, rig.dir);
	rig.params.compress_after_ms = 1;
	rig_open(&rig);
	consumer_at(EVENTS);
	rig_start(&rig);
	wait_for(all_compressed);
}

static inline void both_free(void)
{
	command("rm -rf %s.raw", rig.dir);
	rig_free(&rig);
}

#endif
