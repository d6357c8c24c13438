/* sluice-supervisor: starts Kafka and ClickHouse for trial use, then sluiced on top of them; watches them,
 * starts a crashed one again, ends them in order (sluiced first, so that it can deliver what it has
 * accepted). One thread. Nothing is ever forked from the DPDK process: that is why this is a program of its
 * own. */
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "sup_child.h"
#include "sup_opts.h"
#include "sup_server.h"
#include "version.h"

#define TICK_NS 50000000
#define START_MS 120000 /* a server that does not answer within it has failed */
#define DRAIN_MS 90000	/* sluiced: longer than its own drain limit */
#define SERVER_STOP_MS 30000

enum { KAFKA, CLICKHOUSE, SLUICED, CHILDREN };

struct sup {
	struct sup_opts o;
	struct sup_ports ports;
	struct sup_child child[CHILDREN];
	bool wanted[CHILDREN];
	char brokers[256], url[256], socket_path[256];
};

static uint64_t now_ms(void)
{
	return clock_mono_ns() / 1000000;
}

static void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	printf("supervisor: %s\n", text);
	fflush(stdout);
}

static int write_state(const struct sup *s)
{
	static const char *const names[] = {"down", "starting", "ready", "backoff"};
	char temp[320], end[32];
	FILE *f;

	if (!s->o.state_file[0])
		return 0;
	snprintf(temp, sizeof temp, "%s.new", s->o.state_file);
	f = fopen(temp, "w");
	if (!f)
		return -errno;
	fprintf(f, "kafka=%s\nclickhouse=%s\nsocket=%s\ndata=%s\n", s->brokers, s->url, s->socket_path,
		s->o.data);
	for (int i = 0; i < CHILDREN; i++) {
		const struct sup_child *c = &s->child[i];

		if (!s->wanted[i] || !c->name) /* not made yet: another's failed */
			continue;
		fprintf(f, "%s_state=%s\n%s_pid=%d\n%s_restarts=%u\n", c->name, names[c->state], c->name,
			c->pid, c->name, c->restarts);
		if (c->state == SUP_DOWN && c->started_ms)
			fprintf(f, "%s_end=%s\n", c->name, sup_child_end_text(c, end, sizeof end));
	}
	if (fclose(f) || rename(temp, s->o.state_file))
		return -errno;
	return 0;
}

/* Waits for signals up to a tick. Returns the signal that asks to stop, or 0. */
static int wait_tick(const sigset_t *signals)
{
	struct timespec ts = {0, TICK_NS};
	int signal = sigtimedwait(signals, NULL, &ts);

	return signal == SIGTERM || signal == SIGINT || signal == SIGHUP ? signal : 0;
}

/* Takes the ends of children. Returns true if one that is not started again has ended. */
static bool reap(struct sup *s)
{
	bool gone = false;
	char end[32];
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (int i = 0; i < CHILDREN; i++) {
			struct sup_child *c = &s->child[i];

			if (c->pid != pid)
				continue;
			sup_child_ended(c, status, now_ms());
			say("%s ended: %s; its log: %s", c->name, sup_child_end_text(c, end, sizeof end),
				c->log_path);
			if (c->state == SUP_BACKOFF)
				say("%s starts again in %u ms", c->name, c->backoff_ms);
			else
				gone = true;
			write_state(s);
		}
	}
	return gone;
}

static void tick(struct sup *s)
{
	for (int i = 0; i < CHILDREN; i++) {
		struct err err = {""};

		if (!s->wanted[i] || !sup_child_tick(&s->child[i], now_ms(), &err)) {
			if (err.text[0])
				say("%s: %s", s->child[i].name, err.text);
			continue;
		}
		if (s->child[i].state == SUP_READY)
			say("%s answers after %llu ms", s->child[i].name,
				(unsigned long long)(now_ms() - s->child[i].started_ms));
		write_state(s);
	}
}

/* Starts `count` children from `first` on and waits until all answer. Returns 0, -EINTR when told to stop. */
static int bring_up(struct sup *s, int first, int count, const sigset_t *signals, struct err *err)
{
	uint64_t until = now_ms() + START_MS;
	bool all = false;
	int rc = 0;

	for (int i = first; !rc && i < first + count; i++)
		if (s->wanted[i])
			rc = sup_child_start(&s->child[i], now_ms(), err);
	while (!rc && !all) {
		if (wait_tick(signals))
			return -EINTR;
		reap(s);
		tick(s);
		all = true;
		for (int i = first; !rc && i < first + count; i++) {
			const struct sup_child *c = &s->child[i];

			if (!s->wanted[i])
				continue;
			all = all && c->state == SUP_READY;
			if (c->state == SUP_DOWN || c->state == SUP_BACKOFF)
				rc = err_set(err, -EIO, "%s did not start: see %s", c->name, c->log_path);
			else if (c->state != SUP_READY && now_ms() > until)
				rc = err_set(
					err, -ETIMEDOUT, "%s does not answer: see %s", c->name, c->log_path);
		}
	}
	return rc;
}

static void warn_trial(const struct sup *s)
{
	if (!s->wanted[KAFKA] && !s->wanted[CLICKHOUSE])
		return;
	printf("\n  *** EMBEDDED SINGLE-NODE SERVERS: FOR TRIAL USE ONLY ***\n"
	       "  One copy of the data, on this machine's disk; no replication, no passwords, loopback "
	       "only.\n"
	       "  For anything else give --kafka HOST:PORT and --clickhouse URL of your clusters.\n\n"
	       "  kafka       %s%s\n  clickhouse  %s%s\n",
		s->brokers, s->wanted[KAFKA] ? "" : "  (yours)", s->url,
		s->wanted[CLICKHOUSE] ? "" : "  (yours)");
	if (s->wanted[SLUICED])
		printf("  control     %s\n", s->socket_path);
	printf("  data, logs  %s\n\n", s->o.data);
	fflush(stdout);
}

static int prepare(struct sup *s, struct err *err)
{
	char full[PATH_MAX];
	int rc = sup_make_dir(s->o.data, err);

	if (rc)
		return rc;
	if (!realpath(s->o.data, full) || strlen(full) >= sizeof s->o.data)
		return err_set(err, -EINVAL, "%s: its full path is too long", s->o.data);
	memcpy(s->o.data, full, strlen(full) + 1);
	s->wanted[KAFKA] = !s->o.kafka;
	s->wanted[CLICKHOUSE] = !s->o.clickhouse;
	s->wanted[SLUICED] = !s->o.servers_only;
	rc = sup_ports_choose(&s->ports, &s->o, err);
	if (!rc && s->wanted[KAFKA])
		rc = sup_kafka_prepare(&s->child[KAFKA], &s->o, &s->ports, err);
	if (!rc && s->wanted[CLICKHOUSE])
		rc = sup_clickhouse_prepare(&s->child[CLICKHOUSE], &s->o, &s->ports, err);
	if (s->o.kafka)
		snprintf(s->brokers, sizeof s->brokers, "%s", s->o.kafka);
	else
		snprintf(s->brokers, sizeof s->brokers, "127.0.0.1:%u", s->ports.kafka);
	if (s->o.clickhouse)
		snprintf(s->url, sizeof s->url, "%s", s->o.clickhouse);
	else
		snprintf(s->url, sizeof s->url, "http://127.0.0.1:%u", s->ports.clickhouse_http);
	sup_sluiced_socket(&s->o, s->socket_path, sizeof s->socket_path);
	if (!rc && s->wanted[SLUICED])
		rc = sup_sluiced_prepare(&s->child[SLUICED], &s->o, s->brokers, s->url, err);
	return rc;
}

/* Returns the process's exit code. */
static int watch(struct sup *s, const sigset_t *signals)
{
	for (;;) {
		int signal = wait_tick(signals);

		if (signal) {
			say("signal %d: stopping", signal);
			return 0;
		}
		/* in a demonstration the servers stay, so that what was delivered can be looked at */
		if (reap(s) && !s->o.demo)
			return 1;
		tick(s);
	}
}

static void take_down(struct sup *s)
{
	for (int i = CHILDREN - 1; i >= 0; i--) {
		struct sup_child *c = &s->child[i];
		char end[32];

		if (c->pid) {
			bool orderly = sup_child_stop(c, i == SLUICED ? DRAIN_MS : SERVER_STOP_MS);

			say("%s ended: %s%s", c->name, sup_child_end_text(c, end, sizeof end),
				orderly ? "" : " (it did not end by itself in time)");
		}
		c->state = SUP_DOWN;
	}
	write_state(s);
	for (int i = 0; i < CHILDREN; i++)
		sup_child_free(&s->child[i]);
}

int main(int argc, char **argv)
{
	static struct sup s;
	struct err err = {""};
	sigset_t signals;
	int rc;

	switch (sup_opts_parse(&s.o, argc, argv, &err)) {
	case SUP_OPTS_HELP:
		sup_opts_help();
		return 0;
	case SUP_OPTS_VERSION:
		version_print("sluice-supervisor");
		return 0;
	case SUP_OPTS_WRONG:
		fprintf(stderr, "sluice-supervisor: %s\n", err.text);
		return 2;
	case SUP_OPTS_RUN:
		break;
	}
	sigemptyset(&signals);
	sigaddset(&signals, SIGCHLD);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	rc = prepare(&s, &err);
	if (!rc)
		rc = bring_up(&s, KAFKA, 2, &signals, &err);
	if (!rc)
		warn_trial(&s);
	if (!rc)
		rc = bring_up(&s, SLUICED, 1, &signals, &err);
	if (!rc)
		write_state(&s);
	if (rc && rc != -EINTR)
		fprintf(stderr, "sluice-supervisor: %s\n", err.text);
	rc = rc ? rc != -EINTR : watch(&s, &signals);
	take_down(&s);
	return rc;
}
