/* Events a second made durable by one partition's writer from batches that are filled beforehand, with and
 * without deduplication, beside a bare io_uring loop that writes as many bytes in blocks of the same size in
 * the same way.
 *
 * usage: bench_journal [DIR [SECONDS]]    DIR must be on the disk that is meant; about 1.2 GiB are used in it
 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <rte_eal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bench_util.h"
#include "clock.h"
#include "journal.h"
#include "log.h"

#define EVENT_BYTES 187
#define BATCHES 32
#define BATCH_BYTES 65536
#define BLOCK_BYTES 262144u
#define SEGMENT_BYTES (64ull << 20)
#define INFLIGHT 4u

static void die(const char *what, const char *why)
{
	fprintf(stderr, "bench_journal: %s: %s\n", what, why);
	exit(1);
}

static double cpu_seconds(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void batch_fill(struct batch *b, uint64_t *random)
{
	static uint8_t raw[EVENT_BYTES + EVENT_PAD_BYTES];
	struct event ev = {.raw = raw, .tail = raw, .raw_bytes = EVENT_BYTES, .type = EVENT_TYPE_click};
	const enum field_id text[] = {FIELD_user_id, FIELD_page, FIELD_referrer, FIELD_country, FIELD_device};
	int64_t now = clock_wall_ms();

	for (size_t i = 0; i < sizeof text / sizeof *text; i++) {
		ev.field_mask |= 1ull << text[i];
		ev.field[text[i]] = (struct span){(uint16_t)(10 + 20 * i), 12};
	}
	ev.field_mask |= FBIT(event_id) | FBIT(ts);
	ev.field[FIELD_event_id] = (struct span){120, 36};
	ev.field[FIELD_ts] = (struct span){160, 13};
	for (int i = 0; i < EVENT_BYTES; i++)
		raw[i] = (uint8_t)bench_random(random);
	ev.event_time_ms = now;
	b->bytes = b->record_count = 0;
	while (b->bytes + record_bytes_of(&ev) <= b->capacity) {
		uint64_t id[2] = {bench_random(random), bench_random(random)};

		memcpy(ev.event_id, id, 16);
		b->bytes += record_write_event(b->data + b->bytes, &ev, id[0], now, 0);
		b->record_count++;
	}
	b->generation = 1;
	b->receive_first_ms = b->receive_last_ms = now;
	b->watermark_base_ms = now;
	memset(b->drop_delta, 0, sizeof b->drop_delta);
}

/* New ids for a batch that comes round again. */
static void batch_renew(struct batch *b, uint64_t *random)
{
	for (uint32_t at = 0; at < b->bytes;) {
		struct record *rec = (struct record *)(b->data + at);
		uint64_t id[2] = {bench_random(random), bench_random(random)};

		memcpy(rec->event_id, id, 16);
		at += rec->bytes;
	}
}

/* Seals the batches round and round; returns the counters of when the steady state began, in *from, with the
 * writer's CPU seconds and the time from there on. */
static double run_feed(struct journal *j, struct handoff *handoff, double seconds, bool renew,
	struct journal_partition_stats *from, double *cpu)
{
	uint64_t random = 1, start = 0, end = 0;
	uint32_t bytes = 0, count = 0;
	struct journal_partition_stats s;
	void *p;

	for (int i = 0; i < BATCHES; i++) {
		if (rte_ring_sc_dequeue(handoff->lane->empty, &p) != 0)
			die("lane", "no batch");
		batch_fill(p, &random);
		bytes = ((struct batch *)p)->bytes;
		count = ((struct batch *)p)->record_count;
		batch_hand_over(handoff, p);
	}
	do {
		struct batch *b;

		while (rte_ring_sc_dequeue(handoff->lane->empty, &p) != 0)
			usleep(20);
		b = p;
		b->bytes = bytes;
		b->record_count = count;
		if (renew)
			batch_renew(b, &random);
		batch_hand_over(handoff, b);
		if (end)
			continue;
		/* Until every segment has been written once: then they are recycled. */
		journal_stats(j, 0, &s);
		if (s.oldest_offset > 0) {
			*from = s;
			start = bench_now_ns();
			end = start + (uint64_t)(seconds * 1e9);
			*cpu = cpu_seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu_seconds(CLOCK_THREAD_CPUTIME_ID);
		}
	} while (!end || bench_now_ns() < end);
	*cpu = cpu_seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu_seconds(CLOCK_THREAD_CPUTIME_ID) - *cpu;
	return (double)(bench_now_ns() - start) / 1e9;
}

/* Durable bytes a second. */
static double run_journal(const char *dir, double seconds, uint64_t dedup_window_ms)
{
	struct journal_params params = {.partitions = 1,
		.block_bytes = BLOCK_BYTES,
		.block_age_us = 1000,
		.segment_bytes = SEGMENT_BYTES,
		.segments_max = 16,
		.inflight = INFLIGHT,
		.cache_blocks = 16,
		.dedup_window_ms = dedup_window_ms,
		.dedup_ids_max = 1000000,
		.out_of_orderness_ms = 10000,
		.tick_ms = 1000};
	struct journal_partition_stats s, from = {0};
	struct journal *j;
	struct handoff handoff;
	double cpu = 0, took, events, durable;
	struct err err;

	snprintf(params.dir, sizeof params.dir, "%.200s/journal-%d", dir, dedup_window_ms != 0);
	snprintf(params.node, sizeof params.node, "bench");
	if (handoff_create(&handoff, 1, 1, BATCHES, BATCH_BYTES, &err) || journal_open(&j, &params, &err) ||
		journal_start(j, &handoff, &err))
		die("journal", err.text);
	took = run_feed(j, &handoff, seconds, dedup_window_ms != 0, &from, &cpu);
	journal_stats(j, 0, &s);
	events = (double)(s.records[RECORD_EVENT] - from.records[RECORD_EVENT]);
	durable = (double)(s.durable_bytes - from.durable_bytes);
	printf("journal, %-10s %6.2f M events/s durable  %7.1f MB/s  %5.0f ns of writer CPU an event  (%llu "
	       "drops)\n",
		dedup_window_ms ? "dedup" : "no dedup", events / took / 1e6, durable / took / 1e6,
		cpu * 1e9 / events,
		(unsigned long long)(s.drops[DROP_journal_full] + s.drops[DROP_journal_failed]));
	journal_stop(j);
	journal_close(j);
	handoff_free(&handoff);
	return durable / took;
}

static double run_raw(const char *dir, double seconds)
{
	struct io_uring ring;
	struct iovec iov[INFLIGHT];
	uint64_t start = 0, end, random = 2, bytes = 0, at = 0;
	uint32_t free_list[INFLIGHT], free_count = INFLIGHT;
	char path[300];
	double took;
	int fd;

	snprintf(path, sizeof path, "%.250s/raw", dir);
	fd = open(path, O_RDWR | O_CREAT | O_DIRECT, 0600);
	if (fd < 0 || io_uring_queue_init(64, &ring, IORING_SETUP_SINGLE_ISSUER) != 0)
		die(path, strerror(errno));
	for (uint32_t i = 0; i < INFLIGHT; i++) {
		if (posix_memalign(&iov[i].iov_base, 4096, BLOCK_BYTES))
			die("memory", "none");
		iov[i].iov_len = BLOCK_BYTES;
		free_list[i] = i;
		for (size_t k = 0; k < BLOCK_BYTES; k += 8) {
			uint64_t v = bench_random(&random);

			memcpy((char *)iov[i].iov_base + k, &v, 8);
		}
	}
	for (uint64_t o = 0; o < SEGMENT_BYTES; o += BLOCK_BYTES)
		if (pwrite(fd, iov[0].iov_base, BLOCK_BYTES, (off_t)o) != (ssize_t)BLOCK_BYTES)
			die(path, strerror(errno));
	if (fsync(fd) || io_uring_register_buffers(&ring, iov, INFLIGHT) ||
		io_uring_register_files(&ring, &fd, 1))
		die(path, "cannot be prepared");
	start = bench_now_ns();
	end = start + (uint64_t)(seconds * 1e9);
	while (bench_now_ns() < end) {
		struct io_uring_cqe *cqe;

		while (free_count) {
			uint32_t i = free_list[--free_count];
			struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);

			io_uring_prep_write_fixed(sqe, 0, iov[i].iov_base, BLOCK_BYTES, at, (int)i);
			sqe->flags |= IOSQE_FIXED_FILE;
			sqe->rw_flags = RWF_DSYNC;
			sqe->user_data = i;
			at = (at + BLOCK_BYTES) % SEGMENT_BYTES;
		}
		io_uring_submit_and_wait(&ring, 1);
		while (io_uring_peek_cqe(&ring, &cqe) == 0) {
			if (cqe->res != (int)BLOCK_BYTES)
				die(path, "write failed");
			free_list[free_count++] = (uint32_t)cqe->user_data;
			bytes += BLOCK_BYTES;
			io_uring_cqe_seen(&ring, cqe);
		}
	}
	took = (double)(bench_now_ns() - start) / 1e9;
	io_uring_queue_exit(&ring);
	close(fd);
	unlink(path);
	printf("bare io_uring loop                                %7.1f MB/s\n", (double)bytes / took / 1e6);
	return (double)bytes / took;
}

int main(int argc, char **argv)
{
	char dir[240], command[300], prefix[40];
	double seconds = argc > 2 ? strtod(argv[2], NULL) : 3, raw, with, without;
	char *eal[] = {argv[0], "--no-huge", "-m", "128", "--no-pci", "--no-telemetry", "--no-shconf",
		"--log-level=4", "--iova-mode=va", "-l", "0", "--file-prefix", prefix};

	snprintf(prefix, sizeof prefix, "sluice-bench-%d", (int)getpid());
	if (rte_eal_init(sizeof eal / sizeof *eal, eal) < 0)
		die("EAL", "cannot be initialised");
	log_init(LOG_LEVEL_WARN, false);
	snprintf(dir, sizeof dir, "%.180s/sluice-bench-XXXXXX", argc > 1 ? argv[1] : "/tmp");
	if (!mkdtemp(dir))
		die(dir, strerror(errno));
	raw = run_raw(dir, seconds);
	without = run_journal(dir, seconds, 0);
	snprintf(command, sizeof command, "rm -rf '%s'/*", dir);
	if (system(command) != 0)
		die(dir, "cannot be emptied");
	with = run_journal(dir, seconds, 600000);
	printf("of the bare loop: %.0f %% without dedup, %.0f %% with\n", 100 * without / raw,
		100 * with / raw);
	snprintf(command, sizeof command, "rm -rf '%s'", dir);
	return system(command) != 0;
}
