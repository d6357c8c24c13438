/* L2 to L4 decoding of arbitrary bytes: no read outside the frame, and what is accepted lies inside it. */
#include <stdint.h>
#include <stdlib.h>

#include "decode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct decode_ports ports;
	static struct decoder decoder;
	static uint64_t drops[DROP_ID_MAX];
	static struct decode_stats stats;
	struct datagram dg;
	uint64_t flags;

	if (size < 1 || size > 65536)
		return 0;
	if (!decoder.scratch &&
		decoder_setup(
			&decoder, &(struct decoder_wish){.ports = &ports, .drops = drops, .stats = &stats}))
		abort();
	ports.listener_of[9000] = 1;
	flags = (data[0] & 1 ? RTE_MBUF_F_RX_IP_CKSUM_GOOD : 0) |
		(data[0] & 2 ? RTE_MBUF_F_RX_L4_CKSUM_GOOD : 0);
	data++;
	size--;
	if (decode_frame(&decoder, data, (uint32_t)size, flags, &dg) == DROP_NONE &&
		(dg.payload < data || dg.payload + dg.bytes > data + size || dg.listener != 0))
		abort();
	return 0;
}
