/* See journal_rig.h. */
#include "journal_rig.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "hash.h"

void rig_init(struct rig *rig, uint32_t partitions, uint32_t workers)
{
	const char *base = getenv("SLUICE_TEST_DIR");
	struct err err;

	memset(rig, 0, sizeof *rig);
	snprintf(rig->dir, sizeof rig->dir, "%.90s/sluice-journal-XXXXXX", base ? base : "/tmp");
	assert_true(partitions * workers <= 16);
	assert_non_null(mkdtemp(rig->dir));
	rig->event_bytes = 150;
	rig->params = (struct journal_params){
		.partitions = partitions,
		.block_bytes = 32768,
		.block_age_us = 500,
		.segment_bytes = 1 << 20,
		.segments_max = 8,
		.inflight = 4,
		.cache_blocks = 4,
		.dedup_window_ms = 600000,
		.dedup_ids_max = 100000,
		.out_of_orderness_ms = 10000,
		.tick_ms = 100000,
	};
	snprintf(rig->params.dir, sizeof rig->params.dir, "%s", rig->dir);
	snprintf(rig->params.node, sizeof rig->params.node, "test-1");
	assert_int_equal(handoff_create(&rig->handoff, workers, partitions, 4, 16384, &err), 0);
}

void rig_free(struct rig *rig)
{
	char command[256];

	rig_close(rig);
	handoff_free(&rig->handoff);
	snprintf(command, sizeof command, "rm -rf '%s'", rig->dir);
	assert_int_equal(system(command), 0);
}

int rig_open_rc(struct rig *rig, struct err *err)
{
	rig->journal = NULL;
	return journal_open(&rig->journal, &rig->params, err);
}

void rig_open(struct rig *rig)
{
	struct err err = {""};

	if (rig_open_rc(rig, &err) != 0)
		fail_msg("journal_open: %s", err.text);
}

void rig_start(struct rig *rig)
{
	struct err err = {""};

	if (!rig->journal)
		rig_open(rig);
	if (journal_start(rig->journal, &rig->handoff, &err) != 0)
		fail_msg("journal_start: %s", err.text);
	rig->running = true;
}

void rig_stop(struct rig *rig)
{
	if (rig->running)
		journal_stop(rig->journal);
	rig->running = false;
}

void rig_close(struct rig *rig)
{
	rig_stop(rig);
	journal_close(rig->journal);
	rig->journal = NULL;
}

void rig_restart(struct rig *rig)
{
	rig_close(rig);
	rig_start(rig);
}

void rig_id(uint8_t out[16], uint64_t id)
{
	uint64_t mixed = hash_u64(id);

	memcpy(out, &id, 8);
	memcpy(out + 8, &mixed, 8);
}

uint64_t rig_id_number(const uint8_t id[16])
{
	uint64_t number, mixed;

	memcpy(&number, id, 8);
	memcpy(&mixed, id + 8, 8);
	return mixed == hash_u64(number) ? number : 0;
}

static void nap(void)
{
	const struct timespec t = {0, 200000};

	nanosleep(&t, NULL);
}

struct batch *rig_batch(struct rig *rig, uint32_t worker, uint32_t partition)
{
	struct batch_lane *lane = handoff_lane(&rig->handoff, worker, partition);
	struct batch *b;

	while (!(b = batch_take_empty(lane)))
		nap();
	b->generation = 1;
	b->receive_first_ms = b->receive_last_ms = clock_wall_ms();
	b->opened_ns = clock_mono_ns();
	b->watermark_base_ms = INT64_MIN;
	memset(b->drop_delta, 0, sizeof b->drop_delta);
	return b;
}

bool rig_event(struct rig *rig, struct batch *b, uint64_t id, int64_t time_ms, int64_t receive_ms)
{
	static _Thread_local uint8_t raw[65536];
	struct event ev = {.raw = raw, .tail = raw, .raw_bytes = (uint32_t)rig->event_bytes};

	ev.type = EVENT_TYPE_click;
	ev.event_time_ms = time_ms;
	ev.field_mask = FBIT(page);
	ev.field[FIELD_page] = (struct span){8, 40};
	memcpy(raw, &id, 8);
	for (uint64_t i = 96; rig->noise && i + 8 <= rig->event_bytes; i += 8) {
		uint64_t word = hash_u64(id * 8191 + i);

		memcpy(raw + i, &word, sizeof word);
	}
	if (id) {
		ev.field_mask |= FBIT(event_id);
		ev.field[FIELD_event_id] = (struct span){50, 36};
		rig_id(ev.event_id, id);
	}
	if (b->bytes + record_bytes_of(&ev) > b->capacity)
		return false;
	b->bytes += record_write_event(b->data + b->bytes, &ev, id, receive_ms, 0);
	b->record_count++;
	if (time_ms < receive_ms ? time_ms > b->watermark_base_ms : receive_ms > b->watermark_base_ms)
		b->watermark_base_ms = time_ms < receive_ms ? time_ms : receive_ms;
	return true;
}

bool rig_refused(struct rig *rig, struct batch *b, int64_t receive_ms)
{
	static const uint8_t raw[64] = "{\"not\": an event}";
	struct event ev = {.raw = raw, .tail = raw, .raw_bytes = sizeof raw, .refused = DROP_bad_json};

	(void)rig;
	if (b->bytes + record_refused_bytes(&ev, 32) > b->capacity)
		return false;
	b->bytes += record_write_refused(b->data + b->bytes, &ev, 0, receive_ms, 32);
	b->record_count++;
	return true;
}

void rig_seal(struct rig *rig, struct batch *b)
{
	batch_hand_over(&rig->handoff, b);
}

void rig_feed(struct rig *rig, uint32_t worker, uint32_t partition, uint64_t first, uint64_t count)
{
	struct batch *b = rig_batch(rig, worker, partition);
	int64_t now = clock_wall_ms();

	for (uint64_t i = 0; i < count; i++)
		if (!rig_event(rig, b, first + i, now, now)) {
			rig_seal(rig, b);
			b = rig_batch(rig, worker, partition);
			now = clock_wall_ms();
			i--;
		}
	rig_seal(rig, b);
}

struct journal_partition_stats rig_stats(struct rig *rig, uint32_t partition)
{
	struct journal_partition_stats s;

	journal_stats(rig->journal, partition, &s);
	return s;
}

/* The bound is generous: it ends a test that hangs, and decides nothing. */
void rig_settle(struct rig *rig, uint32_t partition)
{
	uint64_t end = clock_mono_ns() + 60000000000ull;

	for (;;) {
		struct journal_partition_stats s = rig_stats(rig, partition), t;
		bool idle = true;

		for (uint32_t w = 0; w < rig->handoff.workers; w++)
			if (batch_free_count(handoff_lane(&rig->handoff, w, partition)) !=
				rig->handoff.batches)
				idle = false;
		nap();
		nap();
		nap();
		nap();
		nap();
		t = rig_stats(rig, partition);
		if (idle && (t.failed || (t.durable_offset == s.durable_offset &&
						 t.assigned_offset == t.durable_offset)))
			return;
		if (clock_mono_ns() > end)
			fail_msg("partition %u does not settle: durable %llu of %llu", partition,
				(unsigned long long)t.durable_offset, (unsigned long long)t.assigned_offset);
	}
}

static void block_walk(const struct journal_block *block, rig_each *each, void *arg)
{
	const uint8_t *p = block->data;

	for (uint32_t i = 0; i < block->record_count; i++) {
		const struct record *rec = (const struct record *)p;

		assert_true(record_valid(p, block->bytes - (uint64_t)(p - block->data)));
		each(arg, block, i, rec);
		p += rec->bytes;
	}
	assert_ptr_equal(p, block->data + block->bytes);
}

/* Every record from the oldest offset to the durable end. Returns where that is. */
static uint64_t partition_walk(struct rig *rig, uint32_t partition, rig_each *each, void *arg)
{
	struct journal_partition_stats s = rig_stats(rig, partition);
	struct journal_reader *reader;
	struct journal_block block;
	struct err err = {""};
	uint64_t offset = s.oldest_offset;
	int rc;

	if (journal_reader_open(&reader, rig->journal, partition, offset, &err) != 0)
		fail_msg("journal_reader_open: %s", err.text);
	while (offset < s.durable_offset && (rc = journal_reader_next(reader, &block, 10000, &err)) != 0) {
		if (rc < 0)
			fail_msg("journal_reader_next: %s", err.text);
		assert_int_equal(block.first_offset, offset);
		block_walk(&block, each, arg);
		offset += block.record_count;
	}
	assert_true(offset >= s.durable_offset);
	journal_reader_close(reader);
	return offset;
}

struct events_arg {
	rig_each *each;
	void *arg;
};

static void events_record(
	void *arg, const struct journal_block *block, uint32_t index, const struct record *rec)
{
	const struct events_arg *events = arg;

	if (rec->kind == RECORD_EVENT)
		events->each(events->arg, block, index, rec);
}

void rig_each_event(struct rig *rig, uint32_t partition, rig_each *each, void *arg)
{
	struct events_arg events = {each, arg};

	(void)partition_walk(rig, partition, events_record, &events);
}

static void log_record(void *arg, const struct journal_block *block, uint32_t index, const struct record *rec)
{
	struct rig_log *log = arg;

	if (index == 0) {
		log->id = realloc(log->id, (log->count + block->record_count + 1) * sizeof *log->id);
		assert_non_null(log->id);
	}
	log->kinds[rec->kind & 7]++;
	if (rec->kind == RECORD_EVENT)
		log->id[log->count++] = rig_id_number(rec->event_id);
}

void rig_read(struct rig *rig, uint32_t partition, struct rig_log *log)
{
	memset(log, 0, sizeof *log);
	log->end_offset = partition_walk(rig, partition, log_record, log);
}

struct scan_arg {
	struct rig_log *log;
	bool intact, any;
};

static int scan_each(void *arg, const struct journal_scan_block *b)
{
	struct scan_arg *s = arg;

	if (!b->intact) {
		s->intact = s->any = false;
		return 0;
	}
	if (s->any)
		assert_int_equal(b->block.first_offset, s->log->end_offset);
	s->any = true;
	block_walk(&b->block, log_record, s->log);
	s->log->end_offset = b->block.first_offset + b->block.record_count;
	return 0;
}

bool rig_scan(const char *dir, uint32_t partition, struct rig_log *log)
{
	struct scan_arg arg = {log, true, false};
	struct err err = {""};

	memset(log, 0, sizeof *log);
	if (journal_scan(dir, partition, scan_each, &arg, &err) < 0)
		fail_msg("journal_scan: %s", err.text);
	return arg.intact;
}

void rig_log_free(struct rig_log *log)
{
	free(log->id);
	memset(log, 0, sizeof *log);
}

void rig_scribble(const struct rig *rig, const char *file, off_t at, const char *bytes)
{
	char path[300];
	int fd;

	snprintf(path, sizeof path, "%s/p0/%s", rig->dir, file);
	fd = open(path, O_WRONLY);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, bytes, strlen(bytes), at), strlen(bytes));
	close(fd);
}
