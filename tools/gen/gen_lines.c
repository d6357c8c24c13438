/* Lines of a file, a pipe or a terminal, as they come: whoever writes them now and then sees them sent. */
#include "gen_lines.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUFFER_BYTES (256u << 10)
_Static_assert(BUFFER_BYTES > GEN_LINE_MAX + 2, "a line and its end fit, and what is more shows");

struct gen_lines {
	const char *path;
	int fd;
	bool ended;	   /* nothing more to read; the last line may lack its end */
	uint64_t number;   /* of the last line */
	uint32_t from, to; /* what has been read and not given */
	uint32_t looked;   /* from here on there may be an end of line */
	char buffer[BUFFER_BYTES];
};

int gen_lines_open(struct gen_lines **out, const char *path, struct err *err)
{
	struct gen_lines *l = calloc(1, sizeof *l);

	if (!l)
		return err_set(err, -ENOMEM, "out of memory");
	l->path = path;
	if (strcmp(path, "-")) {
		l->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	} else {
		l->path = "standard input";
		l->fd = fcntl(STDIN_FILENO, F_GETFD) < 0 ? -1 : STDIN_FILENO;
	}
	if (l->fd < 0) {
		int rc = err_set(err, -errno, "%s: %s", l->path, strerror(errno));

		free(l);
		return rc;
	}
	*out = l;
	return 0;
}

bool gen_lines_are_of(const struct gen_lines *l, const char *path)
{
	struct stat mine, other;

	return fstat(l->fd, &mine) == 0 && S_ISREG(mine.st_mode) && stat(path, &other) == 0 &&
	       mine.st_dev == other.st_dev && mine.st_ino == other.st_ino;
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

static int too_long(const struct gen_lines *l, uint32_t line_max, struct err *err)
{
	return err_set(err, -EMSGSIZE,
		"%s: line %" PRIu64
		" is longer than a datagram's %u bytes (--mtu); it and those behind it are not "
		"sent",
		l->path, l->number + 1, line_max);
}

int gen_lines_next(
	struct gen_lines *l, uint32_t line_max, const char **text, uint32_t *bytes, struct err *err)
{
	const char *end;
	uint32_t length;

	while (!(end = memchr(l->buffer + l->looked, '\n', l->to - l->looked)) && !l->ended) {
		int rc;

		l->looked = l->to;
		if (l->to - l->from > line_max + 1) /* one for \r */
			return too_long(l, line_max, err);
		rc = fill(l, err);
		if (rc)
			return rc;
	}
	if (!end && l->from == l->to)
		return 0;
	*text = l->buffer + l->from;
	length = end ? (uint32_t)(end - *text) : l->to - l->from;
	*bytes = length - (end && length && (*text)[length - 1] == '\r');
	if (*bytes > line_max)
		return too_long(l, line_max, err);
	l->from += length + (end != NULL);
	l->looked = l->from;
	l->number++;
	return 1;
}

void gen_lines_close(struct gen_lines *l)
{
	if (l && l->fd != STDIN_FILENO)
		close(l->fd);
	free(l);
}
