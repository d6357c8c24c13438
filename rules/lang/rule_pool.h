/* Memory of one ruleset: taken in pieces while it is made, given back at once. Set-up only; not thread-safe.
 */
#ifndef SLUICE_RULE_POOL_H
#define SLUICE_RULE_POOL_H

#include <stddef.h>

struct rule_chunk;

struct rule_pool {
	struct rule_chunk *head;
};

/* Zeroed, aligned to 16; NULL if there is no memory. count * size must not overflow: checked. */
void *rule_pool_get(struct rule_pool *pool, size_t count, size_t size);

/* A NUL-terminated copy. */
char *rule_pool_text(struct rule_pool *pool, const char *text, size_t bytes);

void rule_pool_free(struct rule_pool *pool);

#endif
