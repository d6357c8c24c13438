/* Memory and bounds of what match_confirm.c does. Control thread. */
#include <stdlib.h>

#include "match_priv.h"

/* All of PCRE2's memory while matching, out of one piece. It keeps one piece of frames from search to search
 * and takes a larger one for it when an expression needs that, up to CONFIRM_HEAP_KIB: it has the old and the
 * new one for a moment, never more. So no order of searches can use the memory up. */
static uint8_t *frames_at(const struct confirm *confirm, int i)
{
	return confirm->arena + CONFIRM_CONTEXTS_BYTES + (size_t)i * CONFIRM_FRAMES_BYTES;
}

static void *arena_get(size_t bytes, void *arg)
{
	struct confirm *confirm = arg;
	size_t need = (bytes + 15) & ~(size_t)15;
	void *p = confirm->arena + confirm->used;

	if (need < bytes)
		return NULL;
	if (!confirm->ready) {
		if (need > CONFIRM_CONTEXTS_BYTES - confirm->used)
			return NULL;
		confirm->used += need;
		return p;
	}
	for (int i = 0; i < 2 && need <= CONFIRM_FRAMES_BYTES; i++)
		if (!confirm->taken[i]) {
			confirm->taken[i] = true;
			return frames_at(confirm, i);
		}
	return NULL;
}

static void arena_put(void *p, void *arg)
{
	struct confirm *confirm = arg;

	for (int i = 0; i < 2; i++)
		if (p == frames_at(confirm, i))
			confirm->taken[i] = false;
}

bool confirm_setup(struct confirm *confirm, const struct ruleset *rs)
{
	if (!rs->confirm_count)
		return true;
	confirm->arena = calloc(1, CONFIRM_CONTEXTS_BYTES + 2 * CONFIRM_FRAMES_BYTES);
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
	confirm->ready = true;
	return true;
}

void confirm_end(struct confirm *confirm)
{
	free(confirm->arena); /* all contexts are in it */
}
