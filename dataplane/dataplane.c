/* Making, starting, reconfiguring and ending the data plane. Control thread. */
#include "dataplane.h"

#include <errno.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "answer.h"
#include "dataplane_priv.h"
#include "eal.h"
#include "log.h"
#include "numa_check.h"
#include "port.h"
#include "race.h"
#include "worker.h"

struct dataplane {
	const struct config *cfg;
	uint32_t port_count, worker_count;
	struct port port[16];
	struct answer_ports answer;
	bool answers; /* a port has addresses */
	struct worker *worker;
	struct spread *spread; /* NULL: none */
	struct numa_report numa;
	struct decode_ports decode;
	struct rte_rcu_qsbr *rcu;
	struct rule_slot *_Atomic slot;
	const struct enrich_set *_Atomic enrich;
	struct capture *_Atomic capture;
	const struct pipeline_live *_Atomic live; /* owned */
	atomic_bool stop;
	bool running;
};

static void rule_slot_free(struct rule_slot *slot)
{
	for (uint32_t i = 0; slot && i < slot->matchers; i++)
		if (slot->matcher[i])
			matcher_free(slot->matcher[i]);
	free(slot);
}

static struct rule_slot *rule_slot_make(
	const struct ruleset *rs, uint32_t generation, uint32_t workers, struct err *err)
{
	struct rule_slot *slot = calloc(1, sizeof *slot + workers * sizeof(struct matcher *));

	if (!slot) {
		err_set(err, -ENOMEM, "ruleset: no memory");
		return NULL;
	}
	slot->rs = rs;
	slot->generation = generation;
	slot->matchers = workers;
	for (uint32_t i = 0; i < workers; i++) {
		slot->matcher[i] = matcher_new(rs, err);
		if (!slot->matcher[i]) {
			rule_slot_free(slot);
			return NULL;
		}
	}
	return slot;
}

/* Senders find a port by its addresses. What shows the traffic of others, or is a file, has none. */
static int addresses_note(struct dataplane *dp, uint32_t index, struct err *err)
{
	const struct port *port = &dp->port[index];
	int rc = answer_port_add(&dp->answer, port, index, err);

	if (rc)
		return rc;
	if (port->cfg->addresses[0])
		log_info("dataplane", "port %s: answers ARP, neighbour solicitations and pings for %s",
			port->cfg->name, port->cfg->addresses);
	else if (!port->cfg->promiscuous && !port->decap && !driver_is_finite(port->cfg->device))
		log_info("dataplane",
			"port %s: answers no ARP: senders need a static neighbour entry, unless it is a "
			"mirror (ports.addresses)",
			port->cfg->name);
	dp->answers |= dp->answer.of[port->id].table.own.count != 0;
	return 0;
}

static int ports_open(struct dataplane *dp, struct err *err)
{
	for (uint32_t i = 0; i < dp->cfg->ports_count; i++) {
		uint32_t away = spread_frames_max(dp->cfg, i), mbufs = port_mbufs(dp->cfg, i, away);
		int rc = port_open(&dp->port[i], &dp->cfg->ports[i], i, mbufs, err);

		if (rc && away)
			log_warn("dataplane",
				"port %s: %u of its mbufs=%u are for rings between workers: lower "
				"worker.spread_frames, or worker.spread: off",
				dp->cfg->ports[i].name, away, mbufs);
		if (rc)
			return rc;
		if (away && mbufs < port_mbufs_needed(dp->cfg, i, away))
			log_warn("dataplane",
				"port %s: eal.mbufs=%u has no room for %u frames between workers: one "
				"that is behind takes the mbufs of all",
				dp->cfg->ports[i].name, mbufs, away);
		log_info("dataplane",
			"port %s: mbufs=%u bytes=%u each: queues=%u x (descriptors=%u + burst=%u), and what "
			"workers=%u keep, and spread=%u%s",
			dp->cfg->ports[i].name, mbufs, rte_pktmbuf_data_room_size(dp->port[i].pool),
			dp->port[i].queues, (unsigned)dp->cfg->ports[i].descriptors,
			(unsigned)dp->cfg->worker.burst, dp->worker_count, away,
			dp->cfg->eal.mbufs ? " (eal.mbufs)" : "");
		dp->port_count++;
		rc = addresses_note(dp, i, err);
		if (rc)
			return rc;
	}
	return 0;
}

/* Deals all queues of all ports to the workers in turn. */
static int queues_deal(struct dataplane *dp, struct err *err)
{
	uint32_t next = 0;

	for (uint32_t p = 0; p < dp->port_count; p++)
		for (uint16_t q = 0; q < dp->port[p].queues; q++) {
			struct worker *w = &dp->worker[next++ % dp->worker_count];

			if (w->queue_count == WORKER_QUEUES_MAX)
				return err_set(err, -EINVAL, "more than %d queues for worker %u",
					WORKER_QUEUES_MAX, w->index);
			w->kernel_gathers =
				(!w->queue_count || w->kernel_gathers) && dp->port[p].quirks->kernel_gathers;
			w->queue[w->queue_count].port = dp->port[p].id;
			w->queue[w->queue_count].queue = q;
			w->queue[w->queue_count].file = dp->port[p].file;
			w->queue[w->queue_count].pool = dp->port[p].pool;
			w->queue[w->queue_count].decap = dp->port[p].decap;
			w->queue[w->queue_count++].finite = driver_is_finite(dp->port[p].cfg->device);
		}
	if (next < dp->worker_count && dp->cfg->worker.spread == CONFIG_SPREAD_OFF)
		log_warn("dataplane",
			"%u workers for %u queues: %u have nothing to do (worker.spread is off)",
			dp->worker_count, next, dp->worker_count - next);
	return 0;
}

static int spread_make(struct dataplane *dp, struct err *err)
{
	struct worker_stats *stats[64];
	bool has_queue[64], wanted;
	char why[128];
	int rc;

	wanted = spread_wanted(dp->cfg, why, sizeof why);
	log_info("dataplane", "spread: %s: %s", wanted ? "on" : "off", why);
	if (!wanted)
		return 0;
	for (uint32_t i = 0; i < dp->worker_count; i++) {
		stats[i] = &dp->worker[i].stats;
		has_queue[i] = dp->worker[i].queue_count;
	}
	rc = spread_create(&dp->spread, dp->cfg, &dp->decode, has_queue, stats, err);
	if (rc)
		return rc;
	for (uint32_t p = 0; p < dp->port_count; p++)
		dp->spread->decap[dp->port[p].id] = dp->port[p].decap;
	for (uint32_t i = 0; i < dp->worker_count; i++)
		dp->worker[i].spread = dp->spread;
	return 0;
}

static int workers_make(struct dataplane *dp, struct err *err)
{
	const struct config *cfg = dp->cfg;
	size_t rcu_bytes = rte_rcu_qsbr_get_memsize(dp->worker_count);

	dp->worker = aligned_alloc(64, dp->worker_count * sizeof *dp->worker);
	dp->rcu = aligned_alloc(64, (rcu_bytes + 63) & ~(size_t)63);
	if (!dp->worker || !dp->rcu || rte_rcu_qsbr_init(dp->rcu, dp->worker_count))
		return err_set(err, -ENOMEM, "workers: no memory");
	memset(dp->worker, 0, dp->worker_count * sizeof *dp->worker);
	for (uint32_t i = 0; i < dp->worker_count; i++) {
		struct worker *w = &dp->worker[i];

		w->index = i;
		w->lcore = i + 1;
		w->burst = (uint32_t)cfg->worker.burst;
		w->adaptive = cfg->worker.power == CONFIG_POWER_ADAPTIVE;
		w->sleep_max_ns = cfg->worker.idle_sleep_max * 1000u;
		w->rcu = dp->rcu;
		w->slot = &dp->slot;
		w->enrich = &dp->enrich;
		w->capture = &dp->capture;
		w->live = &dp->live;
		w->stop = &dp->stop;
		if (!rte_lcore_is_enabled(w->lcore))
			return err_set(err, -EINVAL, "worker %u: lcore %u is not enabled", i, w->lcore);
	}
	return 0;
}

/* Before EAL binds this thread to the main lcore. */
static int numa_check(struct dataplane *dp, struct err *err)
{
	cpu_set_t allowed;

	CPU_ZERO(&allowed);
	if (sched_getaffinity(0, sizeof allowed, &allowed))
		CPU_SET(0, &allowed);
	numa_look(&dp->numa, dp->cfg, "/sys", &allowed);
	return numa_judge(&dp->numa, dp->cfg, err);
}

int dataplane_create(struct dataplane **out, const struct config *cfg, struct err *err)
{
	struct dataplane *dp = calloc(1, sizeof *dp);
	int rc;

	if (!dp)
		return err_set(err, -ENOMEM, "data plane: no memory");
	dp->cfg = cfg;
	dp->worker_count = (uint32_t)cfg->worker.count;
	for (uint32_t i = 0; i < cfg->listeners_count; i++)
		dp->decode.listener_of[cfg->listeners[i].udp_port] = (uint8_t)(i + 1);
	rc = numa_check(dp, err);
	if (rc == 0)
		rc = eal_start(cfg, err);
	if (rc == 0)
		rc = workers_make(dp, err);
	if (rc == 0)
		rc = ports_open(dp, err);
	if (rc == 0)
		rc = queues_deal(dp, err);
	if (rc == 0)
		rc = spread_make(dp, err);
	if (rc) {
		dataplane_free(dp);
		return rc;
	}
	*out = dp;
	return 0;
}

void dataplane_announce(struct dataplane *dp, uint32_t port)
{
	if (port < dp->port_count)
		answer_announce(&dp->answer, &dp->port[port]);
}

int dataplane_start(struct dataplane *dp, struct handoff *handoff, const struct ruleset *rs,
	uint32_t generation, struct err *err)
{
	struct rule_slot *slot = rule_slot_make(rs, generation, dp->worker_count, err);
	struct pipeline_live *live = NULL;
	int made;

	if (!slot)
		return -ENOMEM;
	atomic_store_explicit(&dp->slot, slot, memory_order_release);
	made = pipeline_live_make(&live, dp->cfg, err);
	if (made)
		return made;
	atomic_store_explicit(&dp->live, live, memory_order_release);
	for (uint32_t i = 0; i < dp->worker_count; i++) {
		struct worker *w = &dp->worker[i];
		int rc = pipeline_setup(&w->pipeline, dp->cfg, live, &dp->decode, handoff, i, &w->stats, err);

		if (rc)
			return rc;
		w->pipeline.matcher = slot->matcher[i];
		w->pipeline.generation = generation;
		w->answerer = (struct answerer){.ports = &dp->answer, .stats = &w->stats.neighbour};
		if (dp->answers)
			w->pipeline.decoder.answerer = &w->answerer;
	}
	for (uint32_t i = 0; i < dp->port_count; i++)
		answer_announce(&dp->answer, &dp->port[i]);
	dp->running = true;
	for (uint32_t i = 0; i < dp->worker_count; i++) {
		int rc;

		race_given(&dp->worker[i]);
		rc = rte_eal_remote_launch(worker_main, &dp->worker[i], dp->worker[i].lcore);
		if (rc == 0)
			continue;
		for (uint32_t k = i; dp->spread && k < dp->worker_count; k++)
			spread_end(dp->spread, k); /* nobody waits for what never ran */
		return err_set(err, rc, "worker %u: launch on lcore %u: %s", i, dp->worker[i].lcore,
			rte_strerror(-rc));
	}
	return 0;
}

/* Returns when every worker has passed a burst boundary. Sleeps, so that the workers get the core. */
static void workers_pass(struct dataplane *dp)
{
	uint64_t token = rte_rcu_qsbr_start(dp->rcu);

	while (rte_rcu_qsbr_check(dp->rcu, token, false) == 0)
		nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
}

int dataplane_set_ruleset(
	struct dataplane *dp, const struct ruleset *rs, uint32_t generation, struct err *err)
{
	struct rule_slot *slot = rule_slot_make(rs, generation, dp->worker_count, err), *old;

	if (!slot)
		return -ENOMEM;
	old = atomic_exchange_explicit(&dp->slot, slot, memory_order_acq_rel);
	if (dp->running)
		workers_pass(dp);
	rule_slot_free(old);
	return 0;
}

void dataplane_set_enrich(struct dataplane *dp, const struct enrich_set *set)
{
	atomic_exchange_explicit(&dp->enrich, set, memory_order_acq_rel);
	if (dp->running)
		workers_pass(dp);
}

int dataplane_capture_start(
	struct dataplane *dp, const struct capture_filter *filter, struct capture **out, struct err *err)
{
	struct capture_filter own = *filter;

	if (own.port != CAPTURE_ANY)
		own.port = dp->port[own.port].id;
	if (atomic_load(&dp->capture))
		return err_set(err, -EBUSY, "another capture is running");
	if (capture_create(out, &own, dp->worker_count, err))
		return -ENOMEM;
	atomic_store_explicit(&dp->capture, *out, memory_order_release);
	return 0;
}

void dataplane_capture_halt(struct dataplane *dp)
{
	if (atomic_exchange_explicit(&dp->capture, NULL, memory_order_acq_rel) && dp->running)
		workers_pass(dp);
}

int dataplane_set_live(struct dataplane *dp, const struct config *cfg, struct err *err)
{
	struct pipeline_live *live;
	int rc = pipeline_live_make(&live, cfg, err);

	if (rc)
		return rc;
	const struct pipeline_live *old = atomic_exchange_explicit(&dp->live, live, memory_order_acq_rel);
	if (dp->running)
		workers_pass(dp);
	free((void *)old);
	return 0;
}

void dataplane_stop(struct dataplane *dp)
{
	if (!dp->running)
		return;
	atomic_store_explicit(&dp->stop, true, memory_order_release);
	for (uint32_t i = 0; i < dp->worker_count; i++)
		rte_eal_wait_lcore(dp->worker[i].lcore);
	for (uint32_t i = 0; i < dp->worker_count; i++)
		race_taken(&dp->worker[i]);
	dp->running = false;
}

void dataplane_free(struct dataplane *dp)
{
	if (!dp)
		return;
	dataplane_stop(dp);
	spread_free(dp->spread);
	for (uint32_t i = 0; i < dp->port_count; i++)
		port_close(&dp->port[i]);
	for (uint32_t i = 0; dp->worker && i < dp->worker_count; i++)
		pipeline_free(&dp->worker[i].pipeline);
	rule_slot_free(atomic_load(&dp->slot));
	free((void *)atomic_load(&dp->live));
	free(dp->worker);
	free(dp->rcu);
	free(dp);
}

uint32_t dataplane_workers(const struct dataplane *dp)
{
	return dp->worker_count;
}

int dataplane_worker_node(const struct dataplane *dp, uint32_t worker)
{
	return dp->numa.worker_node[worker];
}

int dataplane_port_node(const struct dataplane *dp, uint32_t index)
{
	return dp->numa.port_node[index];
}

const struct worker_stats *dataplane_worker_stats(const struct dataplane *dp, uint32_t worker)
{
	return &dp->worker[worker].stats;
}

const struct producers *dataplane_producers(const struct dataplane *dp, uint32_t worker)
{
	return &dp->worker[worker].pipeline.producers;
}

void dataplane_match_stats(struct dataplane *dp, struct matcher_stats *sum, uint64_t *hits, uint32_t hits_max)
{
	const struct rule_slot *slot = atomic_load_explicit(&dp->slot, memory_order_acquire);
	uint32_t rules;

	memset(sum, 0, sizeof *sum);
	memset(hits, 0, hits_max * sizeof *hits);
	if (!slot)
		return;
	rules = ruleset_rule_count(slot->rs);
	for (uint32_t i = 0; i < slot->matchers; i++) {
		const struct matcher_stats *s = matcher_stats(slot->matcher[i]);
		const uint64_t *h = matcher_rule_hits(slot->matcher[i]);

		sum->events += s->events;
		sum->scans += s->scans;
		sum->rescans += s->rescans;
		sum->confirms += s->confirms;
		sum->confirms_cut += s->confirms_cut;
		sum->hits_truncated += s->hits_truncated;
		for (uint32_t r = 0; r < rules && r < hits_max; r++)
			hits[r] += h[r];
	}
}

uint64_t dataplane_mirrors(const struct dataplane *dp)
{
	uint64_t bits = 0;

	_Static_assert(RTE_MAX_ETHPORTS <= 64, "a bit each");
	for (uint32_t i = 0; i < dp->port_count; i++)
		if (dp->port[i].cfg->promiscuous)
			bits |= 1ull << dp->port[i].id;
	return bits;
}

uint32_t dataplane_ports(const struct dataplane *dp)
{
	return dp->port_count;
}

struct port *dataplane_port(const struct dataplane *dp, uint32_t index)
{
	return (struct port *)&dp->port[index];
}

bool dataplane_input_ended(const struct dataplane *dp)
{
	uint64_t given = 0, taken = 0;

	for (uint32_t i = 0; i < dp->worker_count; i++)
		for (uint32_t q = 0; q < dp->worker[i].queue_count; q++)
			if (!atomic_load_explicit(&dp->worker[i].queue[q].ended, memory_order_acquire))
				return false;
	/* No more is given; what was given is done with. */
	for (uint32_t i = 0; i < dp->worker_count; i++) {
		given += __atomic_load_n(&dp->worker[i].stats.spread_given, __ATOMIC_RELAXED);
		taken += __atomic_load_n(&dp->worker[i].stats.spread_taken, __ATOMIC_ACQUIRE);
	}
	return dp->port_count > 0 && given == taken;
}
