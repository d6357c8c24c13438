/* A TCP socket driven by an io_uring of its own. Each operation has a deadline, kept by the kernel (linked
 * timeout), and can be given up: a frozen server never holds the thread. One thread; no operation outlives
 * its call. */
#ifndef SLUICE_CH_SOCK_H
#define SLUICE_CH_SOCK_H

#include <liburing.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "err.h"

struct ch_sock {
	struct io_uring ring;
	bool ring_ready;
	int fd; /* -1: not connected */
	bool (*give_up)(
		void *arg); /* asked several times a second; true ends the operation with -ECANCELED */
	void *arg;
};

int ch_sock_init(struct ch_sock *s, bool (*give_up)(void *arg), void *arg, struct err *err);
void ch_sock_free(struct ch_sock *s);

/* deadline_ns: monotonic. -ETIMEDOUT, -ECANCELED, or what the system says. */
int ch_sock_connect(
	struct ch_sock *s, const struct sockaddr *addr, socklen_t addr_bytes, uint64_t deadline_ns);
/* All of it, or an error. */
int ch_sock_send(struct ch_sock *s, const void *data, size_t bytes, uint64_t deadline_ns);
/* At least a byte; 0 = the peer has closed. */
ssize_t ch_sock_recv(struct ch_sock *s, void *data, size_t bytes, uint64_t deadline_ns);
void ch_sock_close(struct ch_sock *s);

#endif
