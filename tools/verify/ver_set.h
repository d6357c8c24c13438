/* Sets of delivered rows, and their comparison by address and id. One thread. */
#ifndef SLUICE_VER_SET_H
#define SLUICE_VER_SET_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "err.h"

#define VER_PARTITIONS_MAX 256

/* What is compared: one table each, and its topics. VER_PLATFORM: events of all types but clicks. */
enum ver_kind { VER_CLICK, VER_PLATFORM, VER_DEAD, VER_ALERT, VER_KINDS };
extern const char *const ver_kind_name[VER_KINDS];

enum {
	VER_F_MADE = 1 << 8,  /* the id was made by the box; below: reason of a dead letter */
	VER_F_NO_ID = 1 << 9, /* the id is not known here */
	VER_F_TYPE = 16,      /* bits from here on: enum event_type of an event of the journal */
};

/* One row. Rows of one place differ in `extra` (alerts of one event: the rule). */
struct ver_row {
	uint64_t partition : 16, offset : 48;
	uint64_t extra; /* alerts: hash of the rule id; dead letters: hash of the reason; events: 0 */
	uint64_t id_high, id_low;
	uint64_t digest; /* hash of the raw bytes; 0: not known here */
	uint32_t flags;
};

struct ver_set {
	struct ver_row *row; /* owned */
	uint64_t count, capacity;
	uint64_t others; /* rows of other nodes or journals, passed over */
	bool looked;	 /* this place was asked */
};

int ver_set_add(struct ver_set *set, const struct ver_row *row, struct err *err);
void ver_set_sort(struct ver_set *set); /* by place, then extra */
void ver_set_free(struct ver_set *set);

/* Order-independent: the sum over distinct rows of a 128-bit hash of the id (events) or of address and rule
 * or reason (the others). */
struct ver_sum {
	uint64_t rows, distinct;
	uint64_t hash[2];
};
/* The set must be sorted. */
struct ver_sum ver_set_sum(const struct ver_set *set, enum ver_kind kind);

struct ver_diff {
	uint64_t missing;   /* in ref, not in set */
	uint64_t foreign;   /* in set, not in ref */
	uint64_t duplicate; /* more than once in set */
	uint64_t differing; /* same place, another id, reason or content */
};
static inline bool ver_diff_any(const struct ver_diff *d)
{
	return d->missing || d->foreign || d->duplicate || d->differing;
}

/* Compares sorted sets above (below = false) or below the oldest offset that the journal still has. Prints
 * the first few differences with their addresses to `out`, after `label`. */
struct ver_diff ver_compare(const struct ver_set *ref, const struct ver_set *set,
	const uint64_t oldest[VER_PARTITIONS_MAX], bool below, const char *label, FILE *out);

/* node/epoch/partition/offset: partition and offset into row. 1: of this node and epoch; 0: of another;
 * -EINVAL: no address. */
int ver_address(struct ver_row *row, const char *text, size_t bytes, const char *node, uint64_t epoch);
/* 36 characters. */
bool ver_uuid(struct ver_row *row, const char *text, size_t bytes);
/* The id that stands as "event_id" in bytes that need not be JSON; leaves zeros if there is none. */
void ver_uuid_find(struct ver_row *row, const char *raw, size_t bytes);
void ver_uuid_bytes(struct ver_row *row, const uint8_t id[16]);

#endif
