/* Any bytes as a datagram of syslog, first byte: sender and clock. What is written for it is an event that
 * the parser takes, or refuses for its time: never for its form, and no field is too long; and the places of
 * its fields that the format gives make the same event. */
#include <stdlib.h>
#include <string.h>

#include "../../unit/formats/written_check.h"
#include "format_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void event_check(struct json_parser *jp, uint8_t *raw, uint32_t bytes,
	const struct json_written *written, int64_t now_ms)
{
	const struct parse_limits limits = {0, INT64_MAX};
	struct event ev;

	memset(raw + bytes, '"', EVENT_PAD_BYTES);
	written_parse(jp, raw, bytes, written, now_ms, &limits, &ev);
	if ((ev.refused && ev.refused != DROP_bad_timestamp) || ev.type != EVENT_TYPE_log)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static uint8_t room[EVENT_BYTES_MAX + EVENT_PAD_BYTES];
	static struct json_parser *jp;
	const uint8_t sender[16] = {[10] = 0xff, [11] = 0xff, 192, 0, 2, 7};
	struct bytes out = {room, 0, EVENT_BYTES_MAX, false, true};
	struct format_reader r;
	enum format_answer answer;
	uint8_t *copy;
	int64_t now_ms;

	if (!jp)
		jp = json_parser_new(0);
	if (!jp || bytes < 1)
		return 0;
	now_ms = 1700000000000ll + (int64_t)data[0] * 86400000 * 9;
	copy = malloc(bytes); /* exact size: reads beyond it are seen */
	if (!copy)
		abort();
	memcpy(copy, data + 1, bytes - 1);
	r = format_open(copy, (uint32_t)bytes - 1, now_ms, sender);
	while ((answer = syslog_next(&r, &out)) != FORMAT_END) {
		if (r.piece < copy || r.piece + r.piece_bytes > copy + bytes - 1 || !r.piece_bytes)
			abort();
		if (answer == FORMAT_EVENT && !out.failed)
			event_check(jp, room, (uint32_t)out.bytes, &r.written, now_ms);
		bytes_reset(&out);
	}
	free(copy);
	return 0;
}
