/* The lanes between workers and partition writers. Set-up thread creates and frees; rings are SP/SC. */
#include "batch.h"

#include <errno.h>
#include <rte_malloc.h>
#include <stdio.h>
#include <stdlib.h>

/* Rings have names that are unique in the process. */
static _Atomic uint32_t handoff_next;

static int lane_create(struct handoff *h, uint32_t worker, uint32_t partition, struct err *err)
{
	struct batch_lane *lane = handoff_lane(h, worker, partition);
	size_t stride = RTE_ALIGN_CEIL(sizeof(struct batch) + h->batch_bytes, 4096);
	unsigned size = rte_align32pow2(h->batches + 1), index = worker * h->partitions + partition;
	char name[RTE_RING_NAMESIZE];

	snprintf(name, sizeof name, "sealed%u_%u", h->number, index);
	lane->sealed = rte_ring_create(name, size, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
	snprintf(name, sizeof name, "empty%u_%u", h->number, index);
	lane->empty = rte_ring_create(name, size, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
	lane->home = rte_malloc(
		NULL, sizeof *lane->home + h->batches * sizeof *lane->home->batch, RTE_CACHE_LINE_SIZE);
	if (!lane->sealed || !lane->empty || !lane->home)
		return err_set(err, -ENOMEM, "handoff: no memory for the rings of worker %u, partition %u",
			worker, partition);
	lane->home->count = 0;
	for (uint32_t i = 0; i < h->batches; i++) {
		size_t place = (size_t)index * h->batches + i;
		struct batch *b = (struct batch *)((char *)h->memory + place * stride);

		b->worker = worker;
		b->partition = partition;
		b->capacity = h->batch_bytes;
		batch_return(lane, b);
	}
	return 0;
}

int handoff_create(struct handoff *h, uint32_t workers, uint32_t partitions, uint32_t batches,
	uint32_t batch_bytes, struct err *err)
{
	size_t stride = RTE_ALIGN_CEIL(sizeof(struct batch) + batch_bytes, 4096);

	*h = (struct handoff){.workers = workers,
		.partitions = partitions,
		.batches = batches,
		.batch_bytes = batch_bytes,
		.number = atomic_fetch_add(&handoff_next, 1)};
	h->lane = calloc((size_t)workers * partitions, sizeof *h->lane);
	h->bell = aligned_alloc(sizeof *h->bell, sizeof *h->bell * partitions);
	for (uint32_t p = 0; h->bell && p < partitions; p++)
		atomic_init(&h->bell[p].asleep, 0);
	if (posix_memalign(&h->memory, 4096, stride * batches * workers * partitions))
		h->memory = NULL;
	if (!h->lane || !h->bell || !h->memory) {
		handoff_free(h);
		return err_set(err, -ENOMEM, "handoff: no memory for %u x %u x %u batches of %u bytes",
			workers, partitions, batches, batch_bytes);
	}
	for (uint32_t w = 0; w < workers; w++)
		for (uint32_t p = 0; p < partitions; p++) {
			int rc = lane_create(h, w, p, err);

			if (rc) {
				handoff_free(h);
				return rc;
			}
		}
	return 0;
}

void handoff_free(struct handoff *h)
{
	for (uint32_t i = 0; h->lane && i < h->workers * h->partitions; i++) {
		rte_ring_free(h->lane[i].sealed);
		rte_ring_free(h->lane[i].empty);
		rte_free(h->lane[i].home);
	}
	free(h->lane);
	free(h->bell);
	free(h->memory);
	*h = (struct handoff){0};
}

void batch_return(struct batch_lane *lane, struct batch *b)
{
	b->bytes = 0;
	b->record_count = 0;
	/* The ring holds all batches of the lane, so this cannot fail; if it does, a batch was returned
	 * twice. */
	if (rte_ring_sp_enqueue(lane->empty, b) != 0)
		abort();
}

/* ---- the bell ---- */

void batch_hand_over(const struct handoff *h, struct batch *b)
{
	struct rte_ring *sealed = handoff_lane(h, b->worker, b->partition)->sealed;
	struct bell *bell = &h->bell[b->partition];
	uint32_t wanted;

	/* The sealed ring has room for every batch of the lane: an enqueue fails only if one was sealed
	 * twice. */
	if (rte_ring_sp_enqueue(sealed, b) != 0)
		abort();
	bell_fence();
	wanted = atomic_load_explicit(&bell->asleep, memory_order_relaxed);
	if (wanted && ring_count(sealed) >= wanted)
		bell_wake(bell);
}

/* So many batches lie in a lane. The fence before these loads is what makes the answer right. */
static bool handoff_waits(const struct handoff *h, uint32_t partition, uint32_t wanted)
{
	for (uint32_t w = 0; w < h->workers; w++)
		if (ring_count(handoff_lane(h, w, partition)->sealed) >= wanted)
			return true;
	return false;
}

void handoff_sleep(const struct handoff *h, uint32_t partition, uint32_t wanted, uint64_t ns)
{
	struct bell *bell = &h->bell[partition];

	bell_lie_down(bell, wanted);
	bell_sleep(bell, handoff_waits(h, partition, wanted), ns);
}
