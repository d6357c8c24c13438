/* Memory and bounds of what match_confirm.c does. Control thread. */
#include <stdlib.h>

#include "match_priv.h"

/* All of PCRE2's memory while matching, out of one piece: it asks for some at the first match and for twice
 * as much when that is used up, up to CONFIRM_HEAP_KIB. Nothing is given back before the matcher ends. */
static void *arena_get(size_t bytes, void *arg)
{
	struct confirm *confirm = arg;
	size_t need = (bytes + 15) & ~(size_t)15;
	void *p = confirm->arena + confirm->used;

	if (need < bytes || need > CONFIRM_ARENA_BYTES - confirm->used)
		return NULL;
	confirm->used += need;
	return p;
}

static void arena_put(void *p, void *arg)
{
	(void)p;
	(void)arg;
}

bool confirm_setup(struct confirm *confirm, const struct ruleset *rs)
{
	if (!rs->confirm_count)
		return true;
	confirm->arena = calloc(1, CONFIRM_ARENA_BYTES);
	if (!confirm->arena)
		return false;
	confirm->memory = pcre2_general_context_create(arena_get, arena_put, confirm);
	if (!confirm->memory)
		return false;
	confirm->limits = pcre2_match_context_create(confirm->memory);
	confirm->found = pcre2_match_data_create(1, confirm->memory);
	if (!confirm->limits || !confirm->found)
		return false;
	pcre2_set_match_limit(confirm->limits, CONFIRM_STEPS_MAX);
	pcre2_set_depth_limit(confirm->limits, CONFIRM_STEPS_MAX);
	pcre2_set_heap_limit(confirm->limits, CONFIRM_HEAP_KIB);
	return true;
}

void confirm_end(struct confirm *confirm)
{
	free(confirm->arena); /* all contexts are in it */
}
