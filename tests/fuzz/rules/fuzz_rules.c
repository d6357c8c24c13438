/* Any bytes as a rule file: a ruleset that matches and whose samples run, or an error with the file's name.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ruleset.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void keep_line(void *arg, const char *line)
{
	*(size_t *)arg += strlen(line);
}

/* The rule text itself as the event's fields. */
static void match(const struct ruleset *rs, const uint8_t *data, size_t bytes)
{
	static uint8_t raw[4096 + EVENT_PAD_BYTES];
	struct event ev[2], *burst[2] = {&ev[0], &ev[1]};
	struct matcher *m = matcher_new(rs, NULL);
	uint16_t n = (uint16_t)(bytes < 4096 ? bytes : 4096);

	if (!m)
		abort();
	memcpy(raw, data, n);
	for (uint32_t i = 0; i < 2; i++) {
		ev[i] = (struct event){.raw = raw,
			.tail = raw,
			.raw_bytes = n,
			.tail_bytes = n,
			.type = (uint8_t)(i + 1),
			.event_time_ms = 1715200123456};
		for (uint32_t f = 1; f < FIELD_ID_MAX; f++)
			if (type_table[i + 1].uses >> f & 1) {
				ev[i].field_mask |= 1ull << f;
				ev[i].field[f] = field_table[f].kind == FIELD_KIND_NUMBER && n >= 8
							 ? (struct span){n, 8}
							 : (struct span){(uint16_t)(f % (n + 1u)),
								   (uint16_t)(n - f % (n + 1u))};
			}
		if (n < 8)
			ev[i].field_mask &= ~FBIT(metric);
	}
	matcher_run(m, burst, 2);
	for (uint32_t i = 0; i < 2; i++)
		for (uint32_t k = 0; k < ev[i].hit_count; k++)
			if (ev[i].hit[k] >= ruleset_rule_count(rs) || (k && ev[i].hit[k] <= ev[i].hit[k - 1]))
				abort();
	matcher_free(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct rule_source source = {"fuzz", (const char *)data, bytes};
	struct ruleset *rs = NULL;
	struct err err = {{0}};
	size_t sum = 0;

	if (ruleset_compile(&rs, &source, 1, 100, &err)) {
		if (rs || (strncmp(err.text, "fuzz:", 5) && !strstr(err.text, "together")))
			abort();
		return 0;
	}
	if (bytes)
		match(rs, data, bytes);
	ruleset_run_tests(rs, keep_line, &sum);
	ruleset_free(rs);
	return 0;
}
