/* The table of named drops. Constant data. */
#include "drops.h"

const struct drop_info drop_table[DROP_ID_MAX] = {
#define DROP(id, name, unit, help) [id] = {#name, DROP_UNIT_##unit, help},
#include "drops.def"
#undef DROP
};

#define DROP(id, name, unit, help) _Static_assert((id) > 0 && (id) < DROP_ID_MAX, "drop id out of range");
#include "drops.def"
#undef DROP

const char *drop_unit_name(enum drop_unit unit)
{
	static const char *const name[] = {"frame", "datagram", "event", "shadow"};

	return name[unit];
}
