/* See answer.h. Worker stage. */
#include "answer.h"

#include <string.h>

#include "decode_l2.h"
#include "port_tx.h"
#include "race.h"

/* Which budget a question is of: those who know us and look whether we are still there must not suffer from
 * who asks everybody, and nobody from pings. */
static uint32_t answer_budget(struct answerer *a, const struct neighbour_question *q, uint64_t now_ns)
{
	uint64_t second = now_ns / 1000000000u;

	if (second != a->second) {
		memset(a->in_second, 0, sizeof a->in_second);
		memset(a->unsent, 0, sizeof a->unsent);
	}
	a->second = second;
	if (q->kind == NEIGHBOUR_ECHO4 || q->kind == NEIGHBOUR_ECHO6)
		return ANSWER_PING;
	return q->l2[0] & 1 ? ANSWER_ALL : ANSWER_ONE;
}

/* In an mbuf of its own: the question's goes home with its burst. A question may be longer than the MTU: the
 * kernel puts fragments together in front of af_packet. */
static bool answer_send(const struct answer_port *port, uint16_t id, const struct neighbour_question *q)
{
	uint32_t bytes = neighbour_reply_bytes(q);
	struct rte_mbuf *m = bytes - q->l2_bytes > port->mtu ? NULL : rte_mbuf_raw_alloc(port->pool);
	uint8_t *to = NULL;

	if (!m)
		return false;
	race_taken(m);
	rte_pktmbuf_reset(m);
	if (bytes <= rte_pktmbuf_tailroom(m))
		to = (uint8_t *)rte_pktmbuf_append(m, (uint16_t)bytes);
	if (to) {
		neighbour_reply(&port->table, q, to);
		if (port_tx_try(id, m))
			return true;
	}
	race_given(m);
	rte_pktmbuf_free_bulk(&m, 1);
	return false;
}

bool answer_frame(struct answerer *a, uint16_t id, const struct rte_mbuf *m, uint64_t now_ns)
{
	struct neighbour_conflict conflict;
	const struct answer_port *port;
	struct neighbour_question q;
	uint8_t l2[DECODE_L2_MAX];
	const uint8_t *packet;
	uint32_t l2_bytes, budget;

	if (m->nb_segs != 1)
		return false;
	port = &a->ports->of[id];
	l2_bytes = port->table.own.count ? decode_l2(m, l2, &packet) : 0;
	if (!l2_bytes)
		return false;
	switch (neighbour_read(&port->table, l2, l2_bytes, packet,
		(uint32_t)(rte_pktmbuf_mtod(m, const uint8_t *) + m->data_len - packet), &q)) {
	case NEIGHBOUR_NONE:
		return false;
	case NEIGHBOUR_CONFLICT:
		conflict = (struct neighbour_conflict){.port = port->index, .own = q.own};
		memcpy(conflict.mac, q.mac, sizeof conflict.mac);
		a->stats->conflict = neighbour_conflict_word(&conflict);
		a->stats->conflicts++;
		return false;
	default:
		break;
	}
	budget = answer_budget(a, &q, now_ns);
	if (a->in_second[budget] < ANSWERS_PER_SECOND && a->unsent[budget] < ANSWERS_PER_SECOND) {
		if (answer_send(port, id, &q)) {
			a->in_second[budget]++;
			a->stats->answered++;
			return true;
		}
		a->unsent[budget]++;
	}
	a->stats->unsent++;
	return true;
}
