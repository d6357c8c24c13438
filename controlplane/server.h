/* The control socket: a Unix stream socket of request lines and answer lines. One thread runs it; everything
 * is bounded: clients, request size, unread output, the time that a client may leave its output unread. */
#ifndef SLUICE_SERVER_H
#define SLUICE_SERVER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "err.h"

#define SERVER_CLIENTS_MAX 32
#define SERVER_OUTPUT_BYTES_MAX (8u << 20) /* a client with more unread output is dropped */
#define SERVER_OUTPUT_PAUSE (256u << 10)   /* with more unread output no further request is read */
#define SERVER_STALL_NS 10000000000ull	   /* output unread for so long: dropped */

struct server;

/* Who asks, by SO_PEERCRED and SO_PEERGROUPS of its socket. */
struct peer {
	uid_t uid;
	gid_t gid;
	pid_t pid;
	bool may_read, may_write;
};

/* Names a client beyond its life: an answer to one that has gone is dropped. */
struct client_ref {
	uint32_t slot;
	uint64_t serial;
};

struct server_params {
	const char *path;
	const char *group; /* "" = none: whose members may connect and read */
	int signal_fd;	   /* signalfd(2), or -1 */
	void *arg;
	/* One request line without its newline. Returns the answer line (malloc'ed), or NULL: then the answer
	 * comes by server_reply(), and until then no further line of this client is read. Server thread. */
	char *(*request)(
		void *arg, struct client_ref ref, const struct peer *peer, const char *line, size_t bytes);
	void (*signalled)(void *arg, int signo);
	void (*tick)(void *arg); /* about once a second */
};

/* Binds the socket (mode 0660). A file that is left over is replaced only if it is a socket where nobody
 * answers; -EADDRINUSE if somebody does. */
int server_create(struct server **out, const struct server_params *params, struct err *err);
/* Serves until server_quit(). Answers that a client has not read by then are lost. */
void server_run(struct server *s);
/* From any thread. */
void server_quit(struct server *s);
void server_reply(struct server *s, struct client_ref ref, char *answer_take);
/* Closes all and removes the socket file. */
void server_free(struct server *s);

struct server_stats {
	uint64_t accepted, dropped_slow, dropped_full, refused, requests, accept_failed;
	uint32_t clients;
};
struct server_stats server_stats(const struct server *s);

#endif
