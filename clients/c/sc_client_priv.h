/* The client's inside: sc_transmit.c sends, sc_receive.c reads answers, sluice_client.c is the API over both.
 */
#ifndef SC_CLIENT_PRIV_H
#define SC_CLIENT_PRIV_H

#include "sc_key.h"
#include "sc_rack.h"
#include "sc_window.h"
#include "sluice_client.h"

#define SC_NEVER UINT64_MAX
#define SC_TWICE (1ull << 63) /* with a sequence: an answer more than one tells nothing */

struct sluice_client {
	int fd, family;
	int forks; /* whose identity it is: of the process so many forks away */
	bool no_ack, in_callback;
	bool blocked; /* the socket takes no more just now */
	struct sc_key key;
	uint64_t producer;
	uint64_t linger_ns;
	uint64_t linger_due_ns; /* when what is queued leaves, full or not; SC_NEVER: nothing is queued */
	uint64_t repeat_due_ns; /* nothing is to be repeated before; SC_NEVER: nothing is unanswered */
	uint64_t silent_ns;	/* when something left or was settled last */
	uint32_t datagram;	/* number of the one that left last */
	size_t datagram_bytes;	/* payload that events are packed into */
	size_t payload_max;	/* of the path */
	void (*refused)(void *arg, uint64_t sequence, unsigned reason, const char *event, size_t bytes);
	void *refused_arg;
	struct sc_window window;
	struct sc_rto rto;
	struct sc_rack rack;
	uint64_t repeated[SC_WINDOW];	    /* by sequence % SC_WINDOW: the latest one that was repeated */
	uint8_t signs[SC_WINDOW];	    /* how many answers more to it tell that a repeat was needless */
	struct sluice_client_counts counts; /* what is not kept elsewhere */
	uint8_t out[SC_DATAGRAM_MAX + 1], in[SC_DATAGRAM_MAX + 1];
};

uint64_t sc_now_ns(void);

/* Largest event that one datagram of the path holds. */
size_t sc_event_max(const struct sluice_client *c);

/* Looks how large a datagram may be now. failed_bytes: one of this size was too large; 0: none was. */
void sc_path_look(struct sluice_client *c, size_t failed_bytes);
/* Whether what is queued fills a datagram. */
bool sc_queue_full(const struct sluice_client *c);

/* Sends queued events: full datagrams, and the last one that is not full if its time has come or with `all`.
 */
void sc_send_queued(struct sluice_client *c, uint64_t now_ns, bool all);
/* Sends again what is lost; if nothing was answered for too long, the datagram that left first. */
void sc_send_due(struct sluice_client *c, uint64_t now_ns);

/* Reads what has come; returns how many answers of ours were among it. */
unsigned sc_receive(struct sluice_client *c, uint64_t now_ns);
/* One datagram from the peer; data is the MAC's, too. True: an answer of ours. */
bool sc_take(struct sluice_client *c, const uint8_t *data, size_t bytes, uint64_t now_ns);
/* The event will never be taken. */
void sc_refuse(struct sluice_client *c, uint64_t sequence, unsigned reason);

#endif
