/* The control socket for real: a server thread with the true dispatch over a made-up view, and clients of all
 * kinds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"
#include "dispatch.h"
#include "made_view.h"

#define STATUS "{\"v\":1,\"cmd\":\"version\"}\n"

static struct config cfg;
static char dir[64], path[100];
static struct server *server;
static struct dispatch *dispatch;
static pthread_t thread;
static _Atomic bool drain_go;
static _Atomic unsigned stops, drains;

static void view_make(void *arg, struct view *v)
{
	(void)arg;
	made_view(v, &cfg);
}

static void view_end(void *arg, struct view *v)
{
	(void)arg;
	view_free(v);
}

static json_t *stop_made(void *arg, const struct peer *peer, const struct request *rq, struct err *err)
{
	(void)arg;
	(void)peer;
	(void)rq;
	(void)err;
	stops++;
	return json_pack("{s:b}", "stopping", 1);
}

static json_t *drain_made(void *arg, const struct peer *peer, const struct request *rq, struct err *err)
{
	(void)arg;
	(void)peer;
	drains++;
	while (!drain_go)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	if (request_uint(rq, "timeout", 0) == 1) {
		err_set(err, -ETIMEDOUT, "not drained");
		return NULL;
	}
	return json_pack("{s:b}", "drained", 1);
}

static char *requested(
	void *arg, struct client_ref ref, const struct peer *peer, const char *line, size_t bytes)
{
	return dispatch_request(arg, ref, peer, line, bytes);
}

static void *serve(void *arg)
{
	server_run(arg);
	return NULL;
}

static const dispatch_run run_table[COMMAND_COUNT] = {[COMMAND_stop] = stop_made,
	[COMMAND_drain] = drain_made,
	[COMMAND_log_level] = stop_made,
	[COMMAND_rules_apply] = drain_made,
	[COMMAND_rules_rollback] = drain_made};

static int start_group(const char *group)
{
	static const struct dispatch_ops ops = {view_make, view_end, run_table};
	struct server_params params = {.path = path, .group = group, .signal_fd = -1, .request = requested};
	struct err err;

	drain_go = false;
	stops = drains = 0;
	snprintf(dir, sizeof dir, "/tmp/sluice_ctl_%d", (int)getpid());
	mkdir(dir, 0755);
	chmod(dir, 0755);
	snprintf(path, sizeof path, "%s/control.sock", dir);
	assert_int_equal(dispatch_create(&dispatch, &ops, NULL, &err), 0);
	params.arg = dispatch;
	if (server_create(&server, &params, &err))
		fail_msg("%s", err.text);
	dispatch_set_server(dispatch, server);
	return pthread_create(&thread, NULL, serve, server);
}

static int start(void **state)
{
	(void)state;
	return start_group("");
}

static int finish(void **state)
{
	(void)state;
	drain_go = true;
	server_quit(server);
	pthread_join(thread, NULL);
	dispatch_join(dispatch);
	server_free(server);
	dispatch_free(dispatch);
	rmdir(dir);
	return 0;
}

static int dial(void)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(addr.sun_path, sizeof addr.sun_path, "%s", path);
	if (connect(fd, (struct sockaddr *)&addr, sizeof addr)) {
		close(fd);
		return -errno;
	}
	return fd;
}

static void put(int fd, const char *text, size_t bytes)
{
	while (bytes) {
		ssize_t n = send(fd, text, bytes, MSG_NOSIGNAL);

		assert_true(n > 0);
		text += n;
		bytes -= (size_t)n;
	}
}

static void put_text(int fd, const char *text)
{
	put(fd, text, strlen(text));
}

/* One answer line, parsed; NULL at the end of the connection. Fails after a minute. */
static json_t *get(int fd)
{
	size_t n = 0, cap = 1 << 20;
	char *line = malloc(cap);
	json_t *answer;

	for (;;) {
		struct pollfd p = {fd, POLLIN, 0};

		if (poll(&p, 1, 60000) != 1)
			fail_msg("no answer in a minute");
		assert_true(n < cap);
		if (recv(fd, line + n, 1, 0) <= 0) {
			free(line);
			return NULL;
		}
		if (line[n++] == '\n')
			break;
	}
	answer = json_loadb(line, n, 0, NULL);
	assert_non_null(answer);
	free(line);
	return answer;
}

static const char *code_of(const json_t *answer)
{
	const json_t *code = json_object_get(json_object_get(answer, "error"), "code");

	return code ? json_string_value(code) : "ok";
}

static void expect(int fd, const char *code)
{
	json_t *answer = get(fd);

	assert_non_null(answer);
	assert_int_equal(json_integer_value(json_object_get(answer, "v")), 1);
	assert_string_equal(code_of(answer), code);
	json_decref(answer);
}

static void test_one(void **state)
{
	int fd = dial();
	struct stat st;

	(void)state;
	assert_true(fd >= 0);
	put(fd, STATUS, sizeof STATUS - 1);
	expect(fd, "ok");
	put_text(fd, "{\"v\":1,\"cmd\":\"status\"}\n{\"v\":1,\"cmd\":\"stop\"}\n");
	expect(fd, "ok");
	expect(fd, "ok");
	assert_int_equal(stops, 1);
	close(fd);
	assert_int_equal(lstat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0660);
}

static void test_pipelined(void **state)
{
	int fd = dial();

	(void)state;
	for (int i = 0; i < 500; i++)
		put(fd, i % 2 ? "{}\n" : STATUS, i % 2 ? 3 : sizeof STATUS - 1);
	shutdown(fd, SHUT_WR);
	for (int i = 0; i < 500; i++)
		expect(fd, i % 2 ? "bad_request" : "ok");
	assert_null(get(fd));
	close(fd);
}

/* Without a descriptor for the next client the server waits, it does not spin; then it lets the client in. */
static void test_no_descriptors(void **state)
{
	static int hog[65536];
	int n = 0, fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct rlimit limit, low;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	low = limit;
	low.rlim_cur = (rlim_t)fd + 40;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	while (n < 65536 && (hog[n] = fcntl(fd, F_DUPFD_CLOEXEC, 0)) >= 0)
		n++;
	snprintf(addr.sun_path, sizeof addr.sun_path, "%s", path);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof addr), 0);
	put(fd, STATUS, sizeof STATUS - 1);
	while (!server_stats(server).accept_failed)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
	assert_true(server_stats(server).accept_failed < 100); /* a loop would count thousands */
	while (n)
		close(hog[--n]);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	expect(fd, "ok");
	close(fd);
}

static void test_half_lines(void **state)
{
	int fd = dial(), other;

	(void)state;
	for (size_t i = 0; i < sizeof STATUS - 1; i++) {
		put(fd, &STATUS[i], 1);
		if (i == 5) { /* others are served meanwhile */
			other = dial();
			put(other, STATUS, sizeof STATUS - 1);
			expect(other, "ok");
			close(other);
		}
	}
	expect(fd, "ok");
	put_text(fd, "{\"v\":1,"); /* and goes away within a line */
	close(fd);
	fd = dial();
	put(fd, STATUS, sizeof STATUS - 1);
	expect(fd, "ok");
	close(fd);
}

static void test_garbage(void **state)
{
	unsigned seed = 7;
	int fd = dial();
	char junk[3000];

	(void)state;
	for (int round = 0; round < 50; round++) {
		for (size_t i = 0; i < sizeof junk - 1; i++) {
			seed = seed * 1664525u + 1013904223u;
			junk[i] = (char)(seed >> 24);
			if (junk[i] == '\n')
				junk[i] = 0;
		}
		junk[sizeof junk - 1] = '\n';
		put(fd, junk, sizeof junk);
		expect(fd, "bad_request");
	}
	put_text(fd, "\n");
	expect(fd, "bad_request");
	put(fd, STATUS, sizeof STATUS - 1);
	expect(fd, "ok");
	close(fd);
}

static void test_oversized(void **state)
{
	size_t bytes = CONTROL_REQUEST_BYTES_MAX - 100;
	char *big = malloc(bytes + 200);
	int fd = dial(), sent = 0;

	(void)state;
	memset(big, ' ', bytes + 200);
	memcpy(big, "{\"v\":1,\"cmd\":\"version\"}",
		23); /* just below the limit: blanks behind it are fine */
	big[bytes] = '\n';
	put(fd, big, bytes + 1);
	expect(fd, "ok");
	memset(big, 'x', bytes + 200);
	while (sent < 40 && send(fd, big, bytes, MSG_NOSIGNAL) > 0)
		sent++; /* the server stops reading and closes: it does not take it all in */
	expect(fd, "too_big");
	assert_null(get(fd));
	assert_true(sent < 40);
	close(fd);
	free(big);
}

static void test_many_clients(void **state)
{
	int fd[SERVER_CLIENTS_MAX + 10], alive = 0;

	(void)state;
	for (int i = 0; i < SERVER_CLIENTS_MAX + 10; i++) {
		fd[i] = dial();
		assert_true(fd[i] >= 0);
		put(fd[i], STATUS, sizeof STATUS - 1);
		expect(fd[i], "ok");
	}
	for (int i = 0; i < SERVER_CLIENTS_MAX + 10; i++) {
		struct pollfd p = {fd[i], POLLIN, 0};

		alive += poll(&p, 1, 0) == 0; /* idle, not closed */
	}
	assert_int_equal(alive, SERVER_CLIENTS_MAX);
	put(fd[SERVER_CLIENTS_MAX + 9], STATUS, sizeof STATUS - 1);
	expect(fd[SERVER_CLIENTS_MAX + 9], "ok");
	for (int i = 0; i < SERVER_CLIENTS_MAX + 10; i++)
		close(fd[i]);
}

/* A client that asks and does not read holds up nobody; the server keeps a bounded part of its answers. */
static void test_unread_answers(void **state)
{
	static const char ask[] = "{\"v\":1,\"cmd\":\"metrics\"}\n";
	int fd = dial(), other = dial(), asked = 0;

	(void)state;
	fcntl(fd, F_SETFL, O_NONBLOCK);
	while (asked < 100000 && send(fd, ask, sizeof ask - 1, MSG_NOSIGNAL) == (ssize_t)sizeof ask - 1) {
		asked++;
		if (asked % 1000 == 0) {
			put(other, STATUS, sizeof STATUS - 1);
			expect(other, "ok");
		}
	}
	assert_true(asked < 100000); /* it stopped reading us */
	put(other, STATUS, sizeof STATUS - 1);
	expect(other, "ok");
	fcntl(fd, F_SETFL, 0);
	for (int i = 0; i < 50; i++)
		expect(fd, "ok");
	close(fd);
	close(other);
}

static void test_slow_command(void **state)
{
	static const char drain[] = "{\"v\":1,\"cmd\":\"drain\"}\n";
	int fd = dial(), gone = dial(), other = dial();
	struct pollfd p = {fd, POLLIN, 0};

	(void)state;
	put(fd, drain, sizeof drain - 1);
	put(fd, STATUS, sizeof STATUS - 1); /* behind it: answered after it */
	put(gone, drain, sizeof drain - 1);
	while (drains < 2)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	close(gone); /* its answer finds nobody */
	put(other, STATUS, sizeof STATUS - 1);
	expect(other, "ok");
	assert_int_equal(poll(&p, 1, 0), 0);
	drain_go = true;
	expect(fd, "ok");
	expect(fd, "ok");
	put_text(fd, "{\"v\":1,\"cmd\":\"drain\",\"args\":{\"timeout\":1}}\n");
	expect(fd, "failed");
	close(fd);
	close(other);
}

static void test_too_many_slow(void **state)
{
	static const char drain[] = "{\"v\":1,\"cmd\":\"drain\"}\n";
	int fd[DISPATCH_JOBS_MAX + 1];

	(void)state;
	for (int i = 0; i < DISPATCH_JOBS_MAX; i++) {
		fd[i] = dial();
		put(fd[i], drain, sizeof drain - 1);
	}
	while (drains < DISPATCH_JOBS_MAX)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	fd[DISPATCH_JOBS_MAX] = dial();
	put(fd[DISPATCH_JOBS_MAX], drain, sizeof drain - 1);
	expect(fd[DISPATCH_JOBS_MAX], "busy");
	drain_go = true;
	for (int i = 0; i <= DISPATCH_JOBS_MAX; i++) {
		if (i < DISPATCH_JOBS_MAX)
			expect(fd[i], "ok");
		close(fd[i]);
	}
}

/* ---- permissions: a client of another user ---- */

/* Exit codes of the child: which answers it got. */
enum { GOT_OK = 1, GOT_FORBIDDEN, GOT_NO_CONNECTION, GOT_OTHER };

static int ask_as(gid_t extra, const char *line)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		char answer[4096];
		ssize_t n;
		int fd;

		if (setgroups(extra ? 1 : 0, &extra) || setgid(65534) || setuid(65534))
			_exit(GOT_OTHER);
		fd = dial();
		if (fd < 0)
			_exit(GOT_NO_CONNECTION);
		(void)!send(fd, line, strlen(line), MSG_NOSIGNAL);
		n = recv(fd, answer, sizeof answer - 1, 0);
		answer[n > 0 ? n : 0] = 0;
		_exit(strstr(answer, "\"ok\":true")   ? GOT_OK
			: strstr(answer, "forbidden") ? GOT_FORBIDDEN
						      : GOT_OTHER);
	}
	waitpid(pid, &status, 0);
	return WEXITSTATUS(status);
}

static void test_permissions(void **state)
{
	static const char stop[] = "{\"v\":1,\"cmd\":\"stop\"}\n";
	struct group *group = getgrgid(1);

	if (geteuid() != 0 || !group)
		skip();
	finish(state);
	start_group(group->gr_name);
	/* The file's mode keeps strangers out; members of the group may read and not write. */
	assert_int_equal(ask_as(0, STATUS), GOT_NO_CONNECTION);
	assert_int_equal(ask_as(1, STATUS), GOT_OK);
	assert_int_equal(ask_as(1, stop), GOT_FORBIDDEN);
	assert_int_equal(stops, 0);
	/* Even with the file open to all, the peer's credentials decide. */
	assert_int_equal(chmod(path, 0666), 0);
	assert_int_equal(ask_as(0, STATUS), GOT_FORBIDDEN);
	assert_int_equal(ask_as(0, stop), GOT_FORBIDDEN);
	assert_int_equal(ask_as(1, STATUS), GOT_OK);
	assert_int_equal(stops, 0);
}

/* ---- the socket file ---- */

static void test_socket_file(void **state)
{
	struct server_params params = {.path = path, .group = "", .signal_fd = -1, .request = requested};
	struct server *second = NULL;
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct err err;
	int fd;

	(void)state;
	assert_int_equal(server_create(&second, &params, &err), -EADDRINUSE);
	assert_non_null(strstr(err.text, "another daemon answers"));
	fd = dial(); /* the first one is unharmed */
	put(fd, STATUS, sizeof STATUS - 1);
	expect(fd, "ok");
	close(fd);

	snprintf(path + strlen(path), 8, ".2");
	snprintf(addr.sun_path, sizeof addr.sun_path, "%s", path);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof addr), 0);
	close(fd); /* left over: nobody listens */
	assert_int_equal(server_create(&second, &params, &err), 0);
	server_free(second);
	assert_int_equal(access(path, F_OK), -1);

	fd = open(path, O_CREAT | O_WRONLY, 0600);
	close(fd);
	assert_int_equal(server_create(&second, &params, &err), -EEXIST);
	assert_int_equal(access(path, F_OK), 0); /* a file that is no socket stays */
	unlink(path);
	params.group = "no-such-group";
	assert_int_equal(server_create(&second, &params, &err), -EINVAL);
	assert_int_equal(access(path, F_OK), -1);
}

static void test_socket_directory(void **state)
{
	struct server_params params = {.path = path, .group = "", .signal_fd = -1, .request = requested};
	struct server *second = NULL;
	struct stat st;
	struct err err;
	char name[80];

	(void)state;
	snprintf(name, sizeof name, "%s/run", dir);
	snprintf(path, sizeof path, "%s/s", name);
	umask(027);
	assert_int_equal(server_create(&second, &params, &err), 0);
	umask(022);
	server_free(second);
	assert_int_equal(stat(name, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0755);
	assert_int_equal(rmdir(name), 0);

	snprintf(path, sizeof path, "%s/a/s", name);
	assert_int_equal(server_create(&second, &params, &err), -ENOENT);
	assert_non_null(strstr(err.text, "/run/: No such file or directory"));
	assert_int_equal(access(name, F_OK), -1);

	snprintf(name, sizeof name, "/sluice-test-%d", getpid());
	snprintf(path, sizeof path, "%s/s", name);
	assert_int_equal(server_create(&second, &params, &err), -ENOENT);
	assert_non_null(strstr(err.text, "none is made right below /"));
	assert_int_equal(rmdir(name), -1); /* nothing is left of it there */
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_one, start, finish),
		cmocka_unit_test_setup_teardown(test_pipelined, start, finish),
		cmocka_unit_test_setup_teardown(test_half_lines, start, finish),
		cmocka_unit_test_setup_teardown(test_no_descriptors, start, finish),
		cmocka_unit_test_setup_teardown(test_garbage, start, finish),
		cmocka_unit_test_setup_teardown(test_oversized, start, finish),
		cmocka_unit_test_setup_teardown(test_many_clients, start, finish),
		cmocka_unit_test_setup_teardown(test_unread_answers, start, finish),
		cmocka_unit_test_setup_teardown(test_slow_command, start, finish),
		cmocka_unit_test_setup_teardown(test_too_many_slow, start, finish),
		cmocka_unit_test_setup_teardown(test_permissions, start, finish),
		cmocka_unit_test_setup_teardown(test_socket_file, start, finish),
		cmocka_unit_test_setup_teardown(test_socket_directory, start, finish)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
