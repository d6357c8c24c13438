/* `replay`: the state stage over a journal as it lies there, rows as JSON lines. Reads the data directory
 * only. */
#include "cli.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "address.h"
#include "row_json.h"
#include "ruleset.h"
#include "state_replay.h"
#include "state_rules.h"

enum rows_wanted { ROWS_MERGED, ROWS_PARTIAL, ROWS_NONE };

struct replay_cli {
	FILE *rows;
	enum rows_wanted wanted;
	struct journal_meta meta;
	struct window_store *store;	/* NULL: the plan alone */
	struct window_plan *plan;	/* of a configuration, or NULL */
	struct ruleset_store *rulesets; /* NULL: none */
	struct state_terms terms;
	struct bytes text;
	struct err err;
};

struct replay_verdict {
	uint32_t damaged;     /* partitions */
	uint64_t passed_over; /* events for which definitions are not known any more */
};

static const struct window_def *def_of(const struct replay_cli *r, uint64_t uid)
{
	struct err ignored;

	return r->plan ? window_plan_find(r->plan, uid) : window_store_get(r->store, uid, &ignored);
}

/* A late event stands in its partition's log: where it is in the journal, and for which window it came too
 * late. */
static void late_put_json(struct replay_cli *r, uint32_t partition, const struct record *rec)
{
	const struct window_def *def = def_of(r, row_late_window(rec));
	char id[UUID_TEXT_BYTES];

	uuid_text(id, rec->event_id);
	bytes_put(&r->text, "{\"late\":true", 12);
	json_put_name(&r->text, "window");
	json_put_string(&r->text, def ? def->name : "", def ? strlen(def->name) : 0);
	json_put_name(&r->text, "partition");
	json_put_u64(&r->text, partition);
	json_put_name(&r->text, "offset");
	json_put_u64(&r->text, row_late_offset(rec));
	json_put_name(&r->text, "event_id");
	json_put_string(&r->text, id, strlen(id));
	bytes_put(&r->text, "}", 1);
}

static int replay_row(void *arg, uint32_t partition, uint64_t offset, const struct record *rec);

/* Each row as if it had a record of its own. */
static int replay_rows(struct replay_cli *r, uint32_t partition, uint64_t offset, const struct record *rec)
{
	struct bytes one = {0};
	struct row_walk walk;
	int rc = 0;

	row_walk_first(&walk, rec);
	do {
		bytes_reset(&one);
		row_walk_put(&walk, rec->receive_time_ms, &one);
		rc = one.failed ? err_set(&r->err, -ENOMEM, "no memory for a row")
				: replay_row(r, partition, offset, (const struct record *)one.data);
	} while (rc == 0 && row_walk_next(&walk));
	bytes_free(&one);
	return rc;
}

static int replay_row(void *arg, uint32_t partition, uint64_t offset, const struct record *rec)
{
	struct replay_cli *r = arg;
	bool alert = row_is_alert(rec), merged = partition == r->meta.partitions;
	const struct window_def *def;
	int rc = 0;

	if ((rec->kind != RECORD_ROW && rec->kind != RECORD_LATE) ||
		r->wanted != (merged ? ROWS_MERGED : ROWS_PARTIAL))
		return 0;
	if (rec->kind == RECORD_ROW && rec->type == ROW_PARTIALS)
		return replay_rows(r, partition, offset, rec);
	bytes_reset(&r->text);
	if (rec->kind == RECORD_LATE) {
		late_put_json(r, partition, rec);
	} else if (alert) {
		const struct row_alert *a = (const struct row_alert *)record_payload(rec);

		def = def_of(r, a->window_uid);
		row_alert_put_json(&r->text, rec, def ? def->name : "", r->meta.node, r->meta.epoch);
	} else {
		def = def_of(r, row_of(rec)->window_uid);
		if (!def)
			return err_set(&r->err, -ENOENT, "window %016" PRIx64 ": its definition is not there",
				row_of(rec)->window_uid);
		rc = row_put_json(&r->text, rec, def, r->meta.node, &r->err);
	}
	if (rc == 0 && (r->text.failed || fwrite(r->text.data, 1, r->text.bytes, r->rows) != r->text.bytes ||
			       fputc('\n', r->rows) == EOF))
		rc = err_set(&r->err, -EIO, "rows: %s", strerror(errno ? errno : ENOMEM));
	return rc;
}

static int replay_options(
	const struct cli *cli, struct replay_cli *r, struct state_replay_params *params, struct err *err)
{
	static const char *const names[] = {"merged", "partial", "none"};
	const char *rows = json_string_value(json_object_get(cli->args, "rows"));
	const json_t *partition = json_object_get(cli->args, "partition");
	int rc = cli_time_arg(cli, "from", INT64_MIN, &params->from_ms, err);

	if (rc == 0)
		rc = cli_time_arg(cli, "to", INT64_MAX, &params->to_ms, err);
	if (rc == 0 && params->from_ms >= params->to_ms)
		rc = err_set(err, -EINVAL, "--to: expected a time behind --from");
	params->partition = UINT32_MAX;
	if (partition && json_integer_value(partition) >= r->meta.partitions)
		rc = err_set(err, -EINVAL, "--partition: the journal has 0 to %u", r->meta.partitions - 1);
	else if (partition)
		params->partition = (uint32_t)json_integer_value(partition);
	for (int i = 0; rows && i < 3; i++)
		if (strcmp(rows, names[i]) == 0) {
			r->wanted = (enum rows_wanted)i;
			rows = NULL;
		}
	return rows ? err_set(err, -EINVAL, "--rows: partial, merged or none expected") : rc;
}

/* Definitions: of a configuration, or those that notes in the journal name. */
static int replay_definitions(const struct cli *cli, struct replay_cli *r, const char *data_dir,
	struct config *cfg, struct state_replay_params *params, struct err *err)
{
	const char *path = json_string_value(json_object_get(cli->args, "config"));
	char dir[4200];
	int rc;

	config_defaults(cfg);
	if (path) {
		rc = config_load(cfg, path, err);
		if (rc == 0)
			rc = window_plan_make(&r->plan, cfg, err);
		if (rc != 0)
			return rc;
		state_terms_make(&r->terms, cfg, r->plan);
		params->plan = r->plan;
		params->terms = &r->terms;
	} else {
		snprintf(dir, sizeof dir, "%s/state/windows", data_dir);
		if (access(dir, R_OK | X_OK))
			return err_set(err, -errno, "%s: %s: the state stage has not run here; give --config",
				dir, strerror(errno));
		rc = window_store_open(&r->store, dir, err);
		if (rc != 0)
			return rc;
		params->windows = r->store;
	}
	if (ruleset_store_there(data_dir)) {
		rc = ruleset_store_open(&r->rulesets, data_dir, err);
		if (rc != 0)
			return rc;
		params->rules = state_rules_get;
		params->rules_arg = r->rulesets;
	}
	params->source_idle_ms = cfg->state.source_idle;
	return 0;
}

/* Of a partition. One that is whole, or began while the stage was off, passes over what a running stage has
 * passed over: that is no fault. */
static void replay_faults(const struct state_replay_log *log, uint32_t p, json_t *begins, json_t *faults,
	struct replay_verdict *verdict)
{
	if (log->begin[0])
		json_array_append_new(begins, json_sprintf("partition %u: %s", p, log->begin));
	if (log->damaged)
		json_array_append_new(faults, json_sprintf("partition %u: %s", p, log->fault));
	verdict->damaged += log->damaged;
	if (!log->begin[0] || log->off || !log->passed_over)
		return;
	json_array_append_new(
		faults, json_sprintf("partition %u: %" PRIu64 " events passed over for want of definitions",
				p, log->passed_over));
	verdict->passed_over += log->passed_over;
}

static json_t *replay_summary(
	const struct state_replay_result *result, const char *dir, struct replay_verdict *verdict)
{
	json_t *list = json_array(), *begins = json_array(), *faults = json_array();

	for (uint32_t p = 0; p <= result->partitions; p++) {
		const struct state_replay_log *log = &result->log[p];

		json_array_append_new(list,
			json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "log",
				p < result->partitions ? json_sprintf("partition %u", p)
						       : json_string("merged"),
				"first_offset", json_u64(log->first_offset), "blocks", json_u64(log->blocks),
				"records", json_u64(log->records), "events", json_u64(log->events),
				"passed_over", json_u64(log->passed_over), "emitted", json_u64(log->emitted),
				"rows", json_u64(log->kinds[RECORD_ROW]), "late",
				json_u64(log->kinds[RECORD_LATE]), "marks", json_u64(log->kinds[RECORD_MARK]),
				"crc", json_sprintf("%08" PRIx32, log->crc)));
		replay_faults(log, p, begins, faults, verdict);
	}
	return json_pack("{s:o, s:o, s:o, s:o, s:o}", "dir", json_text(dir), "logs", list, "incomplete",
		json_u64(result->incomplete), "begins", begins, "faults", faults);
}

static int replay_do(
	const struct cli *cli, struct replay_cli *r, const char *data_dir, FILE *out, struct err *err)
{
	const char *path = json_string_value(json_object_get(cli->args, "out"));
	struct state_replay_params params = {.emit = replay_row, .arg = r};
	struct state_replay_result result = {0};
	char journal_dir[4200], state_dir[4200], checkpoint_dir[4300];
	struct replay_verdict verdict = {0};
	struct config cfg;
	int rc;

	snprintf(journal_dir, sizeof journal_dir, "%s/journal", data_dir);
	params.journal_dir = journal_dir;
	snprintf(state_dir, sizeof state_dir, "%s/state", data_dir);
	params.state_dir = state_dir;
	snprintf(checkpoint_dir, sizeof checkpoint_dir, "%s/checkpoints", state_dir);
	params.checkpoint_dir = checkpoint_dir;
	rc = journal_meta_read(journal_dir, &r->meta, err);
	if (rc == 0)
		rc = replay_options(cli, r, &params, err);
	if (rc == 0)
		rc = replay_definitions(cli, r, data_dir, &cfg, &params, err);
	if (rc != 0)
		return rc;
	r->rows = path ? fopen(path, "w") : out;
	if (!r->rows)
		return err_set(err, -errno, "%s: %s", path, strerror(errno));
	rc = state_replay(&params, &result, err);
	if (rc != 0 && r->err.text[0])
		*err = r->err;
	if (path && fclose(r->rows) != 0 && rc == 0)
		rc = err_set(err, -errno, "%s: %s", path, strerror(errno));
	/* Beside rows on standard output it would be no JSON line. */
	if (rc == 0)
		cli_print(cli, path || r->wanted == ROWS_NONE ? out : stderr,
			replay_summary(&result, data_dir, &verdict));
	if (rc == 0 && verdict.damaged)
		rc = err_set(
			err, -EILSEQ, "%u partitions are damaged behind what was replayed", verdict.damaged);
	if (rc == 0 && verdict.passed_over)
		rc = err_set(err, -ENODATA,
			"%" PRIu64 " events were passed over for want of definitions: give --config",
			verdict.passed_over);
	free(result.log);
	return rc;
}

enum cli_exit local_replay(const struct cli *cli, FILE *out, struct err *err)
{
	struct replay_cli r = {.rows = out};
	char dir[4096];
	enum cli_exit code = cli_data_dir(cli, dir, sizeof dir, err);

	if (code != CLI_OK)
		return code;
	if (replay_do(cli, &r, dir, out, err) != 0)
		code = CLI_FAILED;
	bytes_free(&r.text);
	if (r.store)
		window_store_close(r.store);
	if (r.plan)
		window_plan_free(r.plan);
	if (r.rulesets)
		ruleset_store_close(r.rulesets);
	return code;
}
