/* Any bytes as a frame: what the first look reads of it lies within it. */
#include <stdlib.h>
#include <string.h>

#include "decode_peek.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	uint8_t *copy = malloc(bytes ? bytes : 1); /* exact size: reads beyond it are seen */
	struct decode_peek from;

	if (!copy)
		abort();
	memcpy(copy, data, bytes);
	from = decode_peek(copy, (uint32_t)bytes);
	if (from.has_udp && (!from.has_source || from.payload > bytes))
		abort();
	if (from.has_source && from.source[10] == 0xff && from.source[11] == 0xff &&
		!memcmp(from.source, (uint8_t[10]){0}, 10) && !memmem(copy, bytes, from.source + 12, 4))
		abort();
	if (from.has_udp &&
		!memmem(copy, bytes, (uint8_t[2]){(uint8_t)(from.udp_port >> 8), (uint8_t)from.udp_port}, 2))
		abort();
	free(copy);
	return 0;
}
