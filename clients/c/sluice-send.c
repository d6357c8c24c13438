/* sluice-send: events, one JSON object a line, from files or standard input to a listener with `format:
 * sluice`. One thread. */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "sluice_client.h"

#define LINE_BYTES_MAX 65535 /* of an event */
#define BUFFER_BYTES (2 * LINE_BYTES_MAX)
#define SHOWN_BYTES 200	 /* of a refused event */
#define HEADERS_BYTES 48 /* IPv6 and UDP, of --mtu */

enum { EXIT_ALL_ACKED, EXIT_TROUBLE, EXIT_REFUSED, EXIT_UNACKED };

static const char help[] =
	"sluice-send --to HOST:PORT [OPTION...] [FILE...]\n"
	"Sends events, one JSON object a line, from the files or standard input, and repeats each until "
	"sluice says that it\n"
	"is durable. Prints one line of counts at the end.\n\n"
	"  --to HOST:PORT   where to; an IPv6 address in brackets\n"
	"  --no-ack         send each event once, ask for no answer\n"
	"  --key-file FILE  sign with a key of this file\n"
	"  --key N          its number; needed when the file has several\n"
	"  --rate N         events a second; default: as fast as they are acknowledged\n"
	"  --timeout S      give up when nothing has been acknowledged for so many seconds (30)\n"
	"  --mtu N          of the path; datagrams are packed up to it (1448)\n"
	"  --version        print the version\n"
	"  --help           this\n\n"
	"Exit codes: 0 every event is durable (--no-ack: was sent); 1 wrong usage or input that cannot be "
	"read; 2 some were\n"
	"refused, they are listed on standard error; 3 some were not acknowledged in time.\n";

struct send {
	struct sluice_client *client;
	double rate;
	int timeout_ms;
	uint64_t too_big, started_ns, last_settled, settled_ns;
	char *buffer; /* one line and more */
	size_t filled;
	bool skipping; /* the rest of a line that was too long */
};

static volatile sig_atomic_t stop; /* a second signal kills */

static void on_signal(int number)
{
	(void)number;
	stop = 1;
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void show(const char *what, const char *event, size_t bytes)
{
	fprintf(stderr, "%s: %.*s%s\n", what, (int)(bytes < SHOWN_BYTES ? bytes : SHOWN_BYTES), event,
		bytes > SHOWN_BYTES ? "..." : "");
}

static void on_refused(void *arg, uint64_t sequence, unsigned reason, const char *event, size_t bytes)
{
	const char *name = sluice_client_reason_name(reason);
	char what[80];

	(void)arg;
	snprintf(what, sizeof what, "refused: event %" PRIu64 ", %s%s%u%s", sequence, name ? name : "reason",
		name ? " (" : " ", reason, name ? ")" : "");
	show(what, event, bytes);
}

/* Whether nothing has been settled for --timeout. */
static bool is_stuck(struct send *s)
{
	struct sluice_client_counts n;
	uint64_t now = now_ns();

	sluice_client_counts(s->client, &n);
	if (n.acked + n.refused + n.sent != s->last_settled || n.outstanding == 0) {
		s->last_settled = n.acked + n.refused + n.sent;
		s->settled_ns = now;
	}
	return now - s->settled_ns > (uint64_t)s->timeout_ms * 1000000u;
}

/* What went wrong in the client. */
static int trouble(int rc)
{
	fprintf(stderr, "%s\n", strerror(-rc));
	return EXIT_TROUBLE;
}

/* Waits until the event's turn at --rate. */
static int pace(struct send *s)
{
	struct sluice_client_counts n;
	uint64_t at, now;
	int rc = 0;

	if (s->rate <= 0)
		return 0;
	sluice_client_counts(s->client, &n);
	at = s->started_ns + (uint64_t)((double)n.accepted * 1e9 / s->rate);
	while (rc == 0 && !stop && (now = now_ns()) < at)
		rc = sluice_client_poll(
			s->client, (int)((at - now) / 1000000 < 100 ? (at - now) / 1000000 + 1 : 100));
	return rc;
}

static int send_line(struct send *s, const char *line, size_t bytes)
{
	int rc;

	if (bytes && line[bytes - 1] == '\r')
		bytes--;
	if (bytes == 0)
		return 0;
	rc = pace(s);
	if (rc)
		return trouble(rc);
	do {
		rc = sluice_client_send(s->client, line, bytes, 100);
	} while (rc == -EAGAIN && !is_stuck(s));
	if (rc == -EMSGSIZE) {
		s->too_big++;
		show("refused: does not fit into one datagram", line, bytes);
		return 0;
	}
	if (rc == -EAGAIN)
		return EXIT_UNACKED;
	return rc ? trouble(rc) : 0;
}

/* A line that fills the buffer without an end is no event, up to its end. */
static void skip_line(struct send *s)
{
	if (!s->skipping) {
		s->too_big++;
		show("refused: does not fit into one datagram", s->buffer, s->filled);
	}
	s->skipping = true;
	s->filled = 0;
}

/* Sends the whole lines of the buffer; with `last` also what has no end of line. */
static int send_lines(struct send *s, bool last)
{
	size_t at = 0;
	int rc = 0;

	while (rc == 0 && at < s->filled && !stop) {
		char *line = s->buffer + at, *end = memchr(line, '\n', s->filled - at);

		if (!end && !last)
			break;
		if (!end)
			end = s->buffer + s->filled;
		if (!s->skipping)
			rc = send_line(s, line, (size_t)(end - line));
		s->skipping = false;
		at += (size_t)(end - line) + 1;
	}
	if (at > s->filled)
		at = s->filled;
	memmove(s->buffer, s->buffer + at, s->filled - at);
	s->filled -= at;
	if (s->filled == BUFFER_BYTES)
		skip_line(s);
	return rc;
}

/* Waits for input, and serves the client meanwhile. */
static int wait_input(struct send *s, int in)
{
	int64_t wait_us = sluice_client_wait_us(s->client);
	struct pollfd p[2] = {
		{.fd = in, .events = POLLIN}, {.fd = sluice_client_fd(s->client), .events = POLLIN}};
	int rc;

	if (poll(p, 2, wait_us < 0 ? -1 : (int)(wait_us / 1000) + 1) > 0 && p[0].revents)
		return 0;
	rc = sluice_client_poll(s->client, 0);
	return rc ? trouble(rc) : -1;
}

static int send_file(struct send *s, int in, const char *name)
{
	int rc = 0;

	while (rc == 0 && !stop) {
		ssize_t bytes;

		rc = wait_input(s, in);
		if (rc < 0) { /* nothing yet */
			rc = 0;
			continue;
		}
		if (rc)
			break;
		bytes = read(in, s->buffer + s->filled, BUFFER_BYTES - s->filled);
		if (bytes < 0 && errno != EINTR && errno != EAGAIN) {
			fprintf(stderr, "%s: %s\n", name, strerror(errno));
			return EXIT_TROUBLE;
		}
		if (bytes == 0)
			return send_lines(s, true);
		if (bytes > 0) {
			s->filled += (size_t)bytes;
			rc = send_lines(s, false);
		}
	}
	return rc;
}

static int send_files(struct send *s, char **names)
{
	int rc = 0;

	if (!*names)
		return send_file(s, STDIN_FILENO, "standard input");
	for (; rc == 0 && *names && !stop; names++) {
		int in = open(*names, O_RDONLY | O_CLOEXEC);

		if (in < 0) {
			fprintf(stderr, "%s: %s\n", *names, strerror(errno));
			return EXIT_TROUBLE;
		}
		rc = send_file(s, in, *names);
		close(in);
	}
	return rc;
}

/* Waits for what is outstanding, also after trouble with the input; prints the counts. Returns the exit code.
 */
static int finish(struct send *s, int rc)
{
	struct sluice_client_counts n;
	int flushed;

	do {
		flushed = rc == EXIT_UNACKED ? 0 : sluice_client_flush(s->client, 100);
	} while (flushed == -ETIMEDOUT && !is_stuck(s));
	if (flushed && flushed != -ETIMEDOUT)
		rc = trouble(flushed);
	sluice_client_counts(s->client, &n);
	printf("events=%" PRIu64 " acked=%" PRIu64 " refused=%" PRIu64 " unacknowledged=%" PRIu64
	       " sent=%" PRIu64 " repeated=%" PRIu64 " datagrams=%" PRIu64 " ignored=%" PRIu64
	       " rtt_us=%" PRIu32 " producer=%016" PRIx64 "\n",
		n.accepted + s->too_big, n.acked, n.refused + s->too_big, n.outstanding, n.sent, n.repeated,
		n.datagrams, n.ignored_malformed + n.ignored_producer + n.ignored_mac + n.never_sent,
		n.srtt_us, sluice_client_producer(s->client));
	if (stop)
		fprintf(stderr, "stopped by a signal: the input was not read to its end\n");
	if (rc || stop)
		return rc ? rc : EXIT_TROUBLE;
	if (n.outstanding) {
		fprintf(stderr, "%" PRIu64 " events were not %s in time%s%s\n", n.outstanding,
			n.sent < n.accepted ? "sent" : "acknowledged", n.last_error ? ": " : "",
			n.last_error ? strerror(n.last_error) : "");
		if (n.rejects)
			fprintf(stderr,
				"the peer says that it understands another version of the protocol\n");
		else if (n.sent && !n.answers)
			fprintf(stderr,
				"no answer at all has come: is there a listener at this address and port, "
				"has it `format: sluice`, does it know our key and allow our address, does a "
				"firewall let datagrams pass both ways?\n");
		return EXIT_UNACKED;
	}
	return n.refused + s->too_big ? EXIT_REFUSED : EXIT_ALL_ACKED;
}

static bool number(const char *text, double least, double most, double *out)
{
	char *end;

	*out = strtod(text, &end);
	return end != text && *end == '\0' && *out >= least && *out <= most;
}

/* HOST:PORT or [HOST]:PORT, cut in place. */
static bool split(char *to, struct sluice_client_options *o)
{
	char *colon = strrchr(to, ':');

	if (!colon || colon == to || !colon[1])
		return false;
	*colon = '\0';
	o->port = colon + 1;
	if (to[0] == '[' && colon[-1] == ']') {
		colon[-1] = '\0';
		to++;
	} else if (strchr(to, ':')) {
		return false;
	}
	o->host = to;
	return to[0] != '\0';
}

/* 0: go on; > 0: exit code + 1. */
static int options(int argc, char **argv, struct send *s, struct sluice_client_options *o)
{
	static const struct option table[] = {{"to", required_argument, NULL, 't'},
		{"no-ack", no_argument, NULL, 'n'}, {"key-file", required_argument, NULL, 'f'},
		{"key", required_argument, NULL, 'k'}, {"rate", required_argument, NULL, 'r'},
		{"timeout", required_argument, NULL, 'T'}, {"mtu", required_argument, NULL, 'm'},
		{"version", no_argument, NULL, 'v'}, {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
	double value = 0;
	bool good = true;
	int c;

	while (good && (c = getopt_long(argc, argv, "h", table, NULL)) != -1) {
		switch (c) {
		case 't':
			good = split(optarg, o);
			break;
		case 'n':
			o->no_ack = true;
			break;
		case 'f':
			o->key_file = optarg;
			break;
		case 'k':
			good = number(optarg, 1, 255, &value);
			o->key = (unsigned)value;
			break;
		case 'r':
			good = number(optarg, 1e-3, 1e9, &s->rate);
			break;
		case 'T':
			good = number(optarg, 0.1, 1e6, &value);
			s->timeout_ms = (int)(value * 1000);
			break;
		case 'm':
			good = number(optarg, 576, 65535, &value);
			o->datagram_bytes = (uint32_t)value - HEADERS_BYTES;
			if (o->datagram_bytes > 65507)
				o->datagram_bytes = 65507;
			break;
		case 'v':
			puts("sluice-send " SLUICE_VERSION);
			return EXIT_ALL_ACKED + 1;
		case 'h':
			fputs(help, stdout);
			return EXIT_ALL_ACKED + 1;
		default:
			good = false;
		}
	}
	if (good && o->host)
		return 0;
	fprintf(stderr, "%s; --help says more\n", good ? "--to HOST:PORT has to be given" : "wrong option");
	return EXIT_TROUBLE + 1;
}

int main(int argc, char **argv)
{
	struct send s = {.timeout_ms = 30000};
	struct sluice_client_options o = {.refused = on_refused};
	struct sigaction act = {.sa_handler = on_signal, .sa_flags = SA_RESETHAND};
	char error[200] = "";
	int rc = options(argc, argv, &s, &o);

	if (rc)
		return rc - 1;
	s.buffer = malloc(BUFFER_BYTES);
	if (!s.buffer || sluice_client_open(&s.client, &o, error, sizeof error)) {
		fprintf(stderr, "%s\n", s.buffer ? error : strerror(ENOMEM));
		free(s.buffer);
		return EXIT_TROUBLE;
	}
	sigaction(SIGINT, &act, NULL);
	sigaction(SIGTERM, &act, NULL);
	s.started_ns = s.settled_ns = now_ns();
	rc = finish(&s, send_files(&s, argv + optind));
	sluice_client_close(s.client);
	free(s.buffer);
	return rc;
}
