/* Makes JSON of rows and alerts of the state stage. Sink threads; pure but for the output buffer. */
#include "row_json.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "address.h"
#include "value_text.h"

static void put_text(struct bytes *out, const char *name, const char *text)
{
	json_put_name(out, name);
	json_put_string(out, text, strlen(text));
}

static void put_integer(struct bytes *out, const char *name, int64_t v)
{
	json_put_name(out, name);
	json_put_i64(out, v);
}

static void put_bool(struct bytes *out, const char *name, bool v)
{
	json_put_name(out, name);
	bytes_put(out, v ? "true" : "false", v ? 4 : 5);
}

static void put_null(struct bytes *out)
{
	bytes_put(out, "null", 4);
}

/* JSON has no words for what is not finite. */
static void put_double(struct bytes *out, double v)
{
	char text[NUMBER_TEXT_BYTES];

	if (isfinite(v))
		bytes_put(out, text, number_text(text, v));
	else
		put_null(out);
}

/* ---- group fields ---- */

static const uint8_t *digits_end(const uint8_t *p, const uint8_t *end)
{
	while (p < end && *p >= '0' && *p <= '9')
		p++;
	return p;
}

/* True for a number as number_text() and decimal_text() write it, which JSON takes too. */
static bool number_plain(const uint8_t *p, uint32_t bytes)
{
	const uint8_t *end = p + bytes, *from;

	p += p < end && *p == '-';
	from = p;
	p = digits_end(p, end);
	if (p == from || (*from == '0' && p - from > 1))
		return false;
	if (p < end && *p == '.') {
		from = ++p;
		p = digits_end(p, end);
		if (p == from)
			return false;
	}
	if (p < end && *p == 'e') {
		p++;
		p += p < end && (*p == '-' || *p == '+');
		from = p;
		p = digits_end(p, end);
		if (p == from)
			return false;
	}
	return p == end;
}

/* Numbers and times stand in keys as text. */
static void put_key_part(struct bytes *out, enum field_kind kind, const uint8_t *data, uint32_t bytes)
{
	bool number = kind == FIELD_KIND_NUMBER || kind == FIELD_KIND_DECIMAL || kind == FIELD_KIND_TIME;

	if (!data)
		put_null(out);
	else if (number && number_plain(data, bytes))
		bytes_put(out, data, bytes);
	else
		json_put_string(out, data, bytes);
}

static uint32_t key_parts(const struct row *row)
{
	const uint8_t *data;
	uint32_t n = 0, bytes;

	while (row_key_part(row, n, &data, &bytes))
		n++;
	return n;
}

/* The last part of a funnel's key is the step. What a key does not have is null. */
static void put_key(struct bytes *out, const struct row *row, const struct window_def *def)
{
	uint32_t parts = key_parts(row), fields = def->group_count, bytes;
	const uint8_t *data;

	if (def->kind == WINDOW_FUNNEL && parts) {
		fields = parts - 1 < fields ? parts - 1 : fields;
		row_key_part(row, parts - 1, &data, &bytes);
		json_put_name(out, "step");
		put_key_part(out, FIELD_KIND_TEXT, data, bytes);
	}
	for (uint32_t i = 0; i < fields; i++) {
		if (!row_key_part(row, i, &data, &bytes))
			data = NULL;
		if (def->attr[i])
			json_put_name_any(out, def->attr[i]);
		else
			json_put_name(out, window_group_name(def, i));
		put_key_part(out, field_table[def->group[i]].kind, data, bytes);
	}
}

/* ---- values ---- */

static void put_top(struct bytes *out, const struct agg_value *v)
{
	bytes_put(out, "[", 1);
	for (uint32_t i = 0; i < v->top_count; i++) {
		const struct agg_top_item *item = &v->top[i];

		bytes_put(out, ",", i ? 1 : 0);
		bytes_put(out, "{", 1);
		json_put_name(out, "value");
		json_put_string(out, item->text, item->bytes);
		json_put_name(out, "count");
		json_put_u64(out, item->count);
		json_put_name(out, "error");
		json_put_u64(out, item->error);
		bytes_put(out, "}", 1);
	}
	bytes_put(out, "]", 1);
}

static int put_value(void *arg, const struct agg_value *v)
{
	struct bytes *out = arg;
	char text[DECIMAL_TEXT_BYTES];

	json_put_name(out, v->label);
	switch (v->kind) {
	case AGG_VALUE_U64:
		json_put_u64(out, v->u64);
		break;
	case AGG_VALUE_DECIMAL:
		bytes_put(out, text, decimal_text(text, v->decimal));
		break;
	case AGG_VALUE_F64:
		put_double(out, v->f64);
		break;
	case AGG_VALUE_TEXT:
		json_put_string(out, v->text, v->text_bytes);
		break;
	case AGG_VALUE_TOP:
		put_top(out, v);
		break;
	default: /* no event had the field */
		put_null(out);
	}
	return 0;
}

int row_put_json(struct bytes *out, const struct record *rec, const struct window_def *def, const char *node,
	struct err *err)
{
	const struct row *row = row_of(rec);

	bytes_put(out, "{", 1);
	put_text(out, "window", def->name);
	put_text(out, "kind", window_kind_name[def->kind]);
	json_put_name(out, "start");
	json_put_time(out, row->start_ms);
	json_put_name(out, "end");
	json_put_time(out, row->end_ms);
	put_integer(out, "start_ms", row->start_ms);
	put_integer(out, "end_ms", row->end_ms);
	put_key(out, row, def);
	put_bool(out, "other", row->flags & ROW_F_OTHER);
	put_bool(out, "cut", row->flags & ROW_F_CUT);
	put_integer(out, "revision", row->revision);
	put_text(out, "node", node);
	if (agg_values(def->aggs, row_agg(row), row->agg_bytes, put_value, out))
		return err_set(err, -EINVAL, "a row of window %s has other aggregates than its definition",
			def->name);
	bytes_put(out, "}", 1);
	return 0;
}

/* ---- alerts ---- */

void row_alert_id(char *out, const struct row_alert *a)
{
	uuid_text(out, a->id);
}

static void put_alert_text(struct bytes *out, const char *name, const struct record *rec, enum row_text which)
{
	uint32_t bytes;
	const char *text = row_alert_text(rec, which, &bytes);

	json_put_name(out, name);
	json_put_string(out, text, bytes);
}

static void put_score(struct bytes *out, const char *name, double v)
{
	json_put_name(out, name);
	put_double(out, v);
}

/* Addresses, and of a stateful rule's alert the events' ids beside them. An address that is not known is
 * null. */
static void put_evidence(struct bytes *out, const struct record *rec, const char *node, uint64_t input_epoch)
{
	uint32_t count = row_alert_of(rec)->evidence_count;
	char text[ADDRESS_TEXT_BYTES];

	json_put_name(out, "evidence");
	bytes_put(out, "[", 1);
	for (uint32_t i = 0; i < count; i++) {
		struct row_rule_evidence e = row_alert_evidence(rec, i);
		struct address at = {node, input_epoch, e.partition, e.offset};

		bytes_put(out, ",", i ? 1 : 0);
		if (e.partition == UINT32_MAX)
			put_null(out);
		else
			json_put_string(out, text, address_text(text, &at));
	}
	bytes_put(out, "]", 1);
	if (!row_rule_alert_of(rec))
		return;
	json_put_name(out, "event_ids");
	bytes_put(out, "[", 1);
	for (uint32_t i = 0; i < count; i++) {
		bytes_put(out, ",", i ? 1 : 0);
		json_put_string(out, text, uuid_text(text, row_alert_evidence(rec, i).event_id));
	}
	bytes_put(out, "]", 1);
}

void row_alert_put_json(struct bytes *out, const struct record *rec, const char *window, const char *node,
	uint64_t input_epoch)
{
	const struct row_rule_alert *rule = row_rule_alert_of(rec);
	const struct row_alert *a = row_alert_of(rec);
	char text[ADDRESS_TEXT_BYTES];

	bytes_put(out, "{", 1);
	row_alert_id(text, a);
	put_text(out, "alert_id", text);
	put_alert_text(out, "rule_id", rec, ROW_TEXT_RULE);
	put_alert_text(out, "title", rec, ROW_TEXT_TITLE);
	put_alert_text(out, "severity", rec, ROW_TEXT_SEVERITY);
	put_integer(out, "generation", rule ? rule->generation : 0);
	put_alert_text(out, "ruleset", rec, ROW_TEXT_VERSION);
	put_text(out, "type", "");
	put_alert_text(out, "key", rec, ROW_TEXT_KEY);
	put_integer(out, "first_time", a->first_ms);
	put_integer(out, "last_time", a->last_ms);
	put_evidence(out, rec, node, input_epoch);
	put_integer(out, "evidence_total", a->evidence_total);
	put_text(out, "window", window);
	put_score(out, "score", a->score);
	put_score(out, "value", a->value);
	put_score(out, "expected", a->expected);
	put_text(out, "node", node);
	bytes_put(out, "}", 1);
}
