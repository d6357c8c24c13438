/* Events that the shipped rules match, from gen_fraud.def. */
#include <stdio.h>
#include <string.h>

#include "gen_event.h"

#define FRAUD(rule_, type_, field_, value_) {rule_, EVENT_TYPE_##type_, field_, value_},
static const struct fraud_row {
	const char *rule;
	uint8_t type;
	const char *field, *value;
} fraud_rows[] = {
#include "gen_fraud.def"
};
#undef FRAUD

#define FRAUD_ROWS (sizeof fraud_rows / sizeof *fraud_rows)
#define ATTR "attributes."

static struct gen_field *fraud_field(struct gen_draft *d, const char *name, const char **key)
{
	bool attr = !strncmp(name, ATTR, strlen(ATTR));
	struct gen_field *list = attr ? d->attr : d->top;
	uint32_t *count = attr ? &d->attr_count : &d->top_count;

	*key = attr ? name + strlen(ATTR) : name;
	for (uint32_t i = 0; i < *count; i++)
		if (!strcmp(list[i].key, *key))
			return &list[i];
	return &list[(*count)++]; /* drafts leave room: see draft_click() and draft_platform() */
}

const char *gen_fraud_draft(struct gen_draft *d, uint8_t type, struct gen_rng *rng)
{
	uint32_t pick[FRAUD_ROWS], picks = 0;
	const struct fraud_row *row;
	const char *key;

	for (uint32_t i = 0; i < FRAUD_ROWS; i++)
		if (fraud_rows[i].type == type)
			pick[picks++] = i;
	if (!picks)
		return NULL;
	row = &fraud_rows[pick[gen_rng_below(rng, picks)]];
	struct gen_field *f = fraud_field(d, row->field, &key);
	const char *mark = strstr(row->value, "%u"), *end = row->value + strlen(row->value);
	char number[12] = "", text[160];

	if (mark)
		snprintf(number, sizeof number, "%u", gen_rng_below(rng, 100000));
	snprintf(text, sizeof text, "%.*s%s%s", (int)((mark ? mark : end) - row->value), row->value, number,
		mark ? mark + 2 : "");
	gen_field_text(f, key, text);
	return row->rule;
}
