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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static uint64_t told; /* refusals that were told */

static void on_refused(void *arg, uint64_t sequence, unsigned reason, const char *event, size_t bytes)
{
	(void)arg, (void)reason;
	assert(sequence >= 1 && sequence <= EVENTS && bytes == 1 + sequence % 7);
	assert(event[0] == 'x' && event[bytes - 1] == 'x');
	told++;
}

/* As after sending, but the last ten are queued and the first one could not leave. */
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
		sc_window_slot(&c->window, s)->sends = s > 1;
	}
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
	sc_take(c, copy, bytes, sc_now_ns());
	check(c, copy, bytes);
	free(copy);
	return 0;
}
