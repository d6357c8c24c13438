/* Any bytes, as lines of a datagram: shapes, AVX2 without shapes and the baseline must give the same event,
 * whatever stands behind it. The fast parser starts each run knowing an event of each type, and learns from
 * the input. */
#include "../../unit/parse/parse_util.h"
#include "../../unit/parse/type_samples.h"

#include "ndjson.h"

static void line_check(struct parsers *ps, const uint8_t *line, uint32_t bytes, enum event_type hint)
{
	uint8_t *copy = padded_copy(line, bytes);
	const uint8_t *key;
	struct event ev;
	uint32_t key_bytes;

	memset(&ev, 0, sizeof ev);
	parse_all_ways(ps, copy, bytes, hint, &limits_any, &ev);
	event_partition_key(&ev, &key, &key_bytes);
	for (uint64_t left = ev.field_mask; left; left &= left - 1) {
		int field = __builtin_ctzll(left);
		uint32_t field_bytes;
		const uint8_t *p = event_field(&ev, (enum field_id)field, &field_bytes);

		/* every value can be read, and every text is UTF-8 */
		if (!field_kind_is_number(field_table[field].kind) && !utf8_valid(p, field_bytes))
			abort();
	}
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static struct parsers ps;
	enum event_type hint;
	struct ndjson lines;
	const uint8_t *line;
	uint8_t *copy;
	uint32_t line_bytes;

	if (!ps.fast)
		ps = parsers_new();
	if (!bytes)
		return 0;
	hint = (enum event_type)(data[0] % EVENT_TYPE_MAX);
	if (!type_table[hint].name)
		hint = EVENT_TYPE_NONE;
	json_parser_forget(ps.fast);
	for (int i = 1; i < EVENT_TYPE_MAX; i++)
		if (type_sample[i])
			line_check(
				&ps, (const uint8_t *)type_sample[i], (uint32_t)strlen(type_sample[i]), hint);
	line_check(&ps, data, (uint32_t)bytes, hint);
	copy = padded_copy(data, bytes);
	for (const uint8_t *p = copy; p;
		p = memchr(p, '\n', bytes - (size_t)(p - copy)), p = p ? p + 1 : NULL)
		(void)parse_line(&ps, p, (uint32_t)(bytes - (size_t)(p - copy)), hint, &limits_any);
	free(copy);
	lines = ndjson_start(data, (uint32_t)bytes);
	while (ndjson_next(&lines, &line, &line_bytes))
		line_check(&ps, line, line_bytes, hint);
	return 0;
}
