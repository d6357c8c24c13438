/* Alerts of two rulesets, paired: what one side alone has. An alert is known by rule, key, first and last
 * event time; of several alike as many are the same as both sides have. One thread. */
#include <stdlib.h>
#include <string.h>

#include "hash.h"
#include "must.h"
#include "row.h"
#include "rules_try_priv.h"

/* Unpaired alerts that are kept of a rule beyond what is shown: the other side may still come to them. */
#define EXAMPLES_MORE 64u

/* ---- map: linear probing, at most half full ---- */
static size_t slot_of(const struct try_map *map, uint64_t key)
{
	size_t i = hash_u64(key) & (map->room - 1);

	while (map->slot[i].key && map->slot[i].key != key)
		i = (i + 1) & (map->room - 1);
	return i;
}

static void map_grow(struct try_map *map)
{
	struct try_map old = *map;

	map->room = old.room ? old.room * 2 : 1024;
	map->slot = must_calloc(map->room, sizeof *map->slot);
	for (size_t i = 0; i < old.room; i++)
		if (old.slot[i].key)
			map->slot[slot_of(map, old.slot[i].key)] = old.slot[i];
	free(old.slot);
}

int32_t *try_map_at(struct try_map *map, uint64_t key)
{
	size_t i;

	key += !key;
	if (2 * map->count >= map->room)
		map_grow(map);
	i = slot_of(map, key);
	if (!map->slot[i].key) {
		if (map->count == RULES_TRY_PAIRS_MAX)
			return NULL;
		map->slot[i] = (struct try_map_slot){.key = key};
		map->count++;
	}
	return &map->slot[i].value;
}

/* Knuth, TAOCP 6.4, algorithm R: what was pushed past the slot moves up. */
void try_map_tidy(struct try_map *map, int32_t *value)
{
	const size_t mask = map->room - 1;
	size_t hole =
		(size_t)((struct try_map_slot *)((uint8_t *)value - offsetof(struct try_map_slot, value)) -
			 map->slot);

	if (*value)
		return;
	map->count--;
	for (size_t i = (hole + 1) & mask; map->slot[i].key; i = (i + 1) & mask) {
		size_t home = hash_u64(map->slot[i].key) & mask;

		if (((i - home) & mask) < ((i - hole) & mask))
			continue;
		map->slot[hole] = map->slot[i];
		hole = i;
	}
	map->slot[hole] = (struct try_map_slot){0};
}

void try_map_free(struct try_map *map)
{
	free(map->slot);
	*map = (struct try_map){0};
}

/* ---- rows: the rules of both sides, by id ---- */
static int id_compare(const void *a, const void *b)
{
	return strcmp(((const struct rules_try_row *)a)->id, ((const struct rules_try_row *)b)->id);
}

struct rules_try_row *try_row_find(const struct try_run *t, const char *id)
{
	const struct rules_try_row key = {.id = id};

	return bsearch(&key, t->out->row, t->out->row_count, sizeof key, id_compare);
}

bool try_rows_make(struct try_run *t)
{
	struct rules_try_result *out = t->out;
	uint32_t count = 0, rules = 0;

	for (int s = 0; s < TRY_SIDES; s++)
		rules += ruleset_rule_count(t->side[s].rs);
	out->row = calloc(rules + 1, sizeof *out->row);
	t->touched = calloc(rules + 1, sizeof *t->touched);
	t->mark = calloc(rules + 1, sizeof *t->mark);
	if (!out->row || !t->touched || !t->mark)
		return false;
	for (int s = 0; s < TRY_SIDES; s++)
		for (uint32_t i = 0; i < ruleset_rule_count(t->side[s].rs); i++) {
			const struct rule_info *info = ruleset_rule(t->side[s].rs, i);

			out->row[count++] =
				(struct rules_try_row){.id = info->id, .stateful = info->stateful};
		}
	qsort(out->row, count, sizeof *out->row, id_compare);
	for (uint32_t i = 0; i < count; i++) {
		struct rules_try_row *last = out->row_count ? &out->row[out->row_count - 1] : NULL;

		if (last && strcmp(last->id, out->row[i].id) == 0)
			last->stateful |= out->row[i].stateful;
		else
			out->row[out->row_count++] = out->row[i];
	}
	for (int s = 0; s < TRY_SIDES; s++) {
		struct try_side *side = &t->side[s];

		rules = ruleset_rule_count(side->rs);
		side->row = calloc(rules + 1, sizeof *side->row);
		for (uint32_t i = 0; side->row && i < rules; i++)
			side->row[i] = (uint32_t)(try_row_find(t, ruleset_rule(side->rs, i)->id) - out->row);
		if (!side->row)
			return false;
	}
	return true;
}

/* ---- examples ---- */
static struct rules_try_example *example_add(struct try_run *t, struct rules_try_row *row)
{
	uint64_t most = t->params->examples ? t->params->examples + EXAMPLES_MORE : 0;

	if (row->example_count >= most)
		return NULL;
	/* grown to the next power of two */
	if (!(row->example_count & (row->example_count - 1)))
		row->example = must_realloc(
			row->example, row->example_count ? 2 * row->example_count : 1, sizeof *row->example);
	row->example[row->example_count] = (struct rules_try_example){0};
	return &row->example[row->example_count++];
}

/* Its pair has come. */
static void example_drop(struct rules_try_row *row, enum rules_try_side side, uint64_t print)
{
	for (uint32_t i = 0; i < row->example_count; i++) {
		struct rules_try_example *e = &row->example[i];

		if (e->side != side || e->print != print || !e->alert)
			continue;
		free(e->alert);
		memmove(e, e + 1, (--row->example_count - i) * sizeof *e);
		return;
	}
}

/* The alert with its events' own addresses, which stand in it as places. */
static struct record *alert_copy(const struct try_run *t, const struct record *rec)
{
	struct record *copy = must_realloc(NULL, 1, rec->bytes);
	const char *text;
	uint32_t bytes;
	size_t at;

	memcpy(copy, rec, rec->bytes);
	text = row_alert_text(rec, ROW_TEXT_VERSION, &bytes);
	at = (size_t)(text + bytes - (const char *)rec);
	for (uint32_t i = 0; i < row_alert_of(rec)->evidence_count; i++) {
		struct row_rule_evidence e = row_alert_evidence(rec, i);

		if (e.partition != UINT32_MAX) {
			e.partition = (uint32_t)(e.offset % t->partitions);
			e.offset /= t->partitions;
		}
		memcpy((uint8_t *)copy + at + i * sizeof e, &e, sizeof e);
	}
	return copy;
}

/* ---- alerts ---- */
static void keys_count(struct try_run *t, struct rules_try_row *row, enum rules_try_side side, uint64_t key)
{
	int32_t *sides = try_map_at(&t->keys, key), mine = 1 << side;

	if (!sides || *sides & mine)
		return;
	if (*sides) {
		row->keys_same++;
		*(side == TRY_NOW ? &row->keys_gained : &row->keys_lost) -= 1;
	} else {
		*(side == TRY_NOW ? &row->keys_lost : &row->keys_gained) += 1;
	}
	*sides |= mine;
}

void try_alert(struct try_run *t, enum rules_try_side side, const struct record *rec)
{
	const struct row_alert *a = row_alert_of(rec);
	enum rules_try_side other = side == TRY_NOW ? TRY_THEN : TRY_NOW;
	int32_t *balance, mine = side == TRY_NOW ? -1 : 1;
	struct rules_try_example *e;
	struct rules_try_row *row;
	char id[CEP_TEXT_BYTES];
	uint64_t key, print;
	const char *text;
	uint32_t bytes;

	text = row_alert_text(rec, ROW_TEXT_RULE, &bytes);
	must(bytes < sizeof id);
	memcpy(id, text, bytes);
	id[bytes] = 0;
	row = try_row_find(t, id);
	if (!row) /* longer than an alert's text: its rule is not told from others */
		return;
	row->alerts[side]++;
	text = row_alert_text(rec, ROW_TEXT_KEY, &bytes);
	key = hash_bytes(text, bytes, hash_u64((uint64_t)(row - t->out->row) + 1));
	print = hash_bytes(&a->last_ms, sizeof a->last_ms, hash_bytes(&a->first_ms, sizeof a->first_ms, key));
	keys_count(t, row, side, key);
	balance = try_map_at(&t->pairs, print);
	if (!balance)
		t->out->unpaired++;
	if (balance && *balance * mine < 0) {
		*(other == TRY_NOW ? &row->lost : &row->gained) -= 1;
		example_drop(row, other, print);
		*balance += mine;
		try_map_tidy(&t->pairs, balance);
		return;
	}
	if (balance)
		*balance += mine;
	*(side == TRY_NOW ? &row->lost : &row->gained) += 1;
	e = example_add(t, row);
	if (!e)
		return;
	e->side = side;
	e->print = print;
	e->alert = alert_copy(t, rec);
}

void try_event_alert(struct try_run *t, struct rules_try_row *row, unsigned mark, const struct event *ev,
	uint32_t partition, uint64_t offset)
{
	struct rules_try_example *e;

	for (int s = 0; s < TRY_SIDES; s++)
		row->alerts[s] += mark >> s & 1;
	if (mark == (1u << TRY_NOW | 1u << TRY_THEN))
		return;
	*(mark >> TRY_NOW & 1 ? &row->lost : &row->gained) += 1;
	e = example_add(t, row);
	if (!e)
		return;
	e->side = mark >> TRY_NOW & 1 ? TRY_NOW : TRY_THEN;
	e->partition = partition;
	e->offset = offset;
	e->type = ev->type;
	e->time_ms = ev->event_time_ms;
	memcpy(e->event_id, ev->event_id, sizeof e->event_id);
}
