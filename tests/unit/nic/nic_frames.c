#include "nic_frames.h"

#include <stdlib.h>
#include <string.h>

uint16_t frame_checksum(const uint8_t *p, uint32_t n, uint32_t sum)
{
	for (uint32_t i = 0; i < n; i++) {
		sum += (uint32_t)p[i] << (i % 2 ? 0 : 8);
		sum = (sum & 0xffff) + (sum >> 16);
	}
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

void frame_put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

void frame_put32(uint8_t *p, uint32_t v)
{
	frame_put16(p, v >> 16);
	frame_put16(p + 2, v);
}

void frame_sum_ipv4(uint8_t *h)
{
	frame_put16(h + 10, 0);
	frame_put16(h + 10, frame_checksum(h, (h[0] & 15u) * 4u, 0));
}

/* The UDP header at u and its payload. */
static void udp_make(uint8_t *u, const uint8_t *addresses, uint32_t address_bytes, uint32_t n)
{
	frame_put16(u, 5555);
	frame_put16(u + 2, FRAME_PORT);
	frame_put16(u + 4, 8 + n);
	frame_put16(u + 6, 0);
	for (uint32_t i = 0; i < n; i++)
		u[8 + i] = (uint8_t)(i * 7 + i / 256 + address_bytes);
	frame_put16(u + 6,
		frame_checksum(u, 8 + n, frame_checksum(addresses, address_bytes, 17 + 8 + n) ^ 0xffffu));
}

uint32_t frame4(uint8_t *f, uint32_t n)
{
	static const uint8_t ip[] = {0x45, 0, 0, 0, 0, 1, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2};

	memset(f, 2, 12);
	frame_put16(f + 12, 0x0800);
	memcpy(f + 14, ip, sizeof ip);
	frame_put16(f + 16, 28 + n);
	udp_make(f + 34, f + 26, 8, n);
	frame_sum_ipv4(f + 14);
	return 42 + n;
}

uint32_t frame6(uint8_t *f, uint32_t n)
{
	memset(f, 2, 12);
	frame_put16(f + 12, 0x86dd);
	memset(f + 14, 0, 40);
	f[14] = 0x60;
	frame_put16(f + 18, 8 + n);
	f[20] = 17;
	f[21] = 64;
	for (int i = 0; i < 32; i++)
		f[22 + i] = (uint8_t)i;
	udp_make(f + 54, f + 22, 32, n);
	return 62 + n;
}

uint32_t frame_insert(uint8_t *f, uint32_t bytes, uint32_t at, const void *what, uint32_t n)
{
	memmove(f + at + n, f + at, bytes - at);
	memcpy(f + at, what, n);
	return bytes + n;
}

struct rte_mbuf *frame_mbuf(const uint8_t *f, uint32_t bytes, uint32_t cut)
{
	struct rte_mbuf *first = NULL, **link = &first;
	uint32_t at = 0;

	do {
		uint32_t n = cut && bytes - at > cut ? cut : bytes - at;
		struct rte_mbuf *m = calloc(1, sizeof *m);

		m->buf_addr = malloc(n ? n : 1);
		memcpy(m->buf_addr, f + at, n);
		m->buf_len = (uint16_t)n;
		m->data_len = (uint16_t)n;
		*link = m;
		link = &m->next;
		first->nb_segs++;
		at += n;
	} while (at < bytes);
	first->pkt_len = bytes;
	return first;
}

void frame_mbuf_free(struct rte_mbuf *m)
{
	while (m) {
		struct rte_mbuf *next = m->next;

		free(m->buf_addr);
		free(m);
		m = next;
	}
}
