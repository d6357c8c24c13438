/* The commands that change something. Fast ones on the server thread, slow ones on a job thread each. */
#include "daemon.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "crash.h"
#include "log.h"
#include "rules_trail.h"
#include "state_rules.h"

#define HISTORY_LAST 20u
#define ROLLBACKS_MAX 64u /* rulesets that a rollback looks at */

#define RUN_view(id) NULL
#define RUN_local(id) NULL
#define RUN_fast(id) run_##id
#define RUN_slow(id) run_##id
const dispatch_run daemon_run_table[COMMAND_COUNT] = {
#define COMMAND(id, words, access, where, help) [COMMAND_##id] = RUN_##where(id),
#define ARG(command, name, kind, form, help)
#include "commands.def"
#undef COMMAND
#undef ARG
};

json_t *run_stop(void *arg, const struct peer *peer, const struct request *rq, struct err *err)
{
	struct daemon *d = arg;
	bool now = request_flag(rq, "now");

	(void)err;
	log_info("control", "stop%s by uid=%u pid=%d", now ? " --now" : "", (unsigned)peer->uid,
		(int)peer->pid);
	daemon_stop(d, now);
	return json_pack("{s:b, s:i}", "stopping", 1, "drain_seconds_max",
		(int)((now ? DAEMON_DRAIN_NOW_MS : DAEMON_DRAIN_MS) / 1000));
}

json_t *run_log_level(void *arg, const struct peer *peer, const struct request *rq, struct err *err)
{
	static const char *const name[] = {"error", "warn", "info", "debug"};
	const char *level = request_text(rq, "level", "");
	struct daemon *d = arg;

	for (int i = LOG_LEVEL_ERROR; i <= LOG_LEVEL_DEBUG; i++)
		if (!strcmp(level, name[i])) {
			log_init((enum log_level)i, d->cfg.log.format == 1);
			d->cfg.log.level = (uint64_t)i;
			log_warn("control", "log level %s by uid=%u", level, (unsigned)peer->uid);
			return json_pack("{s:s}", "level", level);
		}
	err_set(err, -EINVAL, "level: '%.40s': expected one of error warn info debug", level);
	return NULL;
}

/* Durable ends of both logs; of a log that is not there, none. */
struct drain_ends {
	uint64_t *end[SINK_LOG_COUNT];
};

static bool drain_ends_take(const struct daemon *d, struct drain_ends *ends)
{
	for (int log = 0; log < SINK_LOG_COUNT; log++) {
		struct journal *j = sink_journal(&d->env, (enum sink_log)log);
		uint32_t partitions = j ? journal_partitions(j) : 0;

		ends->end[log] = calloc(partitions + 1, sizeof *ends->end[log]);
		if (!ends->end[log])
			return false;
		for (uint32_t p = 0; p < partitions; p++)
			ends->end[log][p] = journal_durable_offset(j, p);
	}
	return true;
}

/* The first (sink, partition) that has not reached its end, or NULL. */
static const struct sink_part *drain_behind(struct daemon *d, const struct drain_ends *ends)
{
	for (int i = 0; i < SINK_GROUP_MAX; i++)
		for (uint32_t p = 0; p < d->sinks[i].part_count; p++) {
			const struct sink_part *part = &d->sinks[i].part[p];

			if (part->ends ? !atomic_load(&part->delivered)
				       : atomic_load(&part->stats.position) <
						 ends->end[part->log][part->partition])
				return part;
		}
	return NULL;
}

/* The ends are those at the time of the request: with input going on, later ones would never be reached. */
json_t *run_drain(void *arg, const struct peer *peer, const struct request *rq, struct err *err)
{
	struct daemon *d = arg;
	uint64_t seconds = request_uint(rq, "timeout", 30), start = clock_mono_ns();
	struct drain_ends ends = {{NULL}};
	const struct sink_part *behind = NULL;
	bool taken = drain_ends_take(d, &ends);

	(void)peer;
	if (seconds > 3600)
		seconds = 3600;
	while (taken && (behind = drain_behind(d, &ends)) &&
		clock_mono_ns() - start < seconds * 1000000000u && atomic_load(&d->phase) == PHASE_RUNNING)
		nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
	if (behind)
		err_set(err, -ETIMEDOUT,
			"not drained after %.1f s: sink %s, partition %u is at %llu of %llu (%s)",
			(double)(clock_mono_ns() - start) / 1e9, behind->group->name, behind->partition,
			(unsigned long long)atomic_load(&behind->stats.position),
			(unsigned long long)(behind->ends ? journal_durable_offset(
								    behind->journal, behind->partition)
							  : ends.end[behind->log][behind->partition]),
			sink_state_name[atomic_load(&behind->stats.state)]);
	if (!taken)
		err_set(err, -ENOMEM, "no memory");
	for (int log = 0; log < SINK_LOG_COUNT; log++)
		free(ends.end[log]);
	return behind || !taken ? NULL
				: json_pack("{s:b, s:f}", "drained", 1, "waited_seconds",
					  (double)(clock_mono_ns() - start) / 1e9);
}

/* ---- rules ---- */

static void report_line(void *arg, const char *line)
{
	json_array_append_new(arg, json_text(line));
}

int rules_of_files(struct daemon *d, const json_t *files, struct ruleset **out, struct err *err)
{
	size_t count = json_array_size(files);
	struct rule_source *source = calloc(count, sizeof *source);
	int rc;

	if (!source)
		return err_set(err, -ENOMEM, "rules: no memory");
	for (size_t i = 0; i < count; i++) {
		const json_t *file = json_array_get(files, i), *text = json_object_get(file, "text");

		source[i].name = json_string_value(json_object_get(file, "name"));
		source[i].text = json_string_value(text);
		source[i].bytes = json_string_length(text);
		source[i].list = json_is_true(json_object_get(file, "list"));
	}
	rc = ruleset_compile(out, source, (uint32_t)count, (uint32_t)d->cfg.rules.patterns_max, err);
	free(source);
	return rc;
}

int rules_publish(struct daemon *d, const struct peer *peer, const char *action, struct ruleset *rs_take,
	json_t *warnings, struct err *err)
{
	struct ruleset *old = NULL;
	struct err note;
	uint32_t generation, old_generation = d->generation;
	int rc = ruleset_store_put(d->store, rs_take, &generation, err);

	if (rc == 0) {
		crash_point("rules_stored");
		pthread_mutex_lock(&d->rules_lock);
		if (atomic_load(&d->phase) != PHASE_RUNNING)
			rc = err_set(err, -ESHUTDOWN, "the daemon is draining");
		else if (generation != d->generation)
			rc = dataplane_set_ruleset(d->dp, rs_take, generation, err);
		if (rc == 0 && generation != d->generation) {
			old = d->ruleset;
			d->ruleset = rs_take;
			d->generation = generation;
		}
		pthread_mutex_unlock(&d->rules_lock);
	}
	if (rc) {
		ruleset_free(rs_take);
		return rc;
	}
	crash_point("rules_switched");
	rules_audit(&d->cfg, peer, action, old_generation,
		old ? ruleset_version(old) : ruleset_version(d->ruleset), generation,
		ruleset_version(d->ruleset));
	log_info("rules", "%s by uid=%u: generation=%u version=%s rules=%u canaries=%u", action,
		(unsigned)peer->uid, generation, ruleset_version(d->ruleset),
		ruleset_rule_count(d->ruleset) - ruleset_canary_count(d->ruleset),
		ruleset_canary_count(d->ruleset));
	crash_point("rules_audited");
	/* The workers have left the old rules. */
	if (generation != old_generation && rules_note(d, RULES_NOTE_MS, &note))
		json_array_append_new(warnings,
			json_sprintf(
				"rules with state are on their way: they change over where the journal takes "
				"the note: %s",
				note.text));
	crash_point("rules_noted");
	ruleset_free(old ? old : rs_take); /* the same rules again: what runs stays */
	return 0;
}

json_t *rules_finish(struct daemon *d, const struct peer *peer, const char *action, struct ruleset *rs_take,
	json_t *warnings_take, struct err *err)
{
	uint32_t canaries;
	struct err why;

	rules_gone(d->ruleset, rs_take, "not in force any more", warnings_take);
	if (rules_publish(d, peer, action, rs_take, warnings_take, err)) {
		json_decref(warnings_take);
		return NULL;
	}
	if (rules_active_write(&d->cfg, d->generation, &why))
		json_array_append_new(
			warnings_take, json_sprintf("a restart will not know of it: %s", why.text));
	crash_point("rules_remembered");
	canaries = ruleset_canary_count(d->ruleset);
	return json_pack("{s:I, s:s, s:I, s:I, s:I, s:o}", "generation", (json_int_t)d->generation, "version",
		ruleset_version(d->ruleset), "rules", (json_int_t)(ruleset_rule_count(d->ruleset) - canaries),
		"canaries", (json_int_t)canaries, "patterns", (json_int_t)ruleset_pattern_count(d->ruleset),
		"warnings", warnings_take);
}

/* Error text: which samples failed. */
static void tests_failed(struct err *err, uint32_t failed, const json_t *report)
{
	const json_t *line;
	size_t i, n;

	err_set(err, -EINVAL, "%u tests of the rules failed; nothing changed.", failed);
	json_array_foreach(report, i, line)
	{
		n = strlen(err->text);
		snprintf(err->text + n, sizeof err->text - n, "\n%s", json_string_value(line));
	}
}

int rules_tested(
	struct daemon *d, const json_t *files, json_t *warnings, struct ruleset **out, struct err *err)
{
	bool from_dir = json_array_size(files) == 0;
	struct rule_test_counts tests = {0};
	json_t *report = json_array();
	int rc;

	*out = NULL;
	if (from_dir && !d->cfg.rules.dir[0])
		rc = err_set(err, -EINVAL, "no files given, and rules.dir is not set");
	else
		rc = from_dir ? rules_of_dir(&d->cfg, out, err) : rules_of_files(d, files, out, err);
	if (rc == 0)
		rc = rules_expire(&d->cfg, *out, warnings, err);
	if (rc == 0)
		tests = ruleset_run_tests(*out, &state_rules_tester, report_line, report);
	if (tests.not_run)
		json_array_append_new(
			warnings, json_sprintf("%u tests of rules with state were not run", tests.not_run));
	if (rc == 0 && tests.failed) {
		tests_failed(err, tests.failed, report);
		rc = -EINVAL;
	}
	json_decref(report);
	if (rc) {
		ruleset_free(*out);
		*out = NULL;
	}
	return rc;
}

static json_t *rules_apply_locked(
	struct daemon *d, const struct peer *peer, const json_t *files, struct err *err)
{
	json_t *warnings = json_array();
	struct ruleset *rs;

	if (rules_tested(d, files, warnings, &rs, err)) {
		json_decref(warnings);
		return NULL;
	}
	if (ruleset_canary_count(d->ruleset))
		json_array_append_new(
			warnings, json_string("the canary has ended: these rules are in force alone"));
	return rules_finish(d, peer, json_array_size(files) ? "apply" : "apply-dir", rs, warnings, err);
}

json_t *run_rules_apply(void *arg, const struct peer *peer, const struct request *rq, struct err *err)
{
	struct daemon *d = arg;
	json_t *result;

	pthread_mutex_lock(&d->apply_lock);
	result = rules_apply_locked(d, peer, json_object_get(rq->args, "files"), err);
	pthread_mutex_unlock(&d->apply_lock);
	return result;
}

/* The ruleset that was in force before the one that is now; one that has been trimmed is passed over. */
static int rules_before(struct daemon *d, struct ruleset **out, struct err *err)
{
	uint32_t before[ROLLBACKS_MAX], count;
	struct rules_trail trail;
	int rc = rules_trail_read(&trail, d->cfg.node.data_dir, err);

	if (rc)
		return rc;
	count = rules_trail_below(&trail, ruleset_version(d->ruleset), before, ROLLBACKS_MAX);
	rules_trail_free(&trail);
	rc = err_set(err, -ENOENT,
		"generation %u: nothing was in force before it that could be again; --generation N takes "
		"any that is kept (`rules history`)",
		d->generation);
	for (uint32_t i = 0; rc == -ENOENT && i < count; i++)
		rc = ruleset_store_load(d->store, before[i], (uint32_t)d->cfg.rules.patterns_max, out, err);
	return rc;
}

/* What a canary's generation had in force. */
static int rules_without_canary(
	struct daemon *d, struct ruleset **rs, uint32_t generation, json_t *warnings, struct err *err)
{
	struct ruleset *with = *rs;
	int rc;

	if (!ruleset_canary_count(with))
		return 0;
	rc = ruleset_part(rs, with, false, (uint32_t)d->cfg.rules.patterns_max, err);
	ruleset_free(with);
	if (rc == 0)
		json_array_append_new(warnings,
			json_sprintf(
				"generation %u had a canary: only what was in force comes back", generation));
	return rc;
}

static json_t *rules_rollback_locked(struct daemon *d, const struct peer *peer, uint32_t to, struct err *err)
{
	json_t *warnings = json_array();
	struct ruleset *rs = NULL;
	int rc = to ? ruleset_store_load(d->store, to, (uint32_t)d->cfg.rules.patterns_max, &rs, err)
		    : rules_before(d, &rs, err);

	rc = rc ? rc : rules_without_canary(d, &rs, to, warnings, err);
	rc = rc ? rc : rules_expire(&d->cfg, rs, warnings, err);
	if (rc == 0)
		return rules_finish(d, peer, "rollback", rs, warnings, err);
	ruleset_free(rs);
	json_decref(warnings);
	return NULL;
}

json_t *run_rules_rollback(void *arg, const struct peer *peer, const struct request *rq, struct err *err)
{
	struct daemon *d = arg;
	uint64_t to = request_uint(rq, "generation", 0);
	json_t *result = NULL;

	pthread_mutex_lock(&d->apply_lock);
	if (to > UINT32_MAX)
		err_set(err, -EINVAL, "generation: no such generation");
	else
		result = rules_rollback_locked(d, peer, (uint32_t)to, err);
	pthread_mutex_unlock(&d->apply_lock);
	return result;
}

static json_t *change_json(const struct rules_change *c)
{
	return json_pack("{s:o, s:o, s:I, s:I, s:I, s:o, s:I, s:o}", "time", json_text(c->time), "action",
		json_text(c->action), "uid", (json_int_t)c->uid, "pid", (json_int_t)c->pid, "from",
		(json_int_t)c->from, "from_version", json_text(c->from_version), "to", (json_int_t)c->to,
		"to_version", json_text(c->to_version));
}

json_t *run_rules_history(void *arg, const struct peer *peer, const struct request *rq, struct err *err)
{
	struct daemon *d = arg;
	uint64_t last = request_uint(rq, "last", HISTORY_LAST);
	struct rules_trail trail;
	json_t *list;

	(void)peer;
	if (rules_trail_read(&trail, d->cfg.node.data_dir, err))
		return NULL;
	list = json_array();
	for (uint32_t i = trail.count; i > 0 && trail.count - i < last; i--)
		json_array_append_new(list, change_json(&trail.change[i - 1]));
	rules_trail_free(&trail);
	return json_pack("{s:o}", "changes", list);
}

/* ---- enrichment ---- */

json_t *run_enrich_reload(void *arg, const struct peer *peer, const struct request *rq, struct err *err)
{
	struct daemon *d = arg;
	bool changed = false;
	json_t *result = NULL;

	(void)rq;
	pthread_mutex_lock(&d->apply_lock);
	if (enrich_reload(d, peer, &changed, err) == 0)
		result = json_pack("{s:o, s:b}", "version", json_version(enrich_set_version(d->enrich)),
			"changed", (int)changed);
	pthread_mutex_unlock(&d->apply_lock);
	return result;
}
