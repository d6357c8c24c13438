/* Shared by the files of this folder. A struct kafka_part belongs to its sink thread, and so does its struct
 * kafka_producer: librdkafka calls back into it only from rd_kafka_poll() and calls that poll. */
#ifndef SLUICE_KAFKA_PRIV_H
#define SLUICE_KAFKA_PRIV_H

#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "event_config.h"
#include "kafka_message.h"
#include "sink_alerts.h"

/* A blocking call of librdkafka takes no longer than this; between two the stop deadline is looked at. */
#define KAFKA_SLICE_MS 200

#define KAFKA_BROKER_ERROR_BYTES 256
#define KAFKA_ABORT_LIMIT_MS 30000u /* for one abort */
#define KAFKA_LEFT_NAME_BYTES 256   /* of a topic: at most 249 */

/* A window that rows of the log name. */
struct kafka_window {
	uint64_t uid;
	const struct window_def *def; /* of the plan or the store */
	rd_kafka_topic_t *topic;      /* NULL: its rows are not for Kafka */
};

/* A topic that rules send events to. */
struct kafka_route {
	char *name;
	rd_kafka_topic_t *topic;
};

/* What a part delivers: everything but alerts, or alerts alone, by transactions of their own that wait for
 * nothing else. Each has its transactional ids, its positions and its floor, all named after it. */
enum kafka_lane { KAFKA_LANE_MAIN, KAFKA_LANE_ALERTS, KAFKA_LANE_COUNT };
extern const char *const kafka_lane_name[];

struct kafka_part;

/* As in config.def. */
enum kafka_security {
	KAFKA_SECURITY_PLAINTEXT,
	KAFKA_SECURITY_SSL,
	KAFKA_SECURITY_SASL_PLAINTEXT,
	KAFKA_SECURITY_SASL_SSL
};
enum kafka_mode { KAFKA_MODE_EXACTLY_ONCE, KAFKA_MODE_AT_LEAST_ONCE };

/* A transactional producer, or, `plain`, an idempotent one: its "transaction" is what goes out before a
 * position. */
struct kafka_producer {
	struct kafka_part *kp;
	rd_kafka_t *rk;
	rd_kafka_topic_t *topic[KAFKA_TOPIC_COUNT];
	bool plain;
	bool in_tx;
	uint32_t messages; /* of the transaction */
	/* Written by callbacks. */
	uint32_t failed; /* messages of this transaction that cannot be delivered */
	rd_kafka_resp_err_t failed_err;
	int64_t acked_offset; /* of the message that was acknowledged last */
	char broker_error[KAFKA_BROKER_ERROR_BYTES];
	struct kafka_trace *trace; /* NULL, but when latency is measured */
};

struct kafka_part {
	struct sink_part *part;
	enum kafka_lane lane;
	struct kafka_producer tx; /* one: its commits are waited for (docs/decisions/0007-alerts-lane.md) */
	struct journal_reader *reader;
	struct address at; /* offset: of the record in work */
	char position_key[ADDRESS_TEXT_BYTES];

	uint64_t committed; /* first offset that is not known to be in a committed transaction: of the open
			       span */
	uint64_t floor;	    /* written beside the journal, at floor_ns */
	uint64_t floor_ns;
	uint64_t next;		/* first offset that the open span does not hold */
	uint64_t durable_ns;	/* traced: when the block in work was durable, or seen if it came from disk */
	uint64_t commit_ms;	/* how long the last commit took */
	uint64_t span_start_ns; /* when the span's first record was taken, or its first message made */
	uint32_t headers;	/* of accepted events */
	struct sink_tally tally; /* of [committed, next) */
	uint32_t aborts;	 /* in a row */

	struct ruleset_stand rules;
	struct kafka_window *window; /* output log: those that rows have named so far */
	uint32_t window_count;
	struct kafka_route *route; /* input: those that events have gone to so far */
	uint32_t route_count;
	rd_kafka_topic_t *topic_named; /* for messages of KAFKA_TOPIC_NAMED */
	struct address input; /* output log: that of the input that late events and evidence are in */
	struct bytes json;
	struct kafka_message msg;
};

static inline const struct config_kafka *kafka_config(const struct kafka_part *kp)
{
	return &kp->part->env->cfg->kafka;
}

/* Age at which a transaction with messages is committed. */
static inline uint64_t kafka_age_ms(const struct kafka_part *kp)
{
	const struct config_kafka *cfg = kafka_config(kp);

	if (kp->lane == KAFKA_LANE_ALERTS)
		return cfg->tx_age_alerts;
	return kp->part->log == SINK_LOG_OUTPUT ? cfg->tx_age_output : cfg->tx_age;
}

/* Topic names by enum kafka_topic, from the config; NULL where there is no such event type or it is not
 * wanted. Not to be copied; borrows from cfg. */
struct kafka_names {
	const char *name[KAFKA_TOPIC_COUNT];
	struct event_topics event;
};
int kafka_topic_names(struct kafka_names *names, const struct config_kafka *cfg, struct err *err);

/* Whether a lane sends records of this log to a topic of enum kafka_topic. */
static inline bool kafka_topic_of(int topic, enum kafka_lane lane, enum sink_log log)
{
	if (topic == KAFKA_TOPIC_POSITIONS)
		return true;
	if (lane == KAFKA_LANE_ALERTS || topic == KAFKA_TOPIC_ALERTS)
		return lane == KAFKA_LANE_ALERTS && topic == KAFKA_TOPIC_ALERTS;
	return (topic == KAFKA_TOPIC_LATE) == (log == SINK_LOG_OUTPUT);
}

/* Name of a window's topic. */
static inline void kafka_window_topic(
	char *out, size_t bytes, const struct config_kafka *cfg, const struct window_def *def)
{
	snprintf(out, bytes, "%.180s%.63s", cfg->topic_aggregates, def->name);
}

/* ---- kafka_conf.c ---- */
/* Brokers, options and log for any kind of client. NULL with err. */
rd_kafka_conf_t *kafka_conf_new(const struct config_kafka *cfg, struct err *err);
/* Of sink_ops. */
int kafka_check(const struct config *cfg, struct err *err);
/* ---- kafka_security.c ---- */
/* Whether TLS is spoken because of kafka.security. */
bool kafka_security_tls(const struct config_kafka *cfg);
int kafka_security_set(rd_kafka_conf_t *conf, const struct config_kafka *cfg, struct err *err);

int kafka_conf_set(rd_kafka_conf_t *conf, const char *name, const char *value, struct err *err);
/* Consumes conf in any case. */
rd_kafka_t *kafka_client_new(rd_kafka_type_t type, rd_kafka_conf_t *conf, struct err *err);
/* For an error_cb: remembers what a broker said last. That all are down says less than why. */
void kafka_broker_error(char text[KAFKA_BROKER_ERROR_BYTES], int code, const char *reason);
/* The producer of kp, with its topic handles: transactional, unless kp->tx.plain. */
int kafka_producer_new(struct kafka_part *kp, struct err *err);
void kafka_producer_free(struct kafka_part *kp);
/* A topic handle of a producer; NULL with err. */
rd_kafka_topic_t *kafka_topic_open(struct kafka_producer *tx, const char *name, struct err *err);

/* ---- kafka_topics.c ---- */
int kafka_topics_prepare(
	const struct sink_env *env, enum kafka_lane lane, enum sink_log log, struct err *err);
/* One topic of a window, as prepare does for those in force. */
int kafka_topic_make(const struct config_kafka *cfg, const struct window_def *def, struct err *err);

/* One that a rule names. */
int kafka_topic_make_route(const struct config_kafka *cfg, const char *name, struct err *err);
/* -EINVAL with err: a window whose topic other records have, too. */
int kafka_window_check(const struct config_kafka *cfg, const struct window_def *def, struct err *err);

/* ---- kafka_left.c ---- */
/* Before the producer is closed: notes a transaction that is open. After kafka_resume(): ends what such a one
 * may have left open, unless the position says that it was committed. 0, -ECANCELED or -EIO. */
void kafka_left_note(struct kafka_part *kp);
int kafka_left_end(struct kafka_part *kp, uint64_t position, struct err *err);

/* ---- kafka_route.c ---- */
/* The rule that sends the event elsewhere, the first of those that hit; its topic is then kp->topic_named.
 * NULL: none does. 0 or an error of kafka_tx.c. */
int kafka_route_of(struct kafka_part *kp, const struct record *rec, uint32_t generation, const char **rule_id,
	struct err *err);
/* Whether a rule of the generation sends events elsewhere, or it is not known. */
bool kafka_routes(struct kafka_part *kp, uint32_t generation);
void kafka_routes_free(struct kafka_part *kp);

/* ---- kafka_floor.c ---- */
/* A position that was committed once; 0 if none is known. */
uint64_t kafka_floor_read(const struct kafka_part *kp);
/* Writes a committed position down if some time has passed since the last time, or `now`. A failure is
 * logged. */
void kafka_floor_write(struct kafka_part *kp, uint64_t committed, bool now);

/* ---- kafka_tx.c: 0, or
 * -EAGAIN     the transaction must be aborted and may then be tried again
 * -EIO        the producer must be made anew, and the committed position read again
 * -EINVAL     refusal
 * -ECANCELED  the stop deadline has passed */
/* Whoever had the producer's id before is fenced, and what he had open is decided. */
int kafka_tx_init(struct kafka_part *kp, struct err *err);
/* Begins a transaction if none is open. */
int kafka_tx_begin(struct kafka_part *kp, struct err *err);
/* Begins if need be, and hands a copy to librdkafka, waiting while its queue is full. */
int kafka_tx_produce(struct kafka_part *kp, const struct kafka_message *msg, struct err *err);
/* Position record with `next` under `key`. */
int kafka_tx_position(struct kafka_part *kp, const char *key, uint64_t next, struct err *err);
/* Waits for all acknowledgements, commits. */
int kafka_tx_commit(struct kafka_producer *tx, struct err *err);
/* Until every message is acknowledged. */
int kafka_tx_flush(struct kafka_producer *tx, struct err *err);
/* A record without content to one partition, of a transaction that is to be aborted. */
int kafka_tx_empty(struct kafka_part *kp, rd_kafka_topic_t *topic, int32_t partition, struct err *err);
/* What is open. */
int kafka_tx_abort(struct kafka_part *kp, uint64_t limit_ms, struct err *err);
/* Passes crash_point("<lane>_<step>"). */
void kafka_crash_point(const struct kafka_part *kp, const char *step);

/* ---- kafka_position.c ---- */
struct kafka_position {
	bool found;
	uint32_t version; /* of its text: 1 stands for a lane that sent alerts, too */
	uint64_t next;
};
/* After kafka_tx_init(): the newest committed positions of this partition, by lane. -EINVAL: kp's own is
 * nothing to go on from, or it has none and the other's cannot be read. */
int kafka_position_find(
	struct kafka_part *kp, struct kafka_position position[KAFKA_LANE_COUNT], struct err *err);
/* The key of a lane's position in kp's partition. */
void kafka_position_key(const struct kafka_part *kp, enum kafka_lane lane, char out[ADDRESS_TEXT_BYTES]);

/* ---- kafka_resume.c ---- */
/* Ends what an instance before has left open, and no more. kp: as for kafka_resume(). */
int kafka_fence(struct kafka_part *kp, struct err *err);
/* Makes the producer, fences, and finds where to go on: refuses what would lose or double. */
int kafka_resume(struct kafka_part *kp, uint64_t *position, struct err *err);

/* ---- kafka_alerts.c ---- */
/* A record of either log, in the lane of alerts: its alerts are produced, and it is counted. */
int kafka_alerts_record(
	struct kafka_part *kp, const struct record *rec, uint32_t generation, struct err *err);

/* ---- kafka_rows.c ---- */
/* A record of the output log: produced, or passed over; counted in the tally. */
int kafka_rows_record(struct kafka_part *kp, const struct record *rec, struct err *err);
void kafka_windows_free(struct kafka_part *kp);

/* ---- kafka_trace.c: for perf/alert_latency.py ---- */
void kafka_trace_open(struct kafka_producer *tx);
void kafka_trace_close(struct kafka_producer *tx);
/* Nanoseconds of the wall clock; 0: nothing is traced. */
uint64_t kafka_trace_durable(const struct kafka_producer *tx, uint64_t durable_ns);
/* A message's number for kafka_trace_acked(); 0: it is not traced. */
uint32_t kafka_trace_sent(struct kafka_producer *tx, const struct kafka_message *msg);
void kafka_trace_acked(struct kafka_producer *tx, const void *number);
void kafka_trace_ended(struct kafka_producer *tx, bool committed);

/* ---- kafka_span.c ---- */
/* Filter of the part's reader: false of a block of which no record becomes a message of this lane. */
bool kafka_span_wants(void *arg, const struct journal_block *block);
uint32_t kafka_span_wakes(const struct kafka_part *kp);
/* Takes the block's records from kp->next on into the span; commits where it grows too large. */
int kafka_span_add(struct kafka_part *kp, const struct journal_block *block, struct err *err);
/* True when the span should be committed now. */
bool kafka_span_due(const struct kafka_part *kp);
/* Milliseconds until then, at most `limit`. */
uint32_t kafka_span_wait_ms(const struct kafka_part *kp, uint32_t limit);
/* Commits it, with the position behind it. */
int kafka_span_commit(struct kafka_part *kp, struct err *err);
/* Back to the committed position after an abort. */
void kafka_span_reset(struct kafka_part *kp);

#endif
