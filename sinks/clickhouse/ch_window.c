/* From a window's definition to its table. Pure. */
#include "ch_window.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ch_ddl.h"
#include "config_table.h"

/* ---- names ---- */

static const struct config_key *size_key(void)
{
	static const char list[] = "windows", name[] = "size";

	return config_key_find(config_section_find(list, sizeof list - 1), name, sizeof name - 1);
}

/* Milliseconds of "5s"; 0: no duration. */
static int64_t size_parse(const char *text)
{
	struct config_windows one = {0};

	return config_value_parse(size_key(), &one, text, NULL) ? 0 : (int64_t)one.size;
}

static void size_print(char out[32], int64_t ms)
{
	struct config_windows one = {.size = (uint64_t)ms};

	config_value_print(size_key(), &one, out, 32);
}

/* See ch_window.h. */
static void table_name(struct ch_window *w)
{
	const struct window_def *def = w->def;
	const char *end = strrchr(def->name, '_');

	if (w->merges)
		size_print(w->size, def->size_ms);
	if (!w->merges) {
		snprintf(w->name, sizeof w->name, "%s", def->name);
	} else if (end && end > def->name && def->size_ms > 0 && size_parse(end + 1) == def->size_ms) {
		snprintf(w->name, sizeof w->name, "agg_%.*s", (int)(end - def->name), def->name);
		snprintf(w->size, sizeof w->size, "%.31s", end + 1);
	} else {
		snprintf(w->name, sizeof w->name, "%s_agg", def->name);
	}
	/* The columns of an INSERT follow from the definition: an older one's block is not this one's. */
	snprintf(w->token, sizeof w->token, "%s@%016lx", w->name, def->uid);
}

static int name_check(const struct ch_window *w, struct err *err)
{
	for (int id = 0; id < CH_TABLE_COUNT; id++)
		if (strcmp(ch_table_get((enum ch_table_id)id)->name, w->name) == 0)
			return err_set(err, -EINVAL,
				"clickhouse: window %s would go to table %s, which is for something else: "
				"give it another name, or set its `clickhouse` to false",
				w->def->name, w->name);
	return 0;
}

/* "1h,1d" of the definition, which has been checked. */
static void rollups_take(struct ch_window *w)
{
	char text[sizeof w->def->rollup], *save = NULL;

	memcpy(text, w->def->rollup, sizeof text);
	for (char *p = strtok_r(text, ", ", &save); p; p = strtok_r(NULL, ", ", &save)) {
		struct ch_rollup *r = &w->rollup[w->rollup_count];

		if (w->rollup_count == CH_ROLLUPS_MAX || !size_parse(p) || !w->merges)
			return;
		r->size_ms = size_parse(p);
		snprintf(r->size, sizeof r->size, "%.31s", p);
		snprintf(r->name, sizeof r->name, "%.70s_%.20s", w->name, p);
		snprintf(r->view, sizeof r->view, "%.70s_%.20s_mv", w->name, p);
		w->rollup_count++;
	}
}

/* ---- columns ---- */

/* -EINVAL: a column of this name is there. */
static int column_add(struct ch_window *w, const char *name, enum native_type type, enum ch_value value,
	uint32_t index, const char *merge, struct err *err)
{
	struct ch_column *column;

	if (ch_table_column(&w->table, name))
		return err_set(
			err, -EINVAL, "clickhouse: window %s would have two columns %s", w->def->name, name);
	if (w->table.column_count == NATIVE_COLUMNS_MAX)
		return err_set(err, -EINVAL, "clickhouse: window %s has more than %d columns", w->def->name,
			NATIVE_COLUMNS_MAX);
	column = ch_table_column_add(&w->table, name, type, value);
	column->index = index;
	column->merge = merge;
	return 0;
}

/* Texts by the schema; what stands in keys as the text of a number, time or id is a text here, too, and so is
 * an attribute, which may have any number of values. */
static enum native_type group_type(enum field_id id)
{
	const struct field_info *field = &field_table[id];

	if (id == FIELD_NONE || field->kind != FIELD_KIND_TEXT)
		return NATIVE_STRING;
	return native_type_by_name(field->column_type) == NATIVE_LC_STRING ? NATIVE_LC_STRING : NATIVE_STRING;
}

static int groups_add(struct ch_window *w, struct err *err)
{
	const struct window_def *def = w->def;
	int rc = 0;

	for (uint32_t i = 0; i < def->group_count && !rc; i++)
		rc = column_add(w, window_group_name(def, i), group_type(def->group[i]), CH_VALUE_GROUP, i,
			NULL, err);
	return rc;
}

static int part_add(struct ch_window *w, uint32_t i, struct err *err)
{
	static const struct {
		const char *merge;
		enum native_type type, decimal;
	} of[] = {
		[AGG_COLUMN_COUNT] = {"sum", NATIVE_UINT64, NATIVE_UINT64},
		[AGG_COLUMN_SUM] = {"sum", NATIVE_FLOAT64, NATIVE_DECIMAL38},
		[AGG_COLUMN_MIN] = {"min", NATIVE_FLOAT64_NULL, NATIVE_DECIMAL38_NULL},
		[AGG_COLUMN_MAX] = {"max", NATIVE_FLOAT64_NULL, NATIVE_DECIMAL38_NULL},
		[AGG_COLUMN_REGISTERS] = {"maxMap", NATIVE_REGISTERS, NATIVE_REGISTERS},
		[AGG_COLUMN_BUCKETS] = {"sumMap", NATIVE_BUCKETS, NATIVE_BUCKETS},
		[AGG_COLUMN_TOP] = {"sumMap", NATIVE_COUNTS, NATIVE_COUNTS},
		[AGG_COLUMN_FIRST] = {"min", NATIVE_ORDERED, NATIVE_ORDERED},
		[AGG_COLUMN_LAST] = {"max", NATIVE_ORDERED, NATIVE_ORDERED},
	};
	const struct agg_column *part = &w->part[i];

	return column_add(w, part->name, part->decimal ? of[part->kind].decimal : of[part->kind].type,
		CH_VALUE_PART, i, of[part->kind].merge, err);
}

static int parts_add(struct ch_window *w, struct err *err)
{
	int rc = 0;

	w->part_count = agg_columns(w->def->aggs, w->part);
	for (uint32_t i = 0; i < w->part_count && !rc; i++)
		rc = part_add(w, i, err);
	return rc;
}

/* Type of a value, which may be missing; 0 would not say so. */
static enum native_type label_type(const struct agg_spec *spec)
{
	bool decimal = spec->field != FIELD_NONE && field_table[spec->field].kind == FIELD_KIND_DECIMAL;
	bool number = spec->field != FIELD_NONE && field_kind_is_number(field_table[spec->field].kind);

	switch (spec->kind) {
	case AGG_count:
	case AGG_distinct:
		return NATIVE_UINT64;
	case AGG_top:
		return NATIVE_COUNTS;
	case AGG_first:
	case AGG_last:
		return decimal ? NATIVE_DECIMAL38_NULL : number ? NATIVE_FLOAT64_NULL : NATIVE_STRING;
	case AGG_sum:
	case AGG_min:
	case AGG_max:
		return decimal ? NATIVE_DECIMAL38_NULL : NATIVE_FLOAT64_NULL;
	default:
		return NATIVE_FLOAT64_NULL;
	}
}

/* Values that a spec gives, in agg_values()'s order. */
static uint32_t values_of(const struct agg_spec *spec)
{
	return spec->kind == AGG_variance ? 2 : spec->kind == AGG_quantiles ? 3 : 1;
}

struct labels {
	struct ch_window *w;
	uint32_t spec, of_spec;
	struct err *err;
};

static int label_add(void *arg, const struct agg_value *v)
{
	struct labels *l = arg;
	struct ch_window *w = l->w;
	const struct agg_spec *spec = agg_set_spec(w->def->aggs, l->spec);
	char *label = w->label[w->label_count];
	int rc;

	snprintf(label, sizeof w->label[0], "%.71s", v->label);
	rc = column_add(w, label, label_type(spec), CH_VALUE_LABEL, w->label_count, NULL, l->err);
	w->label_count++;
	l->of_spec++;
	if (l->of_spec == values_of(spec)) {
		l->spec++;
		l->of_spec = 0;
	}
	return rc;
}

/* The labels are those of an empty cell. */
static int labels_add(struct ch_window *w, struct err *err)
{
	const struct agg_set *set = w->def->aggs;
	struct labels l = {.w = w, .err = err};
	struct agg_arena *arena = agg_arena_new(0);
	void *cell = aligned_alloc(64, (agg_set_cell_bytes(set) + 63) / 64 * 64);
	struct bytes packed = {0};
	int rc = -ENOMEM;

	if (arena && cell) {
		agg_cell_init(set, cell);
		agg_cell_pack(set, cell, arena, &packed);
		if (!packed.failed)
			rc = agg_values(set, packed.data, packed.bytes, label_add, &l);
	}
	if (rc == -ENOMEM)
		err_set(err, rc, "clickhouse: no memory for a table");
	bytes_free(&packed);
	free(cell);
	agg_arena_free(arena);
	return rc;
}

static int address_add(struct ch_window *w, struct err *err)
{
	static const struct {
		const char *name;
		enum native_type type;
		enum ch_value value;
	} of[] = {{"_cut", NATIVE_UINT8, CH_VALUE_ROW_CUT}, {"_revision", NATIVE_UINT32, CH_VALUE_REVISION},
		{"_definition", NATIVE_UINT64, CH_VALUE_DEFINITION},
		{"_receive_time", NATIVE_DATETIME64_MS, CH_VALUE_RECEIVE_TIME},
		{"_node", NATIVE_LC_STRING, CH_VALUE_NODE}, {"_epoch", NATIVE_UINT64, CH_VALUE_EPOCH},
		{"_partition", NATIVE_UINT16, CH_VALUE_PARTITION},
		{"_offset", NATIVE_UINT64, CH_VALUE_OFFSET}};
	int rc = 0;

	for (size_t i = 0; i < sizeof of / sizeof *of && !rc; i++)
		rc = column_add(w, of[i].name, of[i].type, of[i].value, 0, NULL, err);
	return rc;
}

static int columns_add(struct ch_window *w, struct err *err)
{
	bool funnel = w->def->kind == WINDOW_FUNNEL;
	int rc = 0;

	if (w->merges)
		rc = column_add(w, "window", NATIVE_LC_STRING, CH_VALUE_SIZE, 0, NULL, err);
	if (!rc)
		rc = column_add(w, "window_start", NATIVE_DATETIME64_MS, CH_VALUE_START, 0, NULL, err);
	if (!rc)
		rc = column_add(w, "window_end", NATIVE_DATETIME64_MS, CH_VALUE_END, 0, NULL, err);
	if (!rc && !funnel) /* a funnel's rows are over all values of its field */
		rc = groups_add(w, err);
	if (!rc && funnel)
		rc = column_add(w, "step", NATIVE_LC_STRING, CH_VALUE_STEP, 0, NULL, err);
	if (!rc)
		rc = column_add(w, "other", NATIVE_UINT8, CH_VALUE_OTHER, 0, NULL, err);
	if (!rc)
		rc = w->merges ? parts_add(w, err) : labels_add(w, err);
	return rc ? rc : address_add(w, err);
}

static void order_put(FILE *out, const struct ch_window *w)
{
	if (w->def->kind == WINDOW_FUNNEL) {
		fputs("(window_start, step)", out);
		return;
	}
	fputs(w->merges ? "(window, window_start" : "(", out);
	for (uint32_t i = 0; i < w->def->group_count; i++) {
		fputs(w->merges || i ? ", " : "", out);
		ch_ddl_word(out, window_group_name(w->def, i));
	}
	/* `other` is no key of events that lack the fields: where rows merge by this key they must stay
	 * apart. */
	fputs(w->merges ? ", other)" : ", window_start)", out);
}

static int order_make(struct ch_window *w, struct err *err)
{
	FILE *out = fmemopen(w->order_by, sizeof w->order_by, "w");

	if (!out)
		return err_set(err, -ENOMEM, "clickhouse: no memory for a table");
	order_put(out, w);
	if (fclose(out))
		return err_set(err, -EINVAL, "clickhouse: the names of window %s's groups are too long",
			w->def->name);
	return 0;
}

int ch_window_make(struct ch_window **out, const struct window_def *def, struct err *err)
{
	struct ch_window *w = calloc(1, sizeof *w);
	int rc;

	*out = NULL;
	if (!w)
		return err_set(err, -ENOMEM, "clickhouse: no memory for a table");
	w->def = def;
	w->merges = def->kind == WINDOW_TUMBLING || def->kind == WINDOW_HOPPING;
	table_name(w);
	w->table = (struct ch_table){.name = w->name,
		.token = w->token,
		.logs = CH_LOG_OUTPUT,
		.time = "window_start",
		.order_by = w->order_by};
	rc = name_check(w, err);
	if (!rc)
		rc = columns_add(w, err);
	if (!rc)
		rc = order_make(w, err);
	rollups_take(w);
	if (rc)
		free(w);
	else
		*out = w;
	return rc;
}

void ch_window_free(struct ch_window *w)
{
	free(w);
}
