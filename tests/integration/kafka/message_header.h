/* A message's header as text. */
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

#endif
