/* Lines of a file, a pipe or a terminal, as they come: whoever writes them now and then sees them sent. */
#include "gen_lines.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BUFFER_BYTES (256u << 10)

struct gen_lines {
	const char *path;
	int fd;
	bool ended; /* nothing more to read; the last line may lack its end */
	uint32_t line_max;
	uint64_t number;   /* of the last line */
	uint32_t from, to; /* what has been read and not given */
	uint32_t looked;   /* from here on there may be an end of line */
	char buffer[BUFFER_BYTES];
};

int gen_lines_open(struct gen_lines **out, const char *path, uint32_t line_max, struct err *err)
{
	struct gen_lines *l = calloc(1, sizeof *l);

	if (!l)
		return err_set(err, -ENOMEM, "out of memory");
	l->path = path;
	l->line_max = line_max;
	l->fd = strcmp(path, "-") ? open(path, O_RDONLY | O_CLOEXEC) : STDIN_FILENO;
	if (l->fd < 0) {
		int rc = err_set(err, -errno, "%s: %s", path, strerror(errno));

		free(l);
		return rc;
	}
	*out = l;
	return 0;
}

void gen_lines_wait(const struct gen_lines *l, int wait_ms)
{
	struct pollfd pfd = {.fd = l->fd, .events = POLLIN};

	(void)poll(&pfd, 1, wait_ms);
}

/* 0, -EAGAIN or what failed. Room is made first: a line fits, or it is too long. */
static int fill(struct gen_lines *l, struct err *err)
{
	struct pollfd pfd = {.fd = l->fd, .events = POLLIN};
	ssize_t n;

	if (l->from) {
		memmove(l->buffer, l->buffer + l->from, l->to - l->from);
		l->to -= l->from;
		l->looked -= l->from;
		l->from = 0;
	}
	if (poll(&pfd, 1, 0) <= 0)
		return -EAGAIN;
	n = read(l->fd, l->buffer + l->to, BUFFER_BYTES - l->to);
	if (n < 0)
		return errno == EINTR || errno == EAGAIN
			       ? -EAGAIN
			       : err_set(err, -errno, "%s: %s", l->path, strerror(errno));
	l->ended = n == 0;
	l->to += (uint32_t)n;
	return 0;
}

static int too_long(const struct gen_lines *l, struct err *err)
{
	return err_set(err, -EMSGSIZE,
		"%s: line %" PRIu64
		" is longer than a datagram's %u bytes (--mtu); it and those behind it are not "
		"sent",
		l->path, l->number + 1, l->line_max);
}

int gen_lines_next(struct gen_lines *l, const char **text, uint32_t *bytes, struct err *err)
{
	for (;;) {
		char *end = memchr(l->buffer + l->looked, '\n', l->to - l->looked);
		uint32_t length, step;

		if (!end && !l->ended) {
			int rc;

			l->looked = l->to;
			if (l->to - l->from > l->line_max + 1) /* one for \r */
				return too_long(l, err);
			rc = fill(l, err);
			if (rc)
				return rc;
			continue;
		}
		if (!end && l->from == l->to)
			return 0;
		length = end ? (uint32_t)(end - l->buffer) - l->from : l->to - l->from;
		step = length + (end != NULL);
		*text = l->buffer + l->from;
		if (length && (*text)[length - 1] == '\r')
			length--;
		if (length > l->line_max)
			return too_long(l, err);
		l->from += step;
		l->looked = l->from;
		l->number++;
		*bytes = length;
		if (length)
			return 1;
	}
}

void gen_lines_close(struct gen_lines *l)
{
	if (l && l->fd != STDIN_FILENO)
		close(l->fd);
	free(l);
}
