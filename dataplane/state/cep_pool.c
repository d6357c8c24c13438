/* Partial matches' memory: see cep_pool.h. State thread. */
#include "cep_pool.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "must.h"

#define CHUNK_FIRST_BITS 6u

static_assert(((size_t)CEP_PIECE_BYTES << CEP_CHUNK_BITS) == HUGE_BLOCK_BYTES, "a chunk is a block");

static uint32_t chunk_bits(uint32_t chunk)
{
	return CHUNK_FIRST_BITS + chunk < CEP_CHUNK_BITS ? CHUNK_FIRST_BITS + chunk : CEP_CHUNK_BITS;
}

static void chunk_add(struct cep_pool *pool)
{
	uint32_t bits = chunk_bits(pool->chunks);
	uint8_t *chunk;

	must(!(pool->chunks >> (32 - CEP_CHUNK_BITS)));
	if (pool->chunks == pool->chunk_room) {
		pool->chunk_room += 16;
		pool->chunk = must_realloc(pool->chunk, pool->chunk_room, sizeof *pool->chunk);
	}
	chunk = bits == CEP_CHUNK_BITS ? huge_take(pool->huge)
				       : aligned_alloc(CEP_PIECE_BYTES, (size_t)CEP_PIECE_BYTES << bits);
	must(chunk);
	pool->fill = !pool->chunks; /* handle 0 means none */
	pool->fill_end = 1u << bits;
	pool->chunk[pool->chunks++] = chunk;
}

uint32_t cep_pool_take(struct cep_pool *pool)
{
	uint32_t handle = pool->freed;

	if (handle) {
		memcpy(&pool->freed, cep_pool_at(pool, handle), sizeof pool->freed);
		return handle;
	}
	if (pool->fill == pool->fill_end)
		chunk_add(pool);
	return (pool->chunks - 1) << CEP_CHUNK_BITS | pool->fill++;
}

void cep_pool_give(struct cep_pool *pool, uint32_t handle)
{
	memcpy(cep_pool_at(pool, handle), &pool->freed, sizeof pool->freed);
	pool->freed = handle;
}

size_t cep_pool_mapped(const struct cep_pool *pool)
{
	size_t bytes = 0;

	for (uint32_t i = 0; i < pool->chunks; i++)
		bytes += (size_t)CEP_PIECE_BYTES << chunk_bits(i);
	return bytes;
}

void cep_pool_free(struct cep_pool *pool)
{
	for (uint32_t i = 0; i < pool->chunks; i++) {
		if (chunk_bits(i) == CEP_CHUNK_BITS)
			huge_give(pool->huge, pool->chunk[i]);
		else
			free(pool->chunk[i]);
	}
	free(pool->chunk);
	*pool = (struct cep_pool){.huge = pool->huge};
}
