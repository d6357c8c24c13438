/* One client of the control socket: its buffers, and moving bytes between them and the socket. Server thread.
 */
#include "server_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "command.h"

#define READ_STEP 16384u

void client_open(struct client *c, int fd, uint64_t serial, const struct peer *peer, uint64_t now_ns)
{
	*c = (struct client){.fd = fd, .serial = serial, .peer = *peer, .progress_ns = now_ns};
}

void client_close(struct client *c)
{
	if (c->fd >= 0)
		close(c->fd);
	free(c->in);
	free(c->out);
	*c = (struct client){.fd = -1};
}

/* Room for `more` bytes behind `used`; doubles. */
static bool buffer_grow(char **buf, size_t *cap, size_t used, size_t more)
{
	size_t want = *cap ? *cap : 4096;
	char *p;

	if (used + more <= *cap)
		return true;
	while (want < used + more)
		want *= 2;
	p = realloc(*buf, want);
	if (!p)
		return false;
	*buf = p;
	*cap = want;
	return true;
}

void client_read(struct client *c, uint64_t now_ns)
{
	ssize_t n;

	if (!buffer_grow(&c->in, &c->in_cap, c->in_bytes, READ_STEP)) {
		c->broken = true;
		return;
	}
	n = recv(c->fd, c->in + c->in_bytes, READ_STEP, 0);
	if (n > 0) {
		c->in_bytes += (size_t)n;
		c->progress_ns = now_ns;
	} else if (n == 0) {
		c->eof = true;
	} else if (errno != EAGAIN && errno != EINTR) {
		c->broken = true;
	}
}

void client_write(struct client *c, uint64_t now_ns)
{
	while (client_pending(c)) {
		ssize_t n = send(c->fd, c->out + c->out_start, client_pending(c), MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			c->broken = errno != EAGAIN;
			return;
		}
		c->out_start += (size_t)n;
		c->progress_ns = now_ns;
	}
	c->out_start = c->out_bytes = 0;
}

void client_answer(struct client *c, const char *text, uint64_t now_ns)
{
	size_t n = strlen(text);

	if (c->out_start == c->out_bytes)
		c->progress_ns = now_ns; /* the stall clock starts with the first unread byte */
	if (client_pending(c) + n > SERVER_OUTPUT_BYTES_MAX) {
		c->broken = true;
		return;
	}
	if (c->out_start) {
		memmove(c->out, c->out + c->out_start, client_pending(c));
		c->out_bytes -= c->out_start;
		c->out_start = 0;
	}
	if (!buffer_grow(&c->out, &c->out_cap, c->out_bytes, n)) {
		c->broken = true;
		return;
	}
	memcpy(c->out + c->out_bytes, text, n);
	c->out_bytes += n;
	client_write(c, now_ns);
}

const char *client_line(struct client *c, size_t *bytes)
{
	const char *end = c->in_bytes ? memchr(c->in, '\n', c->in_bytes) : NULL;

	if (!end)
		return NULL;
	*bytes = (size_t)(end - c->in);
	return c->in;
}

void client_line_done(struct client *c, size_t bytes)
{
	c->in_bytes -= bytes + 1;
	memmove(c->in, c->in + bytes + 1, c->in_bytes);
}
