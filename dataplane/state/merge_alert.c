/* Alerts of unusual values as records. Merge thread; pure. */
#include "merge_priv.h"

#include <stdio.h>
#include <string.h>

#include "event.h"
#include "hash.h"

#define KEY_TEXT_BYTES (MERGE_KEY_MAX + sizeof(config_str) + WINDOW_GROUP_MAX * 64)

/* A function of definition, detector, key and window. */
static void alert_id(uint8_t id[16], const struct row *row, const struct anomaly_spec *spec)
{
	for (uint64_t half = 0; half < 2; half++) {
		uint64_t h = hash_u64(row->window_uid ^ half);

		h = hash_bytes(spec->text, strlen(spec->text), h);
		h = hash_bytes(row_key(row), row->key_bytes, h);
		h = hash_bytes(&row->start_ms, sizeof row->start_ms, h);
		h = hash_bytes(&row->end_ms, sizeof row->end_ms, h);
		memcpy(id + half * 8, &h, 8);
	}
}

/* "source=web, country=GB"; of a funnel's row the last part is its step; "all" without group fields. */
static uint32_t key_text(char *out, const struct window_def *def, const struct row *row)
{
	const uint8_t *part;
	uint32_t bytes, used = 0;

	for (uint32_t i = 0; row_key_part(row, i, &part, &bytes); i++) {
		const uint8_t *next;
		uint32_t next_bytes;
		bool last = !row_key_part(row, i + 1, &next, &next_bytes);
		const char *name = "key";

		if (def->kind == WINDOW_FUNNEL && last)
			name = "step";
		else if (i < def->group_count && window_group_name(def, i))
			name = window_group_name(def, i);
		if (used + strlen(name) + 16 + bytes > KEY_TEXT_BYTES)
			break;
		used += (uint32_t)snprintf(
			out + used, KEY_TEXT_BYTES - used, "%s%s=", used ? ", " : "", name);
		if (part)
			memcpy(out + used, part, bytes);
		else
			bytes = (uint32_t)snprintf(out + used, 8, "(none)");
		used += bytes;
	}
	if (!used)
		used = (uint32_t)snprintf(out, 8, "all");
	return used;
}

void merge_alert_put(struct bytes *out, const struct window_def *def, const struct row *row,
	const struct anomaly_alert *alert, int64_t receive_time_ms)
{
	const struct anomaly_spec *spec = alert->spec;
	char rule[256], title[320], key[KEY_TEXT_BYTES];
	const char *severity = alert->verdict.score >= 2 * spec->factor ? "high" : "medium";
	const char *const text[4] = {rule, title, severity, key};
	struct row_alert a = {.first_ms = row->start_ms,
		.last_ms = row->end_ms,
		.score = alert->verdict.score,
		.value = alert->value,
		.expected = alert->verdict.expected,
		.window_uid = row->window_uid};

	alert_id(a.id, row, spec);
	a.evidence_total = alert->events < UINT32_MAX ? (uint32_t)alert->events : UINT32_MAX;
	a.rule_bytes = (uint16_t)snprintf(rule, sizeof rule, "anomaly:%s:%s(%s)", def->name,
		anomaly_kind_name[spec->kind], spec->label);
	a.title_bytes = (uint16_t)snprintf(title, sizeof title, "%s of %s is %.6g, expected %.6g",
		spec->label, def->name, alert->value, alert->verdict.expected);
	a.severity_bytes = (uint16_t)strlen(severity);
	a.key_bytes = (uint16_t)key_text(key, def, row);
	row_put_alert(out, &a, text, NULL, receive_time_ms);
}
