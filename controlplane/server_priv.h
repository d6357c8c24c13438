/* Inside of the control server. */
#ifndef SLUICE_SERVER_PRIV_H
#define SLUICE_SERVER_PRIV_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

#include "server.h"

struct client {
	int fd; /* -1: slot free */
	uint64_t serial;
	struct peer peer;
	char *in; /* request bytes not yet used: in_bytes of in_cap */
	size_t in_bytes, in_cap;
	char *out; /* answer bytes from out_start to out_bytes not yet written */
	size_t out_start, out_bytes, out_cap;
	uint64_t progress_ns; /* when output last moved, or a request came */
	uint32_t events;      /* as registered with epoll */
	bool waiting;	      /* an answer comes by server_reply() */
	bool eof;	      /* no more requests; close when all is answered */
	bool broken;	      /* close at once */
};

struct reply {
	struct reply *next;
	struct client_ref ref;
	char *answer;
};

struct server {
	struct server_params params;
	char path[128];
	int listen_fd, epoll_fd, event_fd;
	bool bound, has_group, accept_paused;
	gid_t group;
	uint64_t serial;
	struct client client[SERVER_CLIENTS_MAX];
	struct server_stats stats;
	_Atomic bool quit;
	pthread_mutex_t reply_lock; /* of replies */
	struct reply *replies;
};

int server_socket_make(struct server *s, struct err *err);
bool server_peer_get(const struct server *s, int fd, struct peer *peer);

/* server_client.c: each leaves c->broken set if the client is to be closed. */
void client_open(struct client *c, int fd, uint64_t serial, const struct peer *peer, uint64_t now_ns);
void client_close(struct client *c);
void client_read(struct client *c, uint64_t now_ns);
void client_write(struct client *c, uint64_t now_ns);
void client_answer(struct client *c, const char *text, uint64_t now_ns);
/* The next request line, or NULL; *bytes without newline. Call client_line_done() when through with it. */
const char *client_line(struct client *c, size_t *bytes);
void client_line_done(struct client *c, size_t bytes);
static inline size_t client_pending(const struct client *c)
{
	return c->out_bytes - c->out_start;
}

#endif
