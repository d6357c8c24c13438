/* The RX worker's stages in their order: decode, split, parse, enrich, match, protect, append to the open
 * batches. One struct pipeline per worker, used by that worker alone; all its memory is made in
 * pipeline_setup.c. A stage file: no allocation, lock, clock or system call below pipeline_burst(). */
#ifndef SLUICE_PIPELINE_H
#define SLUICE_PIPELINE_H

#include <rte_mbuf.h>
#include <stdbool.h>
#include <stdint.h>

#include "admit.h"
#include "batch.h"
#include "config.h"
#include "dataplane.h"
#include "decode.h"
#include "enrich.h"
#include "format.h"
#include "frame.h"
#include "gelf_chunks.h"
#include "ip_list.h"
#include "json.h"
#include "producers.h"
#include "protect.h"
#include "ruleset.h"

#define PIPELINE_EVENTS MATCH_EVENTS_MAX
#define PIPELINE_BURST_MAX 128

/* Time as the worker read it, once for a burst. */
struct burst_time {
	int64_t wall_ms;
	uint64_t mono_ns;
};

/* What a running worker goes by and configuration can change: made by the control thread, immutable from then
 * on, freed after quiescence. */
struct pipeline_live {
	struct parse_limits limits;
	uint64_t dead_rate;	/* dead-letter bytes a second */
	uint64_t from_all;	/* bit per listener: any source */
	struct ip_list allow[]; /* by listener; none: any source */
};

struct pipeline {
	/* constant after set-up */
	const struct config *cfg;
	const struct handoff *handoff;
	uint32_t worker;
	uint32_t partitions;
	uint32_t dead_letter_bytes;
	uint64_t batch_age_ns;
	uint64_t plain; /* bit per listener: no rate, no chunks, no frames; a datagram is read as it comes */
	enum event_type hint[64];	 /* by listener */
	bool line_split[64];		 /* by listener: ndjson */
	bool chunked[64];		 /* by listener: gelf */
	const struct format *format[64]; /* by listener; next NULL: JSON */
	bool framed[64];		 /* by listener: docs/protocol.md */
	bool acks[64];			 /* by listener: answers are given */
	struct frame_keys *keys;	 /* by listener */
	/* By listener: free batches of a lane that are kept for listeners of higher priority, and the name of
	 * what is dropped for them. */
	uint32_t kept_batches[64];
	enum drop_reason shed[64];
	uint32_t kept_batches_max; /* of all listeners */
	/* in force; looked at once a burst */
	const struct pipeline_live *live;
	/* the ruleset in force */
	struct matcher *matcher;
	uint32_t generation;
	/* the enrichment tables in force; NULL: none. Looked at once a chunk of a burst. */
	const struct enrich_set *enrich;
	/* working memory */
	struct decoder decoder;
	struct enricher *enricher;   /* NULL: nothing is configured */
	struct protector *protector; /* NULL: nothing is configured */
	struct json_parser *parser;
	struct event *event; /* PIPELINE_EVENTS */
	uint8_t *event_listener;
	struct event **accepted, **all; /* PIPELINE_EVENTS; all: of each event, in order */
	uint32_t event_count, refused_count;
	struct producers producers; /* of formats that have them; else empty */
	struct frame frame;	    /* of the datagram at hand, if it has a producer */
	uint8_t *scratch;	    /* a datagram whose mbuf ends too close behind it */
	struct bytes written;	    /* what formats have made of this chunk of the burst: of fixed size */
	struct batch **open;	    /* by partition; NULL = none */
	uint32_t open_count;
	uint32_t drop_delta[DROP_ID_MAX]; /* dropped since a batch was last sealed */
	uint64_t drops_seen[DROP_ID_MAX]; /* part of stats->drops that is in a delta already */
	bool drop_pending;
	struct admit admit;
	struct gelf_chunks chunks;
	/* dead-letter token bucket, in bytes */
	uint64_t dead_tokens, dead_refill_ns;
	struct burst_time now;
	/* ids that are made here: see RECORD_F_ID_WORKER */
	uint64_t id_seed[2], ids_made;
	uint64_t waited_ns; /* for so long the frames of the next burst may have lain in the kernel: set by
			       the worker */
	struct worker_stats *stats;
};

/* Of the configuration, which is not kept; freed by free(). 0, -ENOMEM or, for what config_check() has not
 * seen, -EINVAL. */
int pipeline_live_make(struct pipeline_live **out, const struct config *cfg, struct err *err);

/* Makes the memory. live: in force at first, borrowed as long as it is. Everything in it belongs to the
 * pipeline. Returns 0, -ENOMEM or, for what config_check() has not seen, -EINVAL. */
int pipeline_setup(struct pipeline *pl, const struct config *cfg, const struct pipeline_live *live,
	const struct decode_ports *ports, const struct handoff *handoff, uint32_t worker,
	struct worker_stats *stats, struct err *err);
void pipeline_free(struct pipeline *pl);

/* Takes a burst from frames to batches. mbufs stay the caller's, who frees them after the call. */
void pipeline_burst(struct pipeline *pl, struct rte_mbuf *const *mbuf, uint32_t n, struct burst_time now);

/* Counts frames that do not get into the stages, under a reason of their unit. mbufs stay the caller's. */
void pipeline_drop(struct pipeline *pl, struct rte_mbuf *const *mbuf, uint32_t n, enum drop_reason why,
	struct burst_time now);

/* Seals open batches that are older than the configured age; with `all`, every open batch. Also hands on drop
 * counts that no batch carries yet, and drops fragments and chunks whose time is over. */
void pipeline_seal(struct pipeline *pl, struct burst_time now, bool all);

/* True while pipeline_seal() has something to look at. */
static inline bool pipeline_waits(const struct pipeline *pl)
{
	return pl->open_count || pl->drop_pending || decode_waits(&pl->decoder) || pl->chunks.messages;
}

/* When the oldest open batch is due; UINT64_MAX: none is open. */
uint64_t pipeline_due_ns(const struct pipeline *pl);

/* After the last burst: drops what will not become complete, and seals. */
void pipeline_end(struct pipeline *pl, struct burst_time now);

/* Switches to another ruleset: seals first, since a batch has one generation. */
void pipeline_set_matcher(struct pipeline *pl, struct matcher *matcher, uint32_t generation);

#endif
