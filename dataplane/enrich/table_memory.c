/* Tables in huge pages. Control threads. */
#include "table_memory.h"

#include <stdlib.h>
#include <sys/mman.h>

#define HUGE_BYTES ((size_t)2 << 20)

void *table_alloc(size_t bytes)
{
	size_t align = bytes >= HUGE_BYTES ? HUGE_BYTES : 64, all = (bytes + align) & ~(align - 1);
	void *p;

	if (all < bytes)
		return NULL;
	p = aligned_alloc(align, all);
	if (p && align == HUGE_BYTES)
		madvise(p, all, MADV_HUGEPAGE); /* a wish: without it the table is only slower */
	return p;
}

void *table_take(struct bytes *b)
{
	void *p = b->failed ? NULL : table_alloc(b->bytes);

	if (p && b->bytes)
		memcpy(p, b->data, b->bytes);
	bytes_free(b);
	return p;
}
