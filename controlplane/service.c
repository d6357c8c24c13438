/* See service.h. */
#include "service.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "log.h"

/* A path, or '@' and a name without one (unix(7)). */
static int notify_connect(const char *name)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	size_t bytes = strlen(name);
	int fd, code;

	if ((*name != '/' && *name != '@') || bytes < 2 || bytes >= sizeof to.sun_path) {
		errno = EINVAL;
		return -1;
	}
	memcpy(to.sun_path, name, bytes);
	if (*name == '@')
		to.sun_path[0] = 0;
	/* Never to wait for a manager that does not read. */
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -1;
	if (connect(fd, (struct sockaddr *)&to,
		    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + bytes)) == 0)
		return fd;
	code = errno;
	close(fd);
	errno = code;
	return -1;
}

/* WATCHDOG_USEC, if it is meant for this process. */
static uint64_t watchdog_wanted(void)
{
	const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
	char *end;
	uint64_t n;

	if (!usec || (pid && strtoll(pid, NULL, 10) != getpid()))
		return 0;
	errno = 0;
	n = strtoull(usec, &end, 10);
	if (*usec < '0' || *usec > '9' || errno || *end || n > UINT64_MAX / 1000) {
		log_warn("control", "WATCHDOG_USEC is not a number of microseconds");
		return 0;
	}
	if (n < 4000000)
		log_warn("control", "a watchdog of less than 4 s: it is told once a second");
	return n * 1000;
}

void service_open(struct service *s)
{
	const char *name = getenv("NOTIFY_SOCKET");

	*s = (struct service){.fd = -1};
	if (name && *name) {
		s->fd = notify_connect(name);
		if (s->fd < 0)
			log_warn("control", "NOTIFY_SOCKET: %s: the service manager is told nothing",
				strerror(errno));
		s->watchdog_ns = watchdog_wanted();
	}
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
}

void service_close(struct service *s)
{
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
}

void service_say(struct service *s, const char *text)
{
	if (s->fd >= 0 && send(s->fd, text, strlen(text), MSG_NOSIGNAL) < 0 && errno != EAGAIN)
		log_warn("control", "the service manager: %s", strerror(errno));
}

void service_tick(struct service *s, bool alive, uint64_t now_ns)
{
	if (!s->watchdog_ns || !alive || now_ns - s->told_ns < s->watchdog_ns / 4)
		return;
	s->told_ns = now_ns;
	service_say(s, "WATCHDOG=1");
}
