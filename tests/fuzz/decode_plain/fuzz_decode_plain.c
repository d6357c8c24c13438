/* L2 to L4 decoding of arbitrary bytes: no read outside the frame, what is accepted lies inside it, and the
 * short way for common frames gives what the long way gives. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "decode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool same(const struct datagram *a, const struct datagram *b)
{
	return a->payload == b->payload && a->bytes == b->bytes && a->src_port == b->src_port &&
	       a->dst_port == b->dst_port && a->listener == b->listener &&
	       !memcmp(a->src_addr, b->src_addr, sizeof a->src_addr);
}

/* The sums that senders fill in, so that what lies behind their checks is reached, too. */
static void sums_right(uint8_t *f, size_t size)
{
	uint64_t sum = 0;

	if (size < 42 || (f[14] & 15) < 5)
		return;
	f[24] = f[25] = 0;
	for (size_t i = 14; i + 1 < size && i < 14 + (f[14] & 15u) * 4u; i += 2)
		sum += (uint32_t)f[i] << 8 | f[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	f[24] = (uint8_t)(~sum >> 8);
	f[25] = (uint8_t)~sum;
}

static void check(struct decoder *decoder, const uint8_t *data, size_t size, uint64_t flags)
{
	struct datagram dg, any;
	enum drop_reason why = decode_frame(decoder, data, (uint32_t)size, flags, &dg);

	if (why == DROP_NONE &&
		(dg.payload < data || dg.payload + dg.bytes > data + size || dg.listener != 0))
		abort();
	if (why != decode_frame_any(decoder, data, (uint32_t)size, flags, &any) || (!why && !same(&dg, &any)))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct decode_ports ports;
	static struct decoder decoder;
	static uint64_t drops[DROP_ID_MAX];
	static struct decode_stats stats;
	uint64_t flags;
	uint8_t *copy;

	if (size < 1 || size > 65536)
		return 0;
	if (!decoder.scratch &&
		decoder_setup(
			&decoder, &(struct decoder_wish){.ports = &ports, .drops = drops, .stats = &stats}))
		abort();
	ports.listener_of[9000] = 1;
	flags = (data[0] & 1 ? RTE_MBUF_F_RX_IP_CKSUM_GOOD : 0) |
		(data[0] & 2 ? RTE_MBUF_F_RX_L4_CKSUM_GOOD : 0) |
		(data[0] & 4 ? RTE_MBUF_F_RX_IP_CKSUM_BAD : 0) |
		(data[0] & 8 ? RTE_MBUF_F_RX_L4_CKSUM_BAD : 0);
	data++;
	size--;
	check(&decoder, data, size, flags);
	copy = malloc(size + 1);
	if (!copy)
		abort();
	memcpy(copy, data, size);
	sums_right(copy, size);
	check(&decoder, copy, size, flags);
	free(copy);
	return 0;
}
