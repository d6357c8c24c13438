/* Chunked memory of a ruleset. Set-up only. */
#include "rule_pool.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_BYTES (64u << 10)

struct rule_chunk {
	struct rule_chunk *next;
	size_t used, bytes;
	_Alignas(16) char data[];
};

void *rule_pool_get(struct rule_pool *pool, size_t count, size_t size)
{
	struct rule_chunk *c = pool->head;
	size_t need;

	if (__builtin_mul_overflow(count, size, &need) || need > SIZE_MAX / 2)
		return NULL;
	need = need ? (need + 15) & ~(size_t)15 : 16;
	if (!c || c->bytes - c->used < need) {
		size_t bytes = need > CHUNK_BYTES ? need : CHUNK_BYTES;

		c = calloc(1, sizeof *c + bytes);
		if (!c)
			return NULL;
		c->bytes = bytes;
		c->next = pool->head;
		pool->head = c;
	}
	c->used += need;
	return c->data + c->used - need;
}

char *rule_pool_text(struct rule_pool *pool, const char *text, size_t bytes)
{
	char *p = rule_pool_get(pool, 1, bytes + 1);

	if (p && bytes)
		memcpy(p, text, bytes);
	return p;
}

void rule_pool_free(struct rule_pool *pool)
{
	for (struct rule_chunk *c = pool->head, *next; c; c = next) {
		next = c->next;
		free(c);
	}
	pool->head = NULL;
}
