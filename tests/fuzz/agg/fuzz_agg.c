/* Any bytes as a packed cell of a set with every kind of part, and any text as a list of aggregates. What is
 * accepted must come out again byte for byte, must merge with itself, and all its values must be readable. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "agg_priv.h"

static void check(bool good)
{
	if (!good)
		abort();
}

static int value_check(void *arg, const struct agg_value *v)
{
	uint64_t *sum = arg;

	check(memchr(v->label, 0, AGG_VALUE_LABEL_BYTES) != NULL);
	check(v->kind != AGG_VALUE_F64 || isfinite(v->f64));
	for (uint32_t i = 0; v->kind == AGG_VALUE_TEXT && i < v->text_bytes; i++)
		*sum += v->text[i];
	for (uint32_t t = 0; t < v->top_count; t++)
		for (uint32_t i = 0; i < v->top[t].bytes; i++)
			*sum += v->top[t].text[i];
	return 0;
}

static void cell_check(const struct agg_set *set, const uint8_t *data, size_t bytes)
{
	static _Alignas(8) uint8_t cell[1024], other[1024], twice[1024];
	static struct agg_register reg[AGG_REGISTERS_MAX];
	struct agg_arena *a = agg_arena_new(1 << 20), *b = agg_arena_new(1 << 20);
	struct bytes out = {0};
	uint64_t sum = 0;

	check(a && b && agg_set_cell_bytes(set) <= sizeof cell);
	agg_cell_init(set, cell);
	agg_cell_init(set, twice);
	if (agg_cell_unpack(set, cell, a, data, bytes) == 0) {
		agg_cell_pack(set, cell, a, &out);
		check(out.bytes == bytes && memcmp(out.data, data, bytes) == 0);
		check(bytes <= agg_set_packed_max(set));
		check(agg_values(set, data, bytes, value_check, &sum) == 0);
		for (uint32_t i = 0; i < agg_set_count(set); i++)
			agg_registers(set, data, bytes, i, reg, AGG_REGISTERS_MAX);
		/* twice itself: by packed bytes and by cells */
		check(agg_cell_unpack(set, twice, b, data, bytes) == 0);
		check(agg_arena_used(a) == agg_arena_used(b));
		check(agg_cell_unpack(set, twice, b, data, bytes) == 0);
		agg_cell_init(set, other);
		check(agg_cell_unpack(set, other, a, data, bytes) == 0);
		check(agg_cell_merge(set, cell, a, other, a));
		agg_cell_clear(set, other, a);
		bytes_reset(&out);
		agg_cell_pack(set, cell, a, &out);
		agg_cell_clear(set, cell, a);
		check(agg_arena_used(a) == 0);
		check(agg_cell_unpack(set, cell, a, out.data, out.bytes) == 0);
		check(agg_arena_used(a) == agg_arena_used(b));
	}
	bytes_free(&out);
	agg_arena_free(a);
	agg_arena_free(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static const char *const text[] = {("count, count(country=DE), sum(metric), min(metric), "
					    "max(metric), variance(metric), error_rate, "
					    "first(page), last(metric)"),
		"distinct(user_id)", "quantiles(metric)", "count, top(page,3)"};
	static struct agg_set *set[4];
	struct agg_set *any = NULL;
	struct err err;
	char *copy;

	for (int i = 0; i < 4 && !set[3]; i++)
		check(agg_set_parse(&set[i], text[i], &err) == 0);
	if (!bytes)
		return 0;
	if (data[0] < 4) {
		cell_check(set[data[0]], data + 1, bytes - 1);
		return 0;
	}
	copy = malloc(bytes + 1);
	check(copy != NULL);
	memcpy(copy, data, bytes);
	copy[bytes] = 0;
	if (agg_set_parse(&any, copy, &err) == 0)
		check(agg_set_packed_max(any) <= AGG_PACKED_MAX);
	agg_set_free(any);
	free(copy);
	return 0;
}
