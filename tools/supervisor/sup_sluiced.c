/* How sluiced is started on top of the servers. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "sup_server.h"

#define SET_KEY_SOCKET "control.socket="

/* The socket is there before the ports are: what counts is that the daemon says that it runs. */
static bool says_running(int fd)
{
	static const char request[] = "{\"v\":1,\"cmd\":\"status\"}\n";
	struct timeval wait = {.tv_usec = 500000};
	char answer[2048] = "";
	size_t got = 0;
	ssize_t n = 1;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
	if (send(fd, request, sizeof request - 1, MSG_NOSIGNAL) != (ssize_t)sizeof request - 1)
		return false;
	while (n > 0 && got + 1 < sizeof answer) {
		n = recv(fd, answer + got, sizeof answer - 1 - got, 0);
		got += n > 0 ? (size_t)n : 0;
		answer[got] = 0;
	}
	const char *phase = strstr(answer, "\"phase\"");

	return phase && strstr(phase, "running") && strstr(phase, "running") < phase + 24;
}

static bool socket_ready(const struct sup_child *c)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool ready;

	if (fd < 0)
		return false;
	if (strlen(c->ready_arg) >= sizeof sa.sun_path) {
		close(fd);
		return false;
	}
	memcpy(sa.sun_path, c->ready_arg, strlen(c->ready_arg) + 1);
	ready = connect(fd, (struct sockaddr *)&sa, sizeof sa) == 0 && says_running(fd);
	close(fd);
	return ready;
}

void sup_sluiced_socket(const struct sup_opts *o, char *out, uint32_t bytes)
{
	snprintf(out, bytes, "%s/control.sock", o->data);
	for (uint32_t i = 0; i < o->set_count; i++)
		if (!strncmp(o->set[i], SET_KEY_SOCKET, strlen(SET_KEY_SOCKET)))
			snprintf(out, bytes, "%s", o->set[i] + strlen(SET_KEY_SOCKET));
}

int sup_sluiced_prepare(
	struct sup_child *c, const struct sup_opts *o, const char *brokers, const char *url, struct err *err)
{
	char socket_path[256];

	if (access(o->sluiced, X_OK))
		return err_set(
			err, -ENOENT, "%s: the daemon is not there; './run build' makes it", o->sluiced);
	c->name = "sluiced";
	c->restart = !o->demo;
	c->ready = socket_ready;
	sup_sluiced_socket(o, socket_path, sizeof socket_path);
	snprintf(c->ready_arg, sizeof c->ready_arg, "%s", socket_path);
	snprintf(c->log_path, sizeof c->log_path, "%s/sluiced.log", o->data);
	sup_child_arg(c, "%s", o->sluiced);
	if (o->config) {
		sup_child_arg(c, "--config");
		sup_child_arg(c, "%s", o->config);
	}
	const char *const pairs[][2] = {{"node.data_dir=", o->data}, {"control.socket=", socket_path},
		{"kafka.enabled=", "true"}, {"kafka.brokers=", brokers}, {"clickhouse.enabled=", "true"},
		{"clickhouse.url=", url}};
	for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
		sup_child_arg(c, "--set");
		sup_child_arg(c, "%s%s%s", pairs[i][0], pairs[i][1], i == 0 ? "/sluice" : "");
	}
	if (!o->kafka) { /* one broker holds one replica */
		sup_child_arg(c, "--set");
		sup_child_arg(c, "kafka.replication=1");
		sup_child_arg(c, "--set");
		sup_child_arg(c, "kafka.min_isr=1");
	}
	for (uint32_t i = 0; i < o->set_count; i++) { /* last, so that they win */
		sup_child_arg(c, "--set");
		sup_child_arg(c, "%s", o->set[i]);
	}
	return 0;
}
