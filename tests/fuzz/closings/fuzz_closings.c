/* Any bytes as a line of alerts-closed.log, as they are and behind the right CRC: none of ours, or a closing
 * whose texts end where they should, or counts that can be added up. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "closings.h"
#include "crc32c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void check(const char *line, size_t bytes)
{
	struct closing_counts counts;
	struct closing c;
	int kind = closing_parse(line, bytes, &c, &counts);

	if (kind < 0 || kind > 2)
		abort();
	if (kind == 0)
		return;
	if (!c.rule[0] || strnlen(c.rule, sizeof c.rule) == sizeof c.rule ||
		strspn(c.version, "0123456789abcdef") != strnlen(c.version, sizeof c.version - 1))
		abort();
	if (kind == 1 && (c.as >= CLOSING_AS_COUNT || !c.alert[0] || c.time_ms < 0 ||
				 strnlen(c.alert, sizeof c.alert) == sizeof c.alert ||
				 strnlen(c.note, sizeof c.note) == sizeof c.note))
		abort();
	for (int i = 0; i < CLOSING_AS_COUNT; i++)
		if (counts.n[i] > INT64_MAX / 2)
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	char *line = calloc(1, bytes + 10);

	if (!line)
		return 0;
	if (bytes)
		memcpy(line, data, bytes);
	check(line, bytes);
	snprintf(line, 10, "%08x ", crc32c(0, data, bytes));
	if (bytes)
		memcpy(line + 9, data, bytes);
	check(line, bytes + 9);
	free(line);
	return 0;
}
