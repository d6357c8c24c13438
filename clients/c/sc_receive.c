/* Answers: who they are from, and what they settle. */
#include <errno.h>
#include <sys/socket.h>

#include "sc_client_priv.h"

#define READS_MAX 256 /* in a row: a flood of answers does not keep events from being sent */

/* An event that this answer may settle, or NULL, counted. */
static struct sc_slot *slot_of(struct sluice_client *c, uint64_t sequence)
{
	struct sc_slot *slot;

	if (sequence >= c->window.next_send) {
		c->counts.never_sent++;
		return NULL;
	}
	slot = sc_window_slot(&c->window, sequence);
	if (sequence < c->window.base || slot->settled) {
		c->counts.settled_again++;
		return NULL;
	}
	if (slot->sends == 0) {
		c->counts.never_sent++;
		return NULL;
	}
	return slot;
}

void sc_refuse(struct sluice_client *c, uint64_t sequence, unsigned reason)
{
	struct sc_slot *slot = sc_window_slot(&c->window, sequence);
	unsigned last = SLUICE_CLIENT_REASONS - 1;

	slot->settled = true;
	c->window.settled++;
	c->counts.refused++;
	c->counts.refused_by[reason < last ? reason : last]++;
	if (c->refused) {
		c->in_callback = true;
		c->refused(c->refused_arg, sequence, reason,
			(const char *)sc_window_event(&c->window, sequence), slot->bytes);
		c->in_callback = false;
	}
	sc_window_advance(&c->window);
}

static void take_ranges(struct sluice_client *c, const struct sc_answer *a, uint64_t now_ns)
{
	uint64_t longest_ns = 0;
	bool measured = false;

	for (unsigned i = 0; i < a->ranges; i++) {
		uint64_t first, bits;

		sc_answer_range(a, i, &first, &bits);
		for (; bits; bits >>= 1, first++) {
			struct sc_slot *slot = bits & 1 ? slot_of(c, first) : NULL;

			if (!slot)
				continue;
			slot->settled = true;
			c->window.settled++;
			c->counts.acked++;
			if (slot->sends ==
				1) { /* of one that was repeated nobody knows which copy is answered */
				measured = true;
				if (now_ns - slot->sent_ns > longest_ns)
					longest_ns = now_ns - slot->sent_ns;
			}
		}
	}
	if (measured)
		sc_rto_measured(&c->rto, longest_ns);
}

static bool is_signed_well(
	const struct sluice_client *c, const struct sc_answer *a, const uint8_t *data, size_t bytes)
{
	if (c->key.number == 0)
		return !a->has_mac;
	return a->has_mac && a->key == c->key.number && sc_key_valid(&c->key, data, bytes);
}

bool sc_take(struct sluice_client *c, const uint8_t *data, size_t bytes, uint64_t now_ns)
{
	struct sc_answer a;

	if (!sc_answer_read(&a, data, bytes) || c->no_ack) {
		c->counts.ignored_malformed++;
		return false;
	}
	if (a.producer != c->producer) {
		c->counts.ignored_producer++;
		return false;
	}
	if (a.kind == SC_KIND_REJECT) {
		c->counts.rejects++; /* not signed: a hint for a person */
		c->counts.reject_reason = a.reason;
		return false;
	}
	if (!is_signed_well(c, &a, data, bytes)) {
		c->counts.ignored_mac++;
		return false;
	}
	c->counts.answers++;
	take_ranges(c, &a, now_ns);
	for (unsigned i = 0; i < a.refusals; i++) {
		uint64_t sequence;
		uint16_t reason;

		sc_answer_refusal(&a, i, &sequence, &reason);
		if (slot_of(c, sequence))
			sc_refuse(c, sequence, reason);
	}
	sc_window_advance(&c->window);
	return true;
}

unsigned sc_receive(struct sluice_client *c, uint64_t now_ns)
{
	unsigned taken = 0;

	for (unsigned reads = 0; reads < READS_MAX; reads++) {
		ssize_t bytes = recv(c->fd, c->in, sizeof c->in, 0);

		if (bytes >= 0) {
			taken += sc_take(c, c->in, (size_t)bytes, now_ns);
			continue;
		}
		if (errno == EAGAIN || errno == EWOULDBLOCK)
			break;
		if (errno != EINTR)
			c->counts.unreachable++; /* an ICMP error: the peer may come back */
	}
	return taken;
}
