/* Rows of this journal in ClickHouse, as RowBinary. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cursor.h"
#include "hash.h"
#include "ver_read.h"

static const uint8_t *take_text(struct cursor *c, uint64_t *bytes)
{
	uint64_t n = 0;

	for (int shift = 0; shift < 63; shift += 7) {
		uint8_t b = cursor_u8(c);

		n |= (uint64_t)(b & 0x7f) << shift;
		if (!(b & 0x80))
			break;
	}
	*bytes = n;
	return cursor_take(c, n);
}

static void take_place(struct cursor *c, struct ver_row *row)
{
	const uint8_t *p = cursor_take(c, 2);

	row->partition = p ? (uint16_t)(p[0] | p[1] << 8) : 0;
	row->offset = cursor_le64(c) & ((1ull << 48) - 1);
}

/* RowBinary of the columns that query() asks for. */
static int take_rows(
	struct ver_set *set, enum ver_kind kind, const char *body, uint64_t bytes, struct err *err)
{
	struct cursor c = cursor_of(body, bytes);
	int rc = 0;

	while (!rc && cursor_left(&c)) {
		struct ver_row row = {0};
		const uint8_t *text;
		uint64_t text_bytes;

		take_place(&c, &row);
		if (kind != VER_DEAD) {
			row.id_high = cursor_le64(&c);
			row.id_low = cursor_le64(&c);
		}
		if (kind == VER_ALERT || kind == VER_DEAD) {
			text = take_text(&c, &text_bytes);
			row.extra = text ? hash_bytes(text, text_bytes, 0) : 0;
		}
		if (kind == VER_DEAD) {
			text = take_text(&c, &text_bytes);
			if (text) {
				row.digest = hash_bytes(text, text_bytes, 0);
				ver_uuid_find(&row, (const char *)text, text_bytes);
			}
		}
		rc = c.failed ? err_set(err, -EIO, "the answer ends within a row")
			      : ver_set_add(set, &row, err);
	}
	return rc;
}

static int query(const struct ver_clickhouse *c, enum ver_kind kind, const char *columns, const char *where,
	const struct ver_journal *j, char **body, uint64_t *bytes, struct err *err)
{
	char sql[1024];

	snprintf(sql, sizeof sql,
		"SELECT %s FROM `%s`.`%s` WHERE %s(_node = '%s' AND _epoch = %" PRIu64 ") FORMAT RowBinary",
		columns, c->database, c->table[kind], where, j->node, j->epoch);
	return ver_http_query(c->url, c->user, c->password, sql, body, bytes, err);
}

int ver_clickhouse_read(struct ver_set set[VER_KINDS], const struct ver_clickhouse *c,
	const struct ver_journal *j, struct err *err)
{
	static const char *const columns[VER_KINDS] = {"_partition, _offset, event_id",
		"_partition, _offset, event_id", "_partition, _offset, toString(reason), raw",
		"_partition, _offset, event_id, toString(rule_id)"};
	int rc = 0;

	if (strpbrk(j->node, "'\\"))
		return err_set(err, -EINVAL, "node name %s", j->node);
	for (int kind = 0; !rc && kind < VER_KINDS; kind++) {
		char *body = NULL;
		uint64_t bytes = 0;

		set[kind].looked = true;
		rc = query(c, (enum ver_kind)kind, columns[kind], "", j, &body, &bytes, err);
		if (!rc)
			rc = take_rows(&set[kind], (enum ver_kind)kind, body, bytes, err);
		free(body);
		body = NULL;
		if (!rc)
			rc = query(c, (enum ver_kind)kind, "count()", "NOT ", j, &body, &bytes, err);
		if (!rc) {
			struct cursor cur = cursor_of(body, bytes);

			set[kind].others = cursor_le64(&cur);
		}
		free(body);
		if (rc)
			err_prefix(err, "%s", c->table[kind]);
		ver_set_sort(&set[kind]);
	}
	return rc;
}
