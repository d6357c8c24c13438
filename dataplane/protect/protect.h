/* Protection of fields before anything is stored: between match and append. Rules without state have seen the
 * event as it came; the record that goes to the journal, and hence all that reads it (state stage, sinks,
 * replay, dead letters), has what the configuration's `protect` and `privacy` leave of it. See
 * docs/decisions/0013-protection.md.
 *
 * An event is written anew: its JSON with protected values replaced, its tail without what they decoded to,
 * its spans moved. The bytes that came stay in the mbuf, and are gone with it. */
#ifndef SLUICE_PROTECT_H
#define SLUICE_PROTECT_H

#include <stdbool.h>
#include <stdint.h>

#include "config.h"
#include "err.h"
#include "event.h"

/* Counters of one worker: written by it alone, read racily. */
struct protect_stats {
	uint64_t masked, hashed, dropped; /* values of `protect`, by what was done */
	uint64_t cards;			  /* card numbers found in text, masked or only counted */
	uint64_t withheld; /* dead letters whose bytes could not be judged, and were not kept */
};

struct protector;

/* True if the configuration asks for anything of it. */
bool protect_configured(const struct config *cfg);

/* The worker's memory and tables; reads key files. Errors name the key: an unknown field, one that cannot be
 * protected so, a key file that is no secret. Control thread; -EINVAL, -ENOMEM. */
int protector_new(struct protector **out, const struct config *cfg, struct err *err);
void protector_free(struct protector *pt);
/* Before the start: what protector_new() would refuse. */
int protect_config_check(const struct config *cfg, struct err *err);

/* RX stage: writes an accepted event anew. Its raw bytes, tail and spans lie in the protector's memory until
 * the next call. False: it would be longer than an event may be; the event is then undefined. */
bool protect_event(struct protector *pt, struct event *ev, struct protect_stats *stats);

/* What a refused event's bytes are. */
enum protect_text {
	PROTECT_JSON,	/* well-formed JSON: only the schema refused it */
	PROTECT_TEXT,	/* anything */
	PROTECT_PACKED, /* perhaps compressed */
};

/* RX stage: the same for a refused event, whatever its type. False: what it holds cannot be judged, so none
 * of its bytes may be kept; the event is as it was. */
bool protect_refused(
	struct protector *pt, struct event *ev, enum protect_text text, struct protect_stats *stats);

#endif
