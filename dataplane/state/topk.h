/* The most frequent values: a space-saving summary of `capacity` values, each with a count and how much of
 * that may belong to others: the true count lies in [count - error, count], and what is not in a full summary
 * came at most as often as its least count. Kept are texts of at most TOPK_TEXT_BYTES; a longer one is kept
 * as its beginning, `~` and its hash, so that texts alone say what is equal: in memory, packed, and in SQL.
 *
 * Which value gives way is decided by (least count, hash, text), never by where it stands: a summary that was
 * saved and loaded goes on as the one before.
 *
 * Sources: Metwally, Agrawal, El Abbadi 2005; merge: Cafaro, Pulimeno, Tempesta 2016. */
#ifndef SLUICE_TOPK_H
#define SLUICE_TOPK_H

#include <stdbool.h>
#include <stdint.h>

#include "agg_arena.h"
#include "agg_count.h"
#include "bytes.h"
#include "cursor.h"

#define TOPK_K_MAX 100
#define TOPK_CAPACITY_MIN 64u
#define TOPK_CAPACITY_MAX (4 * TOPK_K_MAX)
#define TOPK_TEXT_BYTES 64
#define TOPK_PREFIX_BYTES 47 /* of a longer text: then ~ and 16 digits */
#define TOPK_ITEM_PACKED_MAX (2 * AGG_COUNT_BYTES + 1 + TOPK_TEXT_BYTES)

/* Values that are kept for the k most frequent. */
static inline uint32_t topk_capacity(uint32_t k)
{
	return 4 * k > TOPK_CAPACITY_MIN ? 4 * k : TOPK_CAPACITY_MIN;
}

/* In a cell. All zero: empty. */
struct topk {
	uint32_t n;
	uint32_t block; /* handle; none if n is 0 */
};

/* Checked packed form. */
struct topk_view {
	uint32_t n;
	const uint8_t *data;
	uint32_t bytes;
};

/* hash: hash_bytes(text, bytes, 0). False: the arena is full and the event was not counted. */
bool topk_add(struct topk *t, struct agg_arena *a, uint32_t capacity, const uint8_t *text, uint32_t bytes,
	uint64_t hash);
bool topk_merge(struct topk *t, struct agg_arena *a, uint32_t capacity, const struct topk *src,
	const struct agg_arena *src_arena);
void topk_release(struct topk *t, struct agg_arena *a);
void topk_prefetch(const struct topk *t, const struct agg_arena *a);

/* Packed: how many, then by ascending text: its bytes, the text, count and error; LEB128. */
void topk_pack(const struct topk *t, const struct agg_arena *a, struct bytes *out);
void topk_read(struct cursor *c, uint32_t capacity, struct topk_view *view);
bool topk_join(struct topk *t, struct agg_arena *a, uint32_t capacity, const struct topk_view *view);

/* The k with the highest counts, then by text; returns how many. Texts are the packed bytes'. */
uint32_t topk_view_top(const struct topk_view *view, uint32_t k, struct agg_top_item *out);

#endif
