/* Answers: who they are from, and what they settle. */
#include <errno.h>
#include <sys/socket.h>

#include "sc_client_priv.h"

#define READS_MAX 256 /* in a row: a flood of answers does not keep events from being sent */

/* There was no need of the latest repeat: what was sent before it has been answered. */
static void repeated_early(struct sluice_client *c, uint64_t now_ns)
{
	c->rto.doubted = true;
	sc_rack_premature(&c->rack, &c->rto, now_ns);
}

/* An answer to what is settled. Its place may be another one's by now. Of each event only a few tell
 * something, and only while it was settled lately: answers may come twice, and be very late. */
static void settled_again(struct sluice_client *c, uint64_t sequence, uint64_t now_ns)
{
	unsigned at = sequence % SC_WINDOW;

	c->counts.settled_again++;
	if (c->repeated[at] == (sequence | SC_TWICE)) {
		c->repeated[at] = sequence;
	} else if (c->repeated[at] == sequence && sequence + SC_WINDOW >= c->window.base && c->signs[at]) {
		c->signs[at]--;
		sc_rack_spent(&c->rack, SC_RACK_SHARE);
		repeated_early(c, now_ns);
	}
}

/* An event that this answer may settle, or NULL, counted. */
static struct sc_slot *slot_of(struct sluice_client *c, uint64_t sequence, uint64_t now_ns)
{
	struct sc_slot *slot;

	if (sequence >= c->window.next_send) {
		c->counts.never_sent++;
		return NULL;
	}
	slot = sc_window_slot(&c->window, sequence);
	if (sequence < c->window.base || slot->settled) {
		settled_again(c, sequence, now_ns);
		return NULL;
	}
	if (slot->sends == 0) {
		c->counts.never_sent++;
		return NULL;
	}
	return slot;
}

/* The event's datagram was answered. False: not the latest repeat was, but what was sent before it, so that
 * the answer says nothing of other datagrams. */
static bool learn(struct sluice_client *c, const struct sc_slot *slot, uint64_t now_ns)
{
	if (slot->again && now_ns - slot->sent_ns < sc_rto_least(&c->rto))
		return false;
	sc_rack_answered(&c->rack, slot->datagram);
	if (slot->again)
		sc_rack_needed(&c->rack, &c->rto, now_ns);
	return true;
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
			struct sc_slot *slot = bits & 1 ? slot_of(c, first, now_ns) : NULL;

			if (!slot)
				continue;
			slot->settled = true;
			c->window.settled++;
			c->counts.acked++;
			if (!learn(c, slot, now_ns) &&
				now_ns - slot->sent_ns < sc_rto_least(&c->rto) / 2) /* beyond doubt */
				repeated_early(c, now_ns);
			if (!slot->again) { /* else nobody knows which copy is answered */
				measured = true;
				if (now_ns - slot->sent_ns > longest_ns)
					longest_ns = now_ns - slot->sent_ns;
			}
		}
	}
	if (measured)
		sc_rto_measured(&c->rto, longest_ns, now_ns);
}

static void take_refusals(struct sluice_client *c, const struct sc_answer *a, uint64_t now_ns)
{
	for (unsigned i = 0; i < a->refusals; i++) {
		const struct sc_slot *slot;
		uint64_t sequence;
		uint16_t reason;

		sc_answer_refusal(a, i, &sequence, &reason);
		slot = slot_of(c, sequence, now_ns);
		if (!slot)
			continue;
		learn(c, slot, now_ns);
		sc_refuse(c, sequence, reason);
	}
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
	uint64_t settled = c->counts.acked + c->counts.refused;
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
	take_refusals(c, &a, now_ns);
	settled = c->counts.acked + c->counts.refused - settled;
	if (settled) {
		sc_rto_answered(&c->rto);
		sc_rack_settled(&c->rack, settled, SC_WINDOW);
		c->silent_ns = now_ns;
		c->repeat_due_ns = now_ns; /* what is lost is to be looked for */
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
