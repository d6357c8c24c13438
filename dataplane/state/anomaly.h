/* Unusual values of merged windows: what a definition's `anomaly` text says, the baselines of its groups, and
 * the verdict on each new value. Pure; owned by the merge, used by its thread alone.
 *
 * Text: detectors separated by semicolons. LABEL is the label of a numeric value of the window
 * (agg_values()), K how many standard deviations are too many (0.1 to 1000). zscore(LABEL,N,K) against mean
 * and deviation of the group's last N values (N: 5 to 10000) ewma(LABEL,ALPHA,K)       against exponentially
 * weighted mean and variance (ALPHA: 0.001 to 0.999) seasonal(LABEL,PERIOD,K)  against the values at the same
 * place of up to 7 periods before (as 1h, 1d)
 *
 * A value x is unusual if |x - mean| > K * sd; it is judged by what came before it, then becomes a part of
 * it. Nothing is judged by less than max(5, N/2) values (zscore), max(5, 1/ALPHA) (ewma), 3 (seasonal). sd is
 * the population deviation, and at least
 *   counts (count, distinct)  sqrt(max(mean, 1)): what counting alone varies by (Poisson)
 *   shares (error_rate)       0.01
 *   other values              1 % of |mean|
 *
 * Windows without a row of the group: a count there is 0, and is taken as such when the group's next row
 * comes (so a group that falls silent raises nothing while it is silent); other labels have no value there.
 * A group begins with its first row; sessions and late windows that are older than the group's last one leave
 * no gaps. The group `other` is not judged: what is in it changes.
 *
 * Sources: z-score, Shewhart 1931; EWMA variance, Finch 2009 (incremental calculation of weighted mean and
 * variance). */
#ifndef SLUICE_ANOMALY_H
#define SLUICE_ANOMALY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agg.h"
#include "bytes.h"
#include "err.h"
#include "window.h"

#define ANOMALY_MAX 8 /* detectors of a window */
#define ANOMALY_TEXT_BYTES 128
#define ANOMALY_PERIODS 7
#define ANOMALY_SEASONAL_MIN 3
#define ANOMALY_VALUE_MAX 1e150		/* a larger value (or none at all) is neither judged nor taken */
#define ANOMALY_TIME_MAX_MS (1ll << 53) /* of a window's end, either side of 0; the caller's care */
#define ANOMALY_SLOTS_MAX 20160		/* windows in a period: two weeks of minutes */

enum anomaly_kind { ANOMALY_ZSCORE, ANOMALY_EWMA, ANOMALY_SEASONAL };
extern const char *const anomaly_kind_name[];
enum anomaly_scale { ANOMALY_COUNT, ANOMALY_SHARE, ANOMALY_VALUE };

struct anomaly_spec {
	enum anomaly_kind kind;
	enum anomaly_scale scale;
	char label[AGG_LABEL_BYTES + 8];
	char text[ANOMALY_TEXT_BYTES]; /* without spaces: names the detector in alert ids */
	uint32_t samples;	       /* zscore: N */
	double alpha;		       /* ewma */
	int64_t period_ms;	       /* seasonal */
	double factor;		       /* K */
};

struct anomaly_set {
	uint32_t count;
	struct anomaly_spec spec[ANOMALY_MAX];
};

/* Empty text: no detectors. -EINVAL: err names the detector and what is expected. */
int anomaly_set_parse(struct anomaly_set *out, const char *text, const struct agg_set *aggs, struct err *err);

/* Distance of a definition's windows; 0: they have no grid (sessions). */
int64_t anomaly_slide_ms(const struct window_def *def);

/* ---- one detector of one group ---- */

struct anomaly_season { /* values of one period */
	int64_t period;
	double *value; /* of each slot; NaN: none. NULL: not in use */
};

struct anomaly_base {
	uint64_t count; /* values taken; zscore: in the ring */
	uint32_t at;	/* zscore: place of the oldest */
	double mean, variance;
	double *ring;
	struct anomaly_season *season; /* ANOMALY_PERIODS + 1 of them, by period number */
};

struct anomaly_sample {
	double value;
	int64_t end_ms;
	int64_t first_end_ms; /* of the group's first window */
	int64_t slide_ms;     /* 0: windows have no grid */
	uint64_t missing;     /* windows of the grid between the group's last one and this one */
};

struct anomaly_verdict {
	bool unusual;
	double expected, deviation, score; /* score: |value - expected| / deviation */
};

/* Makes an empty one; false: no memory. */
bool anomaly_base_init(const struct anomaly_spec *spec, struct anomaly_base *b);
void anomaly_base_free(struct anomaly_base *b);
/* Logical bytes of one that has grown to its full size. */
size_t anomaly_base_bytes(const struct anomaly_spec *spec, int64_t slide_ms);
/* Windows in a period; 0: seasons of this length do not fit windows of this distance, and judge nothing. */
uint32_t anomaly_season_slots(const struct anomaly_spec *spec, int64_t slide_ms);
/* Judges and takes a value. False: no memory. */
bool anomaly_base_take(const struct anomaly_spec *spec, struct anomaly_base *b,
	const struct anomaly_sample *s, struct anomaly_verdict *v);
void anomaly_base_save(
	const struct anomaly_spec *spec, const struct anomaly_base *b, int64_t slide_ms, struct bytes *out);
struct cursor;
/* Into an empty one, of a group whose last window ended at last_end_ms. -EINVAL: not what a save makes;
 * -ENOMEM. Hostile bytes are refused. */
int anomaly_base_load(const struct anomaly_spec *spec, struct anomaly_base *b, int64_t slide_ms,
	int64_t last_end_ms, struct cursor *c);

/* ---- the groups of all windows ---- */

struct anomaly_alert {
	const struct anomaly_spec *spec;
	struct anomaly_verdict verdict;
	double value;
	uint64_t events; /* of the window; 0 if it has no plain count */
};

struct anomaly_stats {
	uint64_t groups, bytes;
	uint64_t evicted; /* groups forgotten for newer ones, or that a load had no room for */
	uint64_t refused; /* rows of groups that found no room: all others were of the latest windows */
};

struct anomaly;
/* Groups of a window: at most its keys_max * partitions; all together: at most bytes_max logical bytes.
 * Beyond that the group that was updated longest ago goes; but if even that one was seen in the last two
 * windows of its definition, the new one is refused: else a table that is a little too small would know
 * nobody. */
struct anomaly *anomaly_new(size_t bytes_max, uint32_t partitions);
void anomaly_free(struct anomaly *a);
/* From here on another bytes_max: groups that have no room any more go, the longest ago updated first. */
void anomaly_bound(struct anomaly *a, size_t bytes_max);
const struct anomaly_stats *anomaly_stats(const struct anomaly *a);

/* A merged row of revision 0: its key and packed aggregates. out: room for ANOMALY_MAX. Returns how many
 * alerts, -EBADMSG for bytes that are no packed cell, -ENOMEM, -EINVAL for a text that cannot be parsed. */
struct anomaly_row {
	int64_t end_ms;
	const uint8_t *key, *agg;
	uint32_t key_bytes, agg_bytes;
};
int anomaly_take(struct anomaly *a, const struct window_def *def, const struct anomaly_row *row,
	struct anomaly_alert *out, struct err *err);

void anomaly_save(const struct anomaly *a, struct bytes *out);
/* Into a fresh one. Groups of windows that `window` does not know are left out; those that find no room (the
 * one that was saved had more) are evicted. */
int anomaly_load(struct anomaly *a, struct cursor *c,
	const struct window_def *(*window)(void *arg, uint64_t uid), void *arg, struct err *err);

#endif
