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

/* An event of each type: its raw bytes are the rule text, every second one's from the first brace on, where a
 * walk over JSON begins; its fields are pieces of them. */
static void event_make(struct event *ev, uint8_t type, const uint8_t *raw, uint16_t n)
{
	const uint8_t *brace = memchr(raw, '{', n);

	if (type % 2 && brace) {
		n = (uint16_t)(n - (brace - raw));
		raw = brace;
	}
	*ev = (struct event){.raw = raw,
		.tail = raw,
		.raw_bytes = n,
		.tail_bytes = n,
		.type = type,
		.event_time_ms = 1715200123456};
	for (uint32_t f = 1; f < FIELD_ID_MAX; f++) {
		bool number = field_kind_is_number(field_table[f].kind);

		if (!(type_table[type].uses >> f & 1) || (number && n < 8))
			continue;
		ev->field_mask |= 1ull << f;
		ev->field[f] = number ? (struct span){n, 8}
				      : (struct span){(uint16_t)(f % (n + 1u)), (uint16_t)(n - f % (n + 1u))};
	}
}

static void match(const struct ruleset *rs, const uint8_t *data, size_t bytes)
{
	static uint8_t raw[4096 + EVENT_PAD_BYTES];
	struct event ev[EVENT_TYPE_MAX], *burst[EVENT_TYPE_MAX];
	struct matcher *m = matcher_new(rs, NULL);
	uint16_t n = (uint16_t)(bytes < 4096 ? bytes : 4096);
	uint32_t count = 0;

	if (!m)
		abort();
	memcpy(raw, data, n);
	for (uint32_t type = 1; type < EVENT_TYPE_MAX; type++) {
		if (!type_table[type].name)
			continue;
		event_make(&ev[count], (uint8_t)type, raw, n);
		burst[count] = &ev[count];
		count++;
	}
	matcher_run(m, burst, count);
	for (uint32_t i = 0; i < count; i++)
		for (uint32_t k = 0; k < ev[i].hit_count; k++)
			if (ev[i].hit[k] >= ruleset_match_count(rs) ||
				(k && ev[i].hit[k] <= ev[i].hit[k - 1]))
				abort();
	matcher_free(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct rule_source source = {"fuzz", (const char *)data, bytes, false};
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
	ruleset_run_tests(rs, NULL, keep_line, &sum);
	ruleset_free(rs);
	return 0;
}
