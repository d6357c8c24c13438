/* `event`: what its two files share. */
#ifndef SLUICE_LOCAL_EVENT_H
#define SLUICE_LOCAL_EVENT_H

#include <limits.h>

#include "cli.h"
#include "config.h"
#include "journal.h"
#include "ruleset.h"

struct event_search {
	/* what is looked for */
	const char *id_text;
	uint8_t id[16];
	bool by_id;
	uint32_t partition; /* by address, or of the record at hand */
	uint64_t offset;
	/* where */
	char journal[PATH_MAX / 2], data[PATH_MAX / 2];
	struct journal_meta meta;
	struct ruleset_store *rulesets; /* NULL: there are none */
	struct ruleset_stand ruleset;	/* of the record at hand */
	struct config cfg;
	bool cfg_known;
	json_t *sinks; /* rows of `sinks`; NULL: no daemon was asked */
	/* what was found */
	json_t *records, *rules, *places, *alerts;
	bool show_progress;
	const char *what; /* of progress */
	struct err err;
};

/* A record's rows in all but the alerts of the output log. 0, or -errno with s->err. */
int event_record_add(struct event_search *s, const struct journal_scan_block *b, const struct record *rec,
	uint64_t offset);
/* Alerts of the state stage that name the event, and how often it was late. 0 or -errno. */
int event_output_scan(struct event_search *s, int64_t since_ms, uint64_t *late, struct err *err);
void event_progress(void *arg, uint32_t done, uint32_t count);

#endif
