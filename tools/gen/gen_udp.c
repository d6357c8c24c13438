/* UDP sockets of sluice-gen: connected, sendmmsg, one socket a flow. */
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "gen_out.h"

#define FLOWS_MAX 64
#define SEND_BUFFER (4 << 20)

struct gen_udp {
	int fd[FLOWS_MAX];
	uint32_t flows, next;
	int family;
	uint64_t retries;
};

static int open_flow(struct gen_udp *u, const struct addrinfo *ai, struct err *err)
{
	int fd = socket(ai->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0), size = SEND_BUFFER;

	if (fd < 0)
		return err_set(err, -errno, "socket: %s", strerror(errno));
	u->fd[u->flows++] = fd;
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size); /* best effort: the kernel has a ceiling */
	if (connect(fd, ai->ai_addr, ai->ai_addrlen) < 0)
		return err_set(err, -errno, "connect: %s", strerror(errno));
	u->family = ai->ai_family;
	return 0;
}

int gen_udp_open(struct gen_udp **out, const char *target, uint32_t flows, struct err *err)
{
	struct addrinfo hints = {.ai_socktype = SOCK_DGRAM}, *ai = NULL;
	struct gen_udp *u;
	char host[256], service[8];
	uint16_t port;
	int rc = gen_addr_split(target, host, sizeof host, &port, err);

	if (rc)
		return rc;
	snprintf(service, sizeof service, "%u", port);
	rc = getaddrinfo(host, service, &hints, &ai);
	if (rc)
		return err_set(err, -EINVAL, "%s: %s", target, gai_strerror(rc));
	u = calloc(1, sizeof *u);
	if (!u) {
		freeaddrinfo(ai);
		return err_set(err, -ENOMEM, "out of memory");
	}
	for (uint32_t i = 0; !rc && i < flows && i < FLOWS_MAX; i++)
		rc = open_flow(u, ai, err);
	freeaddrinfo(ai);
	if (rc) {
		err_prefix(err, "%s", target);
		gen_udp_close(u);
		return rc;
	}
	*out = u;
	return 0;
}

uint32_t gen_udp_overhead(const struct gen_udp *u)
{
	return u->family == AF_INET6 ? 48 : 28;
}

uint64_t gen_udp_retries(const struct gen_udp *u)
{
	return u->retries;
}

/* What a failed send means: 0 = try again. */
static int after_failure(struct gen_udp *u, int fd, int error, struct err *err)
{
	struct pollfd pfd = {.fd = fd, .events = POLLOUT};

	u->retries++;
	switch (error) {
	case EINTR:
	case ECONNREFUSED: /* an earlier datagram was answered by ICMP; this one has not been sent */
		return 0;
	case EAGAIN:
		poll(&pfd, 1, 100);
		return 0;
	case ENOBUFS: /* the device queue is full; poll() would say that the socket is not */
		usleep(200);
		return 0;
	default:
		return err_set(err, -error, "send: %s", strerror(error));
	}
}

int gen_udp_send(struct gen_udp *u, const struct gen_datagram *dg, uint32_t count, struct err *err)
{
	struct mmsghdr msg[GEN_BURST];
	struct iovec iov[GEN_BURST];
	int fd = u->fd[u->next++ % u->flows];

	memset(msg, 0, sizeof msg);
	for (uint32_t i = 0; i < count; i++) {
		iov[i] = (struct iovec){(void *)dg[i].data, dg[i].bytes};
		msg[i].msg_hdr.msg_iov = &iov[i];
		msg[i].msg_hdr.msg_iovlen = 1;
	}
	for (uint32_t done = 0; done < count;) {
		int n = sendmmsg(fd, msg + done, count - done, 0);

		if (n > 0)
			done += (uint32_t)n;
		else if (after_failure(u, fd, errno, err))
			return -EIO;
	}
	return 0;
}

void gen_udp_close(struct gen_udp *u)
{
	if (!u)
		return;
	for (uint32_t i = 0; i < u->flows; i++)
		close(u->fd[i]);
	free(u);
}
