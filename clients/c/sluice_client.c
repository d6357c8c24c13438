#define _POSIX_C_SOURCE 200809L
#include "sluice_client.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "sc_client_priv.h"
#include "sc_socket.h"

#define DATAGRAM_DEFAULT 1400
#define DATAGRAM_MIN 256
#define WINDOW_BYTES_DEFAULT (4u << 20)
#define WINDOW_BYTES_MIN (64u << 10) /* one event of any size */
#define WINDOW_BYTES_MAX (1u << 30)
#define LINGER_DEFAULT_US 1000
#define LINGER_MAX_US 10000000
#define BLOCKED_US                                                                                           \
	1000 /* to look again, for an event loop that does not wait for the socket to take something */

uint64_t sc_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* How many fork()s this process is away from the one that loaded the library: written by the child alone,
 * before it runs. */
static volatile sig_atomic_t forks;
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;
static int fork_error;

static void forked(void)
{
	forks++;
}

static void watch_forks(void)
{
	fork_error = pthread_atfork(NULL, NULL, forked);
}

static int random_id(uint64_t *out)
{
	int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC), rc = 0;

	if (fd < 0)
		return -errno;
	do {
		if (read(fd, out, sizeof *out) != (ssize_t)sizeof *out)
			rc = -EIO;
	} while (rc == 0 && *out == 0);
	close(fd);
	return rc;
}

static int complain(char *error, size_t error_bytes, const char *what)
{
	snprintf(error, error_bytes, "%s", what);
	return -EINVAL;
}

static int check(struct sluice_client_options *o, char *error, size_t error_bytes)
{
	if (!o->host || !o->host[0])
		return complain(error, error_bytes, "host: has to be given");
	if (!o->port)
		o->port = "5140";
	if (o->datagram_bytes == 0)
		o->datagram_bytes = DATAGRAM_DEFAULT;
	if (o->window_events == 0)
		o->window_events = SLUICE_CLIENT_WINDOW_EVENTS;
	if (o->window_bytes == 0)
		o->window_bytes = WINDOW_BYTES_DEFAULT;
	if (o->linger_us == 0)
		o->linger_us = LINGER_DEFAULT_US;
	if (o->datagram_bytes < DATAGRAM_MIN || o->datagram_bytes > SC_DATAGRAM_MAX)
		return complain(error, error_bytes, "datagram_bytes: 256 to 65507");
	if (o->window_events > SLUICE_CLIENT_WINDOW_EVENTS)
		return complain(error, error_bytes, "window_events: 1 to 1024");
	if (o->window_bytes < WINDOW_BYTES_MIN || o->window_bytes > WINDOW_BYTES_MAX)
		return complain(error, error_bytes, "window_bytes: 64 KiB to 1 GiB");
	if (o->linger_us > LINGER_MAX_US)
		return complain(error, error_bytes, "linger_us: at most 10 s");
	if (!o->key_file && o->key)
		return complain(error, error_bytes, "key: of which key_file?");
	return 0;
}

static int set_up(
	struct sluice_client *c, const struct sluice_client_options *o, char *error, size_t error_bytes)
{
	int rc = 0;

	if (o->key_file)
		rc = sc_key_load(&c->key, o->key_file, o->key, error, error_bytes);
	if (rc)
		return rc;
	(void)pthread_once(&fork_once, watch_forks);
	rc = fork_error ? -fork_error : random_id(&c->producer);
	if (rc == 0)
		rc = sc_window_init(&c->window, o->window_events, o->window_bytes);
	if (rc) {
		snprintf(error, error_bytes, "%s", strerror(-rc));
		return rc;
	}
	c->fd = sc_socket_open(o->host, o->port, &c->family, error, error_bytes);
	if (c->fd < 0)
		return c->fd;
	c->datagram_bytes = o->datagram_bytes;
	c->payload_max = o->datagram_bytes;
	sc_path_look(c, 0);
	return 0;
}

int sluice_client_open(struct sluice_client **out, const struct sluice_client_options *options, char *error,
	size_t error_bytes)
{
	struct sluice_client_options o = *options;
	struct sluice_client *c;
	int rc = check(&o, error, error_bytes);

	*out = NULL;
	if (rc)
		return rc;
	c = calloc(1, sizeof *c);
	if (!c) {
		snprintf(error, error_bytes, "%s", strerror(ENOMEM));
		return -ENOMEM;
	}
	c->fd = -1;
	c->forks = forks;
	c->no_ack = o.no_ack;
	c->linger_ns = (uint64_t)o.linger_us * 1000;
	c->linger_due_ns = c->repeat_due_ns = SC_NEVER;
	c->refused = o.refused;
	c->refused_arg = o.refused_arg;
	sc_rto_init(&c->rto);
	rc = set_up(c, &o, error, error_bytes);
	if (rc) {
		sluice_client_close(c);
		return rc;
	}
	*out = c;
	return 0;
}

uint64_t sluice_client_close(struct sluice_client *c)
{
	uint64_t open;

	if (!c)
		return 0;
	open = sc_window_open(&c->window);
	if (c->fd >= 0)
		close(c->fd);
	sc_window_free(&c->window);
	sc_key_forget(&c->key);
	free(c);
	return open;
}

static int usable(const struct sluice_client *c)
{
	if (c->in_callback)
		return -EBUSY;
	return c->forks == forks ? 0 : -ECHILD;
}

static uint64_t end_of(uint64_t now_ns, int timeout_ms)
{
	return timeout_ms < 0 ? SC_NEVER : now_ns + (uint64_t)timeout_ms * 1000000u;
}

static uint64_t next_work_ns(const struct sluice_client *c)
{
	if (c->blocked)
		return SC_NEVER; /* the socket says when */
	return c->linger_due_ns < c->repeat_due_ns ? c->linger_due_ns : c->repeat_due_ns;
}

/* Until the socket has something, work is due or the time is over; returns the time then. */
static uint64_t wait_for(struct sluice_client *c, uint64_t now_ns, uint64_t end_ns)
{
	struct pollfd p = {.fd = c->fd, .events = (short)(POLLIN | (c->blocked ? POLLOUT : 0))};
	uint64_t until = next_work_ns(c), ms;

	if (end_ns < until)
		until = end_ns;
	ms = until > now_ns ? (until - now_ns + 999999) / 1000000 : 0;
	if (until == SC_NEVER)
		(void)poll(&p, 1, -1);
	else
		(void)poll(&p, 1, ms < INT_MAX ? (int)ms : INT_MAX);
	return sc_now_ns();
}

/* All that can be done now. */
static unsigned work(struct sluice_client *c, uint64_t now_ns, bool all)
{
	unsigned answers = sc_receive(c, now_ns);

	c->blocked = false; /* until it is tried again: what was to be sent may have been acknowledged */
	sc_send_due(c, now_ns);
	sc_send_queued(c, now_ns, all);
	return answers;
}

static int wait_for_room(
	struct sluice_client *c, const char *event, size_t bytes, uint64_t now_ns, uint64_t end_ns)
{
	for (;;) {
		work(c, now_ns, true);
		if (sc_window_put(&c->window, event, bytes))
			return 0;
		if (now_ns >= end_ns)
			return -EAGAIN;
		now_ns = wait_for(c, now_ns, end_ns);
	}
}

int sluice_client_send(struct sluice_client *c, const char *event, size_t bytes, int timeout_ms)
{
	uint64_t now_ns;
	int rc = usable(c);

	if (rc)
		return rc;
	if (bytes == 0)
		return -EINVAL;
	if (bytes > sc_event_max(c)) {
		sc_path_look(c, 0);
		if (bytes > sc_event_max(c))
			return -EMSGSIZE;
	}
	now_ns = sc_now_ns();
	if (!sc_window_put(&c->window, event, bytes)) {
		rc = wait_for_room(c, event, bytes, now_ns, end_of(now_ns, timeout_ms));
		if (rc)
			return rc;
		now_ns = sc_now_ns();
	}
	c->counts.accepted++;
	if (c->linger_due_ns == SC_NEVER)
		c->linger_due_ns = now_ns + c->linger_ns;
	if (sc_queue_full(c) || now_ns >= next_work_ns(c))
		work(c, now_ns, false);
	return 0;
}

int sluice_client_poll(struct sluice_client *c, int timeout_ms)
{
	int rc = usable(c);
	uint64_t now_ns, end_ns;

	if (rc)
		return rc;
	now_ns = sc_now_ns();
	end_ns = end_of(now_ns, timeout_ms);
	while (work(c, now_ns, false) == 0 && now_ns < end_ns)
		now_ns = wait_for(c, now_ns, end_ns);
	return 0;
}

int sluice_client_flush(struct sluice_client *c, int timeout_ms)
{
	int rc = usable(c);
	uint64_t now_ns, end_ns;

	if (rc)
		return rc;
	now_ns = sc_now_ns();
	end_ns = end_of(now_ns, timeout_ms);
	for (;;) {
		work(c, now_ns, true);
		if (sc_window_open(&c->window) == 0)
			return 0;
		if (now_ns >= end_ns)
			return -ETIMEDOUT;
		now_ns = wait_for(c, now_ns, end_ns);
	}
}

void sluice_client_counts(const struct sluice_client *c, struct sluice_client_counts *out)
{
	*out = c->counts;
	out->outstanding = sc_window_open(&c->window);
	out->srtt_us = (uint32_t)((c->rto.srtt_ns + 999) / 1000);
	out->rttvar_us = (uint32_t)(c->rto.rttvar_ns / 1000);
	out->rto_us = (uint32_t)(sc_rto_doubled(&c->rto, c->rto.timeouts ? c->rto.timeouts - 1u : 0) / 1000);
}

const char *sluice_client_reason_name(unsigned reason)
{
#define SC_REASON(id, name) [id] = name,
	static const char *const table[] = {
		[SLUICE_CLIENT_TOO_BIG] = "too_big",
#include "sc_reasons.def"
	};
#undef SC_REASON

	return reason < sizeof table / sizeof *table ? table[reason] : NULL;
}

uint64_t sluice_client_producer(const struct sluice_client *c)
{
	return c->producer;
}

int sluice_client_fd(const struct sluice_client *c)
{
	return c->fd;
}

int64_t sluice_client_wait_us(const struct sluice_client *c)
{
	uint64_t due = next_work_ns(c), now_ns;

	if (c->blocked)
		return BLOCKED_US;
	if (due == SC_NEVER)
		return -1;
	now_ns = sc_now_ns();
	return due > now_ns ? (int64_t)((due - now_ns + 999) / 1000) : 0;
}
