/* Which ruleset a start takes, and the trail of who changed it. What came last wins: rules that were applied
 * by command stay in force over a restart until rules.dir itself has changed.
 *
 * DATA_DIR/rules-active     "generation=N dir=VERSION": generation applied while rules.dir had that version
 * DATA_DIR/rules-audit.log  one line for each change by command */
#include "daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "durable.h"
#include "log.h"
#include "rules_fit.h"
#include "rules_trail.h"

#define RULES_KEPT 32u /* generations that stay for a rollback */

int rules_of_dir(const struct config *cfg, struct ruleset **out, struct err *err)
{
	if (cfg->rules.dir[0])
		return ruleset_compile_dir(out, cfg->rules.dir, (uint32_t)cfg->rules.patterns_max, err);
	*out = ruleset_empty();
	return *out ? 0 : err_set(err, -ENOMEM, "rules: no memory");
}

static void rule_warn(const struct rule_info *rule, json_t *warnings, const char *text)
{
	log_warn("rules", "%s:%u: rule %s %s", rule->file, rule->line, rule->id, text);
	if (warnings)
		json_array_append_new(
			warnings, json_sprintf("%s:%u: rule %s %s", rule->file, rule->line, rule->id, text));
}

int rules_expire(const struct config *cfg, struct ruleset *rs, json_t *warnings, struct err *err)
{
	int count = ruleset_expire(rs, clock_wall_ms(), err);

	for (uint32_t i = 0; count >= 0 && i < ruleset_rule_count(rs); i++) {
		const struct rule_info *rule = ruleset_rule(rs, i);
		const char *warning = rules_fit_warning(cfg, rule);

		if (rules_fit_route(cfg, rule, err))
			return -EINVAL;
		if (warning)
			rule_warn(rule, warnings, warning);
	}
	return count < 0 ? count : 0;
}

/* "generation=N dir=VERSION": N, and the version; 0 for anything else. */
static uint32_t active_read(const char *line, char *version, size_t bytes)
{
	static const char first[] = "generation=", second[] = " dir=";
	char *end;
	unsigned long n;

	if (strncmp(line, first, sizeof first - 1) != 0)
		return 0;
	n = strtoul(line + sizeof first - 1, &end, 10);
	if (!n || n > UINT32_MAX || strncmp(end, second, sizeof second - 1) != 0)
		return 0;
	end += sizeof second - 1;
	if (snprintf(version, bytes, "%.*s", (int)strcspn(end, "\n"), end) >= (int)bytes)
		return 0;
	return (uint32_t)n;
}

/* Before threads. */
static int rules_start(struct daemon *d, struct ruleset **out, struct err *err)
{
	char path[320], line[128], version[64] = "";
	struct ruleset *applied = NULL;
	uint32_t generation = 0;
	struct err why;
	FILE *in;
	int rc = rules_of_dir(&d->cfg, out, err);

	if (rc)
		return rc;
	snprintf(path, sizeof path, "%s/rules-active", d->cfg.node.data_dir);
	in = fopen(path, "re");
	if (!in)
		return 0;
	if (fgets(line, sizeof line, in))
		generation = active_read(line, version, sizeof version);
	fclose(in);
	if (!generation || strcmp(version, d->cfg.rules.dir[0] ? ruleset_version(*out) : "none") != 0) {
		log_info("rules", "rules.dir has changed since generation %u was applied: taking rules.dir",
			generation);
		return 0;
	}
	if (ruleset_store_load(d->store, generation, (uint32_t)d->cfg.rules.patterns_max, &applied, &why)) {
		log_error("rules", "generation %u was applied but cannot be used: taking rules.dir: %s",
			generation, why.text);
		return 0;
	}
	ruleset_free(*out);
	*out = applied;
	d->applied = generation;
	return 0;
}

int rules_active_write(const struct config *cfg, uint32_t generation, struct err *err)
{
	char text[128], version[17] = "none";

	/* Broken files there: whatever is mended later is a change. */
	if (cfg->rules.dir[0] && ruleset_dir_version(version, cfg->rules.dir, err))
		snprintf(version, sizeof version, "broken");
	snprintf(text, sizeof text, "generation=%u dir=%s\n", generation, version);
	return durable_write(cfg->node.data_dir, "rules-active", &(struct durable_piece){text, strlen(text)},
		1, NULL, err);
}

void rules_audit(const struct config *cfg, const struct peer *peer, const char *action, uint32_t from,
	const char *from_version, uint32_t to, const char *to_version)
{
	char path[320], line[320], stamp[32];
	time_t now = time(NULL);
	struct tm tm;
	int fd, n;

	gmtime_r(&now, &tm);
	strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%SZ", &tm);
	n = snprintf(line, sizeof line, "%s action=%s uid=%u pid=%d from=%u/%s to=%u/%s\n", stamp, action,
		(unsigned)peer->uid, (int)peer->pid, from, from_version, to, to_version);
	snprintf(path, sizeof path, "%s/rules-audit.log", cfg->node.data_dir);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
	if (fd < 0 || write(fd, line, (size_t)n) != n || fsync(fd))
		log_error("rules", "audit line not written to %s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
}

/* A line in the trail if the ruleset in force is not the one that was so last. */
static void rules_started(struct daemon *d)
{
	const struct peer self = {.uid = getuid(), .gid = getgid(), .pid = getpid()};
	struct rules_trail trail;
	const struct rules_change *last;
	struct err err;

	if (rules_trail_read(&trail, d->cfg.node.data_dir, &err)) {
		log_error("rules", "%s", err.text);
		return;
	}
	last = trail.count ? &trail.change[trail.count - 1] : NULL;
	if (!last || last->to != d->generation || strcmp(last->to_version, ruleset_version(d->ruleset)) != 0)
		rules_audit(&d->cfg, &self, "start", last ? last->to : 0, last ? last->to_version : "none",
			d->generation, ruleset_version(d->ruleset));
	rules_trail_free(&trail);
}

/* ---- the rules' part of a start ---- */

/* Only here, while no batch is on its way: what the journal and checkpoints name, what a restart takes, and
 * some generations to roll back to stay. */
static void rules_trim(struct daemon *d)
{
	uint32_t floor = journal_generation_floor(d->journal);
	uint32_t back = d->generation > RULES_KEPT ? d->generation - RULES_KEPT : 0;

	if (d->before.env.journal && journal_generation_floor(d->before.env.journal) < floor)
		floor = journal_generation_floor(d->before.env.journal);
	if (d->applied && d->applied < floor)
		floor = d->applied;
	if (d->state && state_generation_floor(d->state) && state_generation_floor(d->state) < floor)
		floor = state_generation_floor(d->state);
	ruleset_store_trim(d->store, back < floor ? back : floor);
}

/* A compile of so many takes a second or more; who reads the log should know what it waits for. */
static void rules_progress(void *arg, const char *subject, uint32_t patterns, uint32_t done, uint32_t count)
{
	(void)arg;
	if (patterns >= 1000)
		log_info("rules", "compiling %u patterns of %s: field %u of %u", patterns, subject, done + 1,
			count);
}

int rules_up(struct daemon *d, struct err *err)
{
	struct err why;
	char cache[300];
	int rc = ruleset_store_open(&d->store, d->cfg.node.data_dir, err);

	if (rc == 0)
		rc = ruleset_store_clean(d->store, err);

	snprintf(cache, sizeof cache, "%s/rules-cache", d->cfg.node.data_dir);
	if (rc == 0 && ruleset_cache_set(cache, &why))
		log_warn("rules", "compiled patterns are not kept: %s", why.text);
	ruleset_progress_set(rules_progress, NULL);

	for (uint32_t p = 0; rc == 0 && p < journal_partitions(d->journal); p++)
		ruleset_store_reserve(d->store, d->base[p].generation);
	if (rc == 0)
		rc = rules_start(d, &d->ruleset, err);
	if (rc == 0)
		rc = rules_expire(&d->cfg, d->ruleset, NULL, err);
	if (rc == 0)
		rc = ruleset_store_put(d->store, d->ruleset, &d->generation, err);
	if (rc == 0)
		log_info("rules", "in force: generation=%u version=%s rules=%u patterns=%u", d->generation,
			ruleset_version(d->ruleset), ruleset_rule_count(d->ruleset),
			ruleset_pattern_count(d->ruleset));
	if (rc == 0) {
		rules_started(d);
		rules_trim(d);
	}
	return rc;
}

void rules_down(struct daemon *d)
{
	if (d->ruleset)
		ruleset_free(d->ruleset);
	if (d->store)
		ruleset_store_close(d->store);
}

/* ---- the journal's note: where rules with state change over ---- */

int rules_note(struct daemon *d, uint32_t timeout_ms, struct err *err)
{
	char text[64];
	int rc;

	snprintf(text, sizeof text, "event=rules generation=%" PRIu32, d->generation);
	rc = journal_note(d->journal, text, timeout_ms, err);
	/* Nothing was posted: an earlier note waits in a partition that is full. daemon_tick() tries again.
	 */
	atomic_store(&d->rules_note_due, rc == -EBUSY);
	return rc;
}

void rules_note_again(struct daemon *d)
{
	struct err err;
	int rc;

	/* Whoever posts notes holds the lock for as long as that takes: this thread has others to serve. */
	if (!atomic_load(&d->rules_note_due) || pthread_mutex_trylock(&d->apply_lock))
		return;
	rc = atomic_load(&d->rules_note_due) ? rules_note(d, 0, &err) : -EBUSY;
	if (rc != -EBUSY)
		log_info("rules", "generation %" PRIu32 " is on its way into the journal", d->generation);
	pthread_mutex_unlock(&d->apply_lock);
}
