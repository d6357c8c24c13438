/* Fills the table descriptions at first use: rows of ch_tables.def, with the schema's fields in their place.
 */
#include "ch_table.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define TABLE(id, name_, logs_, time_, order_by_, ttl_, help)                                                \
	[id] = {.name = #name_,                                                                              \
		.token = #name_,                                                                             \
		.logs = CH_LOG_##logs_,                                                                      \
		.time = time_,                                                                               \
		.order_by = order_by_,                                                                       \
		.ttl = ttl_},
#define COLUMN(table, name, type, value)
#define FIELDS(table)
#define INDEX(table, column)
static struct ch_table tables[CH_TABLE_COUNT] = {
#include "ch_tables.def"
};
#undef TABLE
#undef COLUMN
#undef FIELDS
#undef INDEX

enum ch_table_id ch_table_of_type(uint8_t type)
{
	return type == EVENT_TYPE_click ? CH_TABLE_clicks_raw : CH_TABLE_events_raw;
}

struct ch_column *ch_table_column_add(
	struct ch_table *table, const char *name, enum native_type type, enum ch_value value)
{
	struct ch_column *column = &table->column[table->column_count];

	assert(table->column_count < NATIVE_COLUMNS_MAX);
	table->column_count++;
	*column = (struct ch_column){.name = name, .type = type, .value = value};
	return column;
}

const struct ch_column *ch_table_column(const struct ch_table *table, const char *name)
{
	for (uint32_t i = 0; i < table->column_count; i++)
		if (strcmp(table->column[i].name, name) == 0)
			return &table->column[i];
	return NULL;
}

void ch_column_type(char out[CH_TYPE_BYTES], const struct ch_column *column)
{
	if (column->merge)
		snprintf(out, CH_TYPE_BYTES, "SimpleAggregateFunction(%s, %s)", column->merge,
			native_type_name[column->type]);
	else
		snprintf(out, CH_TYPE_BYTES, "%s", native_type_name[column->type]);
}

/* The schema's type, but a number that may be missing is NULL then: 0 would spoil every average. */
static enum native_type field_type(const struct field_info *field)
{
	enum native_type type = native_type_by_name(field->column_type);

	return type == NATIVE_FLOAT64	 ? NATIVE_FLOAT64_NULL
	       : type == NATIVE_DECIMAL6 ? NATIVE_DECIMAL6_NULL
					 : type;
}

static void field_add(struct ch_table *table, enum field_id id)
{
	const struct field_info *field = &field_table[id];
	enum native_type type = field_type(field);
	enum ch_value value = id == FIELD_event_id ? CH_VALUE_EVENT_ID
			      : id == FIELD_ts	   ? CH_VALUE_EVENT_TIME
						   : CH_VALUE_FIELD;

	assert(type < NATIVE_TYPE_COUNT); /* a type of the schema that the encoder does not have */
	if (!ch_table_column(table, field->name))
		ch_table_column_add(table, field->name, type, value)->field = id;
}

/* The fields of all event types of the table, each once, in the order of the schema's USES rows. */
static void fields_add(enum ch_table_id id)
{
	for (int type = 1; type < EVENT_TYPE_MAX; type++)
		if (type_table[type].name && ch_table_of_type((uint8_t)type) == id)
			for (const uint8_t *field = type_table[type].column; *field; field++)
				field_add(&tables[id], (enum field_id) * field);
}

/* At first use, since the schema's rows are themselves filled before main() in no order that could be relied
 * on. */
static void tables_fill(void)
{
#define TABLE(id, name, logs, time, order_by, ttl, help)
#define COLUMN(table, name, type, value)                                                                     \
	ch_table_column_add(&tables[CH_TABLE_##table], name, NATIVE_##type, CH_VALUE_##value);
#define FIELDS(table) fields_add(CH_TABLE_##table);
#define INDEX(table, column) tables[CH_TABLE_##table].index[tables[CH_TABLE_##table].index_count++] = #column;
#include "ch_tables.def"
#undef TABLE
#undef COLUMN
#undef FIELDS
#undef INDEX
}

const struct ch_table *ch_table_get(enum ch_table_id id)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, tables_fill);
	return &tables[id];
}

#define DAY_MS 86400000ll

/* From a day of the month on, by the calendar of ch_month_of(). */
void ch_month_span(int64_t ms, int64_t *from_ms, int64_t *to_ms)
{
	uint32_t month = ch_month_of(ms);
	int64_t clamped = ch_time_clamp(ms);
	int64_t day = (clamped - (clamped < 0 ? DAY_MS - 1 : 0)) / DAY_MS;
	int64_t from = day, to = day + 1;

	while (ch_month_of((from - 1) * DAY_MS) == month && (from - 1) * DAY_MS >= CH_TIME_MIN_MS)
		from--;
	while (ch_month_of(to * DAY_MS) == month && to * DAY_MS <= CH_TIME_MAX_MS)
		to++;
	*from_ms = from * DAY_MS;
	*to_ms = to * DAY_MS;
}

/* Civil calendar from days since 1970-01-01, counted in eras of 400 years that begin on 1 March. */
uint32_t ch_month_of(int64_t ms)
{
	int64_t clamped = ch_time_clamp(ms);
	int64_t days = (clamped - (clamped < 0 ? DAY_MS - 1 : 0)) / DAY_MS + 719468;
	int64_t era = days / 146097, day = days - era * 146097;
	int64_t year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
	int64_t month = (5 * (day - (365 * year + year / 4 - year / 100)) + 2) / 153;

	year += era * 400 + (month >= 10);
	month = month < 10 ? month + 3 : month - 9;
	return (uint32_t)(year * 100 + month);
}
