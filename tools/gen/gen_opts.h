/* Options of sluice-gen. Read once by main, then constant. */
#ifndef SLUICE_GEN_OPTS_H
#define SLUICE_GEN_OPTS_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "event.h"

#define GEN_START_CLOCK INT64_MIN /* start_ts_ms: event times follow the wall clock */

struct gen_opts {
	uint64_t seed;
	uint32_t mix[EVENT_TYPE_MAX]; /* weights */
	uint32_t users, pages, devices;
	double zipf;
	uint32_t disorder_ms;
	double late; /* share of events that lie late_by_ms further back */
	uint32_t late_by_ms;
	uint32_t dup_permille, bad_permille, fraud_permille, noid_permille;
	uint32_t escape_permille, utf8_permille, extra_permille;
	uint64_t bad_kinds; /* bit per enum gen_bad_kind */
	int64_t start_ts_ms;
	uint64_t count;	      /* 0: no limit */
	uint64_t duration_ms; /* 0: no limit */
	uint64_t rate;	      /* events a second; 0: as fast as it goes */
	uint64_t ts_rate;     /* of event time, with start_ts_ms; 0: rate */
	uint32_t scenarios;   /* at a time; not 0: the rate is known, and events beside them are calm */
	uint32_t events_per_datagram, mtu;
	uint32_t flows; /* source ports */
	bool progress;
	const char *lines;						/* NULL: events are made */
	const char *udp, *pcap, *file, *truth, *clock, *scenario_truth; /* NULL: not wanted */
	const char *src, *dst, *src_mac, *dst_mac;			/* of pcap frames */
};

/* Events a second of event time; 0: not known. */
static inline uint64_t gen_opts_rate(const struct gen_opts *o)
{
	return o->start_ts_ms != GEN_START_CLOCK && o->ts_rate ? o->ts_rate : o->rate;
}

/* In calm traffic a user waits for so long before the next event of a kind. */
#define GEN_CALM_WEB_MS 2000
#define GEN_CALM_CUSTOM_MS 10000
#define GEN_CALM_PAY_MS 15000

enum gen_opts_result { GEN_OPTS_RUN, GEN_OPTS_HELP, GEN_OPTS_VERSION, GEN_OPTS_WRONG };

/* Texts point into argv. On GEN_OPTS_WRONG err says what is wrong. */
enum gen_opts_result gen_opts_parse(struct gen_opts *o, int argc, char **argv, struct err *err);
void gen_opts_help(void);

#endif
