/* From the journal to blocks of rows. Whether gathered the first time or again, a range goes through the same
 * ch_rows_hold() calls, so that it gives the same blocks. */
#include <errno.h>
#include <string.h>

#include "ch_part_priv.h"
#include "clock.h"
#include "crc32c.h"

#define WAIT_MS_MAX 100u /* how long a wish to stop may go unseen while no records come */

static int reader_place(struct ch_part *p, uint64_t offset, struct err *err)
{
	struct journal *j = p->part->journal;
	int rc = 0;

	if (!p->reader)
		rc = journal_reader_open(&p->reader, j, p->part->partition, offset, err);
	else if (p->reader_at != offset)
		rc = journal_reader_seek(p->reader, offset, err);
	if (rc == -ERANGE) {
		err_prefix(err,
			"clickhouse: partition %u: the journal no longer has, or never had, offset %lu",
			p->part->partition, offset);
		return -EINVAL;
	}
	p->reader_at = offset;
	return rc;
}

/* Adds the block's records from `*offset` on and below `to`. 1: the range ends at *offset. */
static int block_hold(struct ch_rows *rows, const struct journal_block *block, uint64_t *offset, uint64_t to,
	struct err *err)
{
	const uint8_t *at = block->data;
	uint64_t index = block->first_offset, end = block->first_offset + block->record_count;

	for (; index < end && index < to; index++) {
		const struct record *rec = (const struct record *)at;
		int rc;

		at += rec->bytes;
		if (index < *offset)
			continue;
		rc = ch_rows_hold(rows, rec, index, block->generation, err);
		/* What stands before a record that cannot be encoded still goes out. */
		if (rc == -EINVAL && rows->row_count > 0)
			rc = 1;
		if (rc)
			return rc;
		*offset = index + 1;
	}
	return index < end || index == to;
}

/* The same, and the block is needed no more. */
static int block_add(struct ch_rows *rows, const struct journal_block *block, uint64_t *offset, uint64_t to,
	struct err *err)
{
	int rc = block_hold(rows, block, offset, to, err);

	if (rc >= 0 && ch_rows_settle(rows, err))
		return -ENOMEM;
	return rc;
}

static void reader_passed(struct ch_part *p, const struct journal_block *block)
{
	p->reader_at = block->first_offset + block->record_count;
	atomic_fetch_add_explicit(&p->part->stats.position_bytes, block->bytes, memory_order_relaxed);
}

int ch_range_reload(struct ch_part *p, struct ch_rows *rows, uint64_t from, uint64_t to, struct err *err)
{
	uint64_t offset = from;
	int rc;

	ch_rows_clear(rows);
	rows->resent = true;
	rc = reader_place(p, from, err);
	while (rc == 0 && offset < to) {
		struct journal_block block;

		rc = journal_reader_next(p->reader, &block, 1000, err);
		if (rc < 0)
			break;
		if (rc == 0)
			return err_set(err, -EAGAIN,
				"clickhouse: partition %u: journal does not give offset %lu",
				p->part->partition, offset);
		reader_passed(p, &block);
		rc = block_add(rows, &block, &offset, to, err);
	}
	if (rc >= 0 && offset != to)
		return err_set(err, -EINVAL,
			"clickhouse: partition %u: range %lu-%lu was sent before, but now ends at %lu",
			p->part->partition, from, to, offset);
	return rc < 0 ? rc : 0;
}

int ch_range_record(struct ch_part *p, uint64_t offset, void (*each)(void *arg, const struct record *rec),
	void *arg, struct err *err)
{
	struct journal_block block;
	const uint8_t *at;
	int rc = reader_place(p, offset, err);

	if (rc == 0)
		rc = journal_reader_next(p->reader, &block, 1000, err);
	if (rc <= 0)
		return rc ? rc
			  : err_set(err, -EAGAIN,
				    "clickhouse: partition %u: journal does not give offset %lu",
				    p->part->partition, offset);
	p->reader_at = block.first_offset + block.record_count;
	if (offset < block.first_offset || offset >= p->reader_at)
		return err_set(err, -EIO, "clickhouse: partition %u: offset %lu is not where it should be",
			p->part->partition, offset);
	at = block.data;
	for (uint64_t i = block.first_offset; i < offset; i++)
		at += ((const struct record *)at)->bytes;
	each(arg, (const struct record *)at);
	return 0;
}

int ch_range_gather(struct ch_part *p, uint64_t from, uint64_t *to, struct err *err)
{
	uint64_t limit = from + p->cfg->range_events, until_ns = 0;
	int rc;

	*to = from;
	ch_rows_clear(&p->rows);
	p->rows.resent = false;
	rc = reader_place(p, from, err);
	while (rc == 0) {
		uint64_t now = clock_mono_ns();
		uint64_t left_ms = until_ns > now ? (until_ns - now) / 1000000u + 1 : 0;
		struct journal_block block;

		if (until_ns && left_ms == 0)
			break;
		if (!until_ns || left_ms > WAIT_MS_MAX)
			left_ms = WAIT_MS_MAX;
		/* On stop, what is durable goes out without waiting for more. */
		if (sink_stopping(p->part))
			left_ms = 0;
		rc = journal_reader_next(p->reader, &block, (uint32_t)left_ms, err);
		if (rc < 0) /* what stands before it goes out first; then it is met again */
			return *to > from ? 0 : rc;
		if (rc == 0) {
			if (!until_ns || sink_stopping(p->part))
				break;
			continue;
		}
		if (!until_ns)
			until_ns = clock_mono_ns() + p->cfg->range_age * 1000000u;
		reader_passed(p, &block);
		rc = block_add(&p->rows, &block, to, limit, err);
	}
	return rc < 0 ? rc : 0;
}

int ch_range_crc(struct ch_part *p, uint32_t *crc, struct err *err)
{
	size_t from = 0;

	*crc = 0;
	p->bodies.bytes = 0;
	p->bodies_edition = 0;
	for (uint32_t i = 0; i < p->rows.block_count; i++) {
		if (native_block_write(&p->rows.block[i]->native, &p->bodies))
			return err_set(err, -ENOMEM, "clickhouse: no memory for a block");
		p->body_end[i] = p->bodies.bytes;
		*crc = crc32c(*crc, p->bodies.data + from, p->body_end[i] - from);
		from = p->body_end[i];
	}
	p->bodies_edition = p->rows.edition;
	return 0;
}
