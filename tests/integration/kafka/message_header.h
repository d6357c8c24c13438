/* What the programs that read topics share: a message's header as text, and where a partition ends. */
#ifndef MESSAGE_HEADER_H
#define MESSAGE_HEADER_H

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <string.h>

/* The last header `name` as a string. False: there is none, or it does not fit. */
static inline bool header_text(const rd_kafka_message_t *m, const char *name, char *out, size_t cap)
{
	rd_kafka_headers_t *headers;
	const void *value;
	size_t bytes;

	if (rd_kafka_message_headers(m, &headers) ||
		rd_kafka_header_get_last(headers, name, &value, &bytes) || bytes >= cap)
		return false;
	memcpy(out, value, bytes);
	out[bytes] = 0;
	return true;
}

#define READ_LIMIT_NS 300000000000ull /* of a topic */

/* m is a PARTITION_EOF: whether nothing lies behind what read-committed readers see. A commit is answered
 * before its markers are written; until then its records are not seen, and another PARTITION_EOF follows
 * them. */
static inline bool partition_ended(rd_kafka_t *rk, const rd_kafka_message_t *m)
{
	int64_t low, high;

	return rd_kafka_get_watermark_offsets(rk, rd_kafka_topic_name(m->rkt), m->partition, &low, &high) ==
		       0 &&
	       m->offset >= high;
}

#endif
