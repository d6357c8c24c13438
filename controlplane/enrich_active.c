/* The enrichment tables in force: loaded at start and by command, published to the workers, named in the
 * journal. Loading is off every path: it takes as long as the files are large, on the thread of the command.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "daemon.h"
#include "log.h"

#define NOTE_MS_MAX 5000u

static void enrich_say(const struct enrich_set *set, const char *what)
{
	for (uint32_t t = 0; t < ENRICH_TABLES_MAX; t++) {
		struct enrich_table_info info;

		enrich_set_info(set, t, &info);
		if (info.name)
			log_info("enrich",
				"%s: table=%s file=%s rows=%" PRIu64 " bytes=%" PRIu64 " version=%016" PRIx64,
				what, info.name, info.file, info.rows, info.bytes, info.version);
		if (info.left_out)
			log_warn("enrich",
				"table=%s: %" PRIu64 " texts left out: longer than their field, or not UTF-8",
				info.name, info.left_out);
	}
}

/* What follows in the journal was enriched by these tables. The values are in the records: a replay needs no
 * table, who asks why a value changed finds the change here. */
static int enrich_note(struct daemon *d, const struct enrich_set *set, struct err *err)
{
	char text[64];

	snprintf(text, sizeof text, "event=enrichment version=%016" PRIx64, enrich_set_version(set));
	return journal_note(d->journal, text, NOTE_MS_MAX, err);
}

int enrich_up(struct daemon *d, struct err *err)
{
	struct err note;
	int rc;

	if (!enrich_configured(&d->cfg))
		return 0;
	rc = enrich_set_load(&d->enrich, &d->cfg, err);
	if (rc)
		return rc;
	enrich_say(d->enrich, "in force");
	if (enrich_note(d, d->enrich, &note))
		log_warn("enrich", "not noted in the journal: %s", note.text);
	dataplane_set_enrich(d->dp, d->enrich);
	return 0;
}

/* The workers have ended. */
void enrich_down(struct daemon *d)
{
	if (!d->enrich)
		return;
	dataplane_set_enrich(d->dp, NULL);
	enrich_set_free(d->enrich);
	d->enrich = NULL;
}

int enrich_reload(struct daemon *d, const struct peer *peer, bool *changed, struct err *err)
{
	struct enrich_set *set, *old = NULL;
	int rc;

	if (!enrich_configured(&d->cfg))
		return err_set(
			err, -EINVAL, "no table is configured: enrich.geoip_city, enrich.geoip_asn, lookups");
	rc = enrich_set_load(&set, &d->cfg, err);
	if (rc) {
		err_prefix(err, "nothing changed");
		return rc;
	}
	*changed = enrich_set_version(set) != enrich_set_version(d->enrich);
	if (*changed)
		rc = enrich_note(d, set, err);
	pthread_mutex_lock(&d->rules_lock);
	if (rc == 0 && atomic_load(&d->phase) != PHASE_RUNNING)
		rc = err_set(err, -ESHUTDOWN, "the daemon is draining");
	if (rc == 0) {
		dataplane_set_enrich(d->dp, set);
		old = d->enrich;
		d->enrich = set;
	}
	pthread_mutex_unlock(&d->rules_lock);
	if (rc) {
		enrich_set_free(set);
		return rc;
	}
	enrich_set_free(old);
	enrich_say(set, "reloaded");
	log_info("enrich", "reload by uid=%u: version=%016" PRIx64 "%s", (unsigned)peer->uid,
		enrich_set_version(set), *changed ? "" : ", as before");
	return 0;
}
