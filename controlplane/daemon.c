/* The life of sluiced: set-up table, run, drain, end. Main thread; the drain has a thread of its own, so that
 * the control socket goes on answering meanwhile. */
#include "daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <rte_eal.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "confine.h"
#include "log.h"
#include "reserve.h"
#include "state_rules.h"

#define SIGNAL_AGAIN_NS 1000000000ull

static void signalled(void *arg, int signo)
{
	struct daemon *d = arg;
	uint64_t now_ns = clock_mono_ns();

	if (signo == SIGHUP) {
		config_hangup(d);
		return;
	}
	/* timeout(1) and shells signal a process and then its group, which it is in: that is one wish. */
	if (d->signalled_ns && now_ns - d->signalled_ns < SIGNAL_AGAIN_NS) {
		log_info("control", "signal %d within a second of the first: draining as before", signo);
		return;
	}
	if (d->stopper_started) {
		log_warn("control", "signal %d again: ending at once", signo);
		_exit(1); /* the journal recovers; sinks resume from what they have committed */
	}
	d->signalled_ns = now_ns;
	log_info("control", "signal %d: draining", signo);
	daemon_stop(d, false);
}

static void ticked(void *arg)
{
	struct daemon *d = arg;

	daemon_tick(d);
	confine_say();
	reserve_refill();
	service_tick(
		&d->service, d->workers_move || atomic_load(&d->phase) != PHASE_RUNNING, clock_mono_ns());
	epoch_before_tick(&d->before, d->sinks);
}

static char *requested(
	void *arg, struct client_ref ref, const struct peer *peer, const char *line, size_t bytes)
{
	struct daemon *d = arg;

	return dispatch_request(d->dispatch, ref, peer, line, bytes);
}

/* ---- the parts: `up` in order, `down` in reverse; a `down` undoes what its `up` got done, maybe nothing
 * ---- */

static int dir_up(struct daemon *d, struct err *err)
{
	const char *dir = d->cfg.node.data_dir;
	int fd;

	if (mkdir(dir, 0750) && errno != EEXIST)
		return err_set(err, -errno, "node.data_dir %s: %s", dir, strerror(errno));
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || faccessat(fd, ".", W_OK | X_OK, AT_EACCESS)) {
		int rc = -errno;

		if (fd >= 0)
			close(fd);
		return err_set(err, rc, "node.data_dir %s: %s", dir, strerror(-rc));
	}
	close(fd);
	return 0;
}

/* Behind the socket, whose refusal says more. */
static int lock_up(struct daemon *d, struct err *err)
{
	d->dir_lock = epoch_lock(d->cfg.node.data_dir, err);
	return d->dir_lock < 0 ? d->dir_lock : epoch_check(d->cfg.node.data_dir, err);
}

static void lock_down(struct daemon *d)
{
	if (d->dir_lock >= 0)
		close(d->dir_lock);
	d->dir_lock = -1;
}

static int reserve_up(struct daemon *d, struct err *err)
{
	return reserve_open(d->cfg.node.data_dir, d->cfg.journal.reserve, err);
}

static void reserve_down(struct daemon *d)
{
	(void)d;
	reserve_close();
}

static int server_up(struct daemon *d, struct err *err)
{
	static const struct dispatch_ops ops = {daemon_view_take, daemon_view_release, daemon_run_table};
	struct server_params params = {.path = d->cfg.control.socket,
		.group = d->cfg.control.group,
		.arg = d,
		.request = requested,
		.signalled = signalled,
		.tick = ticked};
	sigset_t set;
	int rc;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	d->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (d->signal_fd < 0)
		return err_set(err, -errno, "signalfd: %s", strerror(errno));
	params.signal_fd = d->signal_fd;
	rc = dispatch_create(&d->dispatch, &ops, d, err);
	if (rc == 0)
		rc = server_create(&d->server, &params, err);
	if (rc == 0)
		dispatch_set_server(d->dispatch, d->server);
	return rc;
}

static void server_down(struct daemon *d)
{
	server_free(d->server);
	dispatch_free(d->dispatch);
	if (d->signal_fd >= 0)
		close(d->signal_fd);
}

static int closings_up(struct daemon *d, struct err *err)
{
	return closings_open(&d->closings, d->cfg.node.data_dir, err);
}

static void closings_down(struct daemon *d)
{
	closings_close(d->closings);
}

/* What recovery found, in one line. */
static void journal_say(const struct daemon *d, uint32_t partitions)
{
	uint64_t records = 0, oldest = 0, ids = 0;

	for (uint32_t p = 0; p < partitions; p++) {
		records += d->base[p].durable_offset;
		oldest += d->base[p].oldest_offset;
		ids += d->base[p].dedup_ids;
	}
	log_info("journal",
		"recovered: epoch=%016llx partitions=%u records=%llu kept=%llu remembered_ids=%llu",
		(unsigned long long)journal_epoch(d->journal), partitions, (unsigned long long)records,
		(unsigned long long)(records - oldest), (unsigned long long)ids);
}

static int journal_up(struct daemon *d, struct err *err)
{
	int rc = journal_open(&d->journal, &d->journal_params, err);
	uint32_t partitions;

	if (rc)
		return rc;
	partitions = journal_partitions(d->journal);
	d->base = calloc(partitions, sizeof *d->base);
	if (!d->base)
		return err_set(err, -ENOMEM, "journal: no memory");
	for (uint32_t p = 0; p < partitions; p++)
		journal_stats(d->journal, p, &d->base[p]);
	journal_say(d, partitions);
	daemon_blind_start(d);
	return 0;
}

static void journal_down(struct daemon *d)
{
	if (d->journal)
		journal_close(d->journal);
	free(d->base);
}

/* Before the journal's writers: what the state has to replay must stay. */
static int state_up(struct daemon *d, struct err *err)
{
	struct journal *output;
	int rc;

	if (!d->cfg.state.enabled)
		return 0;
	rc = state_open(&d->state, &d->cfg, d->journal, err);
	if (rc)
		return rc;
	output = state_output(d->state);
	d->output_base = calloc(journal_partitions(output), sizeof *d->output_base);
	if (!d->output_base)
		return err_set(err, -ENOMEM, "state: no memory");
	for (uint32_t p = 0; p < journal_partitions(output); p++)
		journal_stats(output, p, &d->output_base[p]);
	return 0;
}

static void state_down(struct daemon *d)
{
	state_close(d->state);
	free(d->output_base);
}

static int before_up(struct daemon *d, struct err *err)
{
	return epoch_before_open(&d->before, &d->cfg, err);
}

static void before_down(struct daemon *d)
{
	epoch_before_close(&d->before);
}

static void nothing_down(struct daemon *d)
{
	(void)d;
}

static int dataplane_up(struct daemon *d, struct err *err)
{
	return dataplane_create(&d->dp, &d->cfg, err);
}

static void dataplane_down(struct daemon *d)
{
	if (!d->dp)
		return;
	dataplane_free(d->dp);
	/* DPDK leaves its directory behind, one for each process; it stays if anything is in it. */
	(void)unlinkat(AT_FDCWD, rte_eal_get_runtime_dir(), AT_REMOVEDIR);
}

static int handoff_up(struct daemon *d, struct err *err)
{
	int rc = handoff_create(&d->handoff, dataplane_workers(d->dp), journal_partitions(d->journal),
		(uint32_t)d->cfg.worker.batches, (uint32_t)d->cfg.worker.batch_bytes, err);

	d->handoff_made = rc == 0;
	return rc;
}

static void handoff_down(struct daemon *d)
{
	if (d->handoff_made)
		handoff_free(&d->handoff);
}

/* Ends behind the writers, whose last blocks it tells of. */
static int acks_up(struct daemon *d, struct err *err)
{
	int rc;

	if (!acker_wanted(&d->cfg))
		return 0;
	rc = ack_lanes_create(&d->ack_lanes, dataplane_workers(d->dp), journal_partitions(d->journal), err);
	if (rc == 0)
		rc = acker_start(&d->acker, &d->cfg, d->ack_lanes, d->journal, dataplane_mirrors(d->dp), err);
	d->handoff.acks = rc == 0 ? d->ack_lanes : NULL;
	return rc;
}

static void acks_down(struct daemon *d)
{
	acker_stop(d->acker);
	d->acker = NULL;
	d->handoff.acks = NULL;
	ack_lanes_free(d->ack_lanes);
	d->ack_lanes = NULL;
}

static int writers_up(struct daemon *d, struct err *err)
{
	int rc;

	d->env = (struct sink_env){
		.cfg = &d->cfg, .journal = d->journal, .rules = d->store, .data_dir = d->cfg.node.data_dir};
	d->before.env.rules = d->store;
	if (d->before.env.journal)
		d->env.before = &d->before.env;
	if (d->state) {
		d->env.output = state_output(d->state);
		d->env.plan = state_plan(d->state);
		d->env.windows = state_windows(d->state);
	}
	/* First: a journal that is full when it starts takes its oldest segment unless somebody holds it. */
	rc = sinks_register(&d->env, err);
	if (rc)
		return rc;
	rc = journal_start(d->journal, &d->handoff, err);
	d->journal_running = rc == 0;
	return rc;
}

static void writers_down(struct daemon *d)
{
	if (d->journal_running)
		journal_stop(d->journal);
	d->journal_running = false;
}

static int windows_up(struct daemon *d, struct err *err)
{
	if (!d->state)
		return 0;
	state_rules(d->state, state_rules_get, d->store);
	return state_start(d->state, err);
}

static void windows_down(struct daemon *d)
{
	if (d->state)
		state_stop(d->state, clock_mono_ns() + DAEMON_DRAIN_NOW_MS * 1000000ull);
}

static int sinks_up(struct daemon *d, struct err *err)
{
	d->sinks_running = true; /* a part of them, if it fails */
	return sinks_start(d->sinks, &d->env, err);
}

static void sinks_down(struct daemon *d)
{
	if (d->sinks_running)
		sinks_stop(d->sinks, 0);
	d->sinks_running = false;
	sinks_free(d->sinks);
}

static int workers_up(struct daemon *d, struct err *err)
{
	struct err note;

	/* Before the first event. */
	if (rules_note(d, RULES_NOTE_MS, &note))
		log_warn("rules",
			"rules with state change over where the journal says so, which it does later: %s",
			note.text);
	d->workers_running = true; /* a part of them, if it fails */
	return dataplane_start(d->dp, &d->handoff, d->ruleset, d->generation, err);
}

static void workers_down(struct daemon *d)
{
	tap_down(d);
	if (d->workers_running)
		dataplane_stop(d->dp);
	d->workers_running = false;
}

static int capabilities_up(struct daemon *d, struct err *err)
{
	return confine_capabilities(&d->cfg, err);
}

static int calls_up(struct daemon *d, struct err *err)
{
	return confine_calls(&d->cfg, err);
}

static const struct part {
	const char *name;
	int (*up)(struct daemon *d, struct err *err);
	void (*down)(struct daemon *d);
} part_table[] = {
	{"data directory", dir_up, nothing_down},
	{"control socket", server_up, server_down},
	{"data directory's lock", lock_up, lock_down},
	{"disk reserve", reserve_up, reserve_down},
	{"journal", journal_up, journal_down},
	{"state", state_up, state_down},
	{"epoch before", before_up, before_down},
	{"disk space", disk_needs_up, nothing_down},
	{"rules", rules_up, rules_down},
	{"closed alerts", closings_up, closings_down},
	{"ports", dataplane_up, dataplane_down},
	{"lanes", handoff_up, handoff_down},
	{"acknowledgements", acks_up, acks_down},
	{"capabilities", capabilities_up, nothing_down},
	{"writers", writers_up, writers_down},
	{"windows", windows_up, windows_down},
	{"sinks", sinks_up, sinks_down},
	{"enrichment", enrich_up, enrich_down},
	{"workers", workers_up, workers_down},
	{"system calls", calls_up, nothing_down},
};
#define PART_COUNT (sizeof part_table / sizeof *part_table)

static void parts_down(struct daemon *d, size_t count)
{
	while (count--)
		part_table[count].down(d);
	pthread_mutex_destroy(&d->apply_lock);
	pthread_mutex_destroy(&d->rules_lock);
	pthread_mutex_destroy(&d->tap.lock);
}

int daemon_start(struct daemon *d, const struct config *cfg, int argc, char **argv, struct err *err)
{
	memset(d, 0, sizeof *d);
	d->cfg = *cfg;
	d->argc = argc;
	d->argv = argv;
	d->signal_fd = d->dir_lock = -1;
	d->started_ms = clock_wall_ms();
	d->started_ns = clock_mono_ns();
	journal_params_from_config(&d->journal_params, cfg);
	pthread_mutex_init(&d->apply_lock, NULL);
	pthread_mutex_init(&d->rules_lock, NULL);
	pthread_mutex_init(&d->tap.lock, NULL);
	service_open(&d->service);
	for (size_t i = 0; i < PART_COUNT; i++) {
		int rc = part_table[i].up(d, err);

		if (rc) {
			log_error("control", "start failed at: %s", part_table[i].name);
			parts_down(d, i + 1);
			service_close(&d->service);
			return rc;
		}
		service_say(&d->service, SERVICE_PATIENCE); /* a long journal is read for a while */
	}
	atomic_store(&d->phase, PHASE_RUNNING);
	service_say(&d->service, "READY=1");
	log_info("control", "running: node=%s epoch=%016llx workers=%u partitions=%u socket=%s", cfg->node.id,
		(unsigned long long)journal_epoch(d->journal), dataplane_workers(d->dp),
		journal_partitions(d->journal), cfg->control.socket);
	return 0;
}

void daemon_run(struct daemon *d)
{
	server_run(d->server);
	dispatch_join(d->dispatch);
	config_hangup_end(d);
	if (d->stopper_started)
		pthread_join(d->stopper, NULL);
}

/* Of the sink that has most. */
static uint64_t sinks_undelivered(const struct daemon *d)
{
	uint64_t most = 0;

	for (int i = 0; i < SINK_GROUP_MAX; i++) {
		uint64_t left = 0;

		for (uint32_t p = 0; p < d->sinks[i].part_count; p++)
			left += journal_durable_offset(d->sinks[i].part[p].journal, p) -
				atomic_load(&d->sinks[i].part[p].stats.position) +
				atomic_load(&d->sinks[i].part[p].stats.parked);
		most = left > most ? left : most;
	}
	return most;
}

/* Nothing accepted is lost: what the workers hold becomes durable, and the sinks get the time to deliver it.
 * What they do not manage they deliver after the next start. */
static void *drain_main(void *arg)
{
	struct daemon *d = arg;

	workers_down(d);
	log_info("control", "drain: workers have stopped");
	writers_down(d);
	log_info("control", "drain: all that was accepted is durable");
	if (d->state) {
		uint32_t ms = atomic_load(&d->stop_now) ? DAEMON_DRAIN_NOW_MS : DAEMON_DRAIN_MS;

		state_stop(d->state, clock_mono_ns() + ms * 1000000ull);
		log_info("control", "drain: the state stage has taken it");
	}
	sinks_stop(d->sinks, atomic_load(&d->stop_now) ? DAEMON_DRAIN_NOW_MS : DAEMON_DRAIN_MS);
	d->sinks_running = false;
	atomic_store(&d->phase, PHASE_STOPPED);
	log_info("control",
		"drain: sinks have stopped, undelivered records (delivered after the next start): %llu",
		(unsigned long long)sinks_undelivered(d));
	server_quit(d->server);
	return NULL;
}

void daemon_stop(struct daemon *d, bool now)
{
	if (now)
		atomic_store(&d->stop_now, true);
	if (now && d->stopper_started) {
		/* The stopper may have read stop_now already and be anywhere before, in or behind its stops.
		 */
		uint64_t deadline = clock_mono_ns() + DAEMON_DRAIN_NOW_MS * 1000000ull;

		if (d->state)
			state_hurry(d->state, deadline);
		sinks_hurry(d->sinks, deadline);
	}
	if (d->stopper_started)
		return;
	pthread_mutex_lock(&d->rules_lock);
	atomic_store(&d->phase, PHASE_DRAINING);
	service_say(&d->service, "STOPPING=1\n" SERVICE_PATIENCE);
	pthread_mutex_unlock(&d->rules_lock);
	d->stopper_started = pthread_create(&d->stopper, NULL, drain_main, d) == 0;
	if (!d->stopper_started)
		drain_main(d); /* no thread to be had: then without answering meanwhile */
}

void daemon_end(struct daemon *d)
{
	parts_down(d, PART_COUNT);
	service_close(&d->service);
	log_info("control", "ended");
}
