/* The block buffers of a partition: spare, open or in flight (writer's), or durable and readable. There are
 * pins_max + inflight + 1 of them and readers hold at most pins_max, so the writer always finds one. */
#include "journal_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#define PIN_COUNT_BITS 16

int cache_init(
	struct block_cache *c, uint32_t pins_max, uint32_t inflight, uint32_t block_bytes, uint64_t *bytes)
{
	uint32_t slots = 64;

	*c = (struct block_cache){.pins_max = pins_max, .buf_count = pins_max + inflight + 1};
	while (slots < 2 * c->buf_count)
		slots *= 2;
	c->mask = slots - 1;
	c->memory_bytes = (size_t)c->buf_count * block_bytes;
	c->memory = mmap(NULL, c->memory_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (c->memory == MAP_FAILED)
		c->memory = NULL;
	c->buf = aligned_alloc(64, c->buf_count * sizeof *c->buf);
	c->index = calloc(slots, sizeof *c->index);
	c->fifo = calloc(c->buf_count, sizeof *c->fifo);
	c->spare = calloc(c->buf_count, sizeof *c->spare);
	if (!c->memory || !c->buf || !c->index || !c->fifo || !c->spare || c->buf_count > UINT16_MAX) {
		cache_free(c);
		return -ENOMEM;
	}
	(void)madvise(c->memory, c->memory_bytes, MADV_HUGEPAGE);
	for (uint32_t i = 0; i < c->buf_count; i++) {
		atomic_init(&c->buf[i].pin, 0);
		c->buf[i].mem = c->memory + (size_t)i * block_bytes;
		c->spare[c->spare_count++] = (uint16_t)i;
	}
	*bytes = c->memory_bytes;
	return 0;
}

void cache_free(struct block_cache *c)
{
	if (c->memory)
		munmap(c->memory, c->memory_bytes);
	free(c->buf);
	free(c->index);
	free(c->fifo);
	free(c->spare);
	*c = (struct block_cache){0};
}

int cache_take(struct block_cache *c)
{
	if (c->spare_count)
		return c->spare[--c->spare_count];
	for (uint32_t tries = c->fifo_count; tries; tries--) {
		uint16_t i = c->fifo[c->fifo_head];
		uint64_t pin = atomic_load_explicit(&c->buf[i].pin, memory_order_relaxed);

		c->fifo_head = c->fifo_head + 1 == c->buf_count ? 0 : c->fifo_head + 1;
		c->fifo_count--;
		/* Acquire: pairs with the release of the last reader's cache_unpin(). */
		if ((pin & 0xffff) == 0 && atomic_compare_exchange_strong_explicit(&c->buf[i].pin, &pin, 0,
						   memory_order_acquire, memory_order_relaxed))
			return i;
		c->fifo[(c->fifo_head + c->fifo_count++) % c->buf_count] = i; /* held: behind the others */
	}
	return -1;
}

void cache_publish(struct block_cache *c, uint32_t buf, uint64_t seq)
{
	c->buf[buf].durable_ns = clock_mono_ns();
	/* Release: pairs with the acquire in cache_pin(); the block's bytes are written before. */
	atomic_store_explicit(&c->buf[buf].pin, (seq + 1) << PIN_COUNT_BITS, memory_order_release);
	atomic_store_explicit(&c->index[seq & c->mask], buf, memory_order_relaxed);
	c->fifo[(c->fifo_head + c->fifo_count++) % c->buf_count] = (uint16_t)buf;
}

void cache_drop(struct block_cache *c, uint32_t buf)
{
	c->spare[c->spare_count++] = (uint16_t)buf;
}

struct block_buf *cache_pin(struct block_cache *c, uint64_t seq)
{
	struct block_buf *b = &c->buf[atomic_load_explicit(&c->index[seq & c->mask], memory_order_relaxed)];
	uint64_t pin = atomic_load_explicit(&b->pin, memory_order_relaxed);

	if (pin >> PIN_COUNT_BITS != seq + 1)
		return NULL;
	if (atomic_fetch_add_explicit(&c->pins, 1, memory_order_relaxed) < c->pins_max)
		while (pin >> PIN_COUNT_BITS == seq + 1)
			if (atomic_compare_exchange_weak_explicit(
				    &b->pin, &pin, pin + 1, memory_order_acquire, memory_order_relaxed))
				return b;
	atomic_fetch_sub_explicit(&c->pins, 1, memory_order_relaxed);
	return NULL;
}

void cache_unpin(struct block_cache *c, struct block_buf *b)
{
	/* Release: what was read is read before the writer may fill the buffer again. */
	atomic_fetch_sub_explicit(&b->pin, 1, memory_order_release);
	/* After the buffer is let go, so that the count never says fewer than are held. */
	atomic_fetch_sub_explicit(&c->pins, 1, memory_order_release);
}
