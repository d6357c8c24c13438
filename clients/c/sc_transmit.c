/* Events into datagrams, datagrams into the socket. */
#include <errno.h>
#include <sys/socket.h>

#include "sc_client_priv.h"
#include "sc_socket.h"

#define RETRY_NS 100000000u  /* after the system refused to send what is not repeated otherwise */
#define SHORTAGE_NS 5000000u /* after it had no memory */
#define DATAGRAM_LEAST (SC_DATA_HEAD + SC_EVENT_HEAD + SC_MAC_BYTES + 1)

static size_t mac_bytes(const struct sluice_client *c)
{
	return c->key.number ? SC_MAC_BYTES : 0;
}

size_t sc_event_max(const struct sluice_client *c)
{
	size_t most = c->payload_max - SC_DATA_HEAD - SC_EVENT_HEAD - mac_bytes(c);

	return most < SC_EVENT_MAX ? most : SC_EVENT_MAX;
}

/* Packs events from `first` to below `end`: what fits into a datagram, or one that is larger and goes alone.
 * Returns their number; *bytes: of the datagram. */
static unsigned pack(struct sluice_client *c, uint64_t first, uint64_t end, size_t *bytes)
{
	size_t overhead = SC_DATA_HEAD + mac_bytes(c), events = 0;
	uint8_t flags = (uint8_t)((c->no_ack ? 0 : SC_FLAG_ACK) | (c->key.number ? SC_FLAG_MAC : 0));
	unsigned count = sc_window_pack(
		&c->window, first, end, c->out + SC_DATA_HEAD, c->datagram_bytes - overhead, &events);

	if (count == 0) /* even above the path's MTU of now: then the system says so */
		count = sc_window_pack(&c->window, first, first + 1, c->out + SC_DATA_HEAD,
			SC_DATAGRAM_MAX - overhead, &events);
	sc_data_head(c->out, flags, c->key.number, c->producer, first, (uint16_t)count);
	if (c->key.number)
		sc_key_sign(&c->key, c->out, SC_DATA_HEAD + events);
	*bytes = overhead + events;
	return count;
}

void sc_path_look(struct sluice_client *c, size_t failed_bytes)
{
	c->payload_max = sc_socket_payload_max(c->fd, c->family, c->payload_max);
	if (c->payload_max < DATAGRAM_LEAST)
		c->payload_max = DATAGRAM_LEAST;
	if (c->datagram_bytes > c->payload_max)
		c->datagram_bytes = c->payload_max;
	if (failed_bytes && c->datagram_bytes >= failed_bytes) /* the system does not know the path either */
		c->datagram_bytes = failed_bytes / 2 > DATAGRAM_LEAST ? failed_bytes / 2 : DATAGRAM_LEAST;
}

bool sc_queue_full(const struct sluice_client *c)
{
	return c->window.queued_bytes >= c->datagram_bytes - SC_DATA_HEAD - mac_bytes(c);
}

/* 0 or the errno. An error may be that of an earlier datagram, told now (ICMP), with this one not sent: so
 * once more. */
static int put(struct sluice_client *c, size_t bytes)
{
	for (unsigned try = 0;; try++) {
		if (send(c->fd, c->out, bytes, 0) >= 0) {
			c->counts.datagrams++;
			return 0;
		}
		if (errno == EINTR || (errno == ECONNREFUSED && try == 0)) {
			c->counts.unreachable += errno == ECONNREFUSED;
			continue;
		}
		return errno;
	}
}

/* Not now: until the socket takes something again, or, for want of memory, until a little later. */
static bool is_for_later(struct sluice_client *c, int error)
{
	c->blocked = error == EAGAIN || error == EWOULDBLOCK;
	return c->blocked || error == ENOBUFS || error == ENOMEM;
}

static void mark_repeated(struct sluice_client *c, uint64_t sequence)
{
	unsigned at = sequence % SC_WINDOW;

	if ((c->repeated[at] & ~SC_TWICE) != sequence)
		c->signs[at] = 0;
	c->repeated[at] = sequence;
	c->signs[at] += c->signs[at] < SC_RACK_SIGNS;
}

/* One datagram with these events. again: it was their turn to be repeated. left: the system took it. */
static void mark_sent(
	struct sluice_client *c, uint64_t first, unsigned count, bool again, bool left, uint64_t now_ns)
{
	uint64_t due_ns = now_ns + sc_rto_wait(&c->rto);

	c->datagram++;
	for (uint64_t s = first; s < first + count; s++) {
		struct sc_slot *slot = sc_window_slot(&c->window, s);

		if (again && slot->sends) {
			mark_repeated(c, s);
			slot->again = true;
		}
		if (left) {
			c->counts.sent += slot->sends == 0;
			c->counts.repeated += slot->sends > 0;
			slot->sends += slot->sends < UINT8_MAX;
		}
		slot->tries += slot->tries < UINT8_MAX;
		slot->sent_ns = now_ns;
		slot->datagram = c->datagram;
	}
	c->silent_ns = now_ns;
	if (due_ns < c->repeat_due_ns)
		c->repeat_due_ns = due_ns;
}

/* With no_ack: what has left is settled. */
static void settle_sent(struct sluice_client *c, unsigned count)
{
	uint64_t first = c->window.next_send;

	for (unsigned i = 0; i < count; i++)
		sc_window_slot(&c->window, first + i)->settled = true;
	c->window.settled += count;
	c->counts.sent += count;
	sc_window_left(&c->window, count);
	sc_window_advance(&c->window);
}

/* The first `count` queued events, a datagram of so many bytes, could not be sent. False: they stay queued.
 */
static bool queued_failed(struct sluice_client *c, unsigned count, size_t bytes, int error, uint64_t now_ns)
{
	uint64_t first = c->window.next_send;

	if (is_for_later(c, error)) {
		c->linger_due_ns = now_ns + (c->blocked ? 0 : SHORTAGE_NS);
		return false;
	}
	c->counts.send_errors++;
	c->counts.last_error = error;
	if (error == EMSGSIZE) {
		sc_path_look(c, bytes);
		if (count > 1)
			return true; /* packed anew */
	}
	if (!c->no_ack) { /* as if lost on the way */
		mark_sent(c, first, count, false, false, now_ns);
		sc_window_left(&c->window, count);
		return true;
	}
	if (error == EMSGSIZE) {
		sc_window_left(&c->window, 1);
		sc_refuse(c, first, SLUICE_CLIENT_TOO_BIG);
		return true;
	}
	c->linger_due_ns = now_ns + RETRY_NS;
	return false;
}

void sc_send_queued(struct sluice_client *c, uint64_t now_ns, bool all)
{
	struct sc_window *w = &c->window;

	while (w->next_send < w->next) {
		size_t bytes;
		unsigned count;
		int error;

		if (!all && now_ns < c->linger_due_ns && !sc_queue_full(c))
			return;
		count = pack(c, w->next_send, w->next, &bytes);
		error = put(c, bytes);
		if (error) {
			if (!queued_failed(c, count, bytes, error, now_ns))
				return;
			continue;
		}
		c->blocked = false;
		if (c->no_ack) {
			settle_sent(c, count);
			continue;
		}
		mark_sent(c, w->next_send, count, false, true, now_ns);
		sc_window_left(w, count);
	}
	c->linger_due_ns = SC_NEVER;
}

/* Sends events from `first` to below `end` again. Returns how many it dealt with, 0: not now. */
static unsigned send_run(struct sluice_client *c, uint64_t first, uint64_t end, uint64_t now_ns)
{
	size_t bytes;
	unsigned count;
	int error;

	do {
		count = pack(c, first, end, &bytes);
		error = put(c, bytes);
		if (error == 0) {
			c->blocked = false;
			break;
		}
		if (is_for_later(c, error))
			return 0;
		c->counts.send_errors++;
		c->counts.last_error = error;
		if (error == EMSGSIZE)
			sc_path_look(c, bytes);
	} while (error == EMSGSIZE && count > 1);
	mark_sent(c, first, count, true, error == 0, now_ns);
	return count;
}

/* A look through the window for what is lost. */
struct search {
	uint64_t first, end; /* in: where it begins; out: events that are lost */
	uint64_t now_ns;
	uint64_t next_ns; /* when the next one will be */
	unsigned tries;	  /* only what was tried so often at most */
	bool left_out;	  /* something that is lost was tried more often */
};

static bool find_lost(struct sluice_client *c, struct search *l)
{
	struct sc_window *w = &c->window;
	uint64_t wait_ns = sc_rack_wait(&c->rack, &c->rto);
	bool found = false;

	for (uint64_t s = l->first; s < w->next_send; s++) {
		const struct sc_slot *slot = sc_window_slot(w, s);
		bool open = !slot->settled, later = !sc_rack_is_before(slot->datagram, c->rack.answered);
		bool lost = open && !later && slot->sent_ns + wait_ns <= l->now_ns;

		if (open && later && slot->tries < 2)
			break; /* and so are all above it */
		if (lost && (slot->tries <= l->tries || (s == w->base && slot->tries <= SC_RACK_LOWEST))) {
			if (!found)
				l->first = s;
			l->end = s + 1;
			found = true;
			continue;
		}
		if (found)
			break;
		l->left_out |= lost;
		if (open && !later && !lost && slot->sent_ns + wait_ns < l->next_ns)
			l->next_ns = slot->sent_ns + wait_ns;
	}
	return found;
}

/* If not all may be repeated, what was tried seldom goes first: the events of a partition that does not
 * answer must not take from the others what may be repeated. The lowest event goes with them for long, since
 * the window waits for it. False: the system does not take it now. */
static bool send_lost(struct sluice_client *c, uint64_t now_ns, uint64_t *next)
{
	struct search l = {.now_ns = now_ns, .next_ns = SC_NEVER, .left_out = true};
	bool enough = c->rack.credit >= c->window.next_send - c->window.base;

	for (l.tries = enough ? UINT8_MAX : 2; l.left_out; l.tries *= 2) {
		l.first = c->window.base;
		l.left_out = false;
		while (find_lost(c, &l)) {
			for (unsigned count; l.first < l.end; l.first += count) {
				if (c->rack.credit == 0)
					return true; /* until something is settled, or nothing for too long */
				if (l.end > l.first + c->rack.credit)
					l.end = l.first + c->rack.credit;
				count = send_run(c, l.first, l.end, now_ns);
				if (count == 0)
					return false;
				sc_rack_spent(&c->rack, count);
			}
		}
	}
	*next = l.next_ns;
	return true;
}

/* Whether a is to be asked for rather than b: what left after datagram `before` is last, then what left first
 * is first, or, with `seldom`, what was tried most seldom. */
static bool asks_for(const struct sc_slot *a, const struct sc_slot *b, uint32_t before, bool seldom)
{
	bool a_left = sc_rack_is_before(before, a->datagram), b_left = sc_rack_is_before(before, b->datagram);

	if (a_left != b_left)
		return b_left;
	if (seldom && a->tries != b->tries)
		return a->tries < b->tries;
	return sc_rack_is_before(a->datagram, b->datagram);
}

/* Sends a datagram that begins with that event, and has nothing that left after datagram `before`, unless
 * there is nothing else: then the same goes twice, and that two answers come tells nothing. */
static bool send_probe(struct sluice_client *c, uint32_t before, bool seldom, uint64_t now_ns)
{
	struct sc_window *w = &c->window;
	uint64_t first = w->base, end = w->next_send; /* base is not settled */
	unsigned count;
	bool twice;

	for (uint64_t s = first + 1; s < w->next_send; s++)
		if (!sc_window_slot(w, s)->settled &&
			asks_for(sc_window_slot(w, s), sc_window_slot(w, first), before, seldom))
			first = s;
	twice = sc_rack_is_before(before, sc_window_slot(w, first)->datagram);
	if (!twice)
		for (end = first + 1; end < w->next_send; end++)
			if (sc_rack_is_before(before, sc_window_slot(w, end)->datagram))
				break;
	count = send_run(c, first, end, now_ns);
	for (uint64_t s = first; twice && s < first + count; s++)
		if (c->repeated[s % SC_WINDOW] == s)
			c->repeated[s % SC_WINDOW] |= SC_TWICE;
	return count > 0;
}

/* Nothing is answered: what left first goes again, since nothing else is lost as likely, and an answer to it
 * tells about all others. One datagram, and two from the second time on, since the wait for the next is long
 * (RFC 9002, 6.2.4): what left first may be of a partition that does not answer, so the other one has what
 * was tried most seldom. False: the system does not take it now. */
static bool send_probes(struct sluice_client *c, uint64_t now_ns)
{
	uint32_t before = c->datagram;

	if (!send_probe(c, before, false, now_ns))
		return false;
	if (c->rto.timeouts) {
		c->rack.credit = 0; /* begins slowly when answers come again */
		(void)send_probe(c, before, true, now_ns);
	}
	sc_rto_timed_out(&c->rto);
	return true;
}

void sc_send_due(struct sluice_client *c, uint64_t now_ns)
{
	uint64_t next = SC_NEVER, silence_ns;
	bool taken;

	if (now_ns < c->repeat_due_ns)
		return;
	c->repeat_due_ns = SC_NEVER;
	if (c->window.base == c->window.next_send)
		return;
	taken = send_lost(c, now_ns, &next);
	if (taken && now_ns >= c->silent_ns + sc_rto_wait(&c->rto))
		taken = send_probes(c, now_ns);
	silence_ns = taken ? c->silent_ns + sc_rto_wait(&c->rto) : now_ns + (c->blocked ? 0 : SHORTAGE_NS);
	c->repeat_due_ns = next < silence_ns ? next : silence_ns;
}
