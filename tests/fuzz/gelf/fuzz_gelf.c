/* Any bytes as a datagram of GELF, and the same bytes compressed, which must give the same answer. What is
 * written is an event that the parser takes, and the places of its fields that the format gives make the same
 * one. First byte: how it is compressed. */
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "../../unit/formats/written_check.h"
#include "format_priv.h"
#include "gelf_priv.h"

static struct json_parser *jp;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void event_check(uint8_t *raw, uint32_t bytes, const struct json_written *written)
{
	const struct parse_limits limits = {0, INT64_MAX};
	struct event ev;

	memset(raw + bytes, '"', EVENT_PAD_BYTES);
	written_parse(jp, raw, bytes, written, NOW_MS, &limits, &ev);
	if (ev.refused || ev.type != EVENT_TYPE_log)
		abort();
}

static enum format_answer ask(const uint8_t *data, size_t bytes, struct bytes *out)
{
	const uint8_t sender[16] = {[10] = 0xff, [11] = 0xff, 192, 0, 2, 7};
	uint8_t *copy = malloc(bytes ? bytes : 1); /* exact size: reads beyond it are seen */
	enum format_answer answer;
	struct format_reader r;

	if (!copy)
		abort();
	memcpy(copy, data, bytes);
	r = format_open(copy, (uint32_t)bytes, NOW_MS, sender);
	answer = gelf_next(&r, out);
	if (answer != FORMAT_END && (r.piece != copy || r.piece_bytes != bytes || r.at != r.end))
		abort();
	if (answer == FORMAT_EVENT && !out->failed)
		event_check(out->data, (uint32_t)out->bytes, &r.written);
	free(copy);
	return answer;
}

static size_t pack(uint8_t *to, size_t room, const uint8_t *data, size_t bytes, uint8_t how)
{
	z_stream z = {0};

	if (deflateInit2(&z, how >> 1 & 7, Z_DEFLATED, how & 1 ? 31 : 15, 1, Z_DEFAULT_STRATEGY) != Z_OK)
		abort();
	z.next_in = (Bytef *)data;
	z.avail_in = (uInt)bytes;
	z.next_out = to;
	z.avail_out = (uInt)room;
	if (deflate(&z, Z_FINISH) != Z_STREAM_END)
		abort();
	deflateEnd(&z);
	return room - z.avail_out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static uint8_t room[2][EVENT_BYTES_MAX + EVENT_PAD_BYTES], packed[EVENT_BYTES_MAX];
	struct bytes out[2] = {
		{room[0], 0, EVENT_BYTES_MAX, false, true}, {room[1], 0, EVENT_BYTES_MAX, false, true}};
	enum format_answer answer;

	if (!jp)
		jp = json_parser_new(0);
	if (!jp || bytes < 2 || bytes > 60000)
		return 0;
	answer = ask(data + 1, bytes - 1, &out[0]);
	if (gelf_packing(data + 1, (uint32_t)bytes - 1) != GELF_PLAIN)
		return 0;
	bytes = pack(packed, sizeof packed, data + 1, bytes - 1, data[0]);
	if (ask(packed, bytes, &out[1]) != answer || out[0].failed != out[1].failed)
		abort();
	if (answer == FORMAT_EVENT && !out[0].failed &&
		(out[0].bytes != out[1].bytes || memcmp(room[0], room[1], out[0].bytes) != 0))
		abort();
	return 0;
}
