/* Items of a key in blocks of the machine's arena. How much room a block has is nobody's business: what
 * counts against a rule's memory are the items. Stage's thread. */
#include "cep_priv.h"

static void list_move(struct cep_machine *m, struct cep_list *list, uint32_t item_bytes, uint32_t room)
{
	uint32_t bytes = agg_block_bytes(room * item_bytes), block;
	size_t used = (size_t)list->count * item_bytes;

	block = agg_arena_swap(m->arena, bytes);
	if (list->block) {
		if (used)
			memcpy(agg_arena_at(m->arena, block), cep_items(m, list, item_bytes), used);
		agg_arena_give(m->arena, list->block, agg_block_bytes(list->room * item_bytes));
	}
	list->block = block;
	list->room = bytes / item_bytes;
	list->from = 0;
}

/* To the front of its block. */
static void list_slide(struct cep_machine *m, struct cep_list *list, uint32_t item_bytes)
{
	const uint8_t *item = cep_items(m, list, item_bytes);

	memmove(agg_arena_at(m->arena, list->block), item, (size_t)list->count * item_bytes);
	list->from = 0;
}

void *cep_list_add(struct cep_machine *m, struct cep_list *list, uint32_t item_bytes, uint32_t at)
{
	uint8_t *item;

	if (list->from + list->count == list->room) {
		if (list->from <= list->room / 4)
			list_move(m, list, item_bytes, list->count + list->count / 2 + 1);
		else if (list->count >= list->room / 2)
			list_slide(m, list, item_bytes);
		else
			list_move(m, list, item_bytes, list->count + 1);
	}
	item = (uint8_t *)cep_items(m, list, item_bytes) + (size_t)at * item_bytes;
	if (at < list->count)
		memmove(item + item_bytes, item, (size_t)(list->count - at) * item_bytes);
	list->count++;
	m->bytes += item_bytes;
	return item;
}

static void list_shrink(struct cep_machine *m, struct cep_list *list, uint32_t item_bytes)
{
	if (!list->block)
		return;
	if (!list->count) {
		agg_arena_give(m->arena, list->block, agg_block_bytes(list->room * item_bytes));
		*list = (struct cep_list){0};
	} else if (list->room > 16 && list->count < list->room / 8) {
		list_move(m, list, item_bytes, list->count * 2);
	}
}

void cep_list_drop(struct cep_machine *m, struct cep_list *list, uint32_t item_bytes, uint32_t count)
{
	list->from += count;
	list->count -= count;
	m->bytes -= (uint64_t)count * item_bytes;
	list_shrink(m, list, item_bytes);
}

void cep_list_keep(struct cep_machine *m, struct cep_list *list, uint32_t item_bytes, uint32_t count)
{
	m->bytes -= (uint64_t)(list->count - count) * item_bytes;
	list->count = count;
	list_shrink(m, list, item_bytes);
}

void cep_list_clear(struct cep_machine *m, struct cep_list *list, uint32_t item_bytes)
{
	cep_list_keep(m, list, item_bytes, 0);
}

void cep_seen_add(struct cep_machine *m, struct cep_key *key, const struct cep_event *ev)
{
	struct cep_list *seen = &key->seen;
	uint32_t most = m->def.evidence_max;

	if (!most)
		return;
	if (seen->count < most) {
		*(struct cep_seen *)cep_list_add(m, seen, sizeof(struct cep_seen), seen->count) =
			cep_seen_of(ev);
		return;
	}
	((struct cep_seen *)agg_arena_at(m->arena, seen->block))[seen->from] = cep_seen_of(ev);
	seen->from = seen->from + 1 < most ? seen->from + 1 : 0;
}
