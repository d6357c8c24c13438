/* What a definition may say although no event can do it: fields that none of its event types has. Set-up
 * only. */
#include <stdio.h>

#include "window_priv.h"

struct fit {
	const struct window_def *def;
	void (*line)(void *arg, const char *text);
	void *arg;
};

static uint32_t types_with(uint32_t types, enum field_id field)
{
	uint32_t with = 0;

	for (uint32_t i = 1; i < EVENT_TYPE_MAX; i++)
		if ((types >> i & 1) && type_table[i].name && (type_table[i].uses >> field & 1))
			with |= 1u << i;
	return with;
}

/* "sum_amount: none of the event types that it takes (click, log) has the field amount: EFFECT". field: or a
 * type, as count(type=...) has it. */
static void tell(const struct fit *fit, uint32_t types, const char *key, const char *what, const char *field,
	const char *effect)
{
	char names[256] = "";
	struct err text;
	size_t used = 0;

	for (int i = 1; i < EVENT_TYPE_MAX && used < sizeof names; i++)
		if ((types >> i & 1) && type_table[i].name)
			used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", used ? ", " : "",
				type_table[i].name);
	if (field)
		err_set(&text, 0,
			"window %s: %s: %s: none of the event types that it takes (%s) has the field %s: %s",
			fit->def->name, key, what, names, field, effect);
	else
		err_set(&text, 0, "window %s: %s: %s: it takes other event types (%s): %s", fit->def->name,
			key, what, names, effect);
	fit->line(fit->arg, text.text);
}

/* The types of which an event can pass the tests, 0 if there is none, which is told. */
static uint32_t filter_fit(
	const struct fit *fit, const struct window_filter *f, uint32_t types, const char *key)
{
	enum field_id field;

	for (uint32_t i = 0; types && (field = window_filter_field(f, i)) != FIELD_NONE; i++) {
		uint32_t with = types_with(types, field);
		const char *name = field_table[field].name;

		if (!with)
			tell(fit, types, key, name, name, "no event passes");
		types = with;
	}
	return types;
}

/* The types that come to a step, of all steps together. */
static uint32_t steps_fit(const struct fit *fit, uint32_t types)
{
	const struct window_def *def = fit->def;
	uint32_t any = 0;

	for (uint32_t i = 0; i < def->step_count; i++) {
		uint32_t of_step = types & window_filter_types(def->step[i]);
		char key[sizeof def->step_name[0] + 8];

		snprintf(key, sizeof key, "steps: %s", def->step_name[i]);
		if (!of_step)
			tell(fit, types, key, "type", NULL, "no event passes");
		any |= filter_fit(fit, def->step[i], of_step, key);
	}
	return any;
}

static void aggregates_fit(const struct fit *fit, uint32_t types)
{
	static const char effect[] = "it has nothing to compute";

	for (uint32_t i = 0; i < agg_set_count(fit->def->aggs); i++) {
		const struct agg_spec *spec = agg_set_spec(fit->def->aggs, i);

		if (spec->field == FIELD_NONE && spec->value_bytes) {
			if (!(types >> event_type_by_name(spec->value, spec->value_bytes) & 1))
				tell(fit, types, "aggregates", spec->label, NULL, effect);
		} else if (spec->field != FIELD_NONE && !types_with(types, spec->field)) {
			tell(fit, types, "aggregates", spec->label, field_table[spec->field].name, effect);
		}
	}
}

void window_plan_fit(const struct window_plan *plan, void (*line)(void *arg, const char *text), void *arg)
{
	for (uint32_t i = 0; i < plan->count; i++) {
		const struct window_def *def = plan->def[i];
		const struct fit fit = {def, line, arg};
		uint32_t types = filter_fit(&fit, def->filter, window_filter_types(def->filter), "where");

		if (types && def->kind == WINDOW_FUNNEL)
			types = steps_fit(&fit, types);
		if (!types)
			continue; /* told already: the rest follows from it */
		for (uint32_t k = 0; k < def->group_count; k++)
			if (!def->attr[k] && !types_with(types, def->group[k]))
				tell(&fit, types, "by", window_group_name(def, k), window_group_name(def, k),
					"it is absent in every row");
		aggregates_fit(&fit, types);
	}
}
