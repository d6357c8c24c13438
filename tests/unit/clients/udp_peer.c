#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#ifdef SLUICE_CLIENT_MAC
#include <sodium.h>
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "udp_peer.h"

static uint64_t get(const uint8_t *at, unsigned bytes)
{
	uint64_t v = 0;

	while (bytes--)
		v = v << 8 | at[bytes];
	return v;
}

static void put(uint8_t *at, unsigned bytes, uint64_t v)
{
	for (; bytes--; v >>= 8)
		*at++ = (uint8_t)v;
}

static bool chance(struct udp_peer *p, unsigned percent)
{
	p->random ^= p->random << 13;
	p->random ^= p->random >> 7;
	p->random ^= p->random << 17;
	return p->random % 100 < percent;
}

void peer_open(struct udp_peer *p, int family, uint16_t port)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	socklen_t bytes = family == AF_INET ? sizeof v4 : sizeof v6;
	int size = 4 << 20;

	v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	v6.sin6_addr = in6addr_loopback;
	p->random = 0x9e3779b97f4a7c15;
	p->fd = socket(family, SOCK_DGRAM, 0);
	assert_true(p->fd >= 0);
	(void)setsockopt(p->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
	assert_int_equal(bind(p->fd, family == AF_INET ? (void *)&v4 : (void *)&v6, bytes), 0);
	assert_int_equal(getsockname(p->fd, family == AF_INET ? (void *)&v4 : (void *)&v6, &bytes), 0);
	snprintf(p->port, sizeof p->port, "%u", ntohs(family == AF_INET ? v4.sin_port : v6.sin6_port));
	assert_int_equal(fcntl(p->fd, F_SETFL, O_NONBLOCK), 0);
}

void peer_close(struct udp_peer *p)
{
	close(p->fd);
	p->fd = -1;
	for (unsigned i = 0; i <= PEER_EVENTS_MAX; i++) {
		free(p->events[i]);
		p->events[i] = NULL;
	}
}

void peer_sign(const struct udp_peer *p, uint8_t *out, size_t bytes)
{
#ifdef SLUICE_CLIENT_MAC
	crypto_generichash(out + bytes, 16, out, bytes, p->key, 32);
#else
	(void)p, (void)out, (void)bytes;
#endif
}

size_t peer_ack(const struct udp_peer *p, uint8_t *out, uint64_t producer, const uint64_t (*ranges)[2],
	unsigned range_count, const uint64_t (*refusals)[2], unsigned refusal_count)
{
	size_t at = 24;

	memset(out, 0, at);
	memcpy(out, "SLCE\1\2", 6);
	out[6] = p->key ? 2 : 0;
	out[7] = p->key ? p->key_number : 0;
	put(out + 8, 8, producer);
	put(out + 16, 2, range_count);
	put(out + 18, 2, refusal_count);
	for (unsigned i = 0; i < range_count; i++, at += 16) {
		put(out + at, 8, ranges[i][0]);
		put(out + at + 8, 8, ranges[i][1]);
	}
	for (unsigned i = 0; i < refusal_count; i++, at += 10) {
		put(out + at, 8, refusals[i][0]);
		put(out + at + 8, 2, refusals[i][1]);
	}
	if (p->key) {
		peer_sign(p, out, at);
		at += 16;
	}
	return at;
}

void peer_answer(struct udp_peer *p, const uint8_t *data, size_t bytes)
{
	assert_int_equal(sendto(p->fd, data, bytes, 0, (void *)&p->from, p->from_bytes), (ssize_t)bytes);
	p->answers++;
}

/* An answer over a bad line: lost, late or twice. */
static void answer_badly(struct udp_peer *p, const uint8_t *data, size_t bytes)
{
	if (chance(p, p->loss_percent))
		return;
	if (p->held_count < 64 && chance(p, p->late_percent)) {
		memcpy(p->held[p->held_count], data, bytes);
		p->held_bytes[p->held_count++] = bytes;
		return;
	}
	peer_answer(p, data, bytes);
	if (chance(p, p->twice_percent))
		peer_answer(p, data, bytes);
}

static void keep(struct udp_peer *p, uint64_t sequence, const uint8_t *event, size_t bytes)
{
	assert_in_range(sequence, 1, PEER_EVENTS_MAX);
	assert_true(bytes > 0);
	if (p->events[sequence]) { /* a repetition is the same event */
		p->events_again++;
		assert_int_equal(p->sizes[sequence], bytes);
		assert_memory_equal(p->events[sequence], event, bytes);
		return;
	}
	p->events[sequence] = malloc(bytes);
	assert_non_null(p->events[sequence]);
	memcpy(p->events[sequence], event, bytes);
	p->sizes[sequence] = (uint16_t)bytes;
	if (sequence > p->highest)
		p->highest = sequence;
}

static void settle(struct udp_peer *p, uint64_t first, unsigned count)
{
	uint64_t ranges[PEER_ACK_RANGES][2], refusals[1024][2];
	unsigned range_count = 0, refusal_count = 0;
	uint8_t out[20000];

	for (uint64_t s = first; s < first + count; s++) {
		if (p->refuse_every && s % p->refuse_every == 0) {
			refusals[refusal_count][0] = s;
			refusals[refusal_count++][1] = p->refuse_reason;
			continue;
		}
		if (range_count == 0 || s - ranges[range_count - 1][0] > 63) {
			ranges[range_count][0] = s;
			ranges[range_count++][1] = 0;
		}
		ranges[range_count - 1][1] |= 1ull << (s - ranges[range_count - 1][0]);
	}
	answer_badly(p, out, peer_ack(p, out, p->producer, ranges, range_count, refusals, refusal_count));
}

static void take(struct udp_peer *p, const uint8_t *data, size_t bytes)
{
	size_t at = 32, end = bytes - (p->key ? 16 : 0);
	uint64_t first = get(data + 16, 8), count = get(data + 24, 2);

	assert_true(bytes >= 32);
	assert_memory_equal(data, "SLCE\1\1", 6);
	assert_int_equal(data[6] & ~1, p->key ? 2 : 0);
	assert_int_equal(data[7], p->key ? p->key_number : 0);
	assert_memory_equal(data + 26, "\1\0\0\0\0\0", 6);
	assert_in_range(count, 1, 1024);
	p->producer = get(data + 8, 8);
	p->flags = data[6];
	p->datagrams++;
	p->bytes_max = bytes > p->bytes_max ? bytes : p->bytes_max;
	p->count_max = count > p->count_max ? count : p->count_max;
	if (p->key) {
		uint8_t copy[70000];

		memcpy(copy, data, end);
		peer_sign(p, copy, end);
		assert_memory_equal(copy + end, data + end, 16);
	}
	for (uint64_t s = first; s < first + count; s++) {
		size_t size = get(data + at, 2);

		assert_true(at + 2 + size <= end);
		keep(p, s, data + at + 2, size);
		at += 2 + size;
	}
	assert_int_equal(at, end);
	if (p->flags & 1 && !p->mute)
		settle(p, first, (unsigned)count);
}

void peer_pump(struct udp_peer *p)
{
	static uint8_t data[65536];

	for (;;) {
		ssize_t bytes;

		p->from_bytes = sizeof p->from;
		bytes = recvfrom(p->fd, data, sizeof data, 0, (void *)&p->from, &p->from_bytes);
		if (bytes < 0)
			break;
		if (!chance(p, p->loss_percent))
			take(p, data, (size_t)bytes);
	}
	if (p->from_bytes == 0 || !chance(p, 50))
		return;
	while (p->held_count) { /* the last first */
		p->held_count--;
		peer_answer(p, p->held[p->held_count], p->held_bytes[p->held_count]);
	}
}
