/* See ack_lane.h. */
#include "ack_lane.h"

#include <errno.h>
#include <rte_ring_elem.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define RING_VALUES 16384u

static _Atomic uint32_t lanes_next; /* rings have names that are unique in the process */

static int rings_make(struct rte_ring ***out, uint32_t count, unsigned bytes, char kind, uint32_t number)
{
	struct rte_ring **ring = calloc(count, sizeof *ring);

	*out = ring;
	if (!ring)
		return -ENOMEM;
	for (uint32_t i = 0; i < count; i++) {
		char name[RTE_RING_NAMESIZE];

		snprintf(name, sizeof name, "ack%c%u_%u", kind, number, i);
		ring[i] = rte_ring_create_elem(
			name, bytes, RING_VALUES, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
		if (!ring[i])
			return -ENOMEM;
	}
	return 0;
}

int ack_lanes_create(struct ack_lanes **out, uint32_t workers, uint32_t partitions, struct err *err)
{
	uint32_t number = atomic_fetch_add(&lanes_next, 1);
	struct ack_lanes *lanes = aligned_alloc(64, sizeof *lanes);

	if (lanes) {
		*lanes = (struct ack_lanes){.workers = workers, .partitions = partitions};
		if (rings_make(&lanes->done, partitions, sizeof(struct ack_done), 'd', number) == 0 &&
			rings_make(&lanes->word, workers, sizeof(struct ack_word), 'w', number) == 0) {
			*out = lanes;
			return 0;
		}
	}
	ack_lanes_free(lanes);
	return err_set(err, -ENOMEM,
		"acks: no memory for rings of %u workers, %u partitions: raise eal.memory", workers,
		partitions);
}

void ack_lanes_free(struct ack_lanes *lanes)
{
	if (!lanes)
		return;
	for (uint32_t i = 0; lanes->done && i < lanes->partitions; i++)
		rte_ring_free(lanes->done[i]);
	for (uint32_t i = 0; lanes->word && i < lanes->workers; i++)
		rte_ring_free(lanes->word[i]);
	free(lanes->done);
	free(lanes->word);
	free(lanes);
}

bool ack_lane_done(struct ack_lanes *lanes, uint32_t partition, const struct ack_done *done)
{
	return rte_ring_sp_enqueue_elem(lanes->done[partition], (void *)(uintptr_t)done, sizeof *done) == 0;
}

bool ack_lane_word(struct ack_lanes *lanes, uint32_t worker, const struct ack_word *word)
{
	return rte_ring_sp_enqueue_elem(lanes->word[worker], (void *)(uintptr_t)word, sizeof *word) == 0;
}

bool ack_lane_take_done(struct ack_lanes *lanes, uint32_t partition, struct ack_done *done)
{
	return rte_ring_sc_dequeue_elem(lanes->done[partition], done, sizeof *done) == 0;
}

bool ack_lane_take_word(struct ack_lanes *lanes, uint32_t worker, struct ack_word *word)
{
	return rte_ring_sc_dequeue_elem(lanes->word[worker], word, sizeof *word) == 0;
}

void ack_lanes_ring(struct ack_lanes *lanes)
{
	bell_ring(&lanes->bell);
}

/* Loads as in batch_free_count(): a hint, unless a fence stands before them. */
static bool ring_holds(const struct rte_ring *ring)
{
	return __atomic_load_n(&ring->prod.tail, __ATOMIC_RELAXED) !=
	       __atomic_load_n(&ring->cons.tail, __ATOMIC_RELAXED);
}

bool ack_lane_has_done(const struct ack_lanes *lanes, uint32_t partition)
{
	return ring_holds(lanes->done[partition]);
}

bool ack_lane_has_word(const struct ack_lanes *lanes, uint32_t worker)
{
	return ring_holds(lanes->word[worker]);
}
