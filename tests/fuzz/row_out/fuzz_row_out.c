/* Any bytes as a record of the output log, on its way out: JSON that parses, and Native columns, or a
 * refusal. The window of a row is one that is known, so that its packed aggregates are looked into. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* The source itself, so that it is built for coverage. */
#include "ch_row_values.c"
#include "row_json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define WINDOWS 3
static const char merging[] = "name=w kind=tumbling size=1m by=page,metric aggregates='count, sum(amount), "
			      "avg(metric), min(metric), "
			      "max(amount), variance(metric), error_rate, distinct(user_id), "
			      "quantiles(metric), top(page,3), first(page), "
			      "last(metric)'";
static const char session[] =
	"name=s kind=session gap=1m by=user_id aggregates='count, sum(amount), last(metric), first(page), "
	"quantiles(metric), top(page,3), distinct(page), variance(metric)'";
static const char funnel[] =
	"name=f kind=funnel size=1h within=1h by=user_id steps='a: type = click; b: type = session'";
static const char *const window_text[WINDOWS] = {merging, session, funnel};

static struct window_plan plan;
static struct ch_rows rows;

static void setup(void)
{
	struct err err;

	if (plan.count)
		return;
	for (int i = 0; i < WINDOWS; i++)
		if (window_def_parse(&plan.def[plan.count++], window_text[i], &err))
			abort();
	for (int i = 1; i < WINDOWS; i++) /* by uid */
		for (int k = i; k > 0 && plan.def[k]->uid < plan.def[k - 1]->uid; k--) {
			struct window_def *def = plan.def[k];

			plan.def[k] = plan.def[k - 1];
			plan.def[k - 1] = def;
		}
	ch_rows_init(&rows, "node", 1, 2, NULL);
	rows.log = SINK_LOG_OUTPUT;
	rows.plan = &plan;
}

static void json_check(const struct record *rec, const struct window_def *def)
{
	struct bytes out = {0};
	struct err err;
	json_t *json;
	int rc = 0;

	if (rec->type == ROW_ALERT)
		row_alert_put_json(&out, rec, "w", "node", 7);
	else
		rc = row_put_json(&out, rec, def, "node", &err);
	if (rc == 0) {
		json = json_loadb(
			(const char *)out.data, out.bytes, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
		if (!json)
			abort();
		json_decref(json);
	}
	bytes_free(&out);
}

static void native_check(const struct record *rec)
{
	struct bytes body = {0};
	struct err err;

	ch_rows_clear(&rows);
	if (ch_rows_add(&rows, rec, 5, 0, &err) == 0)
		for (uint32_t i = 0; i < rows.block_count; i++)
			if (native_block_write(&rows.block[i]->native, &body))
				abort();
	bytes_free(&body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct record *rec = malloc(size ? size : 1); /* as large as it is: a byte beyond is seen */
	const struct window_def *def = NULL;

	setup();
	memcpy(rec, data, size);
	if (size >= sizeof *rec + sizeof(struct row)) {
		rec->bytes = (uint32_t)(size & ~7ul);
		rec->kind = (uint8_t)(rec->kind & 1 ? RECORD_ROW : RECORD_LATE);
		if (rec->kind == RECORD_ROW) {
			uint64_t *uid = rec->type == ROW_ALERT ? &((struct row_alert *)(rec + 1))->window_uid
							       : &((struct row *)(rec + 1))->window_uid;

			if (rec->type != ROW_ALERT || size >= sizeof *rec + sizeof(struct row_alert)) {
				def = window_plan_find(&plan, *uid);
				if (!def)
					def = plan.def[*uid % WINDOWS];
				*uid = def->uid;
			}
		}
	}
	if (record_valid(rec, size) && row_valid(rec)) {
		if (rec->kind == RECORD_ROW && def)
			json_check(rec, def);
		if (rec->kind == RECORD_LATE || def)
			native_check(rec);
	}
	free(rec);
	return 0;
}
