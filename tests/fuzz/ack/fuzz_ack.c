/* What comes back to a client: whatever it is, it is read within bounds, settles at most what was sent, each
 * event once, and is counted. First byte of the input: 1 = a client with a key (the MAC is made right if bit
 * 1 is set, too). */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "sc_client_priv.h"

#define EVENTS 200
#define PRODUCER 0x0102030405060708
#define NOW_NS 5000000000u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static uint64_t told; /* refusals that were told */

static void on_refused(void *arg, uint64_t sequence, unsigned reason, const char *event, size_t bytes)
{
	(void)arg, (void)reason;
	assert(sequence >= 1 && sequence <= EVENTS && bytes == 1 + sequence % 7);
	assert(event[0] == 'x' && event[bytes - 1] == 'x');
	told++;
}

static struct sc_slot sent_slot(struct sluice_client *c, unsigned s)
{
	struct sc_slot slot = *sc_window_slot(&c->window, s);

	slot.again = s % 5 == 0;
	slot.sends = (uint8_t)(s == 1 ? 0 : 1 + slot.again);
	slot.datagram = slot.again ? EVENTS / 3 + s / 5 : s / 3; /* repeats left after all others */
	slot.sent_ns = NOW_NS - (EVENTS - slot.datagram) * 100000u;
	c->repeated[s] = slot.again ? s : 0;
	return slot;
}

/* As after sending, but the last ten are queued and the first one could not leave; some have been repeated.
 */
static void prepare(struct sluice_client *c, bool key)
{
	char event[8];

	memset(event, 'x', sizeof event);
	c->key.number = key ? 9 : 0;
	c->window.base = c->window.next_send = c->window.next = 1;
	c->window.settled = c->window.queued_bytes = 0;
	for (unsigned s = 1; s <= EVENTS; s++) {
		if (!sc_window_put(&c->window, event, 1 + s % 7))
			abort();
		*sc_window_slot(&c->window, s) = sent_slot(c, s);
	}
	sc_rto_init(&c->rto);
	memset(&c->rack, 0, sizeof c->rack);
	c->datagram = EVENTS;
	c->silent_ns = NOW_NS;
	c->repeat_due_ns = SC_NEVER;
	sc_window_left(&c->window, EVENTS - 10);
	memset(&c->counts, 0, sizeof c->counts);
	c->counts.accepted = EVENTS;
	told = 0;
}

static void check(const struct sluice_client *c, const uint8_t *data, size_t bytes)
{
	struct sluice_client_counts n;
	struct sc_answer a;
	uint64_t named = 0;

	sluice_client_counts(c, &n);
	assert(n.accepted == n.acked + n.refused + n.outstanding && n.refused == told);
	assert(n.outstanding >= 11 && c->window.base >= 1 && c->window.base <= 2);
	assert(n.answers + n.rejects + n.ignored_malformed + n.ignored_producer + n.ignored_mac == 1);
	if (!n.answers) {
		assert(n.acked + n.refused + n.never_sent + n.settled_again == 0);
		return;
	}
	assert(sc_answer_read(&a, data, bytes) && a.producer == PRODUCER);
	assert(24 + 16u * a.ranges + 10u * a.refusals + (a.has_mac ? 16 : 0) == bytes);
	for (unsigned i = 0; i < a.ranges; i++) {
		uint64_t first, bits;

		sc_answer_range(&a, i, &first, &bits);
		named += (unsigned)__builtin_popcountll(bits);
	}
	assert(named + a.refusals == n.acked + n.refused + n.never_sent + n.settled_again);
}

/* What is repeated is in measure, and something is due as long as something is open. The system takes nothing
 * here: what leaves is counted as an error. */
static void check_repeats(struct sluice_client *c)
{
	uint64_t settled = c->counts.acked + c->counts.refused;
	int fd = c->fd;

	c->fd = -1;
	assert(c->rack.credit <= SC_WINDOW && c->rack.credit <= SC_RACK_SHARE * settled);
	for (uint64_t now_ns = NOW_NS, rounds = 0; rounds < 30; rounds++, now_ns = c->repeat_due_ns) {
		uint64_t before = c->counts.send_errors;

		sc_send_due(c, now_ns);
		assert(c->counts.send_errors - before <= SC_RACK_SHARE * settled + 1);
		if (c->window.base == c->window.next_send || !settled)
			break;
		assert(c->repeat_due_ns > now_ns && c->repeat_due_ns <= now_ns + SC_RTO_MAX_NS);
	}
	c->fd = fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static struct sluice_client *c;
	struct sluice_client_options o = {.host = "127.0.0.1", .port = "9", .refused = on_refused};
	char error[200];
	uint8_t *copy;

	if (!c) {
		if (sluice_client_open(&c, &o, error, sizeof error))
			abort();
		c->producer = PRODUCER;
		memset(c->key.bytes, 7, sizeof c->key.bytes);
	}
	if (bytes < 1)
		return 0;
	prepare(c, data[0] & 1);
	copy = malloc(bytes); /* exact size: reads beyond it are seen */
	if (!copy)
		abort();
	bytes--;
	memcpy(copy, data + 1, bytes);
#ifdef SLUICE_CLIENT_MAC
	if ((data[0] & 2) && bytes >= SC_MAC_BYTES)
		sc_key_sign(&c->key, copy, bytes - SC_MAC_BYTES);
#endif
	copy = realloc(copy, bytes ? bytes : 1);
	sc_take(c, copy, bytes, NOW_NS);
	check(c, copy, bytes);
	check_repeats(c);
	free(copy);
	return 0;
}
