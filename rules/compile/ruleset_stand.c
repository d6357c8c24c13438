/* Where a reader of a log stands among the generations. The reader's thread; the store is for any. */
#include "ruleset.h"

const struct ruleset *ruleset_stand_at(
	struct ruleset_stand *stand, struct ruleset_store *st, uint32_t generation, struct err *err)
{
	if (stand->rs && stand->generation == generation)
		return stand->rs;
	ruleset_stand_leave(stand, st);
	stand->rs = ruleset_store_get(st, generation, err);
	stand->generation = generation;
	return stand->rs;
}

void ruleset_stand_leave(struct ruleset_stand *stand, struct ruleset_store *st)
{
	ruleset_store_release(st, stand->rs);
	stand->rs = NULL;
}
