/* The lines of a datagram: separated by '\n', a '\r' before it is dropped, lines of nothing but spaces are
 * skipped. The last line needs no '\n'. Any thread. */
#ifndef SLUICE_NDJSON_H
#define SLUICE_NDJSON_H

#include <stdbool.h>
#include <stdint.h>

struct ndjson {
	const uint8_t *at, *end;
};

static inline struct ndjson ndjson_start(const uint8_t *data, uint32_t bytes)
{
	return (struct ndjson){data, data + bytes};
}

/* The next line, which borrows from the datagram: false if there is none. Lines may be of any length: the
 * parser refuses those above EVENT_BYTES_MAX. */
bool ndjson_next(struct ndjson *lines, const uint8_t **line, uint32_t *bytes);

#endif
