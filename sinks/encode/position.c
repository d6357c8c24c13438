/* Text form of committed positions. Pure. What is parsed comes from a broker: any bytes. */
#include "position.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char position_family[] = "sluice-position/";
static const char position_head[] = "sluice-position/1 next=";

size_t position_text(char out[POSITION_TEXT_BYTES], uint64_t next)
{
	return (size_t)snprintf(out, POSITION_TEXT_BYTES, "%s%" PRIu64, position_head, next);
}

int position_parse(const void *text, size_t bytes, uint64_t *next)
{
	const size_t head = sizeof position_head - 1;
	const char *at = text;
	uint64_t v = 0;

	if (bytes <= head || memcmp(at, position_head, head)) {
		const size_t family = sizeof position_family - 1;

		return bytes > family && !memcmp(at, position_family, family) && at[family] != '1' ? -ENOTSUP
												   : -EINVAL;
	}
	for (size_t i = head; i < bytes; i++) {
		if (at[i] < '0' || at[i] > '9')
			return -EINVAL;
		if (__builtin_mul_overflow(v, 10u, &v) ||
			__builtin_add_overflow(v, (uint64_t)(at[i] - '0'), &v))
			return -EINVAL;
	}
	*next = v;
	return 0;
}

size_t position_key(
	char out[ADDRESS_TEXT_BYTES], const char *sink, const char *node, uint64_t epoch, uint32_t partition)
{
	return (size_t)snprintf(
		out, ADDRESS_TEXT_BYTES, "%.16s/%.64s/%016" PRIx64 "/%" PRIu32, sink, node, epoch, partition);
}
