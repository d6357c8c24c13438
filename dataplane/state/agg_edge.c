/* first and last: the value of the event at the edge of a window in (event time, partition, offset). A value
 * of more than AGG_TEXT_BYTES is cut between characters. Pure; the value's bytes are in the arena. */
#include "agg_priv.h"

#define EDGE_PACKED_MAX (1 + 10 + 5 + 10 + AGG_TEXT_BYTES)

uint32_t agg_text_cut(const uint8_t *text, uint32_t bytes, uint32_t max)
{
	if (bytes <= max)
		return bytes;
	while (max && (text[max] & 0xc0) == 0x80) /* a character's later bytes */
		max--;
	return max;
}

static struct agg_edge edge_get(const struct agg_part *part, const uint8_t *cell)
{
	struct agg_edge edge;

	memcpy(&edge, cell + part->offset, sizeof edge);
	return edge;
}

static void edge_set(const struct agg_part *part, uint8_t *cell, const struct agg_edge *edge)
{
	memcpy(cell + part->offset, edge, sizeof *edge);
}

void agg_part_edge_init(const struct agg_part *part, uint8_t *cell)
{
	edge_set(part, cell, &(struct agg_edge){.bytes = AGG_EDGE_NONE});
}

void agg_part_edge_release(const struct agg_part *part, uint8_t *cell, struct agg_arena *a)
{
	struct agg_edge edge = edge_get(part, cell);

	if (edge.bytes && edge.bytes != AGG_EDGE_NONE)
		agg_arena_give(a, edge.text, edge.bytes);
	agg_part_edge_init(part, cell);
}

static bool order_before(const struct agg_order *a, const struct agg_order *b)
{
	if (a->time_ms != b->time_ms)
		return a->time_ms < b->time_ms;
	if (a->partition != b->partition)
		return a->partition < b->partition;
	return a->offset < b->offset;
}

bool agg_part_edge_offer(const struct agg_part *part, uint8_t *cell, struct agg_arena *a,
	const struct agg_order *order, const uint8_t *text, uint32_t bytes)
{
	struct agg_edge edge = edge_get(part, cell);
	struct agg_order had = {edge.time_ms, edge.partition, edge.offset};
	uint32_t had_bytes = edge.bytes == AGG_EDGE_NONE ? 0 : edge.bytes;

	if (edge.bytes != AGG_EDGE_NONE &&
		!(part->kind == AGG_PART_FIRST ? order_before(order, &had) : order_before(&had, order)))
		return true;
	bytes = agg_text_cut(text, bytes, AGG_TEXT_BYTES);
	if (agg_block_bytes(bytes) != agg_block_bytes(had_bytes)) {
		if (!agg_arena_fits(a, had_bytes, bytes))
			return false;
		if (had_bytes)
			agg_arena_give(a, edge.text, had_bytes);
		edge.text = bytes ? agg_arena_swap(a, bytes) : 0;
	}
	if (bytes)
		memcpy(agg_arena_at(a, edge.text), text, bytes);
	edge.time_ms = order->time_ms;
	edge.partition = order->partition;
	edge.offset = order->offset;
	edge.bytes = bytes;
	edge_set(part, cell, &edge);
	return true;
}

bool agg_part_edge_merge(const struct agg_part *part, uint8_t *cell, struct agg_arena *a, const uint8_t *src,
	const struct agg_arena *src_arena)
{
	struct agg_edge edge = edge_get(part, src);
	struct agg_order order = {edge.time_ms, edge.partition, edge.offset};
	uint8_t text[AGG_TEXT_BYTES];

	if (edge.bytes == AGG_EDGE_NONE)
		return true;
	/* A copy: both cells may be of one arena, whose memory moves when it grows. */
	if (edge.bytes)
		memcpy(text, agg_arena_at(src_arena, edge.text), edge.bytes);
	return agg_part_edge_offer(part, cell, a, &order, text, edge.bytes);
}

void agg_part_edge_pack(
	const struct agg_part *part, const uint8_t *cell, const struct agg_arena *a, struct bytes *out)
{
	struct agg_edge edge = edge_get(part, cell);

	if (edge.bytes == AGG_EDGE_NONE) {
		bytes_put_u8(out, 0);
		return;
	}
	bytes_put_u8(out, (uint8_t)(edge.bytes + 1));
	bytes_put_varint(out, varint_zigzag(edge.time_ms));
	bytes_put_varint(out, edge.partition);
	bytes_put_varint(out, edge.offset);
	if (edge.bytes)
		bytes_put(out, agg_arena_at(a, edge.text), edge.bytes);
}

void agg_part_edge_read(const struct agg_part *part, struct cursor *c, uint64_t n, struct agg_view *view)
{
	uint32_t bytes = cursor_u8(c);

	(void)n;
	if (!bytes)
		return;
	view->has_text = true;
	view->text_bytes = bytes - 1;
	view->order.time_ms = varint_unzigzag(cursor_varint(c, 64));
	view->order.partition = (uint32_t)cursor_varint(c, 32);
	view->order.offset = cursor_varint(c, 64);
	view->text = cursor_take(c, view->text_bytes);
	if (view->text_bytes > AGG_TEXT_BYTES || (part->number && view->text_bytes != sizeof(double)))
		c->failed = true;
}

bool agg_part_edge_join(const struct agg_part *part, uint8_t *cell, struct agg_arena *a, uint64_t n,
	const struct agg_view *view)
{
	(void)n;
	return !view->has_text ||
	       agg_part_edge_offer(part, cell, a, &view->order, view->text, view->text_bytes);
}

uint32_t agg_part_edge_packed_max(const struct agg_part *part)
{
	(void)part;
	return EDGE_PACKED_MAX;
}
