/* See acker.h. Peers lie in sets of a few places; in a full set the one that was used least lately makes
 * room. */
#include "acker.h"

#include <errno.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <stdlib.h>
#include <string.h>

#include "acker_priv.h"
#include "clock.h"
#include "hash.h"

#define ACK_WAYS 4u
#define MBUFS 2047u
#define WORDS_MAX 4096u /* taken of a lane in a round, so that none waits for another */
#define SLEEP_NS 100000000u
#define REJECTS_PER_SECOND 100u

bool acker_wanted(const struct config *cfg)
{
	for (uint32_t i = 0; i < cfg->listeners_count; i++)
		if (cfg->listeners[i].format == CONFIG_FORMAT_SLUICE && cfg->listeners[i].ack)
			return true;
	return false;
}

/* ---- peers ---- */

static struct ack_peer *peer_set(struct acker *a, uint64_t producer, uint16_t dst_port)
{
	return &a->peer[(hash_u64(producer ^ (uint64_t)dst_port << 48) & (a->sets - 1)) * ACK_WAYS];
}

static struct ack_peer *peer_find(struct acker *a, uint64_t producer, uint16_t dst_port)
{
	struct ack_peer *set = peer_set(a, producer, dst_port);

	for (uint32_t i = 0; i < ACK_WAYS; i++)
		if (set[i].producer == producer && set[i].path.dst_port == dst_port) {
			set[i].used = a->round;
			return &set[i];
		}
	return NULL;
}

static void peer_send(struct acker *a, struct ack_peer *p)
{
	uint8_t payload[FRAME_ACK_HEADER_BYTES + ACK_RANGES_MAX * 16 + ACK_REFUSALS_MAX * 10 +
			FRAME_MAC_BYTES];
	uint64_t durable = 0;
	uint32_t bytes;

	if (!p->ranges && !p->refusals)
		return;
	for (uint32_t i = 0; i < p->ranges; i++)
		durable += (uint64_t)__builtin_popcountll(p->range[i].bits);
	bytes = frame_ack_write(payload, p->producer, p->range, p->ranges, p->refusal, p->refusals,
		&a->keys[p->path.listener], p->path.key);
	if (ack_send(a, &p->path, payload, bytes)) {
		ack_count(&a->stats.acks, 1);
		ack_count(&a->stats.durable, durable);
		ack_count(&a->stats.refused, p->refusals);
	}
	p->ranges = p->refusals = 0;
}

/* A mirror port takes frames that were meant for others: these answer. */
static bool is_for_others(const struct acker *a, const struct ack_word *w)
{
	struct rte_ether_addr own;

	return a->mirrors >> w->eth_port & 1 &&
	       (rte_eth_macaddr_get(w->eth_port, &own) != 0 ||
		       memcmp(own.addr_bytes, w->l2, sizeof own.addr_bytes) != 0);
}

static void peer_path(struct acker *a, const struct ack_word *w)
{
	struct ack_peer *p = peer_find(a, w->producer, w->dst_port);

	if (!p) {
		struct ack_peer *set = peer_set(a, w->producer, w->dst_port);

		p = set;
		for (uint32_t i = 1; i < ACK_WAYS && p->producer; i++)
			if (!set[i].producer || set[i].used < p->used)
				p = &set[i];
		peer_send(a, p);
		ack_count(&a->stats.forgotten, p->producer != 0);
		p->producer = w->producer;
		p->used = a->round;
	}
	p->path = *w;
}

static void peer_due(struct acker *a, struct ack_peer *p)
{
	if (p->queued)
		return;
	p->queued = true;
	a->due[a->due_count++] = p;
}

static void peer_refusal(struct acker *a, struct ack_peer *p, uint64_t sequence, uint16_t reason)
{
	if (p->refusals == ACK_REFUSALS_MAX)
		peer_send(a, p);
	p->refusal[p->refusals++] = (struct frame_refusal){sequence, reason};
	peer_due(a, p);
}

static void peer_range(struct acker *a, struct ack_peer *p, uint64_t first, uint64_t bits)
{
	for (uint32_t i = 0; i < p->ranges; i++) {
		struct frame_range *r = &p->range[i];
		uint64_t ahead = first - r->first;

		if (ahead < 64 && bits << ahead >> ahead == bits) {
			r->bits |= bits << ahead;
			return;
		}
	}
	if (p->ranges == ACK_RANGES_MAX)
		peer_send(a, p);
	p->range[p->ranges++] = (struct frame_range){first, bits};
	peer_due(a, p);
}

/* ---- what comes ---- */

static void reject_send(struct acker *a, const struct ack_word *w)
{
	uint64_t second = clock_mono_ns() / 1000000000u;
	uint8_t payload[FRAME_REJECT_BYTES];

	if (second != a->reject_second)
		a->rejects_in_second = 0;
	a->reject_second = second;
	if (a->rejects_in_second++ >= REJECTS_PER_SECOND)
		return;
	frame_reject_write(payload, w->producer, (enum drop_reason)w->reason);
	if (ack_send(a, w, payload, sizeof payload))
		ack_count(&a->stats.rejects, 1);
}

static void word_take(struct acker *a, const struct ack_word *w)
{
	struct ack_peer *p;

	if (w->kind != ACK_WORD_REFUSED && is_for_others(a, w)) {
		return;
	} else if (w->kind == ACK_WORD_PATH) {
		peer_path(a, w);
	} else if (w->kind == ACK_WORD_REJECT) {
		reject_send(a, w);
	} else {
		p = peer_find(a, w->producer, w->dst_port);
		if (p)
			peer_refusal(a, p, w->sequence, w->reason);
		else
			ack_count(&a->stats.no_path, 1);
	}
}

static void done_take(struct acker *a, const struct ack_done *d)
{
	struct ack_peer *p = peer_find(a, d->producer, d->dst_port);

	if (!p) {
		ack_count(&a->stats.no_path, (uint64_t)__builtin_popcountll(d->bits));
		return;
	}
	if (!d->refused) {
		peer_range(a, p, d->first, d->bits);
		return;
	}
	for (uint64_t bits = d->bits; bits; bits &= bits - 1)
		peer_refusal(a, p, d->first + (uint64_t)__builtin_ctzll(bits), d->refused);
}

/* What is durable of a partition. */
static uint32_t partition_take(struct acker *a, uint32_t partition)
{
	uint64_t durable = journal_durable_offset(a->journal, partition);
	struct ack_done *held = &a->held[partition];
	uint32_t taken = 0;

	for (; taken < WORDS_MAX; taken++) {
		if (!a->holds[partition])
			a->holds[partition] = ack_lane_take_done(a->lanes, partition, held);
		if (!a->holds[partition] || held->offset > durable)
			break;
		done_take(a, held);
		a->holds[partition] = false;
	}
	return taken;
}

static uint32_t acker_round(struct acker *a)
{
	struct ack_word word;
	uint32_t taken = 0;

	a->round++;
	/* Where to is told before what: a batch is handed over after its datagrams were read. */
	for (uint32_t w = 0; w < a->lanes->workers; w++)
		for (uint32_t i = 0; i < WORDS_MAX && ack_lane_take_word(a->lanes, w, &word); i++, taken++)
			word_take(a, &word);
	for (uint32_t p = 0; p < a->lanes->partitions; p++)
		taken += partition_take(a, p);
	for (uint32_t i = 0; i < a->due_count; i++) {
		peer_send(a, a->due[i]);
		a->due[i]->queued = false;
	}
	a->due_count = 0;
	return taken;
}

static bool acker_has_work(const struct acker *a)
{
	for (uint32_t w = 0; w < a->lanes->workers; w++)
		if (ack_lane_has_word(a->lanes, w))
			return true;
	for (uint32_t p = 0; p < a->lanes->partitions; p++)
		if (a->holds[p] ? a->held[p].offset <= journal_durable_offset(a->journal, p)
				: ack_lane_has_done(a->lanes, p))
			return true;
	return false;
}

static void *acker_main(void *arg)
{
	struct acker *a = arg;

	while (!atomic_load_explicit(&a->stop, memory_order_acquire)) {
		if (acker_round(a))
			continue;
		bell_lie_down(&a->lanes->bell, 1);
		bell_sleep(&a->lanes->bell, acker_has_work(a), SLEEP_NS);
	}
	while (acker_round(a))
		;
	return NULL;
}

/* ---- life ---- */

static void acker_free(struct acker *a)
{
	if (a->keys)
		explicit_bzero(a->keys, a->cfg->listeners_count * sizeof *a->keys);
	free(a->keys);
	free(a->peer);
	free(a->due);
	free(a->held);
	free(a->holds);
	rte_mempool_free(a->pool);
	free(a);
}

static int acker_setup(struct acker *a, struct err *err)
{
	const struct config *cfg = a->cfg;

	a->sets = 1;
	while ((uint64_t)a->sets * ACK_WAYS < cfg->worker.producers_max * a->lanes->workers)
		a->sets *= 2;
	a->keys = calloc(cfg->listeners_count, sizeof *a->keys);
	a->peer = calloc((size_t)a->sets * ACK_WAYS, sizeof *a->peer);
	a->due = calloc((size_t)a->sets * ACK_WAYS, sizeof(struct ack_peer *));
	a->held = calloc(a->lanes->partitions, sizeof *a->held);
	a->holds = calloc(a->lanes->partitions, sizeof *a->holds);
	if (!a->keys || !a->peer || !a->due || !a->held || !a->holds)
		return err_set(err, -ENOMEM, "acks: no memory for worker.producers_max");
	for (uint32_t i = 0; i < cfg->listeners_count; i++) {
		int rc = frame_keys_load(&a->keys[i], cfg->listeners[i].key_file, "listeners.key_file", err);

		if (rc)
			return rc;
	}
	a->pool = rte_pktmbuf_pool_create("acks", MBUFS, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	if (!a->pool)
		return err_set(err, -rte_errno,
			"acks: no memory for %u mbufs: raise eal.memory, or reserve more hugepages (%s)",
			MBUFS, rte_strerror(rte_errno));
	return 0;
}

int acker_start(struct acker **out, const struct config *cfg, struct ack_lanes *lanes,
	struct journal *journal, uint64_t mirrors, struct err *err)
{
	struct acker *a = calloc(1, sizeof *a);
	int rc;

	if (!a)
		return err_set(err, -ENOMEM, "acks: no memory");
	a->cfg = cfg;
	a->lanes = lanes;
	a->journal = journal;
	a->mirrors = mirrors;
	rc = acker_setup(a, err);
	if (rc == 0 && (rc = pthread_create(&a->thread, NULL, acker_main, a)) != 0)
		rc = err_set(err, -rc, "acks: no thread: %s", strerror(rc));
	if (rc) {
		acker_free(a);
		return rc;
	}
	pthread_setname_np(a->thread, "acker");
	*out = a;
	return 0;
}

void acker_stop(struct acker *a)
{
	if (!a)
		return;
	atomic_store_explicit(&a->stop, true, memory_order_release);
	ack_lanes_ring(a->lanes);
	pthread_join(a->thread, NULL);
	acker_free(a);
}

void acker_stats(const struct acker *a, struct acker_stats *out)
{
	const uint64_t *from = (const uint64_t *)&a->stats;
	uint64_t *to = (uint64_t *)out;

	for (size_t i = 0; i < sizeof *out / sizeof *to; i++)
		to[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
}
