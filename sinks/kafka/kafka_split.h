/* Who may write the first positions of a partition's two lanes (kafka_resume.c): one lane at a time. It holds
 * that while it waits for what other partitions' lanes left open in the positions topic, and these can only
 * be ended by lanes that begin: so partitions never wait for each other here. Any thread. */
#ifndef SLUICE_KAFKA_SPLIT_H
#define SLUICE_KAFKA_SPLIT_H

#include <stdbool.h>
#include <stdint.h>

/* A partition of a log; the caller's, kept from begin to end. */
struct kafka_split {
	uint64_t epoch; /* of the log */
	uint32_t partition;
	struct kafka_split *next;
};

/* False: the partition's other lane is at it; to be tried again. */
bool kafka_split_begin(struct kafka_split *s);
void kafka_split_end(struct kafka_split *s);

#endif
