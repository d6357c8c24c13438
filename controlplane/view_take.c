/* Copies the daemon's counters into a view, and samples them each second for rates. Server thread. */
#include "daemon.h"

#include <stddef.h>
#include <stdio.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "address_list.h"
#include "clock.h"
#include "confine.h"
#include "ip_text.h"
#include "log.h"
#include "reserve.h"

#define CONFLICTS_SAID_NS 60000000000u

/* Counters have one writer each; a reader takes each word whole. */
static void copy_words(void *to, const void *from, size_t bytes)
{
	uint64_t *out = to;
	const uint64_t *in = from;

	for (size_t i = 0; i < bytes / sizeof *in; i++)
		out[i] = __atomic_load_n(&in[i], __ATOMIC_RELAXED);
}
_Static_assert(sizeof(struct worker_stats) % sizeof(uint64_t) == 0, "copied by words");

/* A view without memory shows less, it does not fail: each count stays 0 then. */
static void take_workers(const struct daemon *d, struct view *v)
{
	uint32_t count = dataplane_workers(d->dp);

	v->worker = aligned_alloc(64, count * sizeof *v->worker);
	for (uint32_t w = 0; v->worker && w < count; w++)
		copy_words(&v->worker[w], dataplane_worker_stats(d->dp, w), sizeof *v->worker);
	for (uint32_t w = 0; w < count && w < VIEW_WORKERS_MAX; w++)
		v->worker_node[w] = dataplane_worker_node(d->dp, w);
	v->workers = v->worker ? count : 0;
	count = dataplane_ports(d->dp);
	v->port = calloc(count ? count : 1, sizeof *v->port);
	for (uint32_t i = 0; v->port && i < count; i++)
		dataplane_port_stats(d->dp, i, &v->port[i]);
	v->ports = v->port ? count : 0;
}

static void take_partitions(const struct daemon *d, struct view *v)
{
	uint32_t count = journal_partitions(d->journal);

	v->partition = calloc(count, sizeof *v->partition);
	v->base = calloc(count, sizeof *v->base);
	if (!v->partition || !v->base)
		return;
	memcpy(v->base, d->base, count * sizeof *v->base);
	for (uint32_t p = 0; p < count; p++)
		journal_stats(d->journal, p, &v->partition[p]);
	v->partitions = count;
}

static void take_output(const struct daemon *d, struct view *v)
{
	uint32_t count = d->env.output ? journal_partitions(d->env.output) : 0;

	v->output = calloc(count + 1, sizeof *v->output);
	for (uint32_t p = 0; v->output && p < count; p++)
		journal_stats(d->env.output, p, &v->output[p]);
	v->outputs = v->output ? count : 0;
}

/* Nobody writes these logs any more. */
static bool take_before(const struct daemon *d, struct view *v)
{
	for (int log = 0; log < SINK_LOG_COUNT && d->env.before; log++) {
		struct journal *j = sink_journal(d->env.before, (enum sink_log)log);
		uint32_t count = j ? journal_partitions(j) : 0;

		v->before[log] = calloc(count + 1, sizeof *v->before[log]);
		if (!v->before[log])
			return false;
		for (uint32_t p = 0; p < count; p++)
			journal_stats(j, p, &v->before[log][p]);
	}
	return true;
}

/* Before the logs' numbers, so that no place is beyond a durable end. */
static void take_state(const struct daemon *d, struct view *v)
{
	uint32_t count = d->state ? journal_partitions(d->journal) : 0;

	v->state_part = calloc(count + 1, sizeof *v->state_part);
	v->output_base = calloc(count + 1, sizeof *v->output_base);
	if (!count || !v->state_part || !v->output_base)
		return;
	for (uint32_t p = 0; p < count; p++)
		state_part_stats(d->state, p, &v->state_part[p]);
	state_stats(d->state, &v->state);
	memcpy(v->output_base, d->output_base, (count + 1) * sizeof *v->output_base);
	v->plan = state_plan(d->state);
	v->state_parts = count;
}

static void take_part(struct view_part *to, struct sink_part *from)
{
	struct sink_stats *s = &from->stats;

	to->partition = from->partition;
	to->opened = __atomic_load_n(&from->opened, __ATOMIC_RELAXED);
	to->state = atomic_load(&s->state);
	to->start = atomic_load(&s->start);
	to->position = atomic_load(&s->position);
	to->parked = atomic_load(&s->parked);
	to->found = atomic_load(&s->found);
	to->events = atomic_load(&s->events);
	to->suppressed = atomic_load(&s->suppressed);
	to->alerts = atomic_load(&s->alerts);
	to->dead = atomic_load(&s->dead);
	to->rows = atomic_load(&s->rows);
	to->late = atomic_load(&s->late);
	to->other = atomic_load(&s->other);
	to->held = atomic_load(&s->held);
	to->rejected = atomic_load(&s->rejected);
	to->refused = atomic_load(&s->refused);
	to->bytes = atomic_load(&s->bytes);
	to->commits = atomic_load(&s->commits);
	to->retries = atomic_load(&s->retries);
	to->errors = atomic_load(&s->errors);
	to->skipped = atomic_load(&s->skipped);
	journal_consumer_stats(from->journal, from->consumer, &to->limits);
	if (!to->opened)
		to->position = to->limits.stood;
	to->lag_ms = atomic_load(&s->position_time_ms); /* a time still: see lag_set() */
	pthread_mutex_lock(&from->error_lock);
	memcpy(to->error, from->error, sizeof to->error);
	memcpy(to->note, from->note, sizeof to->note);
	pthread_mutex_unlock(&from->error_lock);
}

/* Sinks are copied before partitions, so that a position is never beyond the durable end. */
static void take_sinks(struct daemon *d, struct view *v)
{
	for (uint32_t i = 0; i < SINK_GROUP_MAX; i++) {
		struct view_sink *sink = &v->sink[v->sinks];
		struct sink_group *group = &d->sinks[i];

		if (!group->part_count)
			continue;
		*sink = (struct view_sink){i, group->log, group->name, group->part_count, NULL, group->ends};
		sink->part = calloc(sink->parts, sizeof *sink->part);
		for (uint32_t p = 0; sink->part && p < sink->parts; p++)
			take_part(&sink->part[p], &group->part[p]);
		if (sink->part)
			v->sinks++;
	}
}

static void lag_set(struct view_part *part, const struct journal_partition_stats *s)
{
	int64_t position_time_ms = part->lag_ms;

	part->lag_events = s->durable_offset > part->position ? s->durable_offset - part->position : 0;
	part->lag_bytes = s->durable_offset ? (uint64_t)((double)part->lag_events * (double)s->durable_bytes /
							 (double)s->durable_offset)
					    : 0;
	part->lag_ms = s->receive_last_ms - position_time_ms;
	if (!part->lag_events || (position_time_ms && part->lag_ms < 0))
		part->lag_ms = 0;
	else if (!position_time_ms)
		part->lag_ms = -1;
}

/* Adds up all members but the uid. */
static void rule_state_add(struct view_rule_state *to, const struct cep_stats *stats)
{
	uint64_t *sum = (uint64_t *)&to->sum;
	const uint64_t *more = (const uint64_t *)stats;

	for (size_t i = 1; i < sizeof *stats / sizeof *sum; i++)
		sum[i] += more[i];
	to->partitions++;
}
_Static_assert(offsetof(struct cep_stats, uid) == 0 && sizeof(struct cep_stats) == 17 * sizeof(uint64_t),
	"added up by words");

static int rule_state_compare(const void *a, const void *b)
{
	uint64_t x = ((const struct view_rule_state *)a)->sum.uid;
	uint64_t y = ((const struct view_rule_state *)b)->sum.uid;

	return x < y ? -1 : x > y;
}

static void take_rule_totals(struct daemon *d, struct view *v)
{
	for (uint32_t p = 0; p < v->state_parts; p++) {
		struct cep_totals totals;

		state_rule_totals(d->state, p, &totals);
		v->rule_totals.rules_dropped += totals.rules_dropped;
		v->rule_totals.keys_dropped += totals.keys_dropped;
		v->rule_totals.not_in_force += totals.not_in_force;
		v->rule_totals.not_here += totals.not_here;
	}
}

/* Partitions change over one after the other: a rule that is in force here may not be there yet. */
static void take_rule_states(struct daemon *d, struct view *v)
{
	uint32_t count = v->state_parts ? ruleset_state_count(d->ruleset) : 0;
	struct cep_stats *stats = count ? malloc(RULE_STATES_MAX * sizeof *stats) : NULL;

	v->rule_state = count ? calloc(count, sizeof *v->rule_state) : NULL;
	if (stats && v->rule_state) {
		for (uint32_t i = 0; i < count; i++) {
			const struct rule_state *rule = ruleset_state(d->ruleset, i);

			v->rule_state[i].id = ruleset_rule(d->ruleset, rule->rule)->id;
			v->rule_state[i].rule = rule->rule;
			v->rule_state[i].sum.uid = rule->uid;
		}
		qsort(v->rule_state, count, sizeof *v->rule_state, rule_state_compare);
		v->rule_states = count;
	}
	for (uint32_t p = 0; p < v->state_parts && v->rule_states; p++) {
		uint32_t shown = state_rule_stats(d->state, p, stats, RULE_STATES_MAX);

		for (uint32_t i = 0; i < shown && i < RULE_STATES_MAX; i++) {
			struct view_rule_state key = {.sum.uid = stats[i].uid};
			struct view_rule_state *to =
				bsearch(&key, v->rule_state, count, sizeof key, rule_state_compare);

			if (to)
				rule_state_add(to, &stats[i]);
		}
	}
	free(stats);
}

static void take_rules(struct daemon *d, struct view *v)
{
	uint32_t count = ruleset_rule_count(d->ruleset);
	char version[17];
	uint64_t *hits = calloc(count ? count : 1, sizeof *hits);

	v->generation = d->generation;
	v->patterns = ruleset_pattern_count(d->ruleset);
	v->canaries = ruleset_canary_count(d->ruleset);
	snprintf(v->version, sizeof v->version, "%s", ruleset_version(d->ruleset));
	v->rule = calloc(count ? count : 1, sizeof *v->rule);
	if (hits && v->rule) {
		dataplane_match_stats(d->dp, &v->match, hits, count);
		for (uint32_t i = 0; i < count; i++) {
			struct view_rule *rule = &v->rule[i];

			rule->info = *ruleset_rule(d->ruleset, i);
			rule->hits = hits[i];
			snprintf(version, sizeof version, "%016" PRIx64, rule->info.content);
			closings_count(
				d->closings, rule->info.id, version, &rule->closed, &rule->closed_others);
		}
		v->rules = count;
	}
	v->closings_damaged = closings_damaged(d->closings);
	free(hits);
}

static void take_enrich(struct daemon *d, struct view *v)
{
	if (!d->enrich)
		return;
	v->enrich_version = enrich_set_version(d->enrich);
	v->enrich_loaded_ms = enrich_set_loaded_ms(d->enrich);
	for (uint32_t w = 0; w < v->workers; w++)
		v->enrich_too_long += v->worker[w].enrich.too_long;
	for (uint32_t t = 0; t < ENRICH_TABLES_MAX; t++) {
		struct view_enrich *to = &v->enrich[v->enrich_tables];

		enrich_set_info(d->enrich, t, &to->info);
		if (!to->info.name)
			continue;
		for (uint32_t w = 0; w < v->workers; w++) {
			to->hits += v->worker[w].enrich.hits[t];
			to->misses += v->worker[w].enrich.misses[t];
		}
		v->enrich_tables++;
	}
}

void daemon_view_take(void *arg, struct view *v)
{
	struct daemon *d = arg;

	memset(v, 0, sizeof *v);
	v->cfg = &d->cfg;
	v->node = d->cfg.node.id;
	v->journal_dir = d->journal_params.dir;
	v->epoch = journal_epoch(d->journal);
	v->phase = (enum daemon_phase)atomic_load(&d->phase);
	v->now_ms = clock_wall_ms();
	v->started_ms = d->started_ms;
	v->uptime_seconds = (double)((clock_mono_ns() - d->started_ns) / 1000000) / 1000;
	v->input_ended = dataplane_input_ended(d->dp);
	v->blind = d->blind;
	v->rate = d->rate;
	v->server = server_stats(d->server);
	if (d->acker)
		acker_stats(d->acker, &v->ack);
	v->refused_calls = confine_refused();
	reserve_stats(&v->reserve_bytes, &v->reserve_wanted);
	take_sinks(d, v);
	take_state(d, v);
	take_partitions(d, v);
	take_output(d, v);
	take_workers(d, v);
	if (!take_before(d, v) || !v->partitions || (d->env.output && !v->outputs))
		v->sinks = 0;
	for (uint32_t i = 0; i < v->sinks; i++)
		for (uint32_t k = 0; k < v->sink[i].parts; k++)
			lag_set(&v->sink[i].part[k], view_part_log(v, &v->sink[i], &v->sink[i].part[k]));
	pthread_mutex_lock(&d->rules_lock); /* until view_release: the view borrows the rules' texts */
	take_rules(d, v);
	take_rule_states(d, v);
	take_rule_totals(d, v);
	take_enrich(d, v);
}

void daemon_view_release(void *arg, struct view *v)
{
	struct daemon *d = arg;

	pthread_mutex_unlock(&d->rules_lock);
	view_free(v);
}

/* ---- rates ---- */

static double per_second(uint64_t now, uint64_t before, double seconds)
{
	return now > before && seconds > 0 ? (double)(now - before) / seconds : 0;
}

/* Of the input, events; of the output log, all that leaves. */
static uint64_t part_delivered(const struct view_sink *sink, const struct view_part *part)
{
	return sink->log == SINK_LOG_OUTPUT ? part->rows + part->late + part->alerts : part->events;
}

static void sample_make(struct daemon *d, const struct view *v, struct daemon_sample *s)
{
	struct view_totals t;

	view_totals(v, &t);
	*s = (struct daemon_sample){.ns = clock_mono_ns(),
		.frames = t.frames,
		.events = t.events,
		.accepted = t.accepted,
		.journaled = t.journaled};
	for (uint32_t p = 0; p < v->state_parts; p++)
		s->stage_records += v->state_part[p].run.records;
	for (uint32_t w = 0; w < v->workers && w < VIEW_WORKERS_MAX; w++) {
		s->busy[w] = v->worker[w].busy_cycles;
		s->idle[w] = v->worker[w].idle_cycles;
	}
	for (uint32_t i = 0; i < v->sinks; i++)
		for (uint32_t k = 0; k < v->sink[i].parts; k++)
			s->delivered[v->sink[i].group] += part_delivered(&v->sink[i], &v->sink[i].part[k]);
	if (d->blind.from_ms && !d->blind.until_ms && t.frames)
		d->blind.until_ms = v->now_ms;
}

/* A port without a link takes nothing, and nothing else would say so. */
static void links_say(struct daemon *d, const struct view *v)
{
	for (uint32_t i = 0; i < v->ports; i++) {
		const struct port_stats *p = &v->port[i];

		if (p->link_up != d->link_down[i])
			continue;
		d->link_down[i] = !p->link_up;
		if (p->link_up) {
			log_info("nic", "port %s: the link is up", p->name);
			dataplane_announce(d->dp, i);
			continue;
		}
		log_warn("nic", "PORT DOWN: port %s: no link, no packet can come: device=%s", p->name,
			p->device);
	}
}

/* Another host with an address of ours takes what is sent to us. Said at once, then once a minute. */
static void conflicts_say(struct daemon *d, const struct view *v)
{
	uint64_t sum = 0, word = 0, now_ns = clock_mono_ns();
	struct address_list own;
	char text[IP_TEXT_BYTES];
	struct neighbour_conflict c;
	struct err err;

	for (uint32_t w = 0; w < v->workers; w++) {
		sum += v->worker[w].neighbour.conflicts;
		word = v->worker[w].neighbour.conflict ? v->worker[w].neighbour.conflict : word;
	}
	c = neighbour_conflict_of(word);
	if (!word || sum == d->conflicts ||
		(d->conflicts && now_ns - d->conflicts_said_ns < CONFLICTS_SAID_NS) ||
		c.port >= v->cfg->ports_count ||
		address_list_from_text(&own, v->cfg->ports[c.port].addresses, &err) || c.own >= own.count)
		return;
	ip_to_text(text, own.address[c.own]);
	log_warn("nic",
		"ADDRESS CONFLICT: port %s: another host has its address: address=%s "
		"mac=%02x:%02x:%02x:%02x:%02x:%02x frames=%llu",
		v->cfg->ports[c.port].name, text, c.mac[0], c.mac[1], c.mac[2], c.mac[3], c.mac[4], c.mac[5],
		(unsigned long long)(sum - d->conflicts));
	d->conflicts = sum;
	d->conflicts_said_ns = now_ns;
}

void daemon_tick(struct daemon *d)
{
	struct daemon_sample now, *old = &d->sample;
	struct view v;
	double seconds;

	rules_note_again(d);
	tap_tick(d);
	daemon_view_take(d, &v);
	sample_make(d, &v, &now);
	links_say(d, &v);
	conflicts_say(d, &v);
	daemon_view_release(d, &v);
	seconds = old->ns ? (double)(now.ns - old->ns) / 1e9 : 0;
	d->rate.frames = per_second(now.frames, old->frames, seconds);
	d->rate.events = per_second(now.events, old->events, seconds);
	d->rate.accepted = per_second(now.accepted, old->accepted, seconds);
	d->rate.stage_records = per_second(now.stage_records, old->stage_records, seconds);
	d->rate.journaled = per_second(now.journaled, old->journaled, seconds);
	for (int i = 0; i < SINK_GROUP_MAX; i++)
		d->rate.delivered[i] = per_second(now.delivered[i], old->delivered[i], seconds);
	d->workers_move = true;
	for (int w = 0; w < VIEW_WORKERS_MAX; w++) {
		uint64_t busy = now.busy[w] - old->busy[w], all = busy + now.idle[w] - old->idle[w];

		d->workers_move = d->workers_move && (all || (uint32_t)w >= dataplane_workers(d->dp));
		d->rate.busy[w] = all ? (double)busy / (double)all : 0;
	}
	d->sample = now;
}

void daemon_blind_start(struct daemon *d)
{
	for (uint32_t p = 0; p < journal_partitions(d->journal); p++)
		if (d->base[p].receive_last_ms > d->blind.from_ms)
			d->blind.from_ms = d->base[p].receive_last_ms;
}
