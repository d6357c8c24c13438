/* Text form of committed positions. Pure. What is parsed comes from a broker: any bytes. */
#include "position.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char position_family[] = "sluice-position/", position_next[] = " next=";

size_t position_text(char out[POSITION_TEXT_BYTES], uint64_t next)
{
	return (size_t)snprintf(out, POSITION_TEXT_BYTES, "%s%d%s%" PRIu64, position_family, POSITION_VERSION,
		position_next, next);
}

int position_parse(const void *text, size_t bytes, uint32_t *version, uint64_t *next)
{
	const size_t family = sizeof position_family - 1, head = family + 1 + sizeof position_next - 1;
	const char *at = text;
	uint64_t v = 0;

	if (bytes <= family || memcmp(at, position_family, family))
		return -EINVAL;
	if (at[family] < '1' || at[family] > '0' + POSITION_VERSION)
		return -ENOTSUP;
	if (bytes <= head || memcmp(at + family + 1, position_next, sizeof position_next - 1))
		return -EINVAL;
	for (size_t i = head; i < bytes; i++) {
		if (at[i] < '0' || at[i] > '9')
			return -EINVAL;
		if (__builtin_mul_overflow(v, 10u, &v) ||
			__builtin_add_overflow(v, (uint64_t)(at[i] - '0'), &v))
			return -EINVAL;
	}
	*version = (uint32_t)(at[family] - '0');
	*next = v;
	return 0;
}

size_t position_key(
	char out[ADDRESS_TEXT_BYTES], const char *sink, const char *node, uint64_t epoch, uint32_t partition)
{
	return (size_t)snprintf(
		out, ADDRESS_TEXT_BYTES, "%.16s/%.64s/%016" PRIx64 "/%" PRIu32, sink, node, epoch, partition);
}
