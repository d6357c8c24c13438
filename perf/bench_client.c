/* The C client: what sending one event costs the sender, without and with acknowledgements and MAC. Datagrams
 * go to a socket on the loopback that nobody reads; the kernel's work is in the time, not in the
 * instructions. */
#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench_util.h"
#include "sc_client_priv.h"

#define EVENT_BYTES 188
#define EVENTS 65536
#define DATAGRAM 1400
#define PER_DATAGRAM ((DATAGRAM - SC_DATA_HEAD) / (SC_EVENT_HEAD + EVENT_BYTES))
#define BATCH 28 /* events between two answers */

struct run {
	struct sluice_client *c;
	char events[EVENTS][EVENT_BYTES];
	uint8_t out[SC_DATAGRAM_MAX];
	int fd;
};

static void die(const char *what)
{
	fprintf(stderr, "%s\n", what);
	exit(1);
}

static void run_copy(void *arg, uint32_t count)
{
	struct run *r = arg;

	for (uint32_t i = 0; i < count; i++) {
		memcpy(r->out + i % 7 * EVENT_BYTES, r->events[i % EVENTS], EVENT_BYTES);
		bench_keep(r->out);
	}
}

static void run_socket(void *arg, uint32_t count)
{
	struct run *r = arg;

	for (uint32_t i = 0; i < count; i += PER_DATAGRAM)
		if (send(r->fd, r->out, DATAGRAM, 0) < 0)
			die("send");
}

static void run_unanswered(void *arg, uint32_t count)
{
	struct run *r = arg;

	for (uint32_t i = 0; i < count; i++)
		if (sluice_client_send(r->c, r->events[i % EVENTS], EVENT_BYTES, -1))
			die("sluice_client_send");
}

/* An ACK of everything that has left, as sluice packs it. */
static void answer(struct run *r)
{
	static uint8_t ack[24 + 16 * 16 + SC_MAC_BYTES];
	struct sc_window *w = &r->c->window;
	size_t at = 24;
	uint16_t ranges = 0;

	sc_send_queued(r->c, sc_now_ns(), true);
	memcpy(ack, "SLCE\1\2", 6);
	ack[6] = r->c->key.number ? SC_FLAG_MAC : 0;
	ack[7] = r->c->key.number;
	sc_put64(ack + 8, r->c->producer);
	for (uint64_t s = w->base; s < w->next; s += 64, at += 16, ranges++) {
		sc_put64(ack + at, s);
		sc_put64(ack + at + 8, w->next - s >= 64 ? UINT64_MAX : (1ull << (w->next - s)) - 1);
	}
	sc_put16(ack + 16, ranges);
	if (r->c->key.number) {
		sc_key_sign(&r->c->key, ack, at);
		at += SC_MAC_BYTES;
	}
	if (!sc_take(r->c, ack, at, sc_now_ns()) || sc_window_open(w))
		die("the answer was not taken");
	sc_send_due(r->c, sc_now_ns());
	sc_rto_init(&r->c->rto); /* stepping is slow: nothing is repeated for that */
	r->c->rto.base_ns = SC_RTO_MAX_NS;
}

static void run_answered(void *arg, uint32_t count)
{
	for (uint32_t i = 0; i < count; i += BATCH) {
		run_unanswered(arg, count - i < BATCH ? count - i : BATCH);
		answer(arg);
	}
}

static struct sluice_client *open_client(const char *port, bool no_ack, bool key)
{
	struct sluice_client_options o = {
		.host = "127.0.0.1", .port = port, .no_ack = no_ack, .linger_us = 10000000};
	struct sluice_client *c;
	char error[200];

	if (sluice_client_open(&c, &o, error, sizeof error))
		die(error);
	c->key.number = key;
	return c;
}

static void bench(struct run *r, const char *name, const char *port, bool no_ack, bool key)
{
	r->c = open_client(port, no_ack, key);
	r->c->rto.base_ns = SC_RTO_MAX_NS;
	bench_report(name, no_ack ? run_unanswered : run_answered, r, EVENTS, (uint64_t)EVENTS * EVENT_BYTES);
	sluice_client_close(r->c);
}

int main(void)
{
	static struct run r;
	struct sockaddr_in at = {.sin_family = AF_INET};
	socklen_t bytes = sizeof at;
	int sink = socket(AF_INET, SOCK_DGRAM, 0);
	char port[8];

	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	r.fd = socket(AF_INET, SOCK_DGRAM, 0);
	if (sink < 0 || r.fd < 0 || bind(sink, (void *)&at, bytes) ||
		getsockname(sink, (void *)&at, &bytes) || connect(r.fd, (void *)&at, bytes))
		die("socket");
	snprintf(port, sizeof port, "%u", ntohs(at.sin_port));
	for (unsigned i = 0; i < EVENTS; i++)
		memset(r.events[i], 'a' + (int)(i % 26), EVENT_BYTES);
	bench_report("memcpy of the event", run_copy, &r, EVENTS, (uint64_t)EVENTS * EVENT_BYTES);
	bench_report("the socket alone, 7 events a datagram", run_socket, &r, EVENTS,
		(uint64_t)EVENTS * EVENT_BYTES);
	bench(&r, "no acknowledgement", port, true, false);
	bench(&r, "acknowledged, each once", port, false, false);
#ifdef SLUICE_CLIENT_MAC
	bench(&r, "no acknowledgement, MAC", port, true, true);
	bench(&r, "acknowledged, each once, MAC", port, false, true);
#endif
	close(r.fd);
	close(sink);
	return 0;
}
