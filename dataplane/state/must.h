/* Memory that must be had: without it the process ends. To go on with less would make the state stage's
 * output depend on the machine; what it may hold is bounded by logical bytes, before. Any thread. */
#ifndef SLUICE_MUST_H
#define SLUICE_MUST_H

#include <stdbool.h>
#include <stdlib.h>

static inline void must(bool ok)
{
	if (!ok)
		abort();
}

static inline void *must_calloc(size_t count, size_t bytes)
{
	void *p = calloc(count, bytes);

	must(p);
	return p;
}

static inline void *must_realloc(void *old, size_t count, size_t bytes)
{
	void *p = reallocarray(old, count, bytes);

	must(p);
	return p;
}

#endif
