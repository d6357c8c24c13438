/* Memory of tables that RX workers read at random places: large ones in huge pages where the kernel gives
 * them (transparent huge pages), so that a look-up costs no walk of the page tables beside its cache miss.
 * Freed by free(). Control threads. */
#ifndef SLUICE_TABLE_MEMORY_H
#define SLUICE_TABLE_MEMORY_H

#include "bytes.h"

/* Not filled; NULL without memory. */
void *table_alloc(size_t bytes);
/* A buffer's bytes in such memory; the buffer is then empty. NULL without memory; never NULL otherwise. */
void *table_take(struct bytes *b);

#endif
