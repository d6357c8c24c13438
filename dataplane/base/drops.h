/* Named drops: the enum and the table made from drops.def. */
#ifndef SLUICE_DROPS_H
#define SLUICE_DROPS_H

#include <stdint.h>

enum drop_reason {
	DROP_NONE = 0,
#define DROP(id, name, unit, help) DROP_##name = (id),
#include "drops.def"
#undef DROP
	DROP_ID_MAX = 64 /* size of counter arrays; part of the journal's block format */
};

enum drop_unit { DROP_UNIT_frame, DROP_UNIT_datagram, DROP_UNIT_event, DROP_UNIT_shadow };

struct drop_info {
	const char *name; /* NULL where an id is not in use */
	enum drop_unit unit;
	const char *help;
};

extern const struct drop_info drop_table[DROP_ID_MAX];

const char *drop_unit_name(enum drop_unit unit);

#endif
