/* The schema's tables, from event_fields.def. Constant once the constructor has run; lookups are for set-up
 * time. */
#include "event.h"

#include <string.h>

const char *const field_kind_name[FIELD_KIND_COUNT] = {
	[FIELD_KIND_UUID] = "UUID",
	[FIELD_KIND_TIME] = "time",
	[FIELD_KIND_TEXT] = "text",
	[FIELD_KIND_NUMBER] = "number",
	[FIELD_KIND_OBJECT] = "object",
	[FIELD_KIND_DECIMAL] = "decimal",
};

#define KEY(field, scope, key)
#define TYPE(id, name, required)
#define USES(type, field)
#define PART_KEY(type, field)
#define ENRICHED(field)
#define FIELD(id, name, kind, len_min, len_max, column_type, help)                                           \
	[id] = {#name, FIELD_KIND_##kind, len_min, len_max, column_type, help},
const struct field_info field_table[FIELD_ID_MAX] = {
#include "event_fields.def"
};
#undef FIELD
#define FIELD(id, name, kind, len_min, len_max, column_type, help)                                           \
	_Static_assert((id) > 0 && (id) < FIELD_ID_MAX, "field id out of range");                            \
	_Static_assert((len_max) < EVENT_BYTES_MAX, "field longer than an event");
#include "event_fields.def"
#undef FIELD
#define FIELD(id, name, kind, len_min, len_max, column_type, help)

#undef KEY
#define KEY(field, scope, key) {FIELD_##field, KEY_SCOPE_##scope, key, sizeof key - 1},
const struct key_info key_table[] = {
#include "event_fields.def"
};
#undef KEY
#define KEY(field, scope, key)
const uint32_t key_count = sizeof key_table / sizeof *key_table;

#undef TYPE
#define TYPE(id, name, required) [id] = {#name, required, 0, {0}, {0}},
static struct type_info type_rows[EVENT_TYPE_MAX] = {
#include "event_fields.def"
};
#undef TYPE
#define TYPE(id, name, required)
const struct type_info *const type_table = type_rows;

static void append(uint8_t *list, uint8_t field)
{
	while (*list)
		list++;
	*list = field;
}

static void all_types_use(enum field_id field)
{
	for (int i = 1; i < EVENT_TYPE_MAX; i++) {
		if (!type_rows[i].name)
			continue;
		append(type_rows[i].column, (uint8_t)field);
		type_rows[i].uses |= 1ull << field;
	}
}

#undef USES
#undef PART_KEY
#define USES(type, field)                                                                                    \
	append(type_rows[EVENT_TYPE_##type].column, FIELD_##field);                                          \
	type_rows[EVENT_TYPE_##type].uses |= FBIT(field);
#undef ENRICHED
#define PART_KEY(type, field) append(type_rows[EVENT_TYPE_##type].part_key, FIELD_##field);
#define ENRICHED(field) all_types_use(FIELD_##field);

__attribute__((constructor)) static void type_rows_fill(void)
{
#include "event_fields.def"
}

enum field_id field_by_name(const char *name, size_t bytes)
{
	for (int i = 1; i < FIELD_ID_MAX; i++)
		if (field_table[i].name && strlen(field_table[i].name) == bytes &&
			!memcmp(field_table[i].name, name, bytes))
			return (enum field_id)i;
	return FIELD_NONE;
}

enum event_type event_type_by_name(const char *name, size_t bytes)
{
	for (int i = 1; i < EVENT_TYPE_MAX; i++)
		if (type_rows[i].name && strlen(type_rows[i].name) == bytes &&
			!memcmp(type_rows[i].name, name, bytes))
			return (enum event_type)i;
	return EVENT_TYPE_NONE;
}
