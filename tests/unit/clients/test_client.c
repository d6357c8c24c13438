/* The C client against a UDP peer of the test's own: what it sends, repeats, keeps and believes. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sc_client_priv.h"
#include "udp_peer.h"

struct refusals {
	unsigned count, reason;
	uint64_t last;
	char event[100];
	struct sluice_client *client;
};

static struct udp_peer peer; /* large */

static struct sluice_client *open_client(struct sluice_client_options o, const char *host)
{
	struct sluice_client *c;
	char error[200] = "";

	o.host = host;
	o.port = peer.port;
	if (sluice_client_open(&c, &o, error, sizeof error))
		fail_msg("%s", error);
	assert_true(sluice_client_producer(c) != 0);
	return c;
}

static void start(int family)
{
	memset(&peer, 0, sizeof peer);
	peer_open(&peer, family, 0);
}

static struct sluice_client_counts counts(const struct sluice_client *c)
{
	struct sluice_client_counts n;

	sluice_client_counts(c, &n);
	assert_true(n.accepted == n.outstanding + n.refused + (c->no_ack ? n.sent : n.acked));
	return n;
}

static size_t text_of(uint64_t i, char out[100])
{
	return (size_t)snprintf(out, 100, "{\"type\":\"log\",\"message\":\"%.*s\",\"n\":%llu}", (int)(i % 30),
		"abcdefghijklmnopqrstuvwxyzabcd", (unsigned long long)i);
}

/* Sends events n + 1 to n + count; the peer is served whenever the window is full. */
static void send_events(struct sluice_client *c, uint64_t n, unsigned count)
{
	char event[100];

	for (uint64_t i = n + 1; i <= n + count; i++) {
		size_t bytes = text_of(i, event);
		int rc;

		while ((rc = sluice_client_send(c, event, bytes, 1)) == -EAGAIN)
			peer_pump(&peer);
		assert_int_equal(rc, 0);
		assert_true(counts(c).outstanding <= SLUICE_CLIENT_WINDOW_EVENTS);
	}
}

/* Until all is settled. */
static void flush(struct sluice_client *c)
{
	int rc, rounds = 0;

	while ((rc = sluice_client_flush(c, 1)) == -ETIMEDOUT) {
		peer_pump(&peer);
		assert_true(rounds++ < 100000);
	}
	assert_int_equal(rc, 0);
}

static void expect_events(uint64_t count)
{
	char event[100];

	assert_true(peer.highest == count);
	for (uint64_t i = 1; i <= count; i++) {
		assert_non_null(peer.events[i]);
		assert_int_equal(peer.sizes[i], text_of(i, event));
		assert_memory_equal(peer.events[i], event, peer.sizes[i]);
	}
}

static void finish(struct sluice_client *c)
{
	assert_true(sluice_client_close(c) == 0);
	peer_close(&peer);
}

static void all_acked(int family, const char *host)
{
	struct sluice_client *c;
	struct sluice_client_counts n;

	start(family);
	c = open_client((struct sluice_client_options){0}, host);
	send_events(c, 0, 5000);
	flush(c);
	expect_events(5000);
	n = counts(c);
	assert_true(n.acked == 5000 && n.sent == 5000 && n.outstanding == 0 && n.srtt_us > 0);
	assert_true(n.ignored_malformed + n.ignored_producer + n.ignored_mac + n.never_sent == 0);
	assert_true(peer.producer == sluice_client_producer(c) && peer.flags == 1);
	assert_true(peer.bytes_max <= 1400 && peer.bytes_max > 1200 && peer.count_max > 10);
	finish(c);
}

static void test_all_acked(void **state)
{
	(void)state;
	all_acked(AF_INET, "127.0.0.1");
	all_acked(AF_INET6, "::1");
}

/* Loss, repetition and disorder in both directions. */
static void test_bad_line(void **state)
{
	struct sluice_client *c;
	struct sluice_client_counts n;

	(void)state;
	start(AF_INET);
	peer.loss_percent = 20;
	peer.twice_percent = 20;
	peer.late_percent = 30;
	c = open_client((struct sluice_client_options){0}, "127.0.0.1");
	send_events(c, 0, 5000);
	flush(c);
	expect_events(5000);
	n = counts(c);
	assert_true(n.acked == 5000 && n.refused == 0 && n.repeated > 100 && n.settled_again > 100);
	assert_true(n.sent == 5000 && n.never_sent == 0);
	finish(c);
}

/* A peer that is mute: no event goes out beyond the window, none is lost, send() says that it waits. */
static void test_window(void **state)
{
	struct sluice_client *c;
	char event[100];
	unsigned taken = 0;

	(void)state;
	start(AF_INET);
	peer.mute = true;
	c = open_client((struct sluice_client_options){0}, "127.0.0.1");
	while (sluice_client_send(c, event, text_of(taken + 1, event), 0) == 0) {
		taken++;
		peer_pump(&peer);
	}
	assert_int_equal(taken, 1024);
	assert_int_equal(sluice_client_send(c, event, text_of(taken + 1, event), 1), -EAGAIN);
	assert_int_equal(sluice_client_flush(c, 0), -ETIMEDOUT);
	peer_pump(&peer);
	expect_events(1024);
	assert_true(counts(c).outstanding == 1024 && counts(c).accepted == 1024);
	peer.mute = false;
	send_events(c, taken, 100);
	flush(c);
	expect_events(1124);
	finish(c);
}

static void test_small_windows(void **state)
{
	struct sluice_client *c;
	char *big = malloc(30000);
	unsigned taken = 0;

	(void)state;
	start(AF_INET);
	peer.mute = true;
	c = open_client((struct sluice_client_options){.window_events = 3, .linger_us = 1}, "127.0.0.1");
	send_events(c, 0, 3);
	assert_int_equal(sluice_client_send(c, "{}", 2, 0), -EAGAIN);
	assert_true(sluice_client_close(c) == 3);
	c = open_client((struct sluice_client_options){.window_bytes = 65536}, "127.0.0.1");
	memset(big, ' ', 30000);
	while (sluice_client_send(c, big, 30000, 0) == 0)
		taken++;
	assert_int_equal(taken, 2); /* memory is bounded */
	assert_true(sluice_client_close(c) == 2);
	free(big);
	peer_close(&peer);
}

static void on_refused(void *arg, uint64_t sequence, unsigned reason, const char *event, size_t bytes)
{
	struct refusals *r = arg;

	r->count++;
	r->reason = reason;
	r->last = sequence;
	assert_int_equal(bytes, text_of(sequence, r->event));
	assert_memory_equal(event, r->event, bytes);
	assert_int_equal(sluice_client_send(r->client, "{}", 2, 0), -EBUSY);
}

static void test_refusals(void **state)
{
	struct refusals r = {0};
	struct sluice_client_counts n;

	(void)state;
	start(AF_INET);
	peer.refuse_every = 10;
	peer.refuse_reason = 22;
	peer.loss_percent = 10;
	r.client = open_client(
		(struct sluice_client_options){.refused = on_refused, .refused_arg = &r}, "127.0.0.1");
	send_events(r.client, 0, 2000);
	flush(r.client);
	n = counts(r.client);
	assert_true(n.acked == 1800 && n.refused == 200 && n.refused_by[22] == 200 && r.count == 200 &&
		    r.reason == 22);
	peer.refuse_reason = 60000;
	peer.refuse_every = 1;
	send_events(r.client, 2000, 1);
	flush(r.client);
	assert_true(counts(r.client).refused_by[SLUICE_CLIENT_REASONS - 1] == 1 && r.last == 2001);
	finish(r.client);
}

static void send_reject(struct udp_peer *p, uint64_t producer)
{
	uint8_t out[24] = {'S', 'L', 'C', 'E', 1, 3};

	for (unsigned i = 0; i < 8; i++)
		out[8 + i] = (uint8_t)(producer >> 8 * i);
	out[16] = 15;
	peer_answer(p, out, sizeof out);
}

static void test_reject(void **state)
{
	struct sluice_client *c;

	(void)state;
	start(AF_INET);
	peer.mute = true;
	c = open_client((struct sluice_client_options){0}, "127.0.0.1");
	send_events(c, 0, 10);
	assert_int_equal(sluice_client_flush(c, 0), -ETIMEDOUT);
	peer_pump(&peer);
	send_reject(&peer, peer.producer + 1);
	send_reject(&peer, peer.producer);
	while (counts(c).rejects == 0)
		assert_int_equal(sluice_client_poll(c, 1), 0);
	assert_true(
		counts(c).rejects == 1 && counts(c).reject_reason == 15 && counts(c).ignored_producer == 1);
	peer.mute = false; /* it can be mended: nothing was dropped */
	flush(c);
	expect_events(10);
	finish(c);
}

/* Takes the datagram for the one that came; nothing may be settled. */
static void expect_nothing(struct sluice_client *c, const uint8_t *data, size_t bytes)
{
	uint8_t *exact = malloc(bytes ? bytes : 1);
	uint64_t before = counts(c).outstanding;

	memcpy(exact, data, bytes);
	sc_take(c, exact, bytes, sc_now_ns());
	free(exact);
	assert_true(counts(c).outstanding == before && counts(c).acked == 0 && counts(c).refused == 0);
}

static void test_hostile(void **state)
{
	static const uint64_t beyond[][2] = {{11, UINT64_MAX}, {INT64_MAX, UINT64_MAX}, {1000, 1}, {5, 0}};
	static const uint64_t refused[][2] = {{11, 20}, {INT64_MAX, 40}};
	static const uint64_t real[][2] = {{1, 0x3ff}};
	struct sluice_client *c;
	uint8_t out[300];
	size_t bytes;

	(void)state;
	start(AF_INET);
	peer.mute = true;
	c = open_client((struct sluice_client_options){0}, "127.0.0.1");
	send_events(c, 0, 10);
	assert_int_equal(sluice_client_flush(c, 0), -ETIMEDOUT);
	peer_pump(&peer);
	bytes = peer_ack(&peer, out, peer.producer, beyond, 4, refused, 2);
	expect_nothing(c, out, bytes);
	assert_true(counts(c).never_sent == 64 + 64 + 1 + 2 && counts(c).answers == 1);
	for (size_t cut = 0; cut < bytes; cut++)
		expect_nothing(c, out, cut);
	assert_true(counts(c).ignored_malformed == bytes);
	bytes = peer_ack(&peer, out, peer.producer + 1, real, 1, NULL, 0);
	expect_nothing(c, out, bytes);
	assert_true(counts(c).ignored_producer == 1);
	peer.key = (const uint8_t *)"0123456789abcdef0123456789abcdef"; /* a MAC where there is no key */
	peer.key_number = 1;
	bytes = peer_ack(&peer, out, peer.producer, real, 1, NULL, 0);
	expect_nothing(c, out, bytes);
	assert_true(counts(c).ignored_mac == 1);
	peer.key = NULL;
	bytes = peer_ack(&peer, out, peer.producer, real, 1, refused, 0);
	peer_answer(&peer, out, bytes);
	flush(c);
	assert_true(counts(c).acked == 10);
	assert_true(sc_take(c, out, bytes, sc_now_ns()) && counts(c).settled_again == 10);
	finish(c);
}

#ifdef SLUICE_CLIENT_MAC
#define HEX "3031323334353637383961626364656630313233343536373839616263646566"

static struct sluice_client *open_signed(void)
{
	char path[] = "/tmp/sluice-client-key-XXXXXX";
	int fd = mkstemp(path);
	struct sluice_client *c;

	assert_true(fd >= 0 && write(fd, "9 " HEX "\n", 67) == 67);
	close(fd);
	c = open_client((struct sluice_client_options){.key_file = path}, "127.0.0.1");
	unlink(path);
	return c;
}

static void test_signed(void **state)
{
	static const uint64_t real[][2] = {{1, 0x3ff}};
	struct sluice_client *c;
	uint8_t out[300];
	size_t bytes;

	(void)state;
	start(AF_INET);
	peer.key = (const uint8_t *)"0123456789abcdef0123456789abcdef";
	peer.key_number = 9;
	peer.mute = true;
	c = open_signed();
	send_events(c, 0, 10);
	assert_int_equal(sluice_client_flush(c, 0), -ETIMEDOUT);
	peer_pump(&peer);
	send_reject(&peer, peer.producer); /* has no MAC */
	while (counts(c).rejects == 0)
		assert_int_equal(sluice_client_poll(c, 1), 0);
	bytes = peer_ack(&peer, out, peer.producer, real, 1, NULL, 0);
	for (size_t i = 24; i < bytes; i++) { /* damaged anywhere behind the header */
		out[i] ^= 4;
		expect_nothing(c, out, bytes);
		out[i] ^= 4;
	}
	out[7] = 8; /* signed again, with another number */
	peer_sign(&peer, out, bytes - 16);
	expect_nothing(c, out, bytes);
	peer.key = NULL;
	expect_nothing(c, out, peer_ack(&peer, out, peer.producer, real, 1, NULL, 0));
	assert_true(counts(c).ignored_mac == bytes - 24 + 2 && counts(c).ignored_malformed == 0);
	peer.key = (const uint8_t *)"0123456789abcdef0123456789abcdef";
	peer.mute = false;
	peer.loss_percent = 20;
	send_events(c, 10, 2000);
	flush(c);
	expect_events(2010);
	finish(c);
}
#endif

static void test_fork(void **state)
{
	struct sluice_client *c;
	int status;
	pid_t child;

	(void)state;
	start(AF_INET);
	c = open_client((struct sluice_client_options){0}, "127.0.0.1");
	send_events(c, 0, 5);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		bool good = sluice_client_send(c, "{}", 2, 0) == -ECHILD &&
			    sluice_client_poll(c, 0) == -ECHILD && sluice_client_flush(c, 0) == -ECHILD &&
			    sluice_client_close(c) == 5;

		_exit(good ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	flush(c);
	expect_events(5);
	finish(c);
}

/* Nobody there: the port is unreachable, which changes nothing; when somebody comes, all arrives. */
static void test_refused_connection(void **state)
{
	struct sluice_client *c;
	uint16_t port;
	int rc;

	(void)state;
	start(AF_INET);
	port = (uint16_t)strtoul(peer.port, NULL, 10);
	c = open_client((struct sluice_client_options){0}, "127.0.0.1");
	peer_close(&peer);
	send_events(c, 0, 50);
	while ((rc = sluice_client_flush(c, 50)) == -ETIMEDOUT && counts(c).unreachable == 0)
		;
	assert_int_equal(rc, -ETIMEDOUT);
	assert_true(counts(c).outstanding == 50);
	memset(&peer, 0, sizeof peer);
	peer_open(&peer, AF_INET, port);
	send_events(c, 50, 50);
	flush(c);
	expect_events(100);
	finish(c);
}

static void test_no_ack(void **state)
{
	static const uint64_t real[][2] = {{1, 0x3ff}};
	struct sluice_client *c;
	uint8_t out[100];

	(void)state;
	start(AF_INET);
	c = open_client((struct sluice_client_options){.no_ack = true}, "127.0.0.1");
	for (unsigned i = 0; i < 20; i++) { /* in parts, so that the socket's buffer holds them */
		send_events(c, i * 500, 500);
		assert_int_equal(sluice_client_flush(c, 1000), 0);
		peer_pump(&peer);
	}
	expect_events(10000);
	assert_true(peer.flags == 0 && peer.events_again == 0 && counts(c).sent == 10000 &&
		    counts(c).outstanding == 0);
	peer_answer(&peer, out, peer_ack(&peer, out, peer.producer, real, 1, NULL, 0));
	while (counts(c).ignored_malformed == 0)
		assert_int_equal(sluice_client_poll(c, 1), 0);
	finish(c);
}

/* A socket that took nothing, and then everything was acknowledged: nobody waits for the socket any more. */
static void test_unblocked(void **state)
{
	struct sluice_client *c;

	(void)state;
	start(AF_INET);
	c = open_client((struct sluice_client_options){0}, "127.0.0.1");
	send_events(c, 0, 5);
	c->blocked = true;
	assert_int_equal(sluice_client_wait_us(c), 1000);
	flush(c);
	assert_false(c->blocked);
	finish(c);
}

static void test_sizes(void **state)
{
	struct sluice_client *c;
	char *event = calloc(1, 65536);

	(void)state;
	start(AF_INET);
	c = open_client((struct sluice_client_options){0}, "127.0.0.1");
	assert_int_equal(sluice_client_send(c, event, 0, 0), -EINVAL);
	assert_int_equal(sluice_client_send(c, event, 65474, 0), -EMSGSIZE); /* 65507 with both headers */
	assert_int_equal(sluice_client_send(c, event, 65473, 0), 0);
	assert_int_equal(sluice_client_send(c, event, 1, 0), 0);
	flush(c);
	assert_true(peer.sizes[1] == 65473 && peer.sizes[2] == 1 && peer.bytes_max == 65507);
	free(event);
	finish(c);
}

static void test_options(void **state)
{
	static const struct sluice_client_options wrong[] = {{.host = NULL}, {.host = ""},
		{.host = "127.0.0.1", .datagram_bytes = 255}, {.host = "127.0.0.1", .datagram_bytes = 65508},
		{.host = "127.0.0.1", .window_events = 1025}, {.host = "127.0.0.1", .window_bytes = 65535},
		{.host = "127.0.0.1", .linger_us = 10000001}, {.host = "127.0.0.1", .key = 1},
		{.host = "127.0.0.1", .key_file = "/nowhere/keys"},
		{.host = "127.0.0.1", .port = "no-such-service"}, {.host = "host.invalid"}};
	struct sluice_client *c = NULL;
	char error[200];

	(void)state;
	for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		error[0] = '\0';
		assert_true(sluice_client_open(&c, &wrong[i], error, sizeof error) < 0);
		assert_null(c);
		assert_true(error[0] != '\0');
	}
	assert_true(sluice_client_close(NULL) == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_acked),
		cmocka_unit_test(test_bad_line),
		cmocka_unit_test(test_window),
		cmocka_unit_test(test_small_windows),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_reject),
		cmocka_unit_test(test_hostile),
#ifdef SLUICE_CLIENT_MAC
		cmocka_unit_test(test_signed),
#endif
		cmocka_unit_test(test_fork),
		cmocka_unit_test(test_refused_connection),
		cmocka_unit_test(test_no_ack),
		cmocka_unit_test(test_unblocked),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_options),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
