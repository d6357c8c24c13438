/* Splitting a datagram into lines. Worker thread; pure. */
#include "ndjson.h"

#include <string.h>

static bool is_blank(const uint8_t *p, uint32_t bytes)
{
	for (uint32_t i = 0; i < bytes; i++)
		if (p[i] != ' ' && p[i] != '\t' && p[i] != '\r')
			return false;
	return true;
}

bool ndjson_next(struct ndjson *lines, const uint8_t **line, uint32_t *bytes)
{
	while (lines->at < lines->end) {
		const uint8_t *start = lines->at;
		/* the C library's memchr is the widest vector search that this CPU has */
		const uint8_t *stop = memchr(start, '\n', (size_t)(lines->end - start));

		lines->at = stop ? stop + 1 : lines->end;
		if (!stop)
			stop = lines->end;
		if (stop > start && stop[-1] == '\r')
			stop--;
		if (is_blank(start, (uint32_t)(stop - start)))
			continue;
		*line = start;
		*bytes = (uint32_t)(stop - start);
		return true;
	}
	return false;
}
