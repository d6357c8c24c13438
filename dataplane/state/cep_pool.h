/* Partial matches of a machine: pieces of a cache line each, named by handles. They lie in chunks that never
 * move, the first of 4 KiB, each next one twice as large up to blocks of the huge pool: memory that is
 * touched at random would else pay a page walk a touch. State thread; owns its memory. */
#ifndef SLUICE_CEP_POOL_H
#define SLUICE_CEP_POOL_H

#include <stddef.h>
#include <stdint.h>

#include "huge_pool.h"

#define CEP_PIECE_BYTES 64u
#define CEP_CHUNK_BITS 15u /* of a chunk's pieces: 2 MiB */

struct cep_pool {
	struct huge_pool *huge; /* borrowed */
	uint8_t **chunk;
	uint32_t chunks, chunk_room;
	uint32_t fill, fill_end; /* of the last chunk */
	uint32_t freed;		 /* handle of the piece that was freed last; its first word is the next */
};

static inline void *cep_pool_at(const struct cep_pool *pool, uint32_t handle)
{
	return pool->chunk[handle >> CEP_CHUNK_BITS] +
	       (size_t)(handle & ((1u << CEP_CHUNK_BITS) - 1)) * CEP_PIECE_BYTES;
}

/* Asks for a piece; 0 will do. Always inline: see cep_key_prefetch(). */
static inline __attribute__((always_inline)) void cep_pool_prefetch(
	const struct cep_pool *pool, uint32_t handle)
{
	if (handle)
		__builtin_prefetch(cep_pool_at(pool, handle), 1);
}

/* A piece, not cleared; never 0. */
uint32_t cep_pool_take(struct cep_pool *pool);
void cep_pool_give(struct cep_pool *pool, uint32_t handle);
size_t cep_pool_mapped(const struct cep_pool *pool); /* bytes */
void cep_pool_free(struct cep_pool *pool);	     /* all pieces; good for use again */

#endif
