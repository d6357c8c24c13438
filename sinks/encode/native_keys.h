/* Dictionaries of LowCardinality columns. */
#ifndef SLUICE_NATIVE_KEYS_H
#define SLUICE_NATIVE_KEYS_H

#include "native.h"

/* Number of the key; new ones are added. UINT32_MAX when memory ended. */
uint32_t native_key_find(struct native_column *c, const void *text, size_t bytes);

#endif
