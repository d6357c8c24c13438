/* The keys of an event's top-level object that the schema does not have for its type, so that they stay
 * reachable at a target that stores columns instead of raw bytes. */
#ifndef SLUICE_EXTRA_KEYS_H
#define SLUICE_EXTRA_KEYS_H

#include <stddef.h>

#include "record.h"

/* Writes a JSON object with those members as they stand in the raw bytes, or nothing if there are none.
 * out_bytes of EVENT_BYTES_MAX + 2 are enough. Raw bytes that are no JSON object (a journal may hold
 * anything) give nothing. */
size_t extra_keys_json(char *out, size_t out_bytes, const struct record *rec);

#endif
