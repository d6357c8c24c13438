/* `rules try`: rule files over the events of a journal, beside the rules that are in force. Reads the data
 * directory only; live traffic is not touched. One thread. What is compared, and how: rules_try.h. */
#include "cli.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "config_table.h"
#include "journal.h"
#include "row_json.h"
#include "rules_try.h"
#include "value_text.h"

#define EVENTS_SHOWN 3u
#define AHEAD_MS 300000 /* the journal of a clock that is ahead of this one is read, too */

static const char *const side_name[] = {[TRY_NOW] = "now", [TRY_THEN] = "then"};
static const char *const change_name[] = {[TRY_NOW] = "lost", [TRY_THEN] = "gained"};

struct try_cli {
	const struct cli *cli;
	struct journal_meta meta;
	struct rules_try_params params;
	struct rules_try_result result;
	uint32_t generation;
	json_t *faults;
};

static void try_fault(void *arg, const char *text)
{
	struct try_cli *c = arg;

	json_array_append_new(c->faults, json_text(text));
}

static void try_progress(void *arg, const struct rules_try_progress *now)
{
	json_t *at = json_time(now->receive_ms);

	(void)arg;
	fprintf(stderr, "rules try: %" PRIu64 " events, %.0f a second, received up to %s\n", now->events,
		now->seconds > 0 ? (double)now->events / now->seconds : 0.0,
		json_is_string(at) ? json_string_value(at) : "-");
	json_decref(at);
}

/* ---- options ---- */
static int duration_arg(const struct cli *cli, const char *name, int64_t *out, struct err *err)
{
	const char *text = json_string_value(json_object_get(cli->args, name));
	uint64_t ms;

	if (!text)
		return 0;
	if (!config_duration(text, &ms) || ms > INT64_MAX)
		return err_set(err, -EINVAL, "--%s: '%.40s': expected a duration, as 15m or 1h", name, text);
	*out = (int64_t)ms;
	return 0;
}

static int try_times(struct try_cli *c, struct err *err)
{
	struct rules_try_params *params = &c->params;
	const json_t *events = json_object_get(c->cli->args, "events");
	int64_t now_ms = clock_wall_ms(), last_ms = -1;
	int rc = cli_time_arg(c->cli, "from", INT64_MIN, &params->from_ms, err);

	if (rc == 0)
		rc = cli_time_arg(c->cli, "to", now_ms + AHEAD_MS, &params->to_ms, err);
	if (rc == 0)
		rc = duration_arg(c->cli, "last", &last_ms, err);
	params->warm_up_ms = -1;
	if (rc == 0)
		rc = duration_arg(c->cli, "warm-up", &params->warm_up_ms, err);
	params->examples = events ? (uint64_t)json_integer_value(events) : EVENTS_SHOWN;
	if (rc || last_ms < 0)
		return rc;
	if (params->from_ms != INT64_MIN)
		return err_set(err, -EINVAL, "--last and --from: one of them");
	params->from_ms = now_ms - last_ms;
	return 0;
}

/* Time settings for a journal that does not say how it was. */
static int try_config(struct try_cli *c, struct config *cfg, struct err *err)
{
	const char *path = json_string_value(json_object_get(c->cli->args, "config"));
	int rc = 0;

	config_defaults(cfg);
	if (path)
		rc = config_load(cfg, path, err);
	c->params.out_of_orderness_ms = cfg->time.out_of_orderness;
	c->params.step_ms = (int64_t)cfg->state.step;
	return rc;
}

/* ---- result ---- */
static json_t *row_json(const struct rules_try_row *row)
{
	json_t *out = json_pack("{s:s, s:o, s:o, s:o, s:o, s:o}", "rule", row->id, "now",
		json_u64(row->alerts[TRY_NOW]), "then", json_u64(row->alerts[TRY_THEN]), "gained",
		json_u64(row->gained), "lost", json_u64(row->lost), "same",
		json_u64(row->alerts[TRY_THEN] - row->gained));

	json_object_set_new(out, "keys_gained", row->stateful ? json_u64(row->keys_gained) : json_null());
	json_object_set_new(out, "keys_lost", row->stateful ? json_u64(row->keys_lost) : json_null());
	json_object_set_new(out, "keys_same", row->stateful ? json_u64(row->keys_same) : json_null());
	return out;
}

static double per_event(const struct rules_try_result *r, uint64_t ns)
{
	uint64_t events = r->events + r->warm_up_events;

	return events ? (double)ns / (double)events : 0.0;
}

static json_t *side_json(const struct try_cli *c, enum rules_try_side side)
{
	const struct rules_try_result *r = &c->result;
	const struct ruleset *rs = c->params.rules[side];
	uint64_t alerts = 0;
	json_t *out;

	for (uint32_t i = 0; i < r->row_count; i++)
		alerts += r->row[i].alerts[side];
	out = json_pack("{s:o, s:s, s:I, s:I, s:o}", "generation",
		side == TRY_NOW ? json_integer(c->generation) : json_null(), "version", ruleset_version(rs),
		"rules", (json_int_t)ruleset_rule_count(rs), "with_state",
		(json_int_t)ruleset_state_count(rs), "alerts", json_u64(alerts));
	json_object_set_new(out, "ns_event", json_real(per_event(r, r->match_ns[side] + r->state_ns[side])));
	json_object_set_new(out, "ns_match", json_real(per_event(r, r->match_ns[side])));
	json_object_set_new(out, "ns_state", json_real(per_event(r, r->state_ns[side])));
	json_object_set_new(out, "keys", json_u64(r->keys[side]));
	json_object_set_new(out, "memory", json_u64(r->memory_bytes[side]));
	json_object_set_new(out, "placed_by_journal", json_u64(r->placed[side]));
	json_object_set_new(out, "placed_by_time", json_u64(r->timed[side]));
	json_object_set_new(out, "place_not_found", json_u64(r->missed[side]));
	return out;
}

static json_t *event_json(const struct rules_try_row *row, const struct rules_try_example *e)
{
	char id[UUID_TEXT_BYTES];

	uuid_text(id, e->event_id);
	return json_pack("{s:s, s:s, s:s, s:s, s:o, s:I, s:o}", "rule", row->id, "alert",
		change_name[e->side], "event_id", id, "type",
		type_table[e->type].name ? type_table[e->type].name : "", "time", json_time(e->time_ms),
		"partition", (json_int_t)e->partition, "offset", json_u64(e->offset));
}

/* As Kafka would have it, but for the generation, which there is none of. */
static json_t *alert_json(
	const struct try_cli *c, const struct rules_try_row *row, const struct rules_try_example *e)
{
	json_t *out = json_pack("{s:s, s:s}", "rule", row->id, "alert", change_name[e->side]), *alert;
	struct bytes text = {0};

	row_alert_put_json(&text, e->alert, "", c->meta.node, c->meta.epoch);
	alert = json_read_back(&text);
	bytes_free(&text);
	for (const char *const *gone =
			(const char *const[]){"rule_id", "generation", "type", "window", "node", NULL};
		alert && *gone; gone++)
		json_object_del(alert, *gone);
	if (alert)
		json_object_update(out, alert);
	json_decref(alert);
	if (!c->cli->json) /* for people: what fits a line; the rest with --json */
		for (const char *const *gone = (const char *const[]){"title", "severity", "ruleset",
			     "evidence", "event_ids", "score", NULL};
			*gone; gone++)
			json_object_del(out, *gone);
	return out;
}

/* What the end of the range leaves undecided, and what state cost, of rules that have any of it. */
static json_t *state_json(const struct rules_try_result *r)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < r->row_count; i++)
		for (int s = 0; s < TRY_SIDES; s++) {
			const struct rules_try_row *row = &r->row[i];

			if (row->waiting[s] || row->partials[s] || row->late[s] || row->evictions[s] ||
				row->cut[s])
				json_array_append_new(list,
					json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:o}", "rule", row->id,
						"side", side_name[s], "waiting", json_u64(row->waiting[s]),
						"partials", json_u64(row->partials[s]), "late",
						json_u64(row->late[s]), "evicted",
						json_u64(row->evictions[s]), "cut", json_u64(row->cut[s])));
		}
	return list;
}

static json_t *try_json(const struct try_cli *c)
{
	const struct rules_try_result *r = &c->result;
	json_t *rows = json_array(), *events = json_array(), *alerts = json_array(), *out;
	uint64_t all = r->events + r->warm_up_events;

	for (uint32_t i = 0; i < r->row_count; i++) {
		const struct rules_try_row *row = &r->row[i];

		if (row->alerts[TRY_NOW] || row->alerts[TRY_THEN])
			json_array_append_new(rows, row_json(row));
		for (uint32_t k = 0; k < row->example_count && k < c->params.examples; k++)
			json_array_append_new(row->example[k].alert ? alerts : events,
				row->example[k].alert ? alert_json(c, row, &row->example[k])
						      : event_json(row, &row->example[k]));
	}
	out = json_pack("{s:o, s:o, s:f, s:f, s:o, s:o}", "events", json_u64(r->events), "warm_up_events",
		json_u64(r->warm_up_events), "seconds", r->seconds, "events_per_s",
		r->seconds > 0 ? (double)all / r->seconds : 0.0, "now", side_json(c, TRY_NOW), "then",
		side_json(c, TRY_THEN));
	json_object_set_new(out, "time",
		json_pack("{s:o, s:o, s:o, s:I, s:o, s:s}", "from", json_time(c->params.from_ms),
			"warm_up_from", json_time(r->start_ms), "watermark",
			json_time(r->lowest_watermark_ms), "step_ms", (json_int_t)r->step_ms,
			"out_of_orderness_ms", json_u64(r->out_of_orderness_ms), "settings_of",
			r->terms_known ? "journal" : "configuration"));
	json_object_set_new(out, "trimmed", json_u64(r->trimmed));
	json_object_set_new(out, "not_paired", json_u64(r->unpaired));
	json_object_set_new(out, "alerts", rows);
	json_object_set_new(out, "differences", events);
	json_object_set_new(out, "differences_with_state", alerts);
	json_object_set_new(out, "state", state_json(r));
	json_object_set(out, "faults", c->faults);
	return out;
}

/* ---- the command ---- */

/* A canary beside the rules in force alerts nothing: its state and its cost are not those of `now`. */
static int canary_drop(struct ruleset **rs, uint32_t patterns_max, struct err *err)
{
	struct ruleset *with = *rs;
	int rc;

	if (!ruleset_canary_count(with))
		return 0;
	rc = ruleset_part(rs, with, false, patterns_max, err);
	ruleset_free(with);
	if (rc == 0 && ruleset_expire(*rs, clock_wall_ms(), err) < 0)
		rc = -ENOMEM;
	return rc;
}

static int try_rulesets(
	struct try_cli *c, const char *data_dir, struct ruleset **now, struct ruleset **then, struct err *err)
{
	uint32_t patterns;
	struct config cfg;
	int rc = try_config(c, &cfg, err);

	if (rc == 0)
		rc = ruleset_store_open(&c->params.store, data_dir, err);
	patterns = (uint32_t)cfg.rules.patterns_max;
	c->generation = (uint32_t)json_integer_value(json_object_get(c->cli->args, "against"));
	if (rc == 0 && !c->generation)
		c->generation = ruleset_store_newest(c->params.store);
	if (rc == 0)
		rc = ruleset_store_load(c->params.store, c->generation, patterns, now, err);
	rc = rc ? rc : canary_drop(now, patterns, err);
	if (rc == 0 && !(*then = cli_files_compile(c->cli, err)))
		rc = -EINVAL;
	if (rc == 0 && ruleset_expire(*then, clock_wall_ms(), err) < 0)
		rc = -ENOMEM;
	c->params.rules[TRY_NOW] = *now;
	c->params.rules[TRY_THEN] = *then;
	return rc;
}

static int try_do(struct try_cli *c, const char *data_dir, FILE *out, struct err *err)
{
	struct ruleset *now = NULL, *then = NULL;
	char journal_dir[4200], checkpoint_dir[4200];
	int rc;

	snprintf(journal_dir, sizeof journal_dir, "%s/journal", data_dir);
	snprintf(checkpoint_dir, sizeof checkpoint_dir, "%s/state/checkpoints", data_dir);
	c->params.journal_dir = journal_dir;
	c->params.checkpoint_dir = checkpoint_dir;
	c->params.progress = try_progress;
	c->params.fault = try_fault;
	c->params.arg = c;
	/* first: what has no journal gets no directory of rulesets either */
	rc = journal_meta_read(journal_dir, &c->meta, err);
	if (rc == 0)
		rc = try_times(c, err);
	if (rc == 0)
		rc = try_rulesets(c, data_dir, &now, &then, err);
	if (rc == 0) {
		rc = rules_try(&c->params, &c->result, err);
		if (rc == 0)
			cli_print(c->cli, out, try_json(c));
		rules_try_free(&c->result);
	}
	ruleset_free(now);
	ruleset_free(then);
	if (c->params.store)
		ruleset_store_close(c->params.store);
	return rc;
}

enum cli_exit local_rules_try(const struct cli *cli, FILE *out, struct err *err)
{
	struct try_cli c = {.cli = cli};
	char dir[4096];
	enum cli_exit code = cli_data_dir(cli, dir, sizeof dir, err);

	c.faults = json_array();
	if (code == CLI_OK && try_do(&c, dir, out, err))
		code = CLI_FAILED;
	json_decref(c.faults);
	return code;
}
