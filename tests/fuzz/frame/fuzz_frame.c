/* Any bytes as a datagram of the protocol, to a listener without keys and to one with: what is taken lies
 * within the bytes, and what is taken with a MAC was signed by the key. */
#include <stdlib.h>
#include <string.h>

#include "frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void walk(const uint8_t *copy, size_t bytes, const struct frame_keys *keys)
{
	const uint8_t *event, *last = copy + 32;
	struct frame f;
	uint32_t n;

	if (frame_open(&f, copy, (uint32_t)bytes, keys) != DROP_NONE)
		return;
	if (!f.producer || !f.sequence || !f.left || f.left > FRAME_EVENTS_MAX)
		abort();
	while (frame_next(&f, &event, &n)) {
		if (event != last + 2 || !n || event + n > copy + bytes || f.sequence > FRAME_SEQUENCE_MAX)
			abort();
		last = event + n;
	}
	if (last + (keys->count ? FRAME_MAC_BYTES : 0) != copy + bytes)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	const struct frame_keys none = {0}, some = {.count = 1, .number = {7}, .key = {{1, 2, 3}}};
	uint8_t *copy;

	if (bytes > 65507)
		return 0;
	copy = malloc(bytes ? bytes : 1); /* of exact size: reads beyond it are seen */
	if (!copy)
		abort();
	if (bytes)
		memcpy(copy, data, bytes);
	walk(copy, bytes, &none);
	walk(copy, bytes, &some);
	copy = realloc(copy, bytes + FRAME_MAC_BYTES);
	if (!copy)
		abort();
	/* Signed, so that what lies behind the check is reached. */
	frame_mac_make(&some, 7, copy, (uint32_t)bytes, copy + bytes);
	walk(copy, bytes + FRAME_MAC_BYTES, &some);
	free(copy);
	return 0;
}
