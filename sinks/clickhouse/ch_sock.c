/* One operation at a time: submit it with a linked timeout, wait in short slices for both completions, cancel
 * when the owner gives up. The call returns only when the kernel is through with the caller's buffer. */
#include "ch_sock.h"

#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "ring_limit.h"

#define RING_ENTRIES 8u
#define SLICE_NS 50000000ll /* how long a wish to stop may go unseen */

enum { TAG_OP = 1, TAG_TIMEOUT, TAG_CANCEL };

int ch_sock_init(struct ch_sock *s, bool (*give_up)(void *arg), void *arg, struct err *err)
{
	static const uint8_t ops[] = {IORING_OP_CONNECT, IORING_OP_SEND, IORING_OP_RECV,
		IORING_OP_LINK_TIMEOUT, IORING_OP_ASYNC_CANCEL};
	int rc;

	memset(s, 0, sizeof *s);
	s->fd = -1;
	s->give_up = give_up;
	s->arg = arg;
	rc = ring_open(&s->ring, RING_ENTRIES, 0);
	if (rc == 0) {
		rc = ring_limit(&s->ring, ops, sizeof ops, IOSQE_IO_LINK, IORING_REGISTER_LAST);
		if (rc)
			io_uring_queue_exit(&s->ring);
	}
	if (rc)
		return err_set(err, rc, "clickhouse: io_uring: %s", strerror(-rc));
	s->ring_ready = true;
	return 0;
}

void ch_sock_free(struct ch_sock *s)
{
	ch_sock_close(s);
	if (s->ring_ready)
		io_uring_queue_exit(&s->ring);
	s->ring_ready = false;
}

void ch_sock_close(struct ch_sock *s)
{
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
}

static void op_cancel(struct ch_sock *s)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&s->ring);

	io_uring_prep_cancel64(sqe, TAG_OP, 0);
	io_uring_sqe_set_data64(sqe, TAG_CANCEL);
	io_uring_submit(&s->ring);
}

/* Submits the prepared operation with its deadline and waits until nothing of it is left in the ring. */
static int op_run(struct ch_sock *s, struct io_uring_sqe *op, uint64_t deadline_ns)
{
	uint64_t now = clock_mono_ns();
	uint64_t left_ns = deadline_ns > now ? deadline_ns - now : 1;
	struct __kernel_timespec limit = {
		.tv_sec = (long long)(left_ns / 1000000000u), .tv_nsec = (long long)(left_ns % 1000000000u)};
	struct io_uring_sqe *timeout = io_uring_get_sqe(&s->ring);
	int pending = 2, result = -EIO, rc;
	bool given_up = false, timed_out = false;

	io_uring_sqe_set_data64(op, TAG_OP);
	op->flags |= IOSQE_IO_LINK;
	io_uring_prep_link_timeout(timeout, &limit, 0);
	io_uring_sqe_set_data64(timeout, TAG_TIMEOUT);
	rc = io_uring_submit(&s->ring);
	if (rc != 2)
		return rc < 0 ? rc : -EIO;
	while (pending) {
		struct __kernel_timespec slice = {.tv_nsec = SLICE_NS};
		struct io_uring_cqe *cqe;

		if (!given_up && s->give_up && s->give_up(s->arg)) {
			given_up = true;
			pending++;
			op_cancel(s);
		}
		rc = io_uring_wait_cqe_timeout(&s->ring, &cqe, &slice);
		if (rc == -ETIME || rc == -EINTR || rc == -EAGAIN)
			continue;
		if (rc)
			return rc;
		if (cqe->user_data == TAG_OP)
			result = cqe->res;
		else if (cqe->user_data == TAG_TIMEOUT)
			timed_out = cqe->res == -ETIME;
		io_uring_cqe_seen(&s->ring, cqe);
		pending--;
	}
	/* The operation may have come through although its end was near: then its result counts. */
	if (result == -ECANCELED || result == -EINTR)
		return given_up ? -ECANCELED : timed_out ? -ETIMEDOUT : -EIO;
	return result;
}

int ch_sock_connect(
	struct ch_sock *s, const struct sockaddr *addr, socklen_t addr_bytes, uint64_t deadline_ns)
{
	struct io_uring_sqe *sqe;
	int one = 1, rc;

	ch_sock_close(s);
	/* Blocking mode on purpose: io_uring polls by itself and needs no worker thread for sockets;
	 * O_NONBLOCK would make it answer -EAGAIN instead of waiting. */
	s->fd = socket(addr->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (s->fd < 0)
		return -errno;
	setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	sqe = io_uring_get_sqe(&s->ring);
	io_uring_prep_connect(sqe, s->fd, addr, addr_bytes);
	rc = op_run(s, sqe, deadline_ns);
	if (rc < 0)
		ch_sock_close(s);
	return rc < 0 ? rc : 0;
}

int ch_sock_send(struct ch_sock *s, const void *data, size_t bytes, uint64_t deadline_ns)
{
	const uint8_t *p = data;

	while (bytes) {
		size_t part = bytes < (1u << 30) ? bytes : 1u << 30;
		struct io_uring_sqe *sqe = io_uring_get_sqe(&s->ring);
		int rc;

		io_uring_prep_send(sqe, s->fd, p, part, MSG_NOSIGNAL);
		rc = op_run(s, sqe, deadline_ns);
		if (rc < 0)
			return rc;
		if (rc == 0)
			return -EPIPE;
		p += rc;
		bytes -= (size_t)rc;
	}
	return 0;
}

ssize_t ch_sock_recv(struct ch_sock *s, void *data, size_t bytes, uint64_t deadline_ns)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&s->ring);

	io_uring_prep_recv(sqe, s->fd, data, bytes < INT_MAX ? bytes : INT_MAX, 0);
	return op_run(s, sqe, deadline_ns);
}
