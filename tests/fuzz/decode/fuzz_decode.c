/* Decoding of arbitrary frames, in bursts. The input is a list of frames, each with a head of four bytes:
 * what the port says of it, how much time passes before it, its length, how it is cut into mbufs. Two
 * decoders see the same frames, one each in one mbuf, one in many: what comes out is the same. No read
 * outside the frame, what is accepted can be read with its tail, and each frame is counted once. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "decap.h"
#include "decode.h"

#define FRAMES_MAX 32u
#define SEGMENTS_MAX 64u
#define BURST 8u
#define OUT_MAX (FRAMES_MAX * 65536u)

struct one {
	struct decoder d;
	uint64_t drops[DROP_ID_MAX];
	struct decode_stats stats;
	struct datagram dg[FRAMES_MAX];
	uint32_t count;
	uint8_t *out; /* payloads, one after the other */
	uint32_t out_bytes;
};

static struct decode_ports ports;
static struct one one, many;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void one_reset(struct one *o)
{
	if (!o->out) {
		const struct decoder_wish wish = {&ports, o->drops, &o->stats, 4, 10};

		ports.listener_of[9000] = 1;
		o->out = malloc(OUT_MAX);
		if (!o->out || decoder_setup(&o->d, &wish))
			abort();
	}
	decode_end(&o->d);
	memset(o->drops, 0, sizeof o->drops);
	memset(&o->stats, 0, sizeof o->stats);
	o->d.decap = DECAP_VXLAN | DECAP_GRE | DECAP_ERSPAN;
	o->count = o->out_bytes = 0;
}

/* Bytes of its own for each mbuf, so that a read beyond is seen. */
static struct rte_mbuf *mbuf_make(const uint8_t *f, uint32_t bytes, uint32_t cut)
{
	struct rte_mbuf *first = NULL, **link = &first;
	uint32_t at = 0;

	if (cut && bytes / cut >= SEGMENTS_MAX)
		cut = bytes / SEGMENTS_MAX + 1;
	do {
		uint32_t n = cut && bytes - at > cut ? cut : bytes - at;
		struct rte_mbuf *m = calloc(1, sizeof *m);

		if (!m || !(m->buf_addr = malloc(n ? n : 1)))
			abort();
		memcpy(m->buf_addr, f + at, n);
		m->buf_len = m->data_len = (uint16_t)n;
		*link = m;
		link = &m->next;
		first->nb_segs++;
		at += n;
	} while (at < bytes);
	first->pkt_len = bytes;
	return first;
}

static void mbuf_drop(struct rte_mbuf *m)
{
	while (m) {
		struct rte_mbuf *next = m->next;

		free(m->buf_addr);
		free(m);
		m = next;
	}
}

static void burst_take(struct one *o, struct rte_mbuf *const *m, uint32_t n)
{
	struct datagram dg[BURST];
	volatile uint8_t sum = 0;

	for (uint32_t next = 0, count; next < n;) {
		count = decode_burst(&o->d, m, n, &next, dg);
		for (uint32_t i = 0; i < count; i++) {
			if (dg[i].listener != 0 || dg[i].dst_port != 9000 || dg[i].readable < dg[i].bytes ||
				o->out_bytes + dg[i].bytes > OUT_MAX)
				abort();
			for (uint32_t k = dg[i].bytes; k < dg[i].readable; k++)
				sum = (uint8_t)(sum + dg[i].payload[k]);
			memcpy(o->out + o->out_bytes, dg[i].payload, dg[i].bytes);
			o->out_bytes += dg[i].bytes;
			o->dg[o->count++] = dg[i];
		}
	}
}

static void balance(const struct one *o, uint32_t frames)
{
	uint64_t out = o->count + o->stats.fragments_joined + o->stats.fragments_held;

	for (int i = 0; i < DROP_ID_MAX; i++)
		out += o->drops[i];
	if (out != frames || o->drops[0])
		abort();
}

static void compare(void)
{
	if (one.count != many.count || one.out_bytes != many.out_bytes ||
		memcmp(one.out, many.out, one.out_bytes) != 0 ||
		memcmp(one.drops, many.drops, sizeof one.drops) != 0 ||
		memcmp(&one.stats, &many.stats, sizeof one.stats) != 0)
		abort();
	for (uint32_t i = 0; i < one.count; i++)
		if (one.dg[i].bytes != many.dg[i].bytes || one.dg[i].src_port != many.dg[i].src_port ||
			memcmp(one.dg[i].src_addr, many.dg[i].src_addr, 16) != 0)
			abort();
}

/* Flags of a head: 1, 2 the port's good checksums; 4, 8 tags it took off; 16 the end of a burst; 32 time. */
static uint64_t flags_of(uint8_t head)
{
	return (head & 1 ? RTE_MBUF_F_RX_IP_CKSUM_GOOD : 0) | (head & 2 ? RTE_MBUF_F_RX_L4_CKSUM_GOOD : 0) |
	       (head & 4 ? RTE_MBUF_F_RX_VLAN_STRIPPED : 0) | (head & 8 ? RTE_MBUF_F_RX_QINQ_STRIPPED : 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rte_mbuf *a[BURST], *b[BURST];
	uint32_t frames = 0, n = 0;
	uint64_t now = 1;

	one_reset(&one);
	one_reset(&many);
	while (size >= 4 && frames < FRAMES_MAX) {
		uint32_t bytes = (uint32_t)data[1] << 8 | data[2];
		const uint8_t *head = data;

		if (bytes > size - 4)
			bytes = (uint32_t)(size - 4);
		data += 4;
		a[n] = mbuf_make(data, bytes, 0);
		b[n] = mbuf_make(data, bytes, head[3] % 64 + 1u);
		a[n]->ol_flags = b[n]->ol_flags = flags_of(head[0]);
		data += bytes;
		size -= 4 + bytes;
		frames++;
		if (++n < BURST && size >= 4 && frames < FRAMES_MAX && !(head[0] & 16))
			continue;
		now += head[0] & 32 ? 6 : 0;
		decode_tick(&one.d, now);
		decode_tick(&many.d, now);
		burst_take(&one, a, n);
		burst_take(&many, b, n);
		for (; n; n--) {
			mbuf_drop(a[n - 1]);
			mbuf_drop(b[n - 1]);
		}
		balance(&one, frames);
		compare();
	}
	return 0;
}
