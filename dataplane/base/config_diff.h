/* What is different between two configurations, key by key. Pure; control threads. */
#ifndef SLUICE_CONFIG_DIFF_H
#define SLUICE_CONFIG_DIFF_H

#include "config_table.h"

/* A key with different values. name: as a user knows it, "time.past_max", "listeners[events].allow", or the
 * list alone, "listeners", if it has another number of entries: then key is NULL. from, to: the values as
 * text. Valid in the call. */
struct config_change {
	const struct config_key *key;
	const char *name, *from, *to;
	bool live;     /* takes effect without a restart */
	size_t offset; /* of the value in struct config */
};

/* Calls `each` for every difference, in the table's order. Returns how many there are. */
uint32_t config_diff(const struct config *from, const struct config *to,
	void (*each)(void *arg, const struct config_change *change), void *arg);

/* Copies the changed value into `to`. Numbers are stored as a whole: who reads one meanwhile has the old or
 * the new one. Texts are not: nobody may read them meanwhile. */
void config_change_copy(struct config *to, const struct config *from, const struct config_change *change);

#endif
