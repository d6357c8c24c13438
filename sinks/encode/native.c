/* Columns of a Native block in memory, and the block as bytes. Layout per column, all little endian (checked
 * against the server by tests/integration/clickhouse): see native_column_write(). */
#include "native.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "native_keys.h"
#include "native_string.h"

const char *const native_type_name[NATIVE_TYPE_COUNT] = {
	[NATIVE_UUID] = "UUID",
	[NATIVE_IPV6] = "IPv6",
	[NATIVE_DATETIME64_MS] = "DateTime64(3)",
	[NATIVE_STRING] = "String",
	[NATIVE_LC_STRING] = "LowCardinality(String)",
	[NATIVE_FLOAT64_NULL] = "Nullable(Float64)",
	[NATIVE_FLOAT64] = "Float64",
	[NATIVE_DECIMAL6_NULL] = "Nullable(Decimal(18, 6))",
	[NATIVE_DECIMAL6] = "Decimal(18, 6)",
	[NATIVE_UINT64] = "UInt64",
	[NATIVE_UINT32] = "UInt32",
	[NATIVE_UINT16] = "UInt16",
	[NATIVE_UINT8] = "UInt8",
	[NATIVE_STRING_ARRAY] = "Array(String)",
	[NATIVE_UINT32_ARRAY] = "Array(UInt32)",
	[NATIVE_UUID_ARRAY] = "Array(UUID)",
	[NATIVE_DECIMAL38_NULL] = "Nullable(Decimal(38, 6))",
	[NATIVE_DECIMAL38] = "Decimal(38, 6)",
	[NATIVE_REGISTERS] = "Tuple(Array(UInt16), Array(UInt8))",
	[NATIVE_BUCKETS] = "Tuple(Array(Int32), Array(UInt64))",
	[NATIVE_COUNTS] = "Tuple(Array(String), Array(UInt64))",
	[NATIVE_ORDERED] = "Tuple(Int64, UInt32, UInt64, String)",
};

/* Bytes of a value, of types that have always the same. */
static const uint8_t fixed_width[NATIVE_TYPE_COUNT] = {
	[NATIVE_UUID] = 16,
	[NATIVE_IPV6] = 16,
	[NATIVE_DATETIME64_MS] = 8,
	[NATIVE_FLOAT64_NULL] = 8,
	[NATIVE_FLOAT64] = 8,
	[NATIVE_DECIMAL6_NULL] = 8,
	[NATIVE_DECIMAL6] = 8,
	[NATIVE_UINT64] = 8,
	[NATIVE_UINT32] = 4,
	[NATIVE_UINT16] = 2,
	[NATIVE_UINT8] = 1,
	[NATIVE_DECIMAL38_NULL] = 16,
	[NATIVE_DECIMAL38] = 16,
};

/* Vectors: bytes of a key (0: a string) and of an item. */
static const struct vector {
	uint8_t key, item;
} vector_of[NATIVE_TYPE_COUNT] = {
	[NATIVE_REGISTERS] = {2, 1},
	[NATIVE_BUCKETS] = {4, 8},
	[NATIVE_COUNTS] = {0, 8},
};

enum native_type native_type_by_name(const char *name)
{
	int t = 0;

	while (t < NATIVE_TYPE_COUNT && strcmp(native_type_name[t], name) != 0)
		t++;
	return (enum native_type)t;
}

/* ---- the block ---- */

static bool has_dictionary(const struct native_column *c)
{
	return c->type == NATIVE_LC_STRING;
}

void native_block_init(struct native_block *b)
{
	memset(b, 0, sizeof *b);
}

uint32_t native_column_add(struct native_block *b, const char *name, enum native_type type)
{
	struct native_column *c = &b->column[b->column_count];

	assert(b->column_count < NATIVE_COLUMNS_MAX && b->row_count == 0 && type < NATIVE_TYPE_COUNT);
	c->name = name;
	c->type = type;
	return b->column_count++;
}

void native_block_clear(struct native_block *b)
{
	for (uint32_t i = 0; i < b->column_count; i++) {
		struct native_column *c = &b->column[i];

		c->rows = 0;
		bytes_reset(&c->value);
		bytes_reset(&c->side);
		bytes_reset(&c->more);
		bytes_reset(&c->key_end);
		c->key_count = 0;
		c->item_count = 0;
		if (c->slot)
			memset(c->slot, 0, c->slot_count * sizeof *c->slot);
	}
	b->row_count = 0;
	b->failed = false;
}

void native_block_free(struct native_block *b)
{
	for (uint32_t i = 0; i < b->column_count; i++) {
		bytes_free(&b->column[i].value);
		bytes_free(&b->column[i].side);
		bytes_free(&b->column[i].more);
		bytes_free(&b->column[i].key_end);
		free(b->column[i].slot);
	}
	memset(b, 0, sizeof *b);
}

static inline struct native_column *put_begin_many(
	struct native_block *b, uint32_t column, enum native_type type, uint32_t count)
{
	struct native_column *c = &b->column[column];

	assert(column < b->column_count && c->type == type);
	c->rows += count;
	return c;
}

static inline struct native_column *put_begin(struct native_block *b, uint32_t column, enum native_type type)
{
	return put_begin_many(b, column, type, 1);
}

static void put_id(struct bytes *out, const uint8_t id[16])
{
	uint64_t half[2];

	native_uuid(half, id);
	bytes_put(out, half, sizeof half);
}

void native_put_uuid(struct native_block *b, uint32_t column, const uint8_t id[16])
{
	put_id(&put_begin(b, column, NATIVE_UUID)->value, id);
}

void native_put_ipv6(struct native_block *b, uint32_t column, const uint8_t addr[16])
{
	bytes_put(&put_begin(b, column, NATIVE_IPV6)->value, addr, 16);
}

void native_put_uint(struct native_block *b, uint32_t column, uint64_t value)
{
	enum native_type type = b->column[column].type;

	assert(type == NATIVE_UINT64 || type == NATIVE_UINT32 || type == NATIVE_UINT16 ||
		type == NATIVE_UINT8);
	bytes_put(&put_begin(b, column, type)->value, &value, fixed_width[type]);
}

void native_put_time(struct native_block *b, uint32_t column, int64_t ms)
{
	bytes_put_i64(&put_begin(b, column, NATIVE_DATETIME64_MS)->value, ms);
}

static bool is_nullable(enum native_type type)
{
	return type == NATIVE_FLOAT64_NULL || type == NATIVE_DECIMAL6_NULL || type == NATIVE_DECIMAL38_NULL;
}

void *native_put_room(struct native_block *b, uint32_t column, enum native_type type, uint32_t count)
{
	assert(fixed_width[type] && !is_nullable(type));
	return bytes_room(&put_begin_many(b, column, type, count)->value, (size_t)count * fixed_width[type]);
}

void *native_put_room_null(
	struct native_block *b, uint32_t column, enum native_type type, uint32_t count, uint8_t **null)
{
	struct native_column *c = put_begin_many(b, column, type, count);

	assert(is_nullable(type));
	*null = bytes_room(&c->side, count);
	return *null ? bytes_room(&c->value, (size_t)count * fixed_width[type]) : NULL;
}

/* A value; for a Nullable column, with the byte that says that it counts. */
static void put_number(
	struct native_block *b, uint32_t column, enum native_type type, const void *value, size_t bytes)
{
	struct native_column *c = put_begin(b, column, type);

	if (is_nullable(type))
		bytes_put_u8(&c->side, 0);
	bytes_put(&c->value, value, bytes);
}

void native_put_double(struct native_block *b, uint32_t column, double value)
{
	enum native_type type = b->column[column].type;

	assert(type == NATIVE_FLOAT64 || type == NATIVE_FLOAT64_NULL);
	put_number(b, column, type, &value, sizeof value);
}

void native_put_decimal(struct native_block *b, uint32_t column, __int128 millionths)
{
	enum native_type type = b->column[column].type;

	bool wide = type == NATIVE_DECIMAL38 || type == NATIVE_DECIMAL38_NULL;

	assert(wide || type == NATIVE_DECIMAL6 || type == NATIVE_DECIMAL6_NULL);
	put_number(b, column, type, &millionths, wide ? 16 : 8);
}

void native_put_nulls(struct native_block *b, uint32_t column, uint32_t count)
{
	enum native_type type = b->column[column].type;
	uint8_t *null, *value = native_put_room_null(b, column, type, count, &null);

	if (!value)
		return;
	memset(null, 1, count);
	memset(value, 0, (size_t)count * fixed_width[type]);
}

void native_put_null(struct native_block *b, uint32_t column)
{
	native_put_nulls(b, column, 1);
}

/* ---- texts ---- */

static void put_keys(
	struct native_block *b, struct native_column *c, const struct native_text *text, uint32_t count)
{
	uint32_t *to = (uint32_t *)bytes_room(&c->value, count * sizeof *to);

	for (uint32_t i = 0; to && i < count && !b->failed; i++) {
		to[i] = native_key_find(c, text[i].data, text[i].bytes);
		b->failed = to[i] == UINT32_MAX;
	}
}

static void put_strings(struct bytes *out, const struct native_text *text, uint32_t count)
{
	size_t most = 0;
	uint8_t *to;

	for (uint32_t i = 0; i < count; i++)
		most += text[i].bytes + VARINT_BYTES_MAX;
	to = bytes_room(out, most);
	if (!to)
		return;
	for (uint32_t i = 0; i < count; i++)
		to = write_string(to, text[i].data, text[i].bytes);
	out->bytes = (size_t)(to - out->data);
}

void native_put_texts(struct native_block *b, uint32_t column, const struct native_text *text, uint32_t count)
{
	struct native_column *c = put_begin_many(b, column, b->column[column].type, count);

	assert(c->type == NATIVE_STRING || has_dictionary(c));
	if (has_dictionary(c))
		put_keys(b, c, text, count);
	else
		put_strings(&c->value, text, count);
}

static void put_same_string(struct bytes *out, const void *text, size_t bytes, uint32_t count)
{
	uint8_t *to = bytes ? NULL : bytes_room(out, count);

	if (to)
		memset(to, 0, count);
	for (uint32_t i = 0; bytes && i < count; i++)
		put_string(out, text, bytes);
}

void native_put_same_text(
	struct native_block *b, uint32_t column, const void *text, size_t bytes, uint32_t count)
{
	struct native_column *c = put_begin_many(b, column, b->column[column].type, count);
	uint32_t *to, key;

	assert(c->type == NATIVE_STRING || has_dictionary(c));
	if (!has_dictionary(c)) {
		put_same_string(&c->value, text, bytes, count);
		return;
	}
	to = (uint32_t *)bytes_room(&c->value, count * sizeof *to);
	key = b->failed ? UINT32_MAX : native_key_find(c, text, bytes);
	b->failed = key == UINT32_MAX;
	for (uint32_t i = 0; to && i < count; i++)
		to[i] = key;
}

void native_put_text(struct native_block *b, uint32_t column, const void *text, size_t bytes)
{
	native_put_texts(b, column, &(struct native_text){text, bytes}, 1);
}

/* ---- arrays ---- */

void native_put_item_text(struct native_block *b, uint32_t column, const void *text, size_t bytes)
{
	struct native_column *c = &b->column[column];

	assert(c->type == NATIVE_STRING_ARRAY);
	c->item_count++;
	put_string(&c->value, text, bytes);
}

void native_put_item_uuid(struct native_block *b, uint32_t column, const uint8_t id[16])
{
	struct native_column *c = &b->column[column];

	assert(c->type == NATIVE_UUID_ARRAY);
	c->item_count++;
	put_id(&c->value, id);
}

void native_put_item_uint(struct native_block *b, uint32_t column, uint32_t value)
{
	struct native_column *c = &b->column[column];

	assert(c->type == NATIVE_UINT32_ARRAY);
	c->item_count++;
	bytes_put_u32(&c->value, value);
}

void native_put_empty(struct native_block *b, uint32_t column, uint32_t count)
{
	struct native_column *c = put_begin_many(b, column, b->column[column].type, count);
	uint64_t *to = (uint64_t *)bytes_room(&c->side, count * sizeof *to);

	assert(c->type == NATIVE_STRING_ARRAY || c->type == NATIVE_UINT32_ARRAY ||
		c->type == NATIVE_UUID_ARRAY || vector_of[c->type].item);
	for (uint32_t i = 0; to && i < count; i++)
		to[i] = c->item_count;
}

/* Behind its items. */
void native_put_array_end(struct native_block *b, uint32_t column)
{
	native_put_empty(b, column, 1);
}

void native_put_item_pair(struct native_block *b, uint32_t column, int32_t key, uint64_t value)
{
	struct native_column *c = &b->column[column];
	struct vector v = vector_of[c->type];

	assert(v.key && v.item);
	c->item_count++;
	bytes_put(&c->value, &key, v.key);
	bytes_put(&c->more, &value, v.item);
}

void native_put_item_count(
	struct native_block *b, uint32_t column, const void *text, size_t bytes, uint64_t count)
{
	struct native_column *c = &b->column[column];

	assert(c->type == NATIVE_COUNTS);
	c->item_count++;
	put_string(&c->value, text, bytes);
	bytes_put_u64(&c->more, count);
}

void native_put_ordered(struct native_block *b, uint32_t column, const struct native_order *order,
	const void *text, size_t bytes)
{
	struct native_column *c = put_begin(b, column, NATIVE_ORDERED);

	bytes_put_i64(&c->value, order->time_ms);
	bytes_put_u32(&c->side, order->partition);
	bytes_put_u64(&c->more, order->offset);
	put_string(&c->key_end, text, bytes);
}

void native_rows_end(struct native_block *b, uint32_t count)
{
	b->row_count += count;
	for (uint32_t i = 0; i < b->column_count; i++)
		assert(b->column[i].rows == b->row_count);
}

/* ---- writing out ---- */

size_t native_block_bytes(const struct native_block *b)
{
	size_t sum = 0;

	for (uint32_t i = 0; i < b->column_count; i++)
		sum += b->column[i].value.bytes + b->column[i].side.bytes + b->column[i].more.bytes;
	return sum;
}

/* LowCardinality(String): u64 version 1; u64 0x600 (own keys, no shared dictionary) | log2 of the index
 * width; u64 key count; keys, of which the first is the default ""; u64 row count; indexes. */
static void dictionary_write(const struct native_column *c, struct bytes *out)
{
	uint32_t width_log = c->key_count <= 0x100 ? 0 : c->key_count <= 0x10000 ? 1 : 2;
	size_t width = 1u << width_log;
	const uint32_t *key = (const uint32_t *)c->value.data;
	uint8_t *p;

	bytes_put_u64(out, 1);
	bytes_put_u64(out, 0x600 | width_log);
	bytes_put_u64(out, c->key_count);
	bytes_put(out, c->side.data, c->side.bytes);
	bytes_put_u64(out, c->rows);
	p = bytes_room(out, c->rows * width);
	if (!p)
		return;
	if (width == 4)
		memcpy(p, key, (size_t)c->rows * width);
	for (uint32_t i = 0; width == 1 && i < c->rows; i++)
		p[i] = (uint8_t)key[i];
	for (uint32_t i = 0; width == 2 && i < c->rows; i++)
		memcpy(p + (size_t)2 * i, &key[i], 2);
}

/* A tuple's elements stand behind each other, each for all rows: both arrays have their own ends. */
static void vector_write(const struct native_column *c, struct bytes *out)
{
	bytes_put(out, c->side.data, c->side.bytes);
	bytes_put(out, c->value.data, c->value.bytes);
	bytes_put(out, c->side.data, c->side.bytes);
	bytes_put(out, c->more.data, c->more.bytes);
}

static void ordered_write(const struct native_column *c, struct bytes *out)
{
	bytes_put(out, c->value.data, c->value.bytes);
	bytes_put(out, c->side.data, c->side.bytes);
	bytes_put(out, c->more.data, c->more.bytes);
	bytes_put(out, c->key_end.data, c->key_end.bytes);
}

/* False: the column lacks what there was no memory for. */
static bool native_column_write(const struct native_column *c, struct bytes *out)
{
	put_string(out, c->name, strlen(c->name));
	put_string(out, native_type_name[c->type], strlen(native_type_name[c->type]));
	if (has_dictionary(c)) {
		dictionary_write(c, out);
	} else if (vector_of[c->type].item) {
		vector_write(c, out);
	} else if (c->type == NATIVE_ORDERED) {
		ordered_write(c, out);
	} else {
		/* Nullable: a byte a row, then values. Array: u64 ends, then items. Others have no side. */
		bytes_put(out, c->side.data, c->side.bytes);
		bytes_put(out, c->value.data, c->value.bytes);
	}
	return !c->value.failed && !c->side.failed && !c->more.failed && !c->key_end.failed;
}

int native_block_write(const struct native_block *b, struct bytes *out)
{
	size_t before = out->bytes;
	bool ok = !b->failed && !out->failed;

	assert(b->row_count > 0);
	if (ok && bytes_room(out, native_block_bytes(b) + 4096)) /* in one go; given back at once */
		out->bytes = before;
	bytes_put_varint(out, b->column_count);
	bytes_put_varint(out, b->row_count);
	for (uint32_t i = 0; ok && i < b->column_count; i++)
		ok = native_column_write(&b->column[i], out);
	if (ok && !out->failed)
		return 0;
	out->bytes = before;
	out->failed = false;
	return -ENOMEM;
}
