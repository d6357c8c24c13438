/* Ports and answers on the loopback interface. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "sup_server.h"

int sup_make_dir(const char *path, struct err *err)
{
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		return err_set(err, -errno, "%s: %s", path, strerror(errno));
	return 0;
}

static struct sockaddr_in loopback(uint16_t port)
{
	return (struct sockaddr_in){
		.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_port = htons(port)};
}

/* Binds 127.0.0.1:port; port 0: any. Returns the socket, or -1. */
static int bind_loopback(uint16_t *port)
{
	struct sockaddr_in sa = loopback(*port);
	socklen_t bytes = sizeof sa;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one); /* left-over TIME_WAIT is no obstacle */
	if (bind(fd, (struct sockaddr *)&sa, sizeof sa) < 0 ||
		getsockname(fd, (struct sockaddr *)&sa, &bytes) < 0) {
		close(fd);
		return -1;
	}
	*port = ntohs(sa.sin_port);
	return fd;
}

/* Four numbers; anything else counts as nothing. */
static void read_last(struct sup_ports *p, const char *path)
{
	uint16_t *port[4] = {&p->kafka, &p->kafka_controller, &p->clickhouse_http, &p->clickhouse_native};
	FILE *f = fopen(path, "r");
	char line[64] = "", *at = line;

	if (!f)
		return;
	if (!fgets(line, sizeof line, f))
		line[0] = 0;
	fclose(f);
	for (int i = 0; i < 4; i++) {
		unsigned long v = strtoul(at, &at, 10);

		*port[i] = v <= 65535 ? (uint16_t)v : 0;
	}
}

static int write_down(const struct sup_ports *p, const char *path, struct err *err)
{
	FILE *f = fopen(path, "w");
	int bad = !f || fprintf(f, "%u %u %u %u\n", p->kafka, p->kafka_controller, p->clickhouse_http,
				p->clickhouse_native) < 0;

	bad |= f && fclose(f);
	return bad ? err_set(err, -EIO, "%s: %s", path, strerror(errno)) : 0;
}

int sup_ports_choose(struct sup_ports *p, const struct sup_opts *o, struct err *err)
{
	uint16_t *port[4] = {&p->kafka, &p->kafka_controller, &p->clickhouse_http, &p->clickhouse_native};
	int fd[4] = {-1, -1, -1, -1}, rc = 0;
	char path[256];

	memset(p, 0, sizeof *p);
	snprintf(path, sizeof path, "%s/ports", o->data);
	read_last(p, path);
	if (o->kafka_port)
		p->kafka = o->kafka_port;
	if (o->clickhouse_port)
		p->clickhouse_http = o->clickhouse_port;
	for (int i = 0; !rc && i < 4; i++) {
		bool wanted = (i == 0 && o->kafka_port) || (i == 2 && o->clickhouse_port);

		fd[i] = bind_loopback(port[i]);
		if (fd[i] < 0 && wanted) {
			rc = err_set(err, -EADDRINUSE, "port %u is in use", *port[i]);
		} else if (fd[i] < 0) {
			*port[i] = 0;
			fd[i] = bind_loopback(port[i]);
			if (fd[i] < 0)
				rc = err_set(err, -EADDRNOTAVAIL, "no free port on 127.0.0.1");
		}
	}
	for (int i = 0; i < 4; i++) /* held until all are known, so that they differ */
		if (fd[i] >= 0)
			close(fd[i]);
	return rc ? rc : write_down(p, path, err);
}

bool sup_answers(uint16_t port, const char *request, const char *expect)
{
	struct sockaddr_in sa = loopback(port);
	struct timeval wait = {.tv_sec = 2};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char answer[512] = "";
	size_t got = 0;
	ssize_t n = 1;

	if (fd < 0)
		return false;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
	if (connect(fd, (struct sockaddr *)&sa, sizeof sa) < 0 ||
		write(fd, request, strlen(request)) != (ssize_t)strlen(request))
		n = 0;
	while (n > 0 && got + 1 < sizeof answer && !strstr(answer, expect)) {
		n = read(fd, answer + got, sizeof answer - 1 - got);
		got += n > 0 ? (size_t)n : 0;
		answer[got] = 0;
	}
	close(fd);
	return strstr(answer, expect) != NULL;
}
