/* chembed: runs the genuine ClickHouse engine, as the library libchdb.so carries it, as a server process in
 * the foreground, with its HTTP and native TCP interfaces on the loopback address.
 *
 *   chembed [-p] LIBCHDB DATA_DIR HTTP_PORT TCP_PORT [ENGINE_ARGUMENT...]
 *     -p  end when the parent process ends
 *   chembed --version
 *   ENGINE_ARGUMENT: as of clickhouse-local, e.g. --config-file=FILE (users, limits, logs).
 *
 * SIGTERM or SIGINT: orderly stop, exit 0. Engine ends by itself (port or data directory in use): exit 1, its
 * message on standard error. Wrong usage, library missing or not fitting: exit 2.
 *
 * How it works: the library offers clickhouse-local. That is given a query which opens the listeners and then
 * counts the lines of standard input, which is a pipe that we hold: the server lives until a signal makes us
 * close it. Never part of the DPDK process: a fault in the engine must not take the data plane along. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#define EXIT_USAGE 2
#define ENGINE_ARGS_MAX 128
#define HOLD_QUERY                                                                                           \
	"--query=SYSTEM START LISTEN HTTP; SYSTEM START LISTEN TCP; SELECT count() FROM table FORMAT Null"

/* The two functions of libchdb.so that are used. */
struct engine {
	void *(*run)(int argc, char **argv);
	const char *(*error)(void *result);
};

struct stopper {
	sigset_t signals;
	int hold_fd; /* write end of the engine's standard input */
	_Atomic bool stopping;
};

static void *stopper_run(void *arg)
{
	struct stopper *s = arg;
	int signo;

	if (sigwait(&s->signals, &signo))
		return NULL;
	fprintf(stderr, "chembed: signal %d: stopping\n", signo);
	atomic_store(&s->stopping, true);
	close(s->hold_fd);
	/* The engine may hang in its own stop; a second signal ends it the hard way. */
	pthread_sigmask(SIG_UNBLOCK, &s->signals, NULL);
	return NULL;
}

/* Blocks the signals for all threads to come and makes the pipe that keeps the engine's query running. */
static int stopper_start(struct stopper *s)
{
	pthread_t thread;
	int ends[2], rc;

	sigemptyset(&s->signals);
	sigaddset(&s->signals, SIGTERM);
	sigaddset(&s->signals, SIGINT);
	pthread_sigmask(SIG_BLOCK, &s->signals, NULL);
	if (pipe2(ends, O_CLOEXEC) || dup2(ends[0], STDIN_FILENO) < 0) {
		fprintf(stderr, "chembed: pipe: %s\n", strerror(errno));
		return -1;
	}
	close(ends[0]);
	s->hold_fd = ends[1];
	rc = pthread_create(&thread, NULL, stopper_run, s);
	if (rc) {
		fprintf(stderr, "chembed: thread: %s\n", strerror(rc));
		return -1;
	}
	pthread_detach(thread);
	return 0;
}

static int engine_load(struct engine *e, const char *path)
{
	void *lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);

	if (!lib) {
		fprintf(stderr, "chembed: %s\n", dlerror());
		return -1;
	}
	e->run = (void *(*)(int, char **))dlsym(lib, "chdb_query_cmdline");
	e->error = (const char *(*)(void *))dlsym(lib, "chdb_result_error");
	if (!e->run || !e->error) {
		fprintf(stderr, "chembed: %s is no libchdb that this program knows\n", path);
		return -1;
	}
	return 0;
}

/* "--name=value" in memory of its own (the engine keeps it). */
static char *option(const char *name, const char *value)
{
	char *text;

	if (asprintf(&text, "--%s=%s", name, value) < 0) {
		fprintf(stderr, "chembed: no memory\n");
		exit(EXIT_USAGE);
	}
	return text;
}

static bool port_valid(const char *text)
{
	char *end;
	unsigned long port = strtoul(text, &end, 10);

	return *text >= '0' && *text <= '9' && *end == 0 && port > 0 && port < 65536;
}

static int engine_run(const struct engine *e, struct stopper *s, char **arg, int extra_count, char **extra)
{
	char *argv[ENGINE_ARGS_MAX];
	const char *fault;
	int argc = 0;

	argv[argc++] = "clickhouse";
	argv[argc++] = option("path", arg[1]);
	argv[argc++] = option("http_port", arg[2]);
	argv[argc++] = option("tcp_port", arg[3]);
	argv[argc++] = "--listen_host=127.0.0.1";
	for (int i = 0; i < extra_count; i++)
		argv[argc++] = extra[i];
	argv[argc++] = "--structure=x String";
	argv[argc++] = "--input-format=LineAsString";
	argv[argc++] = HOLD_QUERY;
	argv[argc] = NULL;
	fault = e->error(e->run(argc, argv));
	if (fault && *fault) {
		fprintf(stderr, "chembed: %s\n", fault);
		return EXIT_FAILURE;
	}
	return atomic_load(&s->stopping) ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
	bool with_parent = argc > 1 && strcmp(argv[1], "-p") == 0;
	char **arg = argv + 1 + with_parent;
	int count = argc - 1 - with_parent;
	pid_t parent = getppid();
	static struct stopper stopper;
	struct engine engine;

	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		puts("chembed " SLUICE_VERSION);
		return EXIT_SUCCESS;
	}
	if (count < 4 || !port_valid(arg[2]) || !port_valid(arg[3]) || count - 4 > ENGINE_ARGS_MAX - 16) {
		fprintf(stderr,
			"usage: chembed [-p] LIBCHDB DATA_DIR HTTP_PORT TCP_PORT [ENGINE_ARGUMENT...]\n");
		return EXIT_USAGE;
	}
	if (with_parent) {
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		if (getppid() != parent) /* it ended before the line above */
			return EXIT_FAILURE;
	}
	if (stopper_start(&stopper) || engine_load(&engine, arg[0]))
		return EXIT_USAGE;
	return engine_run(&engine, &stopper, arg, count - 4, arg + 4);
}
