/* The worker loop. Runs on its own lcore; makes system calls only when it is idle and told to save power (a
 * sleep), and to wake a writer or another worker that sleeps. Time is read once a burst. */
#include "worker.h"

#include <rte_branch_prediction.h>
#include <rte_cycles.h>
#include <rte_ethdev.h>
#include <rte_pause.h>
#include <sys/prctl.h>
#include <time.h>

#include "clock.h"
#include "race.h"

#define IDLE_POLLS 32u	     /* empty rounds before the first sleep */
#define IDLE_POLLS_DROWSY 2u /* the same when the sleep before gathered little: nothing is near */
#define SLEEP_MIN_NS 5000u
#define SLEEP_FRAMES 16u	 /* that one sleep may gather */
#define SLEEP_FRAMES_KERNEL 128u /* the same where the kernel gathers them */
#define SLEEP_LONG_NS 1000000u	 /* where nothing is lost meanwhile */
#define STOP_EMPTY_ROUNDS                                                                                    \
	64u /* empty rounds after which a stopping worker believes that its queues are empty */
#define FILE_FREE_BATCHES 4u /* free batches of each lane before a file is read on */
/* What a worker that shares no queues is ahead of a lane's writer with a file, about: what it takes while a
 * write is under way. More would only wait for the disk, and leave the caches meanwhile. */
#define FILE_AHEAD_BATCHES 8u
#define FILE_AHEAD_BYTES (FILE_AHEAD_BATCHES * 65536u)
#define STOP_ROUNDS_MAX 100000u
#define STOP_SLEEP_NS 50000u /* while others may still give frames */

struct worker_rest {
	uint64_t empty_rounds; /* one after the other */
	uint64_t sleep_ns;     /* what the last sleep was wanted to be */
	uint64_t slept_ns;     /* what it was */
	uint64_t gathered;     /* frames since then, while no round was empty */
	bool slept;	       /* no round has been empty since */
	bool drowsy;	       /* the sleep before gathered little */
};

static struct burst_time burst_time_now(void)
{
	return (struct burst_time){clock_wall_ms(), clock_mono_ns()};
}

/* In batches; smaller ones are more. */
static uint32_t file_ahead(const struct handoff *h)
{
	return RTE_MAX(FILE_AHEAD_BATCHES, FILE_AHEAD_BYTES / h->batch_bytes);
}

/* A file waits until batches are free, beyond those that its events may not take; a NIC does not: there the
 * loss would only move to where it has no name. */
static bool worker_must_wait(const struct worker *w, const struct worker_queue *q)
{
	const struct handoff *h = w->pipeline.handoff;
	uint32_t need = FILE_FREE_BATCHES, first = w->index, end = first + 1;

	if (!q->finite)
		return false;
	if (w->spread) { /* any worker may get its frames, which wait in rings that then have room for them */
		if (spread_backlog(w->spread) > SPREAD_AHEAD * w->burst)
			return true;
		need *= SPREAD_AHEAD + w->spread->givers +
			1; /* in rings, one that comes from each, in work */
		first = 0;
		end = h->workers;
	}
	need = (h->batches < need * 2 ? h->batches / 2 : need) + w->pipeline.kept_batches_max;
	if (!w->spread)
		need = RTE_MAX(need, h->batches - RTE_MIN(h->batches, file_ahead(h)));
	for (uint32_t i = first * h->partitions; i < end * h->partitions; i++)
		if (batch_free_count(&h->lane[i]) < need)
			return true;
	return false;
}

static void frames_free(struct rte_mbuf **mbuf, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		race_given(mbuf[i]);
	rte_pktmbuf_free_bulk(mbuf, n);
}

/* Frames of one port, through the stages and home. */
static void frames_run(struct worker *w, uint16_t port, uint32_t decap, struct rte_mbuf **mbuf, uint32_t n)
{
	struct capture *capture = atomic_load_explicit(w->capture, memory_order_acquire);

	w->pipeline.decoder.decap = decap;
	w->pipeline.decoder.port = port;
	if (unlikely(capture))
		capture_burst(capture, &w->pipeline, port, mbuf, n, burst_time_now());
	else
		pipeline_burst(&w->pipeline, mbuf, n, burst_time_now());
	frames_free(mbuf, n);
}

static void frames_drop(
	struct worker *w, uint16_t port, struct rte_mbuf **mbuf, uint32_t n, enum drop_reason why)
{
	struct capture *capture = atomic_load_explicit(w->capture, memory_order_acquire);
	struct burst_time now = burst_time_now();

	if (unlikely(capture))
		capture_dropped(capture, w->index, port, mbuf, n, why, now);
	pipeline_drop(&w->pipeline, mbuf, n, why, now);
	frames_free(mbuf, n);
}

/* Gives others theirs of a burst; returns how many are left, in front. */
static uint32_t worker_give(
	struct worker *w, const struct worker_queue *q, struct rte_mbuf **mbuf, uint32_t n)
{
	struct spreader *sp = &w->spread->spreader[w->index];
	bool crowded = n == w->burst;
	uint32_t mine;

	w->crowded |= crowded;
	for (uint32_t i = 0; i < n; i++)
		mbuf[i]->port = q->port; /* which not every driver says */
	mine = spread_burst(sp, mbuf, n, crowded);
	if (unlikely(sp->dropped_count))
		frames_drop(w, q->port, sp->dropped, sp->dropped_count, DROP_spread_full);
	return mine;
}

/* Frames that other workers have given. */
static uint32_t worker_take(struct worker *w)
{
	const struct spread *s = w->spread;
	struct rte_mbuf *mbuf[PIPELINE_BURST_MAX];
	uint32_t taken = 0;

	for (uint32_t from = 0; from < s->workers; from++) {
		uint32_t n = spread_take(s, from, w->index, mbuf);

		for (uint32_t at = 0, end; at < n; at = end) {
			uint16_t port = mbuf[at]->port;

			for (end = at + 1; end < n && mbuf[end]->port == port; end++)
				;
			frames_run(w, port, s->decap[port], mbuf + at, end - at);
		}
		taken += n;
	}
	/* Pairs with dataplane_input_ended(): what is counted is done with. */
	if (taken)
		__atomic_store_n(&w->stats.spread_taken, w->stats.spread_taken + taken, __ATOMIC_RELEASE);
	return taken;
}

static uint32_t worker_poll(struct worker *w, struct worker_queue *q)
{
	struct rte_mbuf *mbuf[PIPELINE_BURST_MAX];
	uint32_t mine;
	uint16_t n;

	if (atomic_load_explicit(&q->ended, memory_order_relaxed) || worker_must_wait(w, q))
		return 0;
	if (q->file)
		n = frame_file_burst(q->file, q->port, q->pool, mbuf, (uint16_t)w->burst);
	else
		n = rte_eth_rx_burst(q->port, q->queue, mbuf, (uint16_t)w->burst);
	w->stats.polls++;
	if (n == 0) {
		w->stats.polls_empty++;
		if (q->finite && (!q->file || frame_file_ended(q->file)))
			atomic_store_explicit(&q->ended, true, memory_order_release);
		return 0;
	}
	for (uint16_t i = 0; i < n; i++)
		race_taken(mbuf[i]);
	mine = w->spread ? worker_give(w, q, mbuf, n) : n;
	if (mine)
		frames_run(w, q->port, q->decap, mbuf, mine);
	return n;
}

/* Batches are sealed first: the pause in which no frame is looked at. */
static void worker_reload(struct worker *w, const struct rule_slot *slot)
{
	uint64_t start = rte_rdtsc(), cycles;

	pipeline_set_matcher(&w->pipeline, slot->matcher[w->index], slot->generation);
	cycles = rte_rdtsc() - start;
	w->stats.reloads++;
	w->stats.reload_cycles += cycles;
	if (cycles > w->stats.reload_cycles_max)
		w->stats.reload_cycles_max = cycles;
}

/* Takes the ruleset, the enrichment tables and the settings in force at a burst boundary. */
static void worker_check_tables(struct worker *w)
{
	const struct rule_slot *slot = atomic_load_explicit(w->slot, memory_order_acquire);

	/* Not by the matcher's address: while this worker slept, one that has been freed may have come back.
	 */
	if (slot->generation != w->pipeline.generation)
		worker_reload(w, slot);
	w->pipeline.enrich = atomic_load_explicit(w->enrich, memory_order_acquire);
	w->pipeline.live = atomic_load_explicit(w->live, memory_order_acquire);
}

/* Returns how long it was: less than asked for, if others had frames for it. */
static uint64_t worker_sleep(struct worker *w, uint64_t ns)
{
	uint64_t slept_ns = ns;

	w->stats.sleeps++;
	rte_rcu_qsbr_thread_offline(w->rcu, w->index);
	if (w->spread) {
		uint64_t start_ns = clock_mono_ns();

		spread_sleep(w->spread, w->index, ns);
		slept_ns = clock_mono_ns() - start_ns;
	} else {
		nanosleep(&(struct timespec){.tv_nsec = (long)ns}, NULL);
	}
	rte_rcu_qsbr_thread_online(w->rcu, w->index);
	return slept_ns < ns ? slept_ns : ns;
}

/* It has queues, and all of them are files that have come to their end: nothing comes any more. */
static bool worker_ended(const struct worker *w)
{
	uint32_t i = 0;

	while (i < w->queue_count && atomic_load_explicit(&w->queue[i].ended, memory_order_relaxed))
		i++;
	return w->queue_count && i == w->queue_count;
}

/* How long now. What is open is sealed at its age, not when the worker comes back some time; until then what
 * the kernel gathers waits for nothing: it goes with that batch, and what goes into others counts as old as
 * the sleep was long. */
static uint64_t worker_sleep_ns(const struct worker *w, uint64_t wanted_ns)
{
	const struct pipeline *pl = &w->pipeline;
	uint64_t due_ns, now_ns, most_ns = w->sleep_max_ns;

	if (pipeline_waits(pl)) {
		due_ns = pipeline_due_ns(pl);
		now_ns = clock_mono_ns();
		/* One that is due and still here waits for the writer. */
		most_ns = due_ns > now_ns && due_ns - now_ns < pl->batch_age_ns ? due_ns - now_ns
										: pl->batch_age_ns;
		if ((!w->kernel_gathers || !pl->open_count) && most_ns > w->sleep_max_ns)
			most_ns = w->sleep_max_ns;
	} else if (worker_ended(w)) {
		most_ns = wanted_ns;
	}
	return wanted_ns < most_ns ? wanted_ns : most_ns;
}

/* After a round. An empty one: first spin, then sleep, and longer as long as few frames gather meanwhile:
 * what costs is to fall asleep and to be woken, not how long it lasts. */
static void worker_rest(struct worker *w, struct worker_rest *r, uint32_t taken)
{
	uint64_t longest_ns;

	if (taken) {
		r->gathered += taken;
		r->empty_rounds = 0;
		return;
	}
	if (r->slept) {
		r->drowsy = r->gathered <= (w->kernel_gathers ? SLEEP_FRAMES_KERNEL : SLEEP_FRAMES);
		if (!r->drowsy)
			r->sleep_ns /= 2;
		r->slept = false;
	}
	if (!w->adaptive || ++r->empty_rounds < (r->drowsy ? IDLE_POLLS_DROWSY : IDLE_POLLS)) {
		rte_pause();
		return;
	}
	longest_ns = (w->kernel_gathers || worker_ended(w)) && w->sleep_max_ns < SLEEP_LONG_NS
			     ? SLEEP_LONG_NS
			     : w->sleep_max_ns;
	r->sleep_ns = r->sleep_ns * 3 / 2 + SLEEP_MIN_NS;
	if (r->sleep_ns > longest_ns)
		r->sleep_ns = longest_ns;
	r->slept_ns = worker_sleep(w, worker_sleep_ns(w, r->sleep_ns));
	r->slept = true;
	r->gathered = 0;
}

/* What the kernel has gathered in a sleep is still being taken. */
static bool worker_gathers(const struct worker *w, const struct worker_rest *r)
{
	return w->kernel_gathers && r->slept && r->gathered <= SLEEP_FRAMES_KERNEL;
}

/* queues: how many of its own are looked at. */
static uint32_t worker_round(struct worker *w, const struct worker_rest *r, uint32_t queues)
{
	uint32_t taken = 0;

	worker_check_tables(w);
	w->pipeline.waited_ns = worker_gathers(w, r) ? r->slept_ns : 0;
	w->crowded = false;
	for (uint32_t i = 0; i < queues; i++)
		taken += worker_poll(w, &w->queue[i]);
	if (w->spread) {
		spread_crowded(w->spread, w->index, w->crowded);
		taken += worker_take(w);
	}
	if (pipeline_waits(&w->pipeline) && !(taken && worker_gathers(w, r)))
		pipeline_seal(&w->pipeline, burst_time_now(), false);
	rte_rcu_qsbr_quiescent(w->rcu, w->index);
	return taken;
}

/* Its own queues are empty, but others may still have frames for it. They never wait for it, so each comes
 * here. */
static void worker_take_rest(struct worker *w, const struct worker_rest *rest)
{
	bool ended;

	spread_end(w->spread, w->index);
	for (;;) {
		ended = spread_ended(w->spread); /* before the look at the rings */
		if (worker_round(w, rest, 0))
			continue;
		if (ended)
			return;
		worker_sleep(w, STOP_SLEEP_NS);
	}
}

int worker_main(void *arg)
{
	struct worker *w = arg;
	uint64_t empty_rounds = 0, last = rte_rdtsc();
	struct worker_rest rest = {0};

	race_taken(w);
	prctl(PR_SET_TIMERSLACK, 1000, 0, 0, 0);
	rte_rcu_qsbr_thread_register(w->rcu, w->index);
	rte_rcu_qsbr_thread_online(w->rcu, w->index);
	while (!atomic_load_explicit(w->stop, memory_order_acquire)) {
		uint32_t taken = worker_round(w, &rest, w->queue_count);
		uint64_t now;

		worker_rest(w, &rest, taken);
		now = rte_rdtsc();
		*(taken ? &w->stats.busy_cycles : &w->stats.idle_cycles) += now - last;
		last = now;
	}
	rest = (struct worker_rest){0};
	for (uint32_t i = 0; i < STOP_ROUNDS_MAX && empty_rounds < STOP_EMPTY_ROUNDS; i++)
		empty_rounds = worker_round(w, &rest, w->queue_count) ? 0 : empty_rounds + 1;
	if (w->spread)
		worker_take_rest(w, &rest);
	pipeline_end(&w->pipeline, burst_time_now());
	rte_rcu_qsbr_thread_offline(w->rcu, w->index);
	rte_rcu_qsbr_thread_unregister(w->rcu, w->index);
	race_given(w);
	return 0;
}
