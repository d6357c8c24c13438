/* The thread of a partition's writer: lanes in, blocks out, ticks, sleep. Does not spin: it sleeps until a
 * batch comes, a write ends or a block is due. */
#include "journal_priv.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ring_limit.h"
#include "version.h"

#define WAIT_MAX_NS 5000000u /* nothing to do: ticks, notes and the end are looked for so often */
#define WAIT_IO_NS 1000000u  /* a write is under way */
#define WAIT_HELD_NS 100000u /* a batch is in hand that waits for the next segment */
#define EMPTY_NS 100000000u
#define WANTED_MAX 4u /* batches: they are copied in a fraction of the time that a wake-up takes away */

struct loop {
	struct journal_part *part;
	struct batch *held; /* taken from its lane, not yet placed */
	uint32_t worker;    /* whose lane is next */
	uint64_t now_ns;
	bool full;
};

static int loop_setup(struct journal_part *part)
{
	struct iovec all = {part->cache.memory, part->cache.memory_bytes};
	static const uint8_t ops[] = {IORING_OP_WRITE, IORING_OP_WRITE_FIXED, IORING_OP_FSYNC};
	int rc = ring_open(&part->ring, 64, IORING_SETUP_SINGLE_ISSUER);

	if (rc != 0)
		return rc;
	rc = io_uring_register_files(&part->ring, part->fd, 2);
	if (rc != 0) {
		io_uring_queue_exit(&part->ring);
		return rc;
	}
	/* Needs locked memory (or the right to it): slower without, but right. */
	part->fixed_buffers = io_uring_register_buffers(&part->ring, &all, 1) == 0;
	if (!part->fixed_buffers)
		log_warn("journal",
			"block buffers not registered: raise RLIMIT_MEMLOCK partition=%u bytes=%zu",
			part->index, part->cache.memory_bytes);
	/* Writes into the two files of its slots, and other segments into these. */
	rc = ring_limit(&part->ring, ops, sizeof ops, IOSQE_FIXED_FILE, IORING_REGISTER_FILES_UPDATE);
	if (rc != 0)
		io_uring_queue_exit(&part->ring);
	return rc;
}

static struct batch_lane *loop_lane(const struct loop *l, uint32_t worker)
{
	return handoff_lane(l->part->journal->handoff, worker, l->part->index);
}

static void loop_set_full(struct loop *l, bool full)
{
	char why[256];

	if (full == l->full)
		return;
	l->full = full;
	__atomic_store_n(&l->part->stats.full, full, __ATOMIC_RELAXED);
	if (full)
		retention_full_text(l->part, why, sizeof why);
	if (full && l->part->journal->params.derived)
		log_warn("journal", "OUTPUT LOG FULL: %s: its producer waits partition=%u dir=%s", why,
			l->part->index, l->part->journal->params.dir);
	else if (full)
		log_warn("journal", "JOURNAL FULL: %s: new events are dropped partition=%u", why,
			l->part->index);
	else
		log_info("journal", "journal takes records again partition=%u", l->part->index);
}

/* Places the batch in hand. False: not now. */
static bool loop_place(struct loop *l)
{
	struct journal_part *part = l->part;
	struct batch *b = l->held;
	enum pack_answer answer = PACK_DONE;

	if (part->failed) {
		pack_discard(part, b, DROP_journal_failed);
	} else {
		/* Here, not only once a round: what is taken after a note was posted stands behind it. */
		answer = pack_note(part, l->now_ns);
		if (answer == PACK_DONE)
			answer = pack_batch(part, b, l->now_ns);
		if (answer == PACK_DONE && b->opened_ns < part->oldest_ns)
			part->oldest_ns = b->opened_ns;
		if (answer == PACK_FULL)
			loop_set_full(l, true);
		if (answer == PACK_WAIT || (answer == PACK_FULL && part->journal->params.derived))
			return false;
		if (answer == PACK_FULL)
			pack_discard(part, b, DROP_journal_full);
		else if (b->record_count)
			loop_set_full(l, false);
	}
	l->held = NULL;
	batch_return(loop_lane(l, b->worker), b);
	return true;
}

/* Takes what waits in the lanes, a batch of each in turn. Returns batches placed. */
static uint32_t loop_take(struct loop *l)
{
	uint32_t workers = l->part->journal->handoff->workers, placed = 0, empty = 0;

	while (empty < workers) {
		if (!l->held) {
			l->held = batch_take_sealed(loop_lane(l, l->worker));
			l->worker = l->worker + 1 == workers ? 0 : l->worker + 1;
		}
		if (!l->held) {
			empty++;
			continue;
		}
		empty = 0;
		if (!loop_place(l))
			break;
		placed++;
		(void)writer_reap(l->part);
	}
	return placed;
}

static void loop_start_record(struct journal_part *part, uint64_t now_ns)
{
	char text[160];

	if (!part->start_due || part->failed)
		return;
	snprintf(text, sizeof text, "event=start version=%s generation=%u", version_text, part->generation);
	if (pack_own(part, RECORD_CONTROL, text, 0, now_ns) == PACK_DONE)
		part->start_due = false;
}

/* When the open block is to be written. While a write is under way more may gather, and it is the block that
 * must not be small: its age counts. Else it is the records that must not be old: theirs, from the worker's
 * hands on. What a derived journal takes has gathered before, and waits no more. Nobody waits for a block
 * without records: who sends what is known again and again must not fill the journal with such. */
static uint64_t loop_block_due_ns(const struct loop *l)
{
	const struct journal_part *part = l->part;
	uint64_t age_ns = part->journal->params.block_age_us * 1000;

	if (!part->open_records)
		return part->open_ns + (age_ns > EMPTY_NS ? age_ns : EMPTY_NS);
	if (part->flight_count)
		return part->open_ns + age_ns;
	return part->journal->params.derived ? 0 : part->oldest_ns + age_ns;
}

/* Batches that are worth being woken for. The first ones of a block at once, since only the writer knows when
 * it is due; what comes then until it is may gather, but no more than the lanes can spare, nor than has room.
 */
static uint32_t loop_wanted(const struct journal_part *part)
{
	const struct handoff *h = part->journal->handoff;
	uint32_t spare = h->batches / 4 < WANTED_MAX ? h->batches / 4 : WANTED_MAX;
	uint32_t room = (part->place.block_bytes - BLOCK_HEADER_BYTES - part->open_bytes) / h->batch_bytes;

	if (part->open_buf < 0 || !part->open_records)
		return 1;
	return RTE_MAX(1u, RTE_MIN(spare, room));
}

/* Sleeps until there is something to do: a write has ended, the open block is due, a batch came. While a
 * write is under way batches gather in their lanes, which hold what comes in this time: each time that a
 * sleeping thread is woken costs more than the batch. */
static void loop_wait(struct loop *l)
{
	struct journal_part *part = l->part;
	bool io = part->flight_count || part->sync_flights;
	uint64_t ns = io ? WAIT_IO_NS : WAIT_MAX_NS;
	struct io_uring_cqe *cqe;

	if (part->open_buf >= 0 && part->flight_count < part->journal->params.inflight) {
		uint64_t due_ns = loop_block_due_ns(l), left_ns = due_ns > l->now_ns ? due_ns - l->now_ns : 0;

		if (left_ns < ns)
			ns = left_ns;
	}
	/* Where all writes are under way nothing can be written before one ends, which ends the wait, too. */
	if (l->held && !l->full && ns > WAIT_HELD_NS && part->flight_count < part->journal->params.inflight)
		ns = WAIT_HELD_NS;
	if (sync_pending(part) && !part->sync_flights && part->sync_due_ns < l->now_ns + ns)
		ns = part->sync_due_ns > l->now_ns ? part->sync_due_ns - l->now_ns : 0;
	if (ns == 0)
		return;
	if (io) {
		struct __kernel_timespec t = {0, (long long)ns};

		(void)io_uring_wait_cqe_timeout(&part->ring, &cqe, &t);
	} else if (l->held) {
		nanosleep(&(struct timespec){.tv_nsec = (long)ns}, NULL);
	} else {
		handoff_sleep(part->journal->handoff, part->index, loop_wanted(part), ns);
	}
}

static bool loop_block_due(const struct loop *l)
{
	return l->part->open_buf >= 0 && l->now_ns >= loop_block_due_ns(l);
}

/* The last block: end of input, marked as such. A partition that is full or failed ends without, and so does
 * a derived journal. */
static void loop_finish(struct loop *l)
{
	struct journal_part *part = l->part;
	enum pack_answer answer = part->journal->params.derived ? PACK_DONE : PACK_WAIT;

	while (!part->failed && answer == PACK_WAIT) {
		l->now_ns = clock_mono_ns();
		answer = pack_note(part, l->now_ns);
		if (answer == PACK_DONE)
			answer = pack_own(part, RECORD_CONTROL, "event=end-of-input", 0, l->now_ns);
		if (answer == PACK_WAIT) {
			loop_wait(l);
			(void)writer_reap(part);
		}
	}
	while (part->flight_count || part->sync_flights ||
		((part->open_buf >= 0 || sync_pending(part)) && !part->failed)) {
		writer_seal(part, BLOCK_F_CLEAN_END);
		if (!part->flight_count)
			sync_run(part, l->now_ns, true);
		if (writer_reap(part) == 0) {
			struct __kernel_timespec t = {0, WAIT_IO_NS};
			struct io_uring_cqe *cqe;

			(void)io_uring_wait_cqe_timeout(&part->ring, &cqe, &t);
		}
	}
}

void *writer_main(void *arg)
{
	struct loop l = {.part = arg};
	struct journal_part *part = arg;
	int rc = loop_setup(part);

	/* before the first batch, whose times would make a clock look wrong that was right */
	if (rc == 0 && !part->journal->params.derived)
		tick_clock_check(part, clock_mono_ns());
	atomic_store_explicit(&part->writer_ready, rc ? rc : 1, memory_order_release);
	if (rc != 0)
		return NULL;
	/* While nothing ran, no time has passed for the watermark. */
	part->began_ns = part->watermark_ns = clock_mono_ns();
	part->tick_due_ns = part->watermark_ns + part->journal->params.tick_ms * 1000000;
	for (;;) {
		bool stop = atomic_load_explicit(&part->writer_stop, memory_order_acquire);
		uint32_t work;

		l.now_ns = clock_mono_ns();
		work = writer_reap(part);
		loop_start_record(part, l.now_ns);
		work += loop_take(&l);
		if (!part->failed)
			(void)pack_note(part, l.now_ns);
		tick_run(part, l.now_ns);
		if (loop_block_due(&l))
			writer_seal(part, 0);
		sync_run(part, l.now_ns, false);
		if (work)
			continue;
		if (stop && (!l.held || (l.full && part->journal->params.derived)))
			break;
		loop_wait(&l);
	}
	loop_finish(&l);
	io_uring_queue_exit(&part->ring);
	return NULL;
}
