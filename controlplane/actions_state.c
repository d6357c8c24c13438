/* Commands of the state stage that take their time: checkpoints, rows from memory. Each on a job thread of
 * its own. */
#include "daemon.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "hot.h"
#include "log.h"
#include "row_json.h"

#define CHECKPOINT_TIMEOUT_MS 60000u
#define ROWS_DEFAULT 100u
#define ROWS_MAX 10000u

static bool state_on(const struct daemon *d, struct err *err)
{
	if (!d->state)
		err_set(err, -ENOENT, "the state stage is off: state.enabled");
	return d->state != NULL;
}

static json_t *checkpoint_make(struct daemon *d, const char *savepoint, struct err *err)
{
	uint64_t start_ns = clock_mono_ns();
	struct state_stats stats;
	json_t *list;

	if (!state_on(d, err) || state_checkpoint(d->state, savepoint, CHECKPOINT_TIMEOUT_MS, err) != 0)
		return NULL;
	list = json_array();
	for (uint32_t p = 0; p < journal_partitions(d->journal); p++) {
		struct state_part_stats s;

		state_part_stats(d->state, p, &s);
		json_array_append_new(
			list, json_pack("{s:o, s:o, s:o}", "of", json_sprintf("partition %u", p), "seq",
				      json_u64(s.checkpoint_seq), "bytes", json_u64(s.checkpoint_bytes)));
	}
	state_stats(d->state, &stats);
	json_array_append_new(
		list, json_pack("{s:s, s:o, s:o}", "of", "merge", "seq", json_u64(stats.merge_checkpoint_seq),
			      "bytes", json_u64(stats.merge_checkpoint_bytes)));
	return json_pack("{s:s, s:f, s:o}", "savepoint", savepoint ? savepoint : "", "seconds",
		(double)(clock_mono_ns() - start_ns) / 1e9, "checkpoints", list);
}

json_t *run_checkpoint_now(void *arg, const struct peer *peer, const struct request *rq, struct err *err)
{
	(void)peer;
	(void)rq;
	return checkpoint_make(arg, NULL, err);
}

json_t *run_checkpoint_savepoint(
	void *arg, const struct peer *peer, const struct request *rq, struct err *err)
{
	const char *name = request_text(rq, "name", "");
	json_t *result = checkpoint_make(arg, name, err);

	if (result)
		log_info("state", "savepoint %s by uid=%u", name, (unsigned)peer->uid);
	return result;
}

/* ---- windows rows ---- */

struct rows {
	const struct daemon *daemon;
	const struct window_def *def;
	json_t *list;
	struct bytes text;
	uint64_t windows_left, limit;
	int64_t end_ms; /* of the window under way */
	struct err err;
};

static int rows_each(void *arg, const struct record *rec)
{
	struct rows *r = arg;
	json_t *row;

	if (row_of(rec)->end_ms != r->end_ms) {
		if (!r->windows_left)
			return 1;
		r->windows_left--;
		r->end_ms = row_of(rec)->end_ms;
	}
	if (json_array_size(r->list) >= r->limit)
		return 1;
	bytes_reset(&r->text);
	if (row_put_json(&r->text, rec, r->def, r->daemon->cfg.node.id, &r->err) != 0)
		return -EINVAL;
	row = json_read_back(&r->text);
	if (!row)
		return err_set(&r->err, -ENOMEM, "no memory");
	json_array_append_new(r->list, row);
	return 0;
}

json_t *run_windows_rows(void *arg, const struct peer *peer, const struct request *rq, struct err *err)
{
	struct daemon *d = arg;
	const char *name = request_text(rq, "name", "");
	struct rows r = {.daemon = d,
		.windows_left = request_uint(rq, "last", 1),
		.limit = request_uint(rq, "limit", ROWS_DEFAULT),
		.end_ms = INT64_MIN};
	const struct window_plan *plan;
	int rc;

	(void)peer;
	if (!state_on(d, err))
		return NULL;
	plan = state_plan(d->state);
	for (uint32_t i = 0; i < plan->count && !r.def; i++)
		if (strcmp(plan->def[i]->name, name) == 0)
			r.def = plan->def[i];
	if (!r.def) {
		err_set(err, -ENOENT, "no window '%.60s'; `windows` shows all", name);
		return NULL;
	}
	r.limit = r.limit < ROWS_MAX ? r.limit : ROWS_MAX;
	r.list = json_array();
	rc = hot_each(state_hot(d->state), r.def->uid, INT64_MIN, INT64_MAX, rows_each, &r);
	bytes_free(&r.text);
	if (rc < 0) {
		json_decref(r.list);
		err_set(err, rc, "%s", r.err.text);
		return NULL;
	}
	return json_pack("{s:s, s:o}", "window", name, "rows", r.list);
}
