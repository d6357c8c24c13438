/* `config reload` and SIGHUP: the configuration file anew, as far as it can change while the daemon runs.
 * Threads of commands, and one for a signal; one reload at a time, by apply_lock. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config_diff.h"
#include "daemon.h"
#include "event_config.h"
#include "format.h"
#include "frame_key.h"
#include "log.h"
#include "options.h"
#include "protect.h"

#define NOTE_MS 5000u

struct reload {
	struct daemon *d;
	struct config next; /* as the file says */
	struct config then; /* what runs, with the changes that are live */
	json_t *live, *restart;
	char restart_names[400]; /* for the refusal, with commas */
	char note[JOURNAL_NOTE_MAX];
	bool for_workers; /* a change of what is let in: noted in the journal */
};

/* What workers go by, and what is in the journal thereby. */
static bool key_is_workers(const struct config_key *key)
{
	return !strcmp(key->section, "time") || !strcmp(key->section, "journal") ||
	       !strcmp(key->section, "listeners");
}

/* Adds ",name" or "name" where there is room; a name is not cut. */
static void name_add(char *out, size_t room, const char *name, const char *separator)
{
	size_t used = strlen(out), between = strlen(separator), bytes = strlen(name);

	if (used + between + bytes >= room)
		return;
	memcpy(out + used, separator, between);
	memcpy(out + used + between, name, bytes + 1);
}

static void change_sort(void *arg, const struct config_change *change)
{
	struct reload *r = arg;
	json_t *row =
		json_pack("{s:s, s:s, s:s}", "key", change->name, "from", change->from, "to", change->to);

	json_array_append_new(change->live ? r->live : r->restart, row);
	if (!change->live) {
		name_add(r->restart_names, sizeof r->restart_names, change->name,
			*r->restart_names ? ", " : "");
	} else if (key_is_workers(change->key)) {
		name_add(r->note, sizeof r->note, change->name, r->for_workers ? "," : "");
		r->for_workers = true;
	}
}

static void change_then(void *arg, const struct config_change *change)
{
	struct reload *r = arg;

	if (change->live)
		config_change_copy(&r->then, &r->next, change);
}

static void change_apply(void *arg, const struct config_change *change)
{
	struct reload *r = arg;

	if (change->live)
		config_change_copy(&r->d->cfg, &r->next, change);
}

static int reload_read(struct reload *r, struct err *err)
{
	enum options_do what;
	int rc = options_read(r->d->argc, r->d->argv, &r->next, &what, err);

	if (rc == 0)
		rc = config_check(&r->next, err);
	if (rc == 0)
		rc = event_config_check(&r->next, err);
	if (rc == 0)
		rc = format_config_check(&r->next, err);
	if (rc == 0)
		rc = protect_config_check(&r->next, err);
	return rc ? rc : frame_config_check(&r->next, err);
}

/* Workers first: what they cannot take changes nothing. */
static int reload_apply(struct reload *r, struct err *err)
{
	struct daemon *d = r->d;
	int rc = 0;

	if (atomic_load(&d->phase) != PHASE_RUNNING)
		return err_set(err, -ESHUTDOWN, "the daemon is draining");
	if (r->for_workers)
		rc = journal_note(d->journal, r->note, NOTE_MS, err);
	pthread_mutex_lock(&d->rules_lock);
	if (rc == 0 && atomic_load(&d->phase) != PHASE_RUNNING)
		rc = err_set(err, -ESHUTDOWN, "the daemon is draining");
	r->then = d->cfg;
	config_diff(&d->cfg, &r->next, change_then, r);
	if (rc == 0)
		rc = dataplane_set_live(d->dp, &r->then, err);
	if (rc == 0) {
		config_diff(&d->cfg, &r->next, change_apply, r);
		log_init((enum log_level)d->cfg.log.level, d->cfg.log.format == 1);
	}
	pthread_mutex_unlock(&d->rules_lock);
	return rc;
}

static int reload_run(struct reload *r, bool live_only, struct err *err)
{
	int rc = reload_read(r, err);

	if (rc)
		return rc;
	snprintf(r->note, sizeof r->note, "event=config_reload keys=");
	config_diff(&r->d->cfg, &r->next, change_sort, r);
	if (json_array_size(r->restart) && !live_only)
		return err_set(err, -EBUSY,
			"these need a restart: %s; with --live-only the others are applied without them",
			r->restart_names);
	return json_array_size(r->live) ? reload_apply(r, err) : 0;
}

/* peer NULL: a signal. */
static json_t *reload(struct daemon *d, const struct peer *peer, bool live_only, struct err *err)
{
	struct reload *r = calloc(1, sizeof *r);
	json_t *result = NULL;
	char who[32] = "signal";
	int rc;

	if (!r) {
		err_set(err, -ENOMEM, "no memory");
		return NULL;
	}
	if (peer)
		snprintf(who, sizeof who, "uid=%u", (unsigned)peer->uid);
	r->d = d;
	r->live = json_array();
	r->restart = json_array();
	pthread_mutex_lock(&d->apply_lock);
	rc = reload_run(r, live_only, err);
	pthread_mutex_unlock(&d->apply_lock);
	if (rc) {
		err_prefix(err, "nothing changed");
		log_error("control", "reload of the configuration by %s: %s", who, err->text);
	} else {
		char *text = json_dumps(r->live, JSON_COMPACT);

		log_info("control", "configuration reloaded by %s: %s%s%s", who, text ? text : "",
			*r->restart_names ? " but, until a restart, " : "", r->restart_names);
		free(text);
		result = json_pack("{s:O, s:O}", "applied", r->live, "restart", r->restart);
	}
	json_decref(r->live);
	json_decref(r->restart);
	free(r);
	return result;
}

json_t *run_config_reload(void *arg, const struct peer *peer, const struct request *rq, struct err *err)
{
	return reload(arg, peer, request_flag(rq, "live-only"), err);
}

static void *hangup_main(void *arg)
{
	struct daemon *d = arg;
	struct err err = {0};

	json_decref(reload(d, NULL, false, &err));
	atomic_store(&d->hangup_running, false);
	return NULL;
}

void config_hangup(struct daemon *d)
{
	if (atomic_load(&d->hangup_running)) {
		log_warn("control", "SIGHUP: a reload is under way already");
		return;
	}
	config_hangup_end(d);
	atomic_store(&d->hangup_running, true);
	d->hangup_started = pthread_create(&d->hangup, NULL, hangup_main, d) == 0;
	if (!d->hangup_started) {
		atomic_store(&d->hangup_running, false);
		log_error("control", "SIGHUP: no thread for it; try again");
	}
}

void config_hangup_end(struct daemon *d)
{
	if (d->hangup_started)
		pthread_join(d->hangup, NULL);
	d->hangup_started = false;
}
