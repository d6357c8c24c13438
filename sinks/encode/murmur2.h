/* The 32-bit murmur2 hash with the seed of Kafka's Java client, and its partition rule, so that our records
 * meet those of other producers, and consumers that join topics by partition agree. Pure functions; any
 * thread. */
#ifndef SLUICE_MURMUR2_H
#define SLUICE_MURMUR2_H

#include <stddef.h>
#include <stdint.h>

uint32_t murmur2_hash(const void *data, size_t bytes);

/* What the Java client's DefaultPartitioner picks for a keyed record. partitions > 0. */
int32_t murmur2_partition(const void *key, size_t bytes, int32_t partitions);

#endif
