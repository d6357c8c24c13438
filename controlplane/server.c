/* The control server's loop: epoll over the listening socket, an eventfd for answers from other threads, a
 * signalfd, and the clients. One thread; it never blocks on a client. */
#include "server_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "command.h"
#include "log.h"

enum { TAG_LISTEN = SERVER_CLIENTS_MAX, TAG_EVENT, TAG_SIGNAL };

static int epoll_set(struct server *s, int op, int fd, uint32_t events, uint32_t tag)
{
	struct epoll_event ev = {.events = events, .data.u32 = tag};

	return epoll_ctl(s->epoll_fd, op, fd, &ev) ? -errno : 0;
}

int server_create(struct server **out, const struct server_params *params, struct err *err)
{
	struct server *s = calloc(1, sizeof *s);
	int rc;

	if (!s)
		return err_set(err, -ENOMEM, "control socket: no memory");
	s->params = *params;
	s->listen_fd = -1;
	for (int i = 0; i < SERVER_CLIENTS_MAX; i++)
		s->client[i].fd = -1;
	pthread_mutex_init(&s->reply_lock, NULL);
	s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	s->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->epoll_fd < 0 || s->event_fd < 0)
		rc = err_set(err, -errno, "control socket: %s", strerror(errno));
	else
		rc = server_socket_make(s, err);
	if (rc == 0)
		rc = epoll_set(s, EPOLL_CTL_ADD, s->listen_fd, EPOLLIN, TAG_LISTEN);
	if (rc == 0)
		rc = epoll_set(s, EPOLL_CTL_ADD, s->event_fd, EPOLLIN, TAG_EVENT);
	if (rc == 0 && params->signal_fd >= 0)
		rc = epoll_set(s, EPOLL_CTL_ADD, params->signal_fd, EPOLLIN, TAG_SIGNAL);
	if (rc) {
		server_free(s);
		return rc;
	}
	*out = s;
	return 0;
}

static void slot_close(struct server *s, struct client *c)
{
	client_close(c); /* closing takes it out of epoll */
	s->stats.clients--;
}

/* A free slot; with none, that of the client that has been idle longest and waits for nothing. */
static struct client *slot_find(struct server *s)
{
	struct client *idle = NULL;

	for (int i = 0; i < SERVER_CLIENTS_MAX; i++) {
		struct client *c = &s->client[i];

		if (c->fd < 0)
			return c;
		if (!c->waiting && (!idle || c->progress_ns < idle->progress_ns))
			idle = c;
	}
	if (idle) {
		s->stats.dropped_full++;
		slot_close(s, idle);
	}
	return idle;
}

static void refuse(struct server *s, int fd, const char *code, const char *text)
{
	char *answer = response_error(code, text);

	s->stats.refused++;
	if (answer)
		(void)!send(fd, answer, strlen(answer), MSG_NOSIGNAL | MSG_DONTWAIT);
	free(answer);
	close(fd);
}

/* Out of descriptors: who waits would wake the loop again at once, without end. Until the next tick nobody is
 * let in. */
static void accept_pause(struct server *s, int why)
{
	s->stats.accept_failed++;
	log_warn("control", "a client has to wait: %s", strerror(why));
	s->accept_paused = epoll_set(s, EPOLL_CTL_MOD, s->listen_fd, 0, TAG_LISTEN) == 0;
}

static void accept_resume(struct server *s)
{
	if (s->accept_paused && epoll_set(s, EPOLL_CTL_MOD, s->listen_fd, EPOLLIN, TAG_LISTEN) == 0)
		s->accept_paused = false;
}

static void server_accept(struct server *s)
{
	int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct client *c;
	struct peer peer;

	if (fd < 0) {
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
			accept_pause(s, errno);
		return;
	}
	if (!server_peer_get(s, fd, &peer) || !peer.may_read) {
		refuse(s, fd, "forbidden",
			"reading is for root, the daemon's user and members of control.group");
		return;
	}
	c = slot_find(s);
	if (!c) {
		refuse(s, fd, "busy", "too many clients wait for answers");
		return;
	}
	client_open(c, fd, ++s->serial, &peer, clock_mono_ns());
	c->events = EPOLLIN;
	if (epoll_set(s, EPOLL_CTL_ADD, fd, c->events, (uint32_t)(c - s->client))) {
		client_close(c);
		return;
	}
	s->stats.accepted++;
	s->stats.clients++;
}

/* Hands complete lines to the handler, as long as the client takes its answers. */
static void client_serve(struct server *s, struct client *c)
{
	uint32_t slot = (uint32_t)(c - s->client);
	const char *line;
	size_t bytes;

	while (!c->waiting && !c->broken && client_pending(c) <= SERVER_OUTPUT_PAUSE &&
		(line = client_line(c, &bytes))) {
		char *answer;

		s->stats.requests++;
		c->waiting = true;
		answer = bytes < CONTROL_REQUEST_BYTES_MAX
				 ? s->params.request(s->params.arg, (struct client_ref){slot, c->serial},
					   &c->peer, line, bytes)
				 : response_error("too_big", "a request is at most 1 MiB");
		client_line_done(c, bytes);
		if (answer) {
			c->waiting = false;
			client_answer(c, answer, clock_mono_ns());
			free(answer);
		}
	}
	if (!c->eof && !c->waiting && c->in_bytes >= CONTROL_REQUEST_BYTES_MAX && !client_line(c, &bytes)) {
		char *answer = response_error("too_big", "a request is at most 1 MiB");

		c->in_bytes = 0;
		c->eof = true;
		if (answer)
			client_answer(c, answer, clock_mono_ns());
		free(answer);
	}
}

/* After anything happened to a client: serve, then close it or ask epoll for what it waits for. */
static void client_settle(struct server *s, struct client *c)
{
	uint32_t events = 0;
	size_t bytes;

	client_serve(s, c);
	if (c->eof && !c->waiting && !client_pending(c) && !client_line(c, &bytes))
		c->broken = true;
	if (!c->eof && !c->waiting && client_pending(c) <= SERVER_OUTPUT_PAUSE)
		events |= EPOLLIN;
	if (client_pending(c))
		events |= EPOLLOUT;
	if (!c->broken && events != c->events &&
		epoll_set(s, EPOLL_CTL_MOD, c->fd, events, (uint32_t)(c - s->client)))
		c->broken = true;
	c->events = events;
	if (c->broken)
		slot_close(s, c);
}

static void replies_take(struct server *s)
{
	struct reply *list;
	uint64_t n;

	(void)!read(s->event_fd, &n, sizeof n);
	pthread_mutex_lock(&s->reply_lock);
	list = s->replies;
	s->replies = NULL;
	pthread_mutex_unlock(&s->reply_lock);
	while (list) {
		struct reply *reply = list;
		struct client *c = &s->client[reply->ref.slot];

		list = reply->next;
		if (c->fd >= 0 && c->serial == reply->ref.serial) {
			c->waiting = false;
			client_answer(c, reply->answer, clock_mono_ns());
			client_settle(s, c);
		}
		free(reply->answer);
		free(reply);
	}
}

void server_reply(struct server *s, struct client_ref ref, char *answer_take)
{
	struct reply *reply = malloc(sizeof *reply), **end;
	uint64_t one = 1;

	if (!reply || !answer_take)
		abort(); /* a client would wait for ever: there is no memory for 40 bytes */
	*reply = (struct reply){NULL, ref, answer_take};
	pthread_mutex_lock(&s->reply_lock);
	for (end = &s->replies; *end; end = &(*end)->next)
		;
	*end = reply;
	pthread_mutex_unlock(&s->reply_lock);
	(void)!write(s->event_fd, &one, sizeof one);
}

static void signals_take(struct server *s)
{
	struct signalfd_siginfo info;

	while (read(s->params.signal_fd, &info, sizeof info) == sizeof info)
		s->params.signalled(s->params.arg, (int)info.ssi_signo);
}

static void client_event(struct server *s, struct client *c, uint32_t events)
{
	if (c->fd < 0)
		return;
	if (events & EPOLLIN)
		client_read(c, clock_mono_ns());
	if (events & EPOLLOUT)
		client_write(c, clock_mono_ns());
	/* Gone at both ends: nobody reads an answer. Only a half-closed client (EPOLLRDHUP) still does. */
	if (events & (EPOLLERR | EPOLLHUP))
		c->broken = c->broken || !(events & EPOLLIN);
	client_settle(s, c);
}

static void stalled_drop(struct server *s, uint64_t now_ns)
{
	for (int i = 0; i < SERVER_CLIENTS_MAX; i++) {
		struct client *c = &s->client[i];

		if (c->fd >= 0 && client_pending(c) && now_ns - c->progress_ns > SERVER_STALL_NS) {
			s->stats.dropped_slow++;
			log_warn("control", "client pid=%d left its answers unread: dropped",
				(int)c->peer.pid);
			slot_close(s, c);
		}
	}
}

void server_run(struct server *s)
{
	uint64_t tick_ns = clock_mono_ns();

	while (!atomic_load(&s->quit)) {
		struct epoll_event ev[16];
		uint64_t now = clock_mono_ns();
		int wait_ms = now >= tick_ns ? 0 : (int)((tick_ns - now) / 1000000) + 1;
		int n = epoll_wait(s->epoll_fd, ev, 16, wait_ms);

		for (int i = 0; i < n; i++) {
			uint32_t tag = ev[i].data.u32;

			if (tag == TAG_LISTEN)
				server_accept(s);
			else if (tag == TAG_EVENT)
				replies_take(s);
			else if (tag == TAG_SIGNAL)
				signals_take(s);
			else
				client_event(s, &s->client[tag], ev[i].events);
		}
		now = clock_mono_ns();
		if (now >= tick_ns) {
			tick_ns = now + 1000000000u;
			stalled_drop(s, now);
			accept_resume(s);
			if (s->params.tick)
				s->params.tick(s->params.arg);
		}
	}
	replies_take(s);
}

void server_quit(struct server *s)
{
	uint64_t one = 1;

	atomic_store(&s->quit, true);
	(void)!write(s->event_fd, &one, sizeof one);
}

struct server_stats server_stats(const struct server *s)
{
	return s->stats;
}

void server_free(struct server *s)
{
	if (!s)
		return;
	for (int i = 0; i < SERVER_CLIENTS_MAX; i++)
		client_close(&s->client[i]);
	if (s->listen_fd >= 0)
		close(s->listen_fd);
	if (s->bound)
		unlink(s->path);
	if (s->event_fd >= 0)
		close(s->event_fd);
	if (s->epoll_fd >= 0)
		close(s->epoll_fd);
	while (s->replies) {
		struct reply *reply = s->replies;

		s->replies = reply->next;
		free(reply->answer);
		free(reply);
	}
	pthread_mutex_destroy(&s->reply_lock);
	free(s);
}
