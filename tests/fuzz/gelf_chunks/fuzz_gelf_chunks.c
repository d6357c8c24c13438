/* Chunks of GELF in any order, from any source, at any time. Each piece says itself where it belongs, so that
 * a message which is said to be whole is looked through without a second table; after each datagram all that
 * came was read, waits, or was dropped.
 *
 * Steps: kind, then for a chunk that is made: message, number, count, length; for any bytes: their number and
 * they themselves; for time: how much passes. */
#include <stdlib.h>
#include <string.h>

#include "drops.h"
#include "gelf_chunks.h"

#define SETS 2
#define MESSAGES (SETS * GELF_WAYS)
#define PIECE_BYTES 6 /* what a piece says of itself */

struct input {
	const uint8_t *at, *end;
};

static struct gelf_message message[MESSAGES];
static uint8_t data_room[MESSAGES][EVENT_BYTES_MAX];
static uint64_t waiting[2], reads[2], dropped[2][DROP_ID_MAX], drops[DROP_ID_MAX], in[2];
static struct gelf_chunks chunks;
static uint64_t now_ns;
static uint8_t whole[EVENT_BYTES_MAX];

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static uint8_t next(struct input *input)
{
	return input->at < input->end ? *input->at++ : 0;
}

static void must(bool right)
{
	if (!right)
		abort();
}

static void balance(void)
{
	uint32_t live = 0;
	uint64_t held = 0;

	for (int l = 0; l < 2; l++) {
		uint64_t out = waiting[l] + reads[l];

		for (int d = 0; d < DROP_ID_MAX; d++)
			out += dropped[l][d];
		must(out == in[l]);
	}
	for (int d = 0; d < DROP_ID_MAX; d++)
		must(drops[d] == dropped[0][d] + dropped[1][d]);
	for (int i = 0; i < MESSAGES; i++) {
		live += message[i].count != 0;
		held += message[i].count ? message[i].waiting : 0;
	}
	must(live == chunks.messages && held == waiting[0] + waiting[1]);
}

/* A whole message: pieces 0 to count - 1, all of the same message. */
static void whole_check(uint32_t bytes, uint8_t listener, uint8_t host, uint16_t port)
{
	uint32_t at = 0, index = 0, count = 0;

	for (; at < bytes; index++) {
		const uint8_t *p = whole + at;
		uint32_t length = (uint32_t)p[4] | (uint32_t)p[5] << 8;

		must(bytes - at >= PIECE_BYTES && length >= PIECE_BYTES && length <= bytes - at);
		must(p[0] == (uint8_t)(listener << 7 | host) && p[1] == (uint8_t)port && p[2] == index);
		must(!index || p[3] == count);
		count = p[3];
		for (uint32_t i = PIECE_BYTES; i < length; i++)
			must(p[i] == (uint8_t)(index + i));
		at += length;
	}
	must(index == count && count);
}

static void take(
	uint8_t listener, uint8_t host, uint16_t port, const uint8_t *datagram, uint32_t bytes, bool made)
{
	const uint8_t addr[16] = {[10] = 0xff, [11] = 0xff, 10, 0, 0, host};
	uint8_t *copy = malloc(bytes); /* exact size: reads beyond it are seen */
	uint32_t n = 0;

	must(copy != NULL);
	memcpy(copy, datagram, bytes);
	in[listener]++;
	if (gelf_chunk_take(&chunks, listener, addr, port, copy, bytes, now_ns, whole, &n) && made)
		whole_check(n, listener, host, port);
	free(copy);
	balance();
}

static void made(struct input *input)
{
	static uint8_t datagram[GELF_CHUNK_HEADER_BYTES + 4096] = {0x1e, 0x0f};
	uint8_t who = next(input), listener = who >> 7, host = who >> 4 & 7, port = next(input) & 3;
	uint8_t index = next(input), count = next(input);
	uint32_t length = PIECE_BYTES + next(input) * 16u;
	uint8_t *p = datagram + GELF_CHUNK_HEADER_BYTES;

	memset(datagram + 2, who & 15, 8);
	datagram[10] = index;
	datagram[11] = count;
	p[0] = (uint8_t)(listener << 7 | host);
	p[1] = port;
	p[2] = index;
	p[3] = count;
	p[4] = (uint8_t)length;
	p[5] = (uint8_t)(length >> 8);
	for (uint32_t i = PIECE_BYTES; i < length; i++)
		p[i] = (uint8_t)(index + i);
	take(listener, host, port, datagram, GELF_CHUNK_HEADER_BYTES + length, true);
}

static void start(void)
{
	memset(message, 0, sizeof message);
	memset(waiting, 0, sizeof waiting);
	memset(reads, 0, sizeof reads);
	memset(dropped, 0, sizeof dropped);
	memset(drops, 0, sizeof drops);
	memset(in, 0, sizeof in);
	chunks = (struct gelf_chunks){.sets = SETS, .message = message, .data = data_room[0], .drops = drops};
	for (int l = 0; l < 2; l++)
		chunks.counts[l] = (struct gelf_counts){&waiting[l], &reads[l], dropped[l]};
	now_ns = 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct input input = {data, data + bytes};

	start();
	while (input.at < input.end) {
		uint8_t kind = next(&input);
		uint32_t n;

		if (kind < 200) {
			made(&input);
		} else if (kind < 240) {
			/* From a host of its own: such pieces say nothing of themselves. */
			n = next(&input);
			if (n > (uint32_t)(input.end - input.at))
				n = (uint32_t)(input.end - input.at);
			if (gelf_is_chunk(input.at, n))
				take(0, 8, 0, input.at, n, false);
			input.at += n;
		} else {
			now_ns += (uint64_t)next(&input) * 50000000u;
			gelf_chunks_expire(&chunks, now_ns, false);
			balance();
		}
	}
	gelf_chunks_expire(&chunks, now_ns, true);
	balance();
	must(!chunks.messages && !waiting[0] && !waiting[1]);
	return 0;
}
