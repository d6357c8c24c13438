/* Any bytes as a frame to a port with addresses. The first byte says which tags the port took off (1 inner, 2
 * outer) and whether checksums are mended first (4). What is answered goes out with our address and right
 * checksums, in a frame of the length that was said, and is itself no question to whoever gets it. */
#include <rte_mbuf.h>
#include <stdlib.h>
#include <string.h>

#include "decode_l2.h"
#include "decode_sum.h"
#include "ip_text.h"
#include "neighbour.h"

static const struct neighbour_table table = {
	{2, 0, 0, 0x5e, 0x10, 2}, {2, {{[10] = 0xff, [11] = 0xff, [12] = 192, [14] = 2, [15] = 2},
					      {0x20, 0x01, 0x0d, 0xb8, [15] = 2}}}};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Writes the checksum of ICMP at `at`; head: the IPv6 header, NULL: IPv4. Says whether it was right. */
static bool mend(uint8_t *at, uint32_t bytes, const uint8_t *head)
{
	uint64_t sum = 0;
	uint16_t had, is;

	if (head)
		sum = sum_words(head + 8, 32, 0) + __builtin_bswap16((uint16_t)bytes) + __builtin_bswap16(58);
	memcpy(&had, at + 2, 2);
	memset(at + 2, 0, 2);
	is = (uint16_t)~sum_fold(sum_words(at, bytes, sum));
	memcpy(at + 2, &is, 2);
	return had == is || (is ^ had) == 0xffff;
}

/* ICMP of a packet that is long enough. */
static bool packet_mend(uint8_t *p, uint32_t bytes, uint32_t type)
{
	uint32_t length;

	if (type == 0x0800 && bytes >= 28) {
		uint16_t is;

		length = (uint32_t)p[2] << 8 | p[3];
		memset(p + 10, 0, 2);
		is = (uint16_t)~sum_fold(sum_words(p, 20, 0));
		memcpy(p + 10, &is, 2);
		return length < 28 || length > bytes || mend(p + 20, length - 20, NULL);
	}
	if (type == 0x86dd && bytes >= 48) {
		length = (uint32_t)p[4] << 8 | p[5];
		return length < 8 || length > bytes - 40 || mend(p + 40, length, p);
	}
	return true;
}

static void answer_check(const struct neighbour_question *q)
{
	uint32_t bytes = neighbour_reply_bytes(q), type;
	uint8_t *frame = malloc(bytes); /* exact size: writes beyond it are seen */
	struct neighbour_table asker = {.own = {.count = 1}};
	struct neighbour_question again;
	const uint8_t *from = q->packet;

	if (!frame || bytes < 60)
		abort();
	memset(frame, 0xa5, bytes);
	neighbour_reply(&table, q, frame);
	if (memcmp(frame + 6, table.mac, 6) != 0 || memcmp(frame, q->mac, 6) != 0 ||
		memcmp(frame + 12, q->l2 + 12, q->l2_bytes - 12) != 0)
		abort();
	memcpy(asker.mac, q->mac, 6);
	if (q->kind == NEIGHBOUR_ARP || q->kind == NEIGHBOUR_ECHO4) {
		memset(asker.own.address[0] + 10, 0xff, 2);
		memcpy(asker.own.address[0] + 12, from + (q->kind == NEIGHBOUR_ARP ? 14 : 12), 4);
	} else {
		memcpy(asker.own.address[0], from + 8, 16);
	}
	if (neighbour_read(&asker, frame, q->l2_bytes, frame + q->l2_bytes, bytes - q->l2_bytes, &again))
		abort();
	type = (uint32_t)frame[q->l2_bytes - 2] << 8 | frame[q->l2_bytes - 1];
	if (!packet_mend(frame + q->l2_bytes, bytes - q->l2_bytes, type))
		abort();
	free(frame);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rte_mbuf m = {.nb_segs = 1, .vlan_tci = 5, .vlan_tci_outer = 6};
	uint8_t l2[DECODE_L2_MAX], head = size ? data[0] : 0;
	struct neighbour_question q;
	const uint8_t *packet;
	uint32_t l2_bytes, bytes;

	if (size < 1 || size > UINT16_MAX)
		return 0;
	size--;
	m.buf_addr = malloc(size ? size : 1); /* exact size: reads beyond it are seen */
	if (!m.buf_addr)
		abort();
	memcpy(m.buf_addr, data + 1, size);
	m.data_len = (uint16_t)size;
	m.ol_flags =
		(head & 1 ? RTE_MBUF_F_RX_VLAN_STRIPPED : 0) | (head & 2 ? RTE_MBUF_F_RX_QINQ_STRIPPED : 0);
	l2_bytes = decode_l2(&m, l2, &packet);
	if (l2_bytes) {
		bytes = (uint32_t)((uint8_t *)m.buf_addr + size - packet);
		if (head & 4)
			packet_mend(
				(uint8_t *)packet, bytes, (uint32_t)l2[l2_bytes - 2] << 8 | l2[l2_bytes - 1]);
		if (neighbour_read(&table, l2, l2_bytes, packet, bytes, &q) > NEIGHBOUR_CONFLICT)
			answer_check(&q);
		else if (q.kind == NEIGHBOUR_CONFLICT && q.own >= table.own.count)
			abort();
	}
	free(m.buf_addr);
	return 0;
}
