/* Sender of the sluice datagram protocol (docs/protocol.md): JSON events over UDP with sequences, repeated
 * until sluice says that they are durable, or, with no_ack, sent once.
 *
 * Threads: a client is used by one thread at a time; several clients are independent. Nothing runs in the
 * background: what is due (linger, repetition, reading of answers) happens inside send(), poll() and flush().
 * A program that does not send for a while calls poll() when sluice_client_fd() is readable or
 * sluice_client_wait_us() has passed. Signals do not end a wait. After fork() the child can only close: the
 * identity and the events stay the parent's.
 *
 * Memory: bounded by window_bytes; an event is copied by send() and kept until it is acknowledged or refused.
 * Nothing is dropped silently: accepted = acked + refused + outstanding (with no_ack: accepted = sent +
 * refused + outstanding).
 *
 * The sender's own crash: its successor has another identity, so what it sends again is known to sluice only
 * by its event_id. Errors are -errno. */
#ifndef SLUICE_CLIENT_H
#define SLUICE_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SLUICE_CLIENT_WINDOW_EVENTS 1024 /* most events that may be outstanding: the protocol's window */
#define SLUICE_CLIENT_REASONS 64	 /* reasons of refusals that are counted apart */
#define SLUICE_CLIENT_TOO_BIG                                                                                \
	0 /* reason of the client's own: the path's MTU has become too small (only no_ack) */

struct sluice_client;

/* Zero means the default. Nothing is kept of the texts. */
struct sluice_client_options {
	const char *host;	 /* name or address, IPv4 or IPv6 */
	const char *port;	 /* number or service; default 5140 */
	bool no_ack;		 /* send once, ask for no answer */
	const char *key_file;	 /* sign, and take only signed answers; NULL: no MAC */
	unsigned key;		 /* number of the key in the file, 1 to 255; 0: the file's only one */
	uint32_t datagram_bytes; /* largest UDP payload that events are packed into, 256 to 65507; default
				    1400 */
	uint32_t window_events;	 /* 1 to 1024; default 1024 */
	size_t window_bytes;	 /* memory for events, 64 KiB to 1 GiB; default 4 MiB */
	uint32_t linger_us; /* how long an event may wait for others before its datagram leaves; default 1000
			     */
	/* Called from within send(), poll() or flush() for each event that will never be taken; may not use
	 * the client. reason: id in docs/drops.md, or SLUICE_CLIENT_TOO_BIG; sluice_client_reason_name(). The
	 * event's bytes are borrowed.
	 */
	void (*refused)(void *arg, uint64_t sequence, unsigned reason, const char *event, size_t bytes);
	void *refused_arg;
};

struct sluice_client_counts {
	uint64_t accepted;    /* events that send() took */
	uint64_t sent;	      /* of these: that left at least once */
	uint64_t repeated;    /* events sent again, each time */
	uint64_t acked;	      /* events that are durable */
	uint64_t refused;     /* events that will never be taken */
	uint64_t outstanding; /* events that are not settled; with no_ack: that have not left */
	uint64_t refused_by[SLUICE_CLIENT_REASONS]; /* by reason; the last one: all from there on */
	uint64_t datagrams;			    /* sent, repetitions included */
	uint64_t answers;			    /* ACKs that were taken */
	uint64_t settled_again;	    /* sequences in ACKs that were settled before: ACKs that came twice */
	uint64_t never_sent;	    /* sequences in ACKs that were never sent: forged */
	uint64_t ignored_malformed; /* datagrams from the peer that are no answer, or a damaged one */
	uint64_t ignored_producer;  /* answers for another producer */
	uint64_t ignored_mac;	    /* answers without a valid MAC of the key in use */
	uint64_t rejects;     /* REJECTs: the peer understands another version; not signed, so a hint only */
	uint64_t unreachable; /* ICMP errors (ECONNREFUSED and such) */
	uint64_t send_errors; /* other errors of sending; what was to be sent is repeated */
	uint32_t srtt_us, rttvar_us, rto_us; /* RFC 6298; srtt 0: not measured yet */
	uint16_t reject_reason;		     /* of the last REJECT: id in docs/drops.md */
	int last_error;			     /* errno of the last error of sending, 0: none */
};

/* error: says what is wrong, at least one byte. -EINVAL (options, key file), -ENOTSUP (key_file, but built
 * without MAC), -ENOMEM, -EHOSTUNREACH (name), or what the system says. */
int sluice_client_open(struct sluice_client **out, const struct sluice_client_options *options, char *error,
	size_t error_bytes);

/* Takes one event: a JSON object of 1 to 65535 bytes. timeout_ms: how long to wait while the window or its
 * memory is full; 0: not at all, negative: for ever. 0, or with the event not taken: -EAGAIN (still full),
 * -EINVAL (no bytes), -EMSGSIZE (does not fit into one datagram of the path's MTU: no fragments are sent),
 * -ECHILD, -EBUSY (called from refused). */
int sluice_client_send(struct sluice_client *c, const char *event, size_t bytes, int timeout_ms);

/* Reads answers, sends what is due. Waits until an answer came, or timeout_ms (0, negative as above). 0,
 * -ECHILD, -EBUSY. */
int sluice_client_poll(struct sluice_client *c, int timeout_ms);

/* Sends at once what lingers and waits until every event is settled. 0, -ETIMEDOUT (the rest stays
 * outstanding; flush again to go on), -ECHILD, -EBUSY. */
int sluice_client_flush(struct sluice_client *c, int timeout_ms);

/* Does not wait: flush first. Returns how many events were outstanding. NULL: 0. */
uint64_t sluice_client_close(struct sluice_client *c);

void sluice_client_counts(const struct sluice_client *c, struct sluice_client_counts *out);

/* Name of a reason as in docs/drops.md; NULL: this library is older than the reason. */
const char *sluice_client_reason_name(unsigned reason);

/* The identity that sequences belong to; never 0. */
uint64_t sluice_client_producer(const struct sluice_client *c);

/* For an event loop: wait for it to be readable, at most so long (microseconds; -1: nothing is due), then
 * poll(c, 0). */
int sluice_client_fd(const struct sluice_client *c);
int64_t sluice_client_wait_us(const struct sluice_client *c);

#ifdef __cplusplus
}
#endif
#endif
