/* See pipeline_priv.h. */
#include <rte_ether.h>
#include <rte_ip.h>
#include <string.h>

#include "ack_lane.h"
#include "decode_l2.h"
#include "hash.h"
#include "pipeline_priv.h"

#define PATH_EVERY_NS 1000000000u /* the acker may have had to forget it */

/* Where an answer to a datagram goes. False: nowhere, as for one that came in a tunnel. */
static bool path_of(const struct pipeline *pl, const struct datagram *dg, struct ack_word *w)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	const uint8_t *ip;

	/* The last fragment of a packet, which is what the datagram then came in, may be short. */
	if (!dg->mbuf || dg->mbuf->data_len < RTE_ETHER_HDR_LEN + sizeof(struct rte_ipv4_hdr))
		return false;
	*w = (struct ack_word){.producer = pl->frame.producer,
		.kind = ACK_WORD_PATH,
		.src_port = dg->src_port,
		.dst_port = dg->dst_port,
		.eth_port = pl->decoder.port,
		.listener = dg->listener,
		.key = pl->frame.key};
	w->l2_bytes = (uint8_t)decode_l2(dg->mbuf, w->l2, &ip);
	if (!w->l2_bytes)
		return false;
	w->ipv6 = ip[0] >> 4 == 6;
	if (ip + (w->ipv6 ? sizeof(struct rte_ipv6_hdr) : sizeof(struct rte_ipv4_hdr)) >
		rte_pktmbuf_mtod(dg->mbuf, const uint8_t *) + dg->mbuf->data_len)
		return false;
	memcpy(w->src_addr, dg->src_addr, 16);
	if (w->ipv6) {
		memcpy(w->dst_addr, ip + 24, 16);
		return memcmp(ip + 8, dg->src_addr, 16) == 0;
	}
	memcpy(w->dst_addr, mapped, sizeof mapped);
	memcpy(w->dst_addr + 12, ip + 16, 4);
	return memcmp(dg->src_addr, mapped, sizeof mapped) == 0 && memcmp(ip + 12, dg->src_addr + 12, 4) == 0;
}

/* ring: it may sleep, and nothing else will wake it for this. */
static bool acker_tell(struct pipeline *pl, const struct ack_word *w, bool ring)
{
	if (!ack_lane_word(pl->handoff->acks, pl->worker, w)) {
		pl->stats->acks_lost++;
		return false;
	}
	if (ring)
		ack_lanes_ring(pl->handoff->acks);
	return true;
}

static void path_tell(struct pipeline *pl, const struct datagram *dg, struct producer *p)
{
	struct ack_word w;
	uint64_t path;

	if (!path_of(pl, dg, &w))
		return;
	path = hash_bytes(&w, sizeof w, 0);
	if (path == p->path && pl->now.mono_ns - p->path_ns < PATH_EVERY_NS)
		return;
	if (!acker_tell(pl, &w, false))
		return;
	p->path = path;
	p->path_ns = pl->now.mono_ns;
}

void producer_heard(struct pipeline *pl, const struct datagram *dg)
{
	struct producer *p = producers_get(&pl->producers, pl->frame.producer, dg->listener);

	memcpy(p->src_addr, dg->src_addr, sizeof p->src_addr);
	p->what = (uint64_t)dg->listener << 16 | dg->src_port;
	producer_count(p, pl->frame.sequence, pl->frame.left, pl->now.wall_ms);
	pl->frame.ack = pl->frame.ack && pl->acks[dg->listener];
	if (pl->frame.ack)
		path_tell(pl, dg, p);
}

void producer_reject(struct pipeline *pl, const struct datagram *dg, enum drop_reason why)
{
	struct ack_word w;

	if (!pl->acks[dg->listener] || !path_of(pl, dg, &w))
		return;
	w.kind = ACK_WORD_REJECT;
	w.reason = (uint16_t)why;
	w.key = 0;
	(void)acker_tell(pl, &w, true);
}

/* What would become of the event again if it came again. */
static bool drop_is_final(enum drop_reason why)
{
	return why == DROP_rule_drop || why == DROP_record_too_big || why == DROP_protect_failed;
}

void producer_dropped(struct pipeline *pl, const struct event *ev, uint8_t listener, enum drop_reason why)
{
	struct producer *p = producers_find(&pl->producers, ev->producer, listener);

	if (p)
		p->dropped++;
	/* A dead letter beyond the quota is answered as what it was refused for. */
	if (!ev->ack || (!drop_is_final(why) && why != DROP_dead_letter_quota))
		return;
	(void)acker_tell(pl,
		&(struct ack_word){.producer = ev->producer,
			.sequence = ev->sequence,
			.kind = ACK_WORD_REFUSED,
			.reason = (uint16_t)(why == DROP_dead_letter_quota ? ev->refused : why),
			.listener = listener,
			.dst_port = ev->dst_port},
		true);
}
