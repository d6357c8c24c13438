/* `rules try`: rule files over the events of a journal, beside the rules that are in force. Reads the data
 * directory only; live traffic is not touched. One thread. Events that a rule dropped are not in the journal,
 * so that what they would have alerted on cannot be told. */
#include "cli.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "config_table.h"
#include "journal.h"
#include "ruleset.h"
#include "value_text.h"

#define DATA_BYTES (4u << 20) /* payloads of a burst */
#define EVENTS_SHOWN 3u

enum side_index { NOW, THEN, SIDES };
static const char *const change_name[] = {
	"", "lost", "gained"}; /* by the bit of the side that alerts alone */

struct try_side {
	const struct ruleset *rs;
	struct matcher *matcher;
	uint32_t *row; /* by rule index */
	uint64_t cpu_ns;
	const uint16_t *hit[MATCH_EVENTS_MAX];
	uint16_t hit_count[MATCH_EVENTS_MAX];
};

struct try_row {
	const char *id;
	uint64_t alerts[SIDES], lost, gained;
	uint32_t shown;
	uint8_t mark; /* of the event in hand: 1 << side */
};

struct try_run {
	struct try_side side[SIDES];
	struct try_row *row; /* ascending by id */
	uint32_t row_count;
	uint32_t *touched, touched_count;
	int64_t from_ms, to_ms;
	uint64_t shown_max;
	uint32_t partition;
	uint64_t events;
	struct event event[MATCH_EVENTS_MAX], *burst[MATCH_EVENTS_MAX];
	uint64_t offset[MATCH_EVENTS_MAX];
	uint32_t count;
	uint8_t *data;
	size_t data_used;
	json_t *shown, *faults;
};

/* ---- rows: the rules of both sides, by id ---- */

static int id_compare(const void *a, const void *b)
{
	return strcmp(((const struct try_row *)a)->id, ((const struct try_row *)b)->id);
}

static bool rows_make(struct try_run *t)
{
	uint32_t count = 0, rules = 0;

	for (int s = 0; s < SIDES; s++)
		rules += ruleset_rule_count(t->side[s].rs);
	t->row = calloc(rules + 1, sizeof *t->row);
	t->touched = calloc(rules + 1, sizeof *t->touched);
	if (!t->row || !t->touched)
		return false;
	for (int s = 0; s < SIDES; s++)
		for (uint32_t i = 0; i < ruleset_rule_count(t->side[s].rs); i++)
			t->row[count++].id = ruleset_rule(t->side[s].rs, i)->id;
	qsort(t->row, count, sizeof *t->row, id_compare);
	for (uint32_t i = 0; i < count; i++)
		if (!t->row_count || strcmp(t->row[t->row_count - 1].id, t->row[i].id) != 0)
			t->row[t->row_count++] = t->row[i];
	for (int s = 0; s < SIDES; s++) {
		struct try_side *side = &t->side[s];

		rules = ruleset_rule_count(side->rs);
		side->row = calloc(rules + 1, sizeof *side->row);
		for (uint32_t i = 0; side->row && i < rules; i++) {
			struct try_row key = {.id = ruleset_rule(side->rs, i)->id};

			side->row[i] = (uint32_t)((struct try_row *)bsearch(&key, t->row, t->row_count,
							  sizeof *t->row, id_compare) -
						  t->row);
		}
		if (!side->row)
			return false;
	}
	return true;
}

/* ---- events ---- */

static uint64_t cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void side_match(struct try_run *t, struct try_side *side)
{
	uint64_t start;

	for (uint32_t i = 0; i < t->count; i++) {
		t->event[i].actions = 0;
		t->event[i].hit_count = 0;
		t->event[i].hit = NULL;
	}
	start = cpu_ns();
	matcher_run(side->matcher, t->burst, t->count);
	side->cpu_ns += cpu_ns() - start;
	for (uint32_t i = 0; i < t->count; i++) {
		side->hit[i] = t->event[i].hit;
		side->hit_count[i] = t->event[i].hit_count;
	}
}

static void event_show(struct try_run *t, uint32_t i, struct try_row *row)
{
	const struct event *ev = &t->event[i];
	char id[UUID_TEXT_BYTES];

	if (row->shown == t->shown_max)
		return;
	row->shown++;
	uuid_text(id, ev->event_id);
	json_array_append_new(
		t->shown, json_pack("{s:s, s:s, s:s, s:s, s:o, s:I, s:o}", "rule", row->id, "alert",
				  change_name[row->mark], "event_id", id, "type", type_table[ev->type].name,
				  "time", json_time(ev->event_time_ms), "partition", (json_int_t)t->partition,
				  "offset", json_u64(t->offset[i])));
}

/* Which rules alert on event i, on which side. */
static void event_judge(struct try_run *t, uint32_t i)
{
	for (int s = 0; s < SIDES; s++)
		for (uint32_t k = 0; k < t->side[s].hit_count[i]; k++) {
			uint32_t rule = t->side[s].hit[i][k];
			struct try_row *row;

			if (rule >= ruleset_rule_count(t->side[s].rs)) /* steps of rules with state */
				break;
			if (!rule_alerts(ruleset_rule(t->side[s].rs, rule)))
				continue;
			row = &t->row[t->side[s].row[rule]];
			if (!row->mark)
				t->touched[t->touched_count++] = (uint32_t)(row - t->row);
			row->mark |= (uint8_t)(1u << s);
			row->alerts[s]++;
		}
	while (t->touched_count) {
		struct try_row *row = &t->row[t->touched[--t->touched_count]];

		row->lost += row->mark == 1u << NOW;
		row->gained += row->mark == 1u << THEN;
		if (row->mark != (1u << NOW | 1u << THEN))
			event_show(t, i, row);
		row->mark = 0;
	}
}

static void burst_run(struct try_run *t)
{
	if (!t->count)
		return;
	for (int s = 0; s < SIDES; s++)
		side_match(t, &t->side[s]);
	for (uint32_t i = 0; i < t->count; i++)
		event_judge(t, i);
	t->events += t->count;
	t->count = 0;
	t->data_used = 0;
}

static void event_take(struct try_run *t, const struct record *rec, uint64_t offset)
{
	uint8_t *copy;

	if (t->count == MATCH_EVENTS_MAX ||
		DATA_BYTES - t->data_used < rec->payload_bytes + (size_t)EVENT_PAD_BYTES)
		burst_run(t);
	copy = t->data + t->data_used;
	memcpy(copy, record_payload(rec), rec->payload_bytes);
	memset(copy + rec->payload_bytes, 0, EVENT_PAD_BYTES);
	t->data_used += rec->payload_bytes + (size_t)EVENT_PAD_BYTES;
	record_event(rec, copy, &t->event[t->count]);
	t->burst[t->count] = &t->event[t->count];
	t->offset[t->count++] = offset;
}

static int block_take(void *arg, const struct journal_scan_block *b)
{
	struct try_run *t = arg;
	const uint8_t *p = b->block.data;

	if (!b->intact) {
		json_array_append_new(t->faults,
			json_sprintf("partition %u, segment %" PRIu64 ", file offset %" PRIu64 ": %s",
				t->partition, b->segment, b->file_offset, b->fault ? b->fault : "damaged"));
		return 0;
	}
	if (b->block.receive_last_ms < t->from_ms)
		return 0;
	for (uint32_t i = 0; i < b->block.record_count; i++) {
		const struct record *rec = (const struct record *)p;

		if (rec->kind == RECORD_EVENT && rec->receive_time_ms >= t->from_ms &&
			rec->receive_time_ms < t->to_ms && rec->payload_bytes <= EVENT_BYTES_MAX)
			event_take(t, rec, b->block.first_offset + i);
		p += rec->bytes;
	}
	return 0;
}

/* ---- the command ---- */

static int try_times(const struct cli *cli, struct try_run *t, struct err *err)
{
	const char *last = json_string_value(json_object_get(cli->args, "last"));
	const json_t *events = json_object_get(cli->args, "events");
	int rc = cli_time_arg(cli, "from", INT64_MIN, &t->from_ms, err);
	uint64_t ms;

	if (rc == 0)
		rc = cli_time_arg(cli, "to", INT64_MAX, &t->to_ms, err);
	t->shown_max = events ? (uint64_t)json_integer_value(events) : EVENTS_SHOWN;
	if (rc || !last)
		return rc;
	if (t->from_ms != INT64_MIN)
		return err_set(err, -EINVAL, "--last and --from: one of them");
	if (!config_duration(last, &ms) || ms > INT64_MAX)
		return err_set(err, -EINVAL, "--last: '%.40s': expected a duration, as 15m or 1h", last);
	t->from_ms = (int64_t)time(NULL) * 1000 - (int64_t)ms;
	return 0;
}

static json_t *row_json(const struct try_row *row)
{
	return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o}", "rule", row->id, "now", json_u64(row->alerts[NOW]),
		"then", json_u64(row->alerts[THEN]), "gained", json_u64(row->gained), "lost",
		json_u64(row->lost), "same", json_u64(row->alerts[THEN] - row->gained));
}

static json_t *side_json(const struct try_run *t, const struct try_side *side, uint32_t generation)
{
	uint64_t alerts = 0;
	uint32_t with_state = 0;

	for (uint32_t i = 0; i < t->row_count; i++)
		alerts += t->row[i].alerts[side - t->side];
	for (uint32_t i = 0; i < ruleset_rule_count(side->rs); i++)
		with_state += ruleset_rule(side->rs, i)->stateful;
	return json_pack("{s:o, s:s, s:I, s:I, s:o, s:f}", "generation",
		generation ? json_integer(generation) : json_null(), "version", ruleset_version(side->rs),
		"rules", (json_int_t)ruleset_rule_count(side->rs), "with_state_not_tried",
		(json_int_t)with_state, "alerts", json_u64(alerts), "ns_event",
		t->events ? (double)side->cpu_ns / (double)t->events : 0.0);
}

static json_t *try_result(struct try_run *t, uint32_t generation)
{
	json_t *rows = json_array();

	for (uint32_t i = 0; i < t->row_count; i++)
		if (t->row[i].alerts[NOW] || t->row[i].alerts[THEN])
			json_array_append_new(rows, row_json(&t->row[i]));
	return json_pack("{s:o, s:o, s:o, s:o, s:O, s:O}", "events", json_u64(t->events), "now",
		side_json(t, &t->side[NOW], generation), "then", side_json(t, &t->side[THEN], 0), "alerts",
		rows, "differences", t->shown, "faults", t->faults);
}

static int try_journal(struct try_run *t, const char *dir, uint32_t partitions, struct err *err)
{
	int rc = 0;

	for (t->partition = 0; !rc && t->partition < partitions; t->partition++) {
		rc = journal_scan(dir, t->partition, block_take, t, err);
		burst_run(t);
	}
	return rc;
}

static int try_do(const struct cli *cli, struct try_run *t, const char *data_dir, FILE *out, struct err *err)
{
	uint32_t generation = (uint32_t)json_integer_value(json_object_get(cli->args, "against")), patterns;
	struct ruleset *now = NULL, *then = NULL;
	struct ruleset_store *store = NULL;
	struct journal_meta meta;
	struct config cfg;
	char dir[4200];
	int rc;

	/* first: what has no journal gets no directory of rulesets either */
	snprintf(dir, sizeof dir, "%s/journal", data_dir);
	rc = journal_meta_read(dir, &meta, err);
	if (rc == 0)
		rc = ruleset_store_open(&store, data_dir, err);
	config_defaults(&cfg);
	patterns = (uint32_t)cfg.rules.patterns_max;
	if (rc == 0 && !generation)
		generation = ruleset_store_newest(store);
	if (rc == 0)
		rc = ruleset_store_load(store, generation, patterns, &now, err);
	if (rc == 0 && !(then = cli_files_compile(cli, err)))
		rc = -EINVAL;
	t->side[NOW].rs = now;
	t->side[THEN].rs = then;
	for (int s = 0; rc == 0 && s < SIDES; s++)
		if (!(t->side[s].matcher = matcher_new(t->side[s].rs, err)))
			rc = -ENOMEM;
	t->data = malloc(DATA_BYTES);
	if (rc == 0 && (!t->data || !rows_make(t)))
		rc = err_set(err, -ENOMEM, "no memory");
	if (rc == 0)
		rc = try_journal(t, dir, meta.partitions, err);
	if (rc == 0)
		cli_print(cli, out, try_result(t, generation));
	for (int s = 0; s < SIDES; s++) {
		if (t->side[s].matcher)
			matcher_free(t->side[s].matcher);
		free(t->side[s].row);
	}
	ruleset_free(now);
	ruleset_free(then);
	if (store)
		ruleset_store_close(store);
	return rc;
}

enum cli_exit local_rules_try(const struct cli *cli, FILE *out, struct err *err)
{
	struct try_run *t = calloc(1, sizeof *t);
	char dir[4096];
	enum cli_exit code = cli_data_dir(cli, dir, sizeof dir, err);

	if (!t) {
		err_set(err, -ENOMEM, "no memory");
		return CLI_FAILED;
	}
	t->shown = json_array();
	t->faults = json_array();
	if (code == CLI_OK && (try_times(cli, t, err) || try_do(cli, t, dir, out, err)))
		code = CLI_FAILED;
	json_decref(t->shown);
	json_decref(t->faults);
	free(t->data);
	free(t->row);
	free(t->touched);
	free(t);
	return code;
}
