/* Checks of blocks: pure functions of bytes that may be anything. Used by recovery, readers and offline scan.
 */
#include "block_format.h"

#include <string.h>

#include "crc32c.h"
#include "record.h"

uint32_t block_header_crc(const struct block_header *h)
{
	static const uint32_t zero;
	const uint8_t *p = (const uint8_t *)h;
	const size_t at = offsetof(struct block_header, header_crc);
	uint32_t crc = crc32c(0, p, at);

	crc = crc32c(crc, &zero, sizeof zero);
	return crc32c(crc, p + at + sizeof zero, sizeof *h - at - sizeof zero);
}

bool block_header_ours(const struct block_header *h, const struct block_place *at)
{
	return h->magic == BLOCK_MAGIC && h->version == JOURNAL_FORMAT_VERSION && h->epoch == at->epoch &&
	       h->key == at->key && h->partition == at->partition && h->segment == at->segment &&
	       h->file_offset == at->file_offset && block_header_crc(h) == h->header_crc;
}

static const char *block_sizes_fault(const struct block_header *h, const struct block_place *at)
{
	uint64_t room = at->segment_bytes - at->file_offset;

	if (h->header_bytes != BLOCK_HEADER_BYTES)
		return "header length";
	if (h->total_bytes % BLOCK_ALIGN || h->total_bytes > at->block_bytes || h->total_bytes > room)
		return "block length";
	if (h->total_bytes < BLOCK_HEADER_BYTES || h->payload_bytes > h->total_bytes - BLOCK_HEADER_BYTES)
		return "payload length";
	if (h->total_bytes - BLOCK_HEADER_BYTES - h->payload_bytes >= BLOCK_ALIGN)
		return "padding";
	if (h->record_count > h->payload_bytes / sizeof(struct record))
		return "record count";
	if (h->first_offset > UINT64_MAX - h->record_count)
		return "record offset";
	return NULL;
}

const char *block_header_fault(const struct block_header *h, const struct block_place *at)
{
	if (h->magic != BLOCK_MAGIC)
		return "no block here";
	if (block_header_crc(h) != h->header_crc)
		return "header CRC";
	if (h->version != JOURNAL_FORMAT_VERSION)
		return "format version";
	if (h->epoch != at->epoch || h->key != at->key)
		return "block of another journal";
	if (h->partition != at->partition)
		return "block of another partition";
	if (h->segment != at->segment)
		return "block of an earlier use of this file";
	if (h->file_offset != at->file_offset)
		return "block of another place";
	if (at->chained && h->block_seq != at->seq)
		return "block sequence";
	if (at->chained && h->prev_crc != at->prev_crc)
		return "CRC of the block before";
	if (at->chained && h->first_offset != at->offset)
		return "record offset";
	if (h->durable_seq > h->block_seq)
		return "durable sequence";
	return block_sizes_fault(h, at);
}

const char *block_payload_fault(const struct block_header *h, const void *payload)
{
	struct journal_counts counts = {0};
	const uint8_t *p = payload;
	uint32_t left = h->payload_bytes, count = 0;

	if (crc32c(0, payload, left) != h->payload_crc)
		return "payload CRC";
	while (left) {
		const struct record *rec = (const struct record *)p;

		if (!record_valid(p, left))
			return "record";
		block_count(&counts, rec);
		p += rec->bytes;
		left -= rec->bytes;
		count++;
	}
	if (count != h->record_count)
		return "record count";
	return h->flags & BLOCK_F_COUNTED && memcmp(&counts, &h->counts, sizeof counts) ? "counts of records"
											: NULL;
}

void block_place_step(struct block_place *at, const struct block_header *h)
{
	at->file_offset += h->total_bytes;
	at->seq = h->block_seq + 1;
	at->prev_crc = h->header_crc;
	at->offset = h->first_offset + h->record_count;
	at->chained = true;
	block_place_round(at);
}
