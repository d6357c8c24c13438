/* Any bytes as a datagram of any foreign format, which the first byte chooses. Its answers end, their pieces
 * lie within the datagram and in its order, and each event is JSON by the parser's own judgement: what it
 * refuses is a field, never the text. The places of fields that the format gives make the same event. The
 * second byte cuts the room for an event. */
#include "../../unit/formats/written_check.h"

#include "config.h"
#include "format.h"

#define ROOM_SMALL 256

static uint8_t json[EVENT_BYTES_MAX + EVENT_PAD_BYTES];

static void event_check(struct json_parser *jp, const struct bytes *out, const struct json_written *written,
	enum event_type type)
{
	struct event ev;

	memset(out->data + out->bytes, '"', EVENT_PAD_BYTES);
	written_parse(jp, out->data, (uint32_t)out->bytes, written, NOW_MS, &limits_any, &ev);
	switch (ev.refused) {
	case DROP_bad_json:
	case DROP_bad_utf8:
	case DROP_too_deep:
	case DROP_unknown_type:
	case DROP_missing_field:
		fprintf(stderr, "%s: %.*s\n", drop_table[ev.refused].name, (int)out->bytes, out->data);
		abort();
	default:
		break;
	}
	if (!ev.refused && type != EVENT_TYPE_NONE && ev.type != type)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static const uint8_t sender[16] = {[10] = 0xff, [11] = 0xff, 192, 0, 2, 1};
	static struct json_parser *jp;
	const struct format *format;
	struct format_reader r;
	uint64_t written = 0;
	uint8_t *copy;

	if (!jp)
		jp = json_parser_new(0);
	if (!jp || bytes < 2 || bytes > 65535)
		return 0;
	format = &format_table[data[0] % CONFIG_FORMAT_COUNT];
	if (!format->next)
		return 0;
	copy = malloc(bytes > 2 ? bytes - 2 : 1);
	if (!copy)
		abort();
	memcpy(copy, data + 2, bytes - 2);
	r = format_open(copy, (uint32_t)bytes - 2, NOW_MS, sender);
	for (const uint8_t *last = copy;;) {
		struct bytes out = {json, 0, data[1] & 1 ? ROOM_SMALL : EVENT_BYTES_MAX, false, true};
		enum format_answer answer = format->next(&r, &out);

		if (answer == FORMAT_END)
			break;
		if (r.piece < last || r.piece + r.piece_bytes > copy + bytes - 2 || r.at < r.piece ||
			r.at > copy + bytes - 2)
			abort();
		last = r.piece;
		if (out.bytes > out.capacity)
			abort();
		written += out.bytes + 1;
		if (written > 256u << 20) /* no datagram is worth that much */
			abort();
		if (answer == FORMAT_EVENT && !out.failed)
			event_check(jp, &out, &r.written, format->type);
	}
	free(copy);
	return 0;
}
