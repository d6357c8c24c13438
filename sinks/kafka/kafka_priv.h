/* Shared by the files of this folder. A struct kafka_part belongs to its sink thread: librdkafka calls back
 * into it only from rd_kafka_poll() and calls that poll, hence on that thread too. */
#ifndef SLUICE_KAFKA_PRIV_H
#define SLUICE_KAFKA_PRIV_H

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "event_config.h"
#include "kafka_message.h"
#include "sink.h"

/* A blocking call of librdkafka takes no longer than this; between two the stop deadline is looked at. */
#define KAFKA_SLICE_MS 200

/* A window that rows of the log name. */
struct kafka_window {
	uint64_t uid;
	const struct window_def *def; /* of the plan or the store */
	rd_kafka_topic_t *topic;      /* NULL: its rows are not for Kafka */
};

struct kafka_part {
	struct sink_part *part;
	rd_kafka_t *rk; /* the transactional producer */
	rd_kafka_topic_t *topic[KAFKA_TOPIC_COUNT];
	struct journal_reader *reader;
	struct address at; /* offset: of the record in work */
	char position_key[ADDRESS_TEXT_BYTES];

	uint64_t committed; /* first offset that is not in a committed transaction */
	uint64_t floor;	    /* written beside the journal, at floor_ns */
	uint64_t floor_ns;
	uint64_t next;		/* first offset that the open span does not hold */
	uint64_t span_start_ns; /* when the span's first record was taken, or its first message made */
	bool in_tx;
	uint32_t tx_messages;
	struct sink_tally tally; /* of [committed, next) */
	uint32_t aborts;	 /* in a row */

	/* Written by callbacks. */
	uint32_t failed; /* messages of this transaction that cannot be delivered */
	rd_kafka_resp_err_t failed_err;
	int64_t acked_offset; /* of the message that was acknowledged last */
	char broker_error[256];

	const struct ruleset *rs; /* of rs_generation; borrowed from the store */
	uint32_t rs_generation;
	struct kafka_window *window; /* output log: those that rows have named so far */
	uint32_t window_count;
	rd_kafka_topic_t *topic_window; /* for messages of KAFKA_TOPIC_WINDOW */
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

	return kp->part->log == SINK_LOG_OUTPUT ? cfg->tx_age_output : cfg->tx_age;
}

/* Topic names by enum kafka_topic, from the config; NULL where there is no such event type or it is not
 * wanted. Not to be copied; borrows from cfg. */
struct kafka_names {
	const char *name[KAFKA_TOPIC_COUNT];
	struct event_topics event;
};
int kafka_topic_names(struct kafka_names *names, const struct config_kafka *cfg, struct err *err);

/* Whether records of this log go to a topic of enum kafka_topic. */
static inline bool kafka_topic_of_log(int topic, enum sink_log log)
{
	if (topic == KAFKA_TOPIC_ALERTS || topic == KAFKA_TOPIC_POSITIONS)
		return true;
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
int kafka_conf_set(rd_kafka_conf_t *conf, const char *name, const char *value, struct err *err);
/* Consumes conf in any case. */
rd_kafka_t *kafka_client_new(rd_kafka_type_t type, rd_kafka_conf_t *conf, struct err *err);
/* The transactional producer of kp, with its topic handles. */
int kafka_producer_new(struct kafka_part *kp, struct err *err);
void kafka_producer_free(struct kafka_part *kp);
/* A topic handle of its producer; NULL with err. */
rd_kafka_topic_t *kafka_topic_open(struct kafka_part *kp, const char *name, struct err *err);

/* ---- kafka_topics.c ---- */
int kafka_prepare(const struct sink_env *env, enum sink_log log, struct err *err);
/* One topic of a window, as prepare does for those in force. */
int kafka_topic_make(const struct config_kafka *cfg, const struct window_def *def, struct err *err);

/* ---- kafka_floor.c ---- */
/* A position that was committed once; 0 if none is known. */
uint64_t kafka_floor_read(const struct kafka_part *kp);
/* Writes kp->committed down if some time has passed since the last time, or `now`. A failure is logged. */
void kafka_floor_write(struct kafka_part *kp, bool now);

/* ---- kafka_tx.c: 0, or
 * -EAGAIN     the transaction must be aborted and may then be tried again
 * -EIO        the producer must be made anew, and the committed position read again
 * -EINVAL     refusal
 * -ECANCELED  the stop deadline has passed */
int kafka_tx_init(struct kafka_part *kp, struct err *err);
/* Begins a transaction if none is open. */
int kafka_tx_begin(struct kafka_part *kp, struct err *err);
/* Begins if need be, and hands a copy to librdkafka, waiting while its queue is full. */
int kafka_tx_produce(struct kafka_part *kp, const struct kafka_message *msg, struct err *err);
/* Position record with `next` under `key`. */
int kafka_tx_position(struct kafka_part *kp, const char *key, uint64_t next, struct err *err);
/* Waits for all acknowledgements, commits. */
int kafka_tx_commit(struct kafka_part *kp, struct err *err);
int kafka_tx_abort(struct kafka_part *kp, uint64_t limit_ms, struct err *err);

/* ---- kafka_position.c ---- */
/* After kafka_tx_init(): the newest committed position of this partition. 1: found, 0: none, or as above. */
int kafka_position_find(struct kafka_part *kp, uint64_t *position, struct err *err);

/* ---- kafka_rows.c ---- */
/* A record of the output log: produced, or passed over; counted in the tally. */
int kafka_rows_record(struct kafka_part *kp, const struct record *rec, struct err *err);
void kafka_windows_free(struct kafka_part *kp);

/* ---- kafka_span.c ---- */
/* Takes the block's records from kp->next on into the span; commits where it grows too large. */
int kafka_span_add(struct kafka_part *kp, const struct journal_block *block, struct err *err);
/* True when the span should be committed now. */
bool kafka_span_due(const struct kafka_part *kp);
/* Milliseconds until then, at most `limit`. */
uint32_t kafka_span_wait_ms(const struct kafka_part *kp, uint32_t limit);
int kafka_span_commit(struct kafka_part *kp, struct err *err);
/* Back to the committed position after an abort. */
void kafka_span_reset(struct kafka_part *kp);

#endif
