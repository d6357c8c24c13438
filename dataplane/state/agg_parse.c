/* The compiler of `aggregates:`. In: text. Out: an immutable agg_set, the caller's: specs as written, and the
 * parts of a cell that they need, each once, ordered by field. Set-up only. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "agg_priv.h"
#include "nearest.h"
#include "value_text.h"

enum argument { ARG_NONE, ARG_NUMBER, ARG_TEXT, ARG_TEXT_K, ARG_WHEN };

struct function {
	const char *name;
	enum argument argument;
	uint32_t parts;
};

static const struct function functions[AGG_KIND_MAX] = {
#define AGG(id, name, argument, parts, help) [id] = {#name, ARG_##argument, (parts)},
#include "agg.def"
#undef AGG
};

static bool is_space(char ch)
{
	return ch == ' ' || ch == '\t' || ch == '\n' || ch == '\r';
}

static const char *space_skip(const char *p)
{
	while (is_space(*p))
		p++;
	return p;
}

static bool is_name(char ch)
{
	return (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') || ch == '_';
}

static size_t name_bytes(const char *p)
{
	size_t n = 0;

	while (is_name(p[n]))
		n++;
	return n;
}

static enum agg_kind function_find(const char *name, size_t bytes)
{
	for (int i = 0; i < AGG_KIND_MAX; i++)
		if (functions[i].name && strlen(functions[i].name) == bytes &&
			memcmp(functions[i].name, name, bytes) == 0)
			return (enum agg_kind)i;
	return AGG_KIND_MAX;
}

/* What stands in the parentheses: a field, or the pseudo-field `type` of count(type=...). */
static const char *argument_name(const struct agg_spec *spec)
{
	return spec->field != FIELD_NONE ? field_table[spec->field].name : "type";
}

/* The function's name, then what of its argument a name may hold. */
static int label_make(struct agg_spec *spec, struct err *err)
{
	const char *field = spec->field != FIELD_NONE || spec->value_bytes ? argument_name(spec) : NULL;
	int n = snprintf(spec->label, sizeof spec->label, "%s%s%s%s%s", functions[spec->kind].name,
		field ? "_" : "", field ? field : "", spec->value_bytes ? "_" : "",
		spec->value_bytes ? spec->value : "");

	if (n < 0 || (size_t)n >= sizeof spec->label)
		return err_set(err, -EINVAL, "the name %s... is longer than %zu bytes", spec->label,
			sizeof spec->label - 1);
	for (char *p = spec->label; *p; p++)
		if (!is_name(*p))
			*p = '_';
	return 0;
}

/* "WHAT; did you mean NAME?" */
static int unknown(struct err *err, const char *what, const char *word, size_t bytes, bool is_field)
{
	char text[64] = "";
	struct nearest near;

	memcpy(text, word, bytes < sizeof text ? bytes : sizeof text - 1);
	near = nearest_to(text);
	for (int i = 1; is_field && i < FIELD_ID_MAX; i++)
		nearest_offer(&near, field_table[i].name);
	for (int i = 1; !is_field && i < AGG_KIND_MAX; i++)
		nearest_offer(&near, functions[i].name);
	return err_set(err, -EINVAL, "%s%s%s%s", what, near.name ? "; did you mean " : "",
		near.name ? near.name : "", near.name ? "?" : "");
}

/* `field` or `field=value`. *p stands behind the parenthesis; moves to behind the field. */
static int field_parse(struct agg_spec *spec, const char **p, struct err *err)
{
	const char *name = space_skip(*p);
	size_t bytes = name_bytes(name);
	char what[128];

	*p = space_skip(name + bytes);
	spec->field = field_by_name(name, bytes);
	if (functions[spec->kind].argument == ARG_WHEN && bytes == 4 && memcmp(name, "type", 4) == 0)
		return 0;
	if (spec->field == FIELD_NONE) {
		snprintf(what, sizeof what, "%s(%.*s): there is no such field", functions[spec->kind].name,
			(int)(bytes > 64 ? 64 : bytes), name);
		return unknown(err, what, name, bytes, true);
	}
	if (functions[spec->kind].argument == ARG_NUMBER &&
		field_table[spec->field].kind != FIELD_KIND_NUMBER && !agg_field_decimal(spec->field))
		return err_set(err, -EINVAL, "%s(%s): not a number field", functions[spec->kind].name,
			field_table[spec->field].name);
	return 0;
}

static int value_parse(struct agg_spec *spec, const char **p, struct err *err)
{
	const char *from = *p, *to, *end;

	if (*from != '=')
		return err_set(err, -EINVAL, "count(%s: expected =", argument_name(spec));
	from = space_skip(from + 1);
	if (*from == '"') {
		from++;
		to = strchr(from, '"');
		end = to ? to + 1 : NULL;
	} else {
		to = end = strchr(from, ')');
		while (to && to > from && is_space(to[-1]))
			to--;
	}
	if (!to)
		return err_set(err, -EINVAL, "count(%s=: the value has no end", argument_name(spec));
	if (to == from || (size_t)(to - from) >= sizeof spec->value)
		return err_set(err, -EINVAL, "count(%s=%.*s): a value has 1 to %zu bytes",
			argument_name(spec), (int)(to - from > 64 ? 64 : to - from), from,
			sizeof spec->value - 1);
	spec->value_bytes = (uint32_t)(to - from);
	memcpy(spec->value, from, spec->value_bytes);
	spec->value[spec->value_bytes] = 0;
	*p = space_skip(end);
	return 0;
}

static int top_parse(struct agg_spec *spec, const char **p, struct err *err)
{
	char *end;
	unsigned long k = 10;

	if (field_table[spec->field].kind == FIELD_KIND_NUMBER || agg_field_decimal(spec->field))
		return err_set(err, -EINVAL, "top(%s): not a text field", field_table[spec->field].name);
	if (**p == ',') {
		const char *from = space_skip(*p + 1);

		k = *from >= '0' && *from <= '9' ? strtoul(from, &end, 10) : 0;
		if (!k || k > TOPK_K_MAX)
			return err_set(err, -EINVAL, "top(%s, k): k is a number from 1 to %d",
				field_table[spec->field].name, TOPK_K_MAX);
		*p = space_skip(end);
	}
	spec->k = (uint32_t)k;
	return 0;
}

/* What stands in the parentheses, if there are any. */
static int argument_parse(struct agg_spec *spec, const char **p, struct err *err)
{
	enum argument argument = functions[spec->kind].argument;
	int rc = 0;

	if (**p != '(') {
		if (argument == ARG_NONE || argument == ARG_WHEN)
			return 0;
		return err_set(err, -EINVAL, "%s: needs a field: %s(field)", functions[spec->kind].name,
			functions[spec->kind].name);
	}
	if (argument == ARG_NONE)
		return err_set(err, -EINVAL, "%s takes no argument", functions[spec->kind].name);
	(*p)++;
	rc = field_parse(spec, p, err);
	if (!rc && argument == ARG_WHEN)
		rc = value_parse(spec, p, err);
	if (!rc && argument == ARG_TEXT_K)
		rc = top_parse(spec, p, err);
	if (rc)
		return rc;
	if (**p != ')')
		return err_set(err, -EINVAL, "%s(%s: expected )%s", functions[spec->kind].name,
			argument_name(spec), **p == '.' ? ": attributes stand in `by` alone" : "");
	*p = space_skip(*p + 1);
	return 0;
}

/* `as NAME` instead of the label that is made. */
static int alias_parse(struct agg_spec *spec, const char **p, struct err *err)
{
	const char *name;
	size_t bytes;

	if (strncmp(*p, "as", 2) != 0 || !is_space((*p)[2]))
		return 0;
	name = space_skip(*p + 2);
	bytes = name_bytes(name);
	if (!bytes || bytes >= sizeof spec->label)
		return err_set(err, -EINVAL, "%s as: expected a name of 1 to %zu letters, digits or _",
			spec->label, sizeof spec->label - 1);
	memcpy(spec->label, name, bytes);
	spec->label[bytes] = 0;
	*p = space_skip(name + bytes);
	return 0;
}

static int spec_parse(struct agg_set *set, const char **p, struct err *err)
{
	struct agg_spec *spec = &set->spec[set->spec_count];
	size_t bytes = name_bytes(*p);
	char what[128];
	int rc;

	if (set->spec_count == AGG_MAX)
		return err_set(err, -EINVAL, "more than %d aggregates", AGG_MAX);
	spec->kind = function_find(*p, bytes);
	if (spec->kind == AGG_KIND_MAX) {
		snprintf(what, sizeof what, "there is no aggregate \"%.*s\"", (int)(bytes ? bytes : 1) & 63,
			*p);
		return unknown(err, what, *p, bytes, false);
	}
	*p = space_skip(*p + bytes);
	rc = argument_parse(spec, p, err);
	if (!rc)
		rc = label_make(spec, err);
	if (!rc)
		rc = alias_parse(spec, p, err);
	if (rc)
		return rc;
	for (uint32_t i = 0; i < set->spec_count; i++)
		if (strcmp(set->spec[i].label, spec->label) == 0)
			return err_set(err, -EINVAL, "two aggregates would be named %s", spec->label);
	set->spec_count++;
	return 0;
}

/* ---- parts ---- */

static int part_compare(const struct agg_part *a, const struct agg_part *b)
{
	if (a->field != b->field)
		return a->field < b->field ? -1 : 1;
	if (a->kind != b->kind)
		return a->kind < b->kind ? -1 : 1;
	if (a->k != b->k)
		return a->k < b->k ? -1 : 1;
	if (a->value_bytes != b->value_bytes)
		return a->value_bytes < b->value_bytes ? -1 : 1;
	return memcmp(a->value, b->value, a->value_bytes);
}

/* The value of count(field=value) as the bytes that a record has. */
static int part_value(struct agg_part *part, const struct agg_spec *spec, struct err *err)
{
	char *end;
	double number;
	int64_t millionths;

	if (part->field == FIELD_NONE) {
		part->value[0] = (uint8_t)event_type_by_name(spec->value, spec->value_bytes);
		part->value_bytes = 1;
		return part->value[0]
			       ? 0
			       : err_set(err, -EINVAL, "type=%s: there is no such event type", spec->value);
	}
	if (!part->number) {
		memcpy(part->value, spec->value, spec->value_bytes);
		part->value_bytes = spec->value_bytes;
		return 0;
	}
	number = strtod(spec->value, &end);
	if (*end || !isfinite(number) || (part->decimal && fabs(number) > 9.2e12))
		return err_set(
			err, -EINVAL, "%s=%s: not a number", field_table[part->field].name, spec->value);
	number += 0.0;
	millionths = 0;
	if (part->decimal && !decimal_of_text(spec->value, FIELD_DECIMAL_MAX, &millionths))
		millionths = llround(number * 1e6); /* an exponent, or more decimals than there are */
	memcpy(part->value, part->decimal ? (const void *)&millionths : &number, sizeof number);
	part->value_bytes = sizeof number;
	return 0;
}

/* Makes the part if it is not there. */
static int part_add(
	struct agg_set *set, const struct agg_spec *spec, enum agg_part_kind kind, struct err *err)
{
	struct agg_part part = {.kind = kind, .k = kind == AGG_PART_TOP ? spec->k : 0};
	uint32_t i = 0;
	int rc = 0;

	if (!agg_part_whole(kind)) {
		part.field = spec->field;
		part.decimal = agg_field_decimal(spec->field);
		part.number = part.decimal || field_table[spec->field].kind == FIELD_KIND_NUMBER;
	}
	if (kind == AGG_PART_MATCH)
		rc = part_value(&part, spec, err);
	if (rc)
		return rc;
	while (i < set->part_count && part_compare(&set->part[i], &part) < 0)
		i++;
	if (i < set->part_count && part_compare(&set->part[i], &part) == 0)
		return 0;
	memmove(&set->part[i + 1], &set->part[i], (set->part_count - i) * sizeof part);
	set->part[i] = part;
	set->part_count++;
	return 0;
}

static uint32_t parts_of(const struct agg_spec *spec)
{
	uint32_t parts = functions[spec->kind].parts;

	return spec->kind == AGG_count && spec->value_bytes ? AP(MATCH) : parts;
}

static int parts_make(struct agg_set *set, struct err *err)
{
	for (uint32_t s = 0; s < set->spec_count; s++) {
		uint32_t parts = parts_of(&set->spec[s]);

		for (uint32_t left = parts; left; left &= left - 1)
			parts |= agg_part_ops[__builtin_ctz(left)].needs;
		for (; parts; parts &= parts - 1) {
			int rc = part_add(set, &set->spec[s], (enum agg_part_kind)__builtin_ctz(parts), err);

			if (rc) {
				err_prefix(err, "%s", set->spec[s].label);
				return rc;
			}
		}
	}
	return 0;
}

/* Offsets, groups, and what a packed cell may take. */
static void layout_make(struct agg_set *set)
{
	struct agg_group *group = NULL;
	uint32_t present = 0;

	for (uint32_t i = 0; i < set->part_count; i++) {
		struct agg_part *part = &set->part[i];

		if (!group || group->field != part->field) {
			group = &set->group[set->group_count++];
			*group = (struct agg_group){.field = part->field,
				.number = part->number,
				.decimal = part->decimal,
				.first = i};
		}
		group->count++;
		group->hashed |= part->kind == AGG_PART_DISTINCT || part->kind == AGG_PART_TOP;
		group->keys |= part->kind == AGG_PART_QUANTILES;
		group->moments |= part->kind == AGG_PART_MOMENTS;
		set->edges |= part->kind == AGG_PART_FIRST || part->kind == AGG_PART_LAST;
		part->offset = set->cell_bytes;
		set->cell_bytes += agg_part_ops[part->kind].bytes[part->decimal];
		if (part->kind == AGG_PART_PRESENT)
			present = part->offset;
		part->present = present;
		set->packed_max += agg_part_ops[part->kind].packed_max(part);
		if (part->kind >= AGG_PART_DISTINCT)
			set->grow[set->grow_count++] = (uint8_t)i;
		if (part->field != FIELD_NONE)
			set->fields |= 1ull << part->field;
	}
}

/* Which part of each kind a spec takes its values from. */
static void spec_parts_find(struct agg_set *set)
{
	for (uint32_t s = 0; s < set->spec_count; s++) {
		const struct agg_spec *spec = &set->spec[s];
		uint32_t k = spec->kind == AGG_top ? spec->k : 0;

		for (uint32_t i = 0; i < set->part_count; i++) {
			const struct agg_part *part = &set->part[i];

			if ((agg_part_whole(part->kind) || part->field == spec->field) && part->k == k &&
				part->kind != AGG_PART_MATCH)
				set->at[s][part->kind] = (uint8_t)i;
		}
	}
}

/* MATCH parts differ by their value only: made again and compared. */
static int spec_matches_find(struct agg_set *set, struct err *err)
{
	for (uint32_t s = 0; s < set->spec_count; s++) {
		struct agg_part want = {.kind = AGG_PART_MATCH, .field = set->spec[s].field};

		if (parts_of(&set->spec[s]) != AP(MATCH))
			continue;
		want.decimal = agg_field_decimal(want.field);
		want.number = want.decimal || field_table[want.field].kind == FIELD_KIND_NUMBER;
		int rc = part_value(&want, &set->spec[s], err);

		if (rc)
			return rc;
		for (uint32_t i = 0; i < set->part_count; i++)
			if (part_compare(&set->part[i], &want) == 0)
				set->at[s][AGG_PART_MATCH] = (uint8_t)i;
	}
	return 0;
}

static void error_fields_find(struct agg_set *set)
{
	static const char *const name[] = {
#define AGG_ERROR_FIELD(name) #name,
#define AGG_ERROR_WORD(text)
#define AGG_ERROR_CODE(min)
#include "agg_errors.def"
#undef AGG_ERROR_FIELD
#undef AGG_ERROR_WORD
#undef AGG_ERROR_CODE
	};
	_Static_assert(
		sizeof name / sizeof *name <= sizeof set->error_field / sizeof *set->error_field, "room");

	for (size_t i = 0; i < sizeof name / sizeof *name; i++) {
		enum field_id field = field_by_name(name[i], strlen(name[i]));

		if (field == FIELD_NONE)
			continue;
		set->error_field[set->error_field_count++] = field;
		set->fields |= 1ull << field;
	}
}

static int text_parse(struct agg_set *set, const char *text, struct err *err)
{
	const char *p = space_skip(text);

	if (!*p)
		return err_set(err, -EINVAL, "no aggregate is named");
	for (;;) {
		int rc = spec_parse(set, &p, err);

		if (rc)
			return rc;
		if (!*p)
			return 0;
		if (*p != ',')
			return err_set(err, -EINVAL, "behind %s: expected a comma, not \"%.8s\"",
				set->spec[set->spec_count - 1].label, p);
		p = space_skip(p + 1);
	}
}

int agg_set_parse(struct agg_set **out, const char *text, struct err *err)
{
	struct agg_set *set = calloc(1, sizeof *set);
	int rc;

	if (!set)
		return err_set(err, -ENOMEM, "no memory for aggregates");
	rc = text_parse(set, text, err);
	if (!rc)
		rc = parts_make(set, err);
	if (rc)
		goto fail;
	layout_make(set);
	for (uint32_t i = 0; i < set->part_count; i++)
		agg_part_ops[set->part[i].kind].init(&set->part[i], (uint8_t *)set->empty);
	spec_parts_find(set);
	rc = spec_matches_find(set, err);
	if (rc)
		goto fail;
	for (uint32_t i = 0; i < set->part_count; i++)
		if (set->part[i].kind == AGG_PART_ERRORS && !set->error_field_count)
			error_fields_find(set);
	if (set->packed_max > AGG_PACKED_MAX) {
		rc = err_set(err, -EINVAL,
			"a row of these aggregates may take %u bytes, more than %u: use fewer of distinct, "
			"quantiles "
			"and top, or split the window in two",
			set->packed_max, AGG_PACKED_MAX);
		goto fail;
	}
	agg_value_labels(set);
	if (!agg_narrow_make(set)) {
		rc = err_set(err, -ENOMEM, "no memory for aggregates");
		goto fail;
	}
	*out = set;
	return 0;
fail:
	free(set);
	return rc;
}

void agg_set_free(struct agg_set *set)
{
	if (set)
		free(set->narrow);
	free(set);
}

uint32_t agg_set_count(const struct agg_set *set)
{
	return set->spec_count;
}

const struct agg_spec *agg_set_spec(const struct agg_set *set, uint32_t index)
{
	return &set->spec[index];
}

uint32_t agg_set_cell_bytes(const struct agg_set *set)
{
	return set->cell_bytes;
}

uint32_t agg_set_packed_max(const struct agg_set *set)
{
	return set->packed_max;
}

uint64_t agg_set_fields(const struct agg_set *set)
{
	return set->fields;
}
