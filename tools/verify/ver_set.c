/* Sets of rows and their comparison; see ver_set.h. */
#include "ver_set.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "hash.h"

#define SHOWN_MAX 5 /* differences that are printed one by one */

const char *const ver_kind_name[VER_KINDS] = {"clicks", "platform", "dead", "alerts"};

int ver_set_add(struct ver_set *set, const struct ver_row *row, struct err *err)
{
	if (set->count == set->capacity) {
		uint64_t capacity = set->capacity ? set->capacity * 2 : 65536;
		struct ver_row *grown = realloc(set->row, capacity * sizeof *grown);

		if (!grown)
			return err_set(err, -ENOMEM, "out of memory for %" PRIu64 " rows", capacity);
		set->row = grown;
		set->capacity = capacity;
	}
	set->row[set->count++] = *row;
	return 0;
}

static int row_order(const struct ver_row *a, const struct ver_row *b)
{
	if (a->partition != b->partition)
		return a->partition < b->partition ? -1 : 1;
	if (a->offset != b->offset)
		return a->offset < b->offset ? -1 : 1;
	return a->extra < b->extra ? -1 : a->extra > b->extra;
}

static int row_compare(const void *a, const void *b)
{
	return row_order(a, b);
}

void ver_set_sort(struct ver_set *set)
{
	for (uint64_t i = 1; i < set->count; i++)
		if (row_order(&set->row[i - 1], &set->row[i]) > 0) {
			qsort(set->row, set->count, sizeof *set->row, row_compare);
			return;
		}
}

void ver_set_free(struct ver_set *set)
{
	free(set->row);
	*set = (struct ver_set){0};
}

struct ver_sum ver_set_sum(const struct ver_set *set, enum ver_kind kind)
{
	bool by_id = kind == VER_CLICK || kind == VER_PLATFORM;
	struct ver_sum sum = {.rows = set->count};

	for (uint64_t i = 0; i < set->count; i++) {
		const struct ver_row *r = &set->row[i];
		uint64_t key[3] = {(uint64_t)r->partition << 48 | r->offset, r->extra, 0};

		if (i && !row_order(r - 1, r))
			continue;
		if (by_id) {
			key[0] = r->id_high;
			key[1] = r->id_low;
		}
		sum.distinct++;
		sum.hash[0] += hash_bytes(key, sizeof key, 0x736c75696365ull);
		sum.hash[1] += hash_bytes(key, sizeof key, 0x766572696679ull);
	}
	return sum;
}

static void show(FILE *out, const char *label, const char *what, const struct ver_row *r, uint64_t nth)
{
	if (nth < SHOWN_MAX)
		fprintf(out, "  %s: %s: partition %u offset %" PRIu64 " id %016" PRIx64 "%016" PRIx64 "\n",
			label, what, (unsigned)r->partition, (uint64_t)r->offset, r->id_high, r->id_low);
}

static bool in_range(const struct ver_row *r, const uint64_t oldest[VER_PARTITIONS_MAX], bool below)
{
	bool is_below = r->partition < VER_PARTITIONS_MAX && r->offset < oldest[r->partition];

	return is_below == below;
}

static bool same(const struct ver_row *a, const struct ver_row *b)
{
	bool ids =
		(a->flags | b->flags) & VER_F_NO_ID || (a->id_high == b->id_high && a->id_low == b->id_low);

	return ids && (!a->digest || !b->digest || a->digest == b->digest);
}

struct ver_diff ver_compare(const struct ver_set *ref, const struct ver_set *set,
	const uint64_t oldest[VER_PARTITIONS_MAX], bool below, const char *label, FILE *out)
{
	struct ver_diff d = {0};
	uint64_t i = 0, k = 0;

	while (i < ref->count || k < set->count) {
		const struct ver_row *a = i < ref->count ? &ref->row[i] : NULL;
		const struct ver_row *b = k < set->count ? &set->row[k] : NULL;
		int order = !a ? 1 : !b ? -1 : row_order(a, b);

		/* a duplicate of the reference is reported where the reference itself is compared */
		if (a && (!in_range(a, oldest, below) || (i && !row_order(a - 1, a)))) {
			i++;
		} else if (b && !in_range(b, oldest, below)) {
			k++;
		} else if (b && k && !row_order(b - 1, b)) {
			show(out, label, "twice", b, d.duplicate++);
			k++;
		} else if (a && order < 0) {
			show(out, label, "missing", a, d.missing++);
			i++;
		} else if (b && order > 0) {
			show(out, label, "foreign", b, d.foreign++);
			k++;
		} else {
			if (a && b && !same(a, b))
				show(out, label, "differs", b, d.differing++);
			i++;
			k++;
		}
	}
	return d;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool ver_uuid(struct ver_row *row, const char *text, size_t bytes)
{
	uint64_t half[2] = {0, 0};
	uint32_t digits = 0;

	if (bytes != 36)
		return false;
	for (size_t i = 0; i < bytes; i++) {
		int v = hex_digit(text[i]);

		if (i == 8 || i == 13 || i == 18 || i == 23) {
			if (text[i] != '-')
				return false;
			continue;
		}
		if (v < 0)
			return false;
		half[digits / 16] = half[digits / 16] << 4 | (uint64_t)v;
		digits++;
	}
	row->id_high = half[0];
	row->id_low = half[1];
	return true;
}

void ver_uuid_bytes(struct ver_row *row, const uint8_t id[16])
{
	row->id_high = row->id_low = 0;
	for (int i = 0; i < 8; i++) {
		row->id_high = row->id_high << 8 | id[i];
		row->id_low = row->id_low << 8 | id[8 + i];
	}
}

void ver_uuid_find(struct ver_row *row, const char *raw, size_t bytes)
{
	static const char key[] = "\"event_id\"";
	const char *end = raw + bytes, *p = memmem(raw, bytes, key, sizeof key - 1);

	row->id_high = row->id_low = 0;
	if (!p)
		return;
	p += sizeof key - 1;
	while (p < end && (*p == ' ' || *p == '\t' || *p == ':'))
		p++;
	if (end - p > 37 && *p == '"')
		ver_uuid(row, p + 1, 36);
}

static bool number(const char *text, size_t bytes, int base, uint64_t *out)
{
	*out = 0;
	for (size_t i = 0; i < bytes; i++) {
		int v = hex_digit(text[i]);

		if (v < 0 || v >= base)
			return false;
		*out = *out * (uint64_t)base + (uint64_t)v;
	}
	return bytes > 0 && bytes < 20;
}

int ver_address(struct ver_row *row, const char *text, size_t bytes, const char *node, uint64_t epoch)
{
	const char *at[3]; /* the last three slashes */
	size_t end = bytes;
	uint64_t value[3];

	for (int i = 2; i >= 0; i--) {
		at[i] = memrchr(text, '/', end);
		if (!at[i])
			return -EINVAL;
		if (!number(at[i] + 1, end - (size_t)(at[i] + 1 - text), i ? 10 : 16, &value[i]))
			return -EINVAL;
		end = (size_t)(at[i] - text);
	}
	if (value[1] >= 1 << 16 || value[2] >= 1ull << 48)
		return -EINVAL;
	row->partition = value[1] & 0xffff;
	row->offset = value[2] & ((1ull << 48) - 1);
	return value[0] == epoch && end == strlen(node) && !memcmp(text, node, end);
}
