/* See decode_l2.h. Formats: IEEE 802.3, 802.1Q, 802.1ad. */
#include "decode_l2.h"

#include <string.h>

#define TAGS_MAX 2u

static uint32_t tag_put(uint8_t *to, uint16_t ethertype, uint16_t tci)
{
	const uint8_t tag[4] = {
		(uint8_t)(ethertype >> 8), (uint8_t)ethertype, (uint8_t)(tci >> 8), (uint8_t)tci};

	memcpy(to, tag, sizeof tag);
	return sizeof tag;
}

uint32_t decode_l2(const struct rte_mbuf *m, uint8_t l2[DECODE_L2_MAX], const uint8_t **packet)
{
	const uint8_t *frame = rte_pktmbuf_mtod(m, const uint8_t *), *type = frame + 12;
	uint32_t bytes = 12, tags = 0;

	if (m->data_len < DECODE_L2_MAX)
		return 0;
	memcpy(l2, frame, 12);
	if (m->ol_flags & RTE_MBUF_F_RX_QINQ_STRIPPED) {
		bytes += tag_put(l2 + bytes, 0x88a8, m->vlan_tci_outer);
		tags++;
	}
	if (m->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED) {
		bytes += tag_put(l2 + bytes, 0x8100, m->vlan_tci);
		tags++;
	}
	for (; (type[0] == 0x81 && type[1] == 0x00) || (type[0] == 0x88 && type[1] == 0xa8);
		type += 4, bytes += 4) {
		if (tags++ == TAGS_MAX)
			return 0;
		memcpy(l2 + bytes, type, 4);
	}
	memcpy(l2 + bytes, type, 2);
	*packet = type + 2;
	return bytes + 2;
}
