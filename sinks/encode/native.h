/* ClickHouse's Native format: one block of typed columns, filled row by row and then written out as one run
 * of bytes. Knows nothing of records or tables. Pure: the same calls give the same bytes (a repeated batch
 * must equal the first).
 *
 * Thread: the caller's. A block owns its memory until native_block_free(); native_block_clear() keeps it for
 * the next batch. When memory ends, the block turns `failed`: puts go on doing nothing and
 * native_block_write() says -ENOMEM. */
#ifndef SLUICE_NATIVE_H
#define SLUICE_NATIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"

enum native_type {
	NATIVE_UUID,
	NATIVE_IPV6,
	NATIVE_DATETIME64_MS,
	NATIVE_STRING,
	NATIVE_LC_STRING,
	NATIVE_FLOAT64_NULL,
	NATIVE_FLOAT64,
	NATIVE_DECIMAL6_NULL, /* Decimal(18, 6): int64 millionths */
	NATIVE_DECIMAL6,
	NATIVE_UINT64,
	NATIVE_UINT32,
	NATIVE_UINT16,
	NATIVE_UINT8,
	NATIVE_STRING_ARRAY,
	NATIVE_UINT32_ARRAY,
	NATIVE_UUID_ARRAY,
	NATIVE_DECIMAL38_NULL,
	NATIVE_DECIMAL38,
	/* Sparse vectors, as sumMap and maxMap take them: keys ascending, each once in a row. */
	NATIVE_REGISTERS, /* UInt16 -> UInt8 */
	NATIVE_BUCKETS,	  /* Int32 -> UInt64 */
	NATIVE_COUNTS,	  /* String -> UInt64 */
	NATIVE_ORDERED,	  /* a text behind the numbers that order it: min and max of it are the first and last
			   */
	NATIVE_TYPE_COUNT
};

/* As ClickHouse writes them: "UUID", "LowCardinality(String)", ... */
extern const char *const native_type_name[NATIVE_TYPE_COUNT];
/* NATIVE_TYPE_COUNT if there is no such type. */
enum native_type native_type_by_name(const char *name);

struct native_slot {
	uint32_t key; /* its number + 1, 0 = free */
	uint32_t bytes;
	uint64_t head; /* its first 8 bytes: of most keys that is all */
};

struct native_text {
	const void *data;
	size_t bytes;
};

struct native_column {
	const char *name; /* borrowed */
	enum native_type type;
	uint32_t rows;	    /* values put so far */
	struct bytes value; /* fixed-size values, strings, array items; LowCardinality: u32 key numbers;
			       vectors: keys; ordered: i64 */
	struct bytes side; /* null map; array, vector: u64 cumulative counts; LowCardinality: keys as strings;
			      ordered: u32 */
	struct bytes more; /* vectors: items; ordered: u64 */
	struct native_slot *slot; /* LowCardinality: hash table of the keys */
	uint32_t slot_count;	  /* power of two */
	uint32_t key_count;	  /* with key 0 = "" */
	struct bytes key_end;	  /* LowCardinality: u64 end of each key in `side`; ordered: texts */
	uint64_t item_count;	  /* arrays: items put so far */
};

#define NATIVE_COLUMNS_MAX 96

struct native_block {
	uint32_t column_count;
	uint32_t row_count;
	bool failed;
	struct native_column column[NATIVE_COLUMNS_MAX];
};

void native_block_init(struct native_block *b);
/* Before the first row. Returns the column's index. */
uint32_t native_column_add(struct native_block *b, const char *name, enum native_type type);
void native_block_clear(struct native_block *b); /* no rows; columns stay */
void native_block_free(struct native_block *b);

/* Each column gets one value for each open row, columns in any order, then native_rows_end(). Type and call
 * must fit: that is asserted. These put the value of one row. */
void native_put_uuid(struct native_block *b, uint32_t column, const uint8_t id[16]); /* RFC 9562 byte order */
void native_put_ipv6(struct native_block *b, uint32_t column, const uint8_t addr[16]);
void native_put_uint(
	struct native_block *b, uint32_t column, uint64_t value); /* UINT8..64: cut to the width */
void native_put_time(struct native_block *b, uint32_t column, int64_t ms);
void native_put_double(struct native_block *b, uint32_t column, double value);
void native_put_decimal(struct native_block *b, uint32_t column, __int128 millionths); /* DECIMAL... */
void native_put_null(struct native_block *b, uint32_t column);			       /* ..._NULL */
void native_put_text(
	struct native_block *b, uint32_t column, const void *text, size_t bytes); /* STRING, LC_STRING */
/* Arrays: items of the open row, then the end of its array. */
void native_put_item_text(struct native_block *b, uint32_t column, const void *text, size_t bytes);
void native_put_item_uuid(struct native_block *b, uint32_t column, const uint8_t id[16]);
void native_put_item_uint(struct native_block *b, uint32_t column, uint32_t value);
/* Vectors: REGISTERS and BUCKETS; COUNTS. */
void native_put_item_pair(struct native_block *b, uint32_t column, int32_t key, uint64_t value);
void native_put_item_count(
	struct native_block *b, uint32_t column, const void *text, size_t bytes, uint64_t count);
void native_put_array_end(struct native_block *b, uint32_t column);
/* Tuple(Int64, UInt32, UInt64, String): of a first or last value. */
struct native_order {
	int64_t time_ms;
	uint32_t partition;
	uint64_t offset;
};
void native_put_ordered(struct native_block *b, uint32_t column, const struct native_order *order,
	const void *text, size_t bytes);
/* These put the values of `count` rows, in their order. */
/* Room for values of a fixed size as the block has them; NULL without memory. */
void *native_put_room(struct native_block *b, uint32_t column, enum native_type type, uint32_t count);
/* The same of a ..._NULL column; *null: a byte a row, 1 if there is no value, which then is 0. */
void *native_put_room_null(
	struct native_block *b, uint32_t column, enum native_type type, uint32_t count, uint8_t **null);
void native_put_nulls(struct native_block *b, uint32_t column, uint32_t count);
void native_put_texts(
	struct native_block *b, uint32_t column, const struct native_text *text, uint32_t count);
/* All have the same. */
void native_put_same_text(
	struct native_block *b, uint32_t column, const void *text, size_t bytes, uint32_t count);
/* Arrays, vectors: none has items. */
void native_put_empty(struct native_block *b, uint32_t column, uint32_t count);
/* As UUID has it. */
static inline void native_uuid(uint64_t to[2], const uint8_t id[16])
{
	memcpy(to, id, 16);
	to[0] = __builtin_bswap64(to[0]);
	to[1] = __builtin_bswap64(to[1]);
}

/* So many rows have their values, and no column has more. */
void native_rows_end(struct native_block *b, uint32_t count);
static inline void native_row_end(struct native_block *b)
{
	native_rows_end(b, 1);
}

/* Bytes that the block holds now, about what native_block_write() will give. */
size_t native_block_bytes(const struct native_block *b);

/* Appends the block to out. 0; or -ENOMEM, and out is as before. */
int native_block_write(const struct native_block *b, struct bytes *out);

#endif
