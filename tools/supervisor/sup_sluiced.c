/* How sluiced is started on top of the servers. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "sup_server.h"

#define SET_KEY_SOCKET "control.socket="

static bool socket_ready(const struct sup_child *c)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool answers;

	if (fd < 0)
		return false;
	if (strlen(c->ready_arg) >= sizeof sa.sun_path) {
		close(fd);
		return false;
	}
	memcpy(sa.sun_path, c->ready_arg, strlen(c->ready_arg) + 1);
	answers = connect(fd, (struct sockaddr *)&sa, sizeof sa) == 0;
	close(fd);
	return answers;
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
