/* A view: everything that the read commands show, copied at one moment. The commands are functions of a view
 * and of nothing else, so that they can be tested without a data plane. Made and used by the server thread.
 *
 * Counters have one writer each and are copied word by word (relaxed): a view of a running daemon is slightly
 * uneven, one of a quiescent daemon is exact. */
#ifndef SLUICE_VIEW_H
#define SLUICE_VIEW_H

#include <stdbool.h>
#include <stdint.h>

#include "closings.h"
#include "config.h"
#include "acker.h"
#include "dataplane.h"
#include "journal.h"
#include "ruleset.h"
#include "server.h"
#include "sink.h"
#include "state.h"

enum daemon_phase { PHASE_STARTING, PHASE_RUNNING, PHASE_DRAINING, PHASE_STOPPED };
extern const char *const daemon_phase_name[];

/* One (sink, log, partition), with what it still has to deliver. */
struct view_part {
	uint32_t partition;
	uint32_t state; /* enum sink_state */
	uint64_t start, position, parked, found;
	uint64_t events, suppressed, alerts, dead, rows, late, other, held, rejected, refused, bytes, commits,
		retries, errors;
	uint64_t skipped; /* records, by this process */
	struct journal_consumer_stats limits;
	uint64_t lag_events;
	uint64_t lag_bytes; /* estimated from the partition's mean record size */
	int64_t lag_ms;	    /* newest durable record's receive time - newest delivered one's; -1 = unknown */
	bool opened;
	char error[512], note[256];
};

struct view_sink {
	uint32_t group; /* index in the runner's groups and in view_rates.delivered */
	enum sink_log log;
	const char *name;
	uint32_t parts;
	struct view_part *part;
	bool before; /* of the epoch before */
};

struct view_rule {
	struct rule_info info; /* strings borrowed from the ruleset, which outlives the view */
	uint64_t hits;
	/* Its alerts that are closed: of the rule as it is, and as it was before or elsewhere. */
	struct closing_counts closed, closed_others;
};

/* A rule with state, over all partitions of the state stage in which it is in force. */
struct view_rule_state {
	const char *id; /* borrowed from the ruleset */
	uint32_t partitions;
	struct cep_stats sum;
	uint32_t rule; /* index */
};

/* A table of enrichment; its texts are borrowed from the configuration. */
struct view_enrich {
	struct enrich_table_info info;
	uint64_t hits, misses; /* of all workers */
};

#define VIEW_WORKERS_MAX 64

/* Per second, over about the last second. */
struct view_rates {
	double frames, events, accepted, journaled, stage_records;
	double delivered[SINK_GROUP_MAX];
	double busy[VIEW_WORKERS_MAX]; /* 0 to 1 */
};

/* What a restart could not see: between the last durable block and the first frame after. */
struct view_blind {
	int64_t from_ms, until_ms; /* wall clock; from 0: a new journal; until 0: no frame yet */
};

struct view {
	const struct config *cfg;
	const char *node, *journal_dir;
	uint64_t epoch;
	enum daemon_phase phase;
	int64_t now_ms, started_ms; /* wall clock */
	double uptime_seconds;
	bool input_ended;
	struct view_blind blind;
	struct view_rates rate;

	uint32_t workers, ports, partitions, sinks, rules;
	struct worker_stats *worker;
	int worker_node[VIEW_WORKERS_MAX]; /* NUMA; negative: unknown */
	struct port_stats *port;
	struct journal_partition_stats *partition;
	struct journal_partition_stats *base; /* the same as the journal was opened, before it started */
	uint32_t outputs;		      /* partitions of the output log; 0: the state stage is off */
	struct journal_partition_stats *output;
	struct journal_partition_stats *output_base;		/* the same as it was opened */
	struct journal_partition_stats *before[SINK_LOG_COUNT]; /* of the epoch before, or NULL */
	uint32_t state_parts;					/* partitions of the state stage; 0: off */
	struct state_part_stats *state_part;
	struct state_stats state;
	const struct window_plan *plan; /* borrowed */
	struct view_sink sink[SINK_GROUP_MAX];
	struct view_rule *rule;
	uint32_t rule_states; /* 0: no state stage, or no rules with state */
	struct view_rule_state *rule_state;
	struct cep_totals rule_totals;		 /* of all partitions */
	uint32_t generation, patterns, canaries; /* canaries: of the rules */
	char version[32];			 /* of the ruleset */
	uint32_t enrich_tables;			 /* 0: no enrichment */
	struct view_enrich enrich[ENRICH_TABLES_MAX];
	uint64_t enrich_version, enrich_too_long;
	int64_t enrich_loaded_ms;
	uint64_t closings_damaged;
	struct matcher_stats match;
	struct server_stats server;
	struct acker_stats ack;
	uint64_t refused_calls; /* by the filter of system calls */
	uint64_t reserve_bytes, reserve_wanted;
};

void view_free(struct view *v);

/* The partition of the log that a sink's part reads. */
static inline const struct journal_partition_stats *view_part_log(
	const struct view *v, const struct view_sink *sink, const struct view_part *part)
{
	if (sink->before)
		return &v->before[sink->log][part->partition];
	return sink->log == SINK_LOG_OUTPUT ? &v->output[part->partition] : &v->partition[part->partition];
}

/* Sums over workers. */
void view_listener_sum(const struct view *v, uint32_t listener, struct listener_stats *sum);
struct view_totals {
	uint64_t frames, frame_bytes, datagrams, events, accepted, refused, refused_kept, dropped, shadows;
	uint64_t journaled;  /* RECORD_EVENT made durable by this process */
	uint64_t duplicates; /* by this process */
	uint64_t busy_cycles, idle_cycles;
};
void view_totals(const struct view *v, struct view_totals *sum);
/* A reason's count in this process: by the workers and by the partitions' writers. */
uint64_t view_drop(const struct view *v, enum drop_reason reason);
/* True for reasons that a partition's writer counts, not a worker. */
bool view_drop_is_journal(enum drop_reason reason);
/* Records of a kind that this process made durable in a partition. */
uint64_t view_records(const struct view *v, uint32_t partition, unsigned kind);

#endif
