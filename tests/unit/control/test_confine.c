/* Rights that are given up: what is refused then, in which threads, and what still goes. Each test in a child
 * process, since there is no way back. The same code as in sluiced. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "confine.h"

static struct config cfg;
static struct err err;
static pthread_barrier_t confined;

#define MUST(cond)                                                                                           \
	do {                                                                                                 \
		if (!(cond)) {                                                                               \
			fprintf(stderr, "%d: %s: errno %d %s\n", __LINE__, #cond, errno, err.text);          \
			_exit(1);                                                                            \
		}                                                                                            \
	} while (0)

/* Runs it in a child; returns how that ended. */
static int child(void (*run)(void))
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
			_exit(2);
		run();
		_exit(0);
	}
	assert_true(pid > 0 && waitpid(pid, &status, 0) == pid);
	return status;
}

#define REFUSED(call, why) MUST((errno = 0, (long)(call) == -1 && errno == (why)))

static void forbidden(void)
{
	static char *const args[] = {"/bin/true", NULL};

	REFUSED(execve(args[0], args, args + 1), EPERM);
	REFUSED(syscall(SYS_execveat, 0, "", args, args, 0), EPERM);
	REFUSED(ptrace(PTRACE_TRACEME, 0, 0, 0), EPERM);
	REFUSED(syscall(SYS_fork), EPERM);
	REFUSED(syscall(SYS_vfork), EPERM);
	REFUSED(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0), EPERM);
	REFUSED(syscall(SYS_clone3, NULL, 0), ENOSYS);
	REFUSED(kill(getppid(), 0), EPERM);
	REFUSED(socket(AF_PACKET, SOCK_RAW, 0), EPERM);
	REFUSED(socket(AF_VSOCK, SOCK_STREAM, 0), EPERM);
	REFUSED(socket(AF_NETLINK, SOCK_RAW, 0), EAFNOSUPPORT);
	REFUSED(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0), EPERM);
	REFUSED(syscall(SYS_process_vm_readv, getppid(), 0, 0, 0, 0, 0), EPERM);
	REFUSED(syscall(SYS_bpf, 0, 0, 0), EPERM);
	REFUSED(syscall(SYS_mount, 0, 0, 0, 0, 0), EPERM);
	REFUSED(syscall(SYS_unshare, 0), EPERM);
	REFUSED(syscall(SYS_setns, -1, 0), EPERM);
	REFUSED(syscall(SYS_setuid, 0), EPERM);
	REFUSED(chroot("/"), EPERM);
	REFUSED(syscall(SYS_inotify_init1, 0), EPERM);
	REFUSED(syscall(SYS_userfaultfd, 0), EPERM);
	REFUSED(syscall(SYS_listen, 0, 1), EPERM);
	REFUSED(syscall(SYS_prlimit64, 0, 7, "\377\377\377\377\377\377\377\377\377\377\377\377\377\377\377",
			0),
		EPERM);
	/* of another architecture's numbers: kills, so not here */
}
#define FORBIDDEN_COUNTED 21u /* of these: without clone3 and AF_NETLINK */

static void *nothing(void *arg)
{
	return arg;
}

static void allowed(void)
{
	struct addrinfo *list = NULL;
	pthread_t thread;
	int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC), pair[2];
	char text[64];

	MUST(fd >= 0 && read(fd, text, sizeof text) > 0 && close(fd) == 0);
	MUST(pthread_create(&thread, NULL, nothing, NULL) == 0 && pthread_join(thread, NULL) == 0);
	MUST(getaddrinfo("localhost", "80", NULL, &list) == 0);
	freeaddrinfo(list);
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0 && send(pair[0], "x", 1, 0) == 1);
	MUST((fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0)) >= 0 || errno == EAFNOSUPPORT);
	MUST(prctl(PR_SET_NAME, "name", 0, 0, 0) == 0);
}

/* A thread that was there before. */
static void *before(void *arg)
{
	pthread_barrier_wait(&confined);
	forbidden();
	allowed();
	return arg;
}

static void *after(void *arg)
{
	forbidden();
	return arg;
}

static void run_on(void)
{
	pthread_t old, young;

	pthread_barrier_init(&confined, NULL, 2);
	MUST(pthread_create(&old, NULL, before, NULL) == 0);
	MUST(confine_calls(&cfg, &err) == 0);
	MUST(confine_refused() == 0);
	forbidden();
	allowed();
	MUST(pthread_create(&young, NULL, after, NULL) == 0 && pthread_join(young, NULL) == 0);
	pthread_barrier_wait(&confined);
	MUST(pthread_join(old, NULL) == 0);
	if (confine_refused() != 3 * FORBIDDEN_COUNTED)
		fprintf(stderr, "%u calls counted\n", (unsigned)confine_refused());
	MUST(confine_refused() == 3 * FORBIDDEN_COUNTED);
	confine_say();
}

/* Whoever blocks the signal does not get around the filter. */
static void run_blocked(void)
{
	sigset_t all;

	sigfillset(&all);
	MUST(confine_calls(&cfg, &err) == 0 && sigprocmask(SIG_BLOCK, &all, NULL) == 0);
	ptrace(PTRACE_TRACEME, 0, 0, 0);
}

/* Let through: a child that may be made, and a fork that goes. */
static void run_log(void)
{
	cfg.control.seccomp = 1;
	MUST(confine_calls(&cfg, &err) == 0);
	MUST(ptrace(PTRACE_TRACEME, 0, 0, 0) == 0);
}

static void run_off(void)
{
	cfg.control.seccomp = 2;
	MUST(confine_calls(&cfg, &err) == 0);
	MUST(ptrace(PTRACE_TRACEME, 0, 0, 0) == 0);
}

/* A device whose end the kernel is told by netlink. */
static void run_af_xdp(void)
{
	cfg.ports_count = 1;
	snprintf(cfg.ports[0].device, sizeof cfg.ports[0].device, "net_af_xdp0,iface=x");
	MUST(confine_calls(&cfg, &err) == 0);
	MUST(socket(AF_NETLINK, SOCK_RAW, 0) >= 0);
}

static uint64_t capabilities(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];

	MUST(syscall(SYS_capget, &head, data) == 0);
	return data[0].permitted | (uint64_t)data[1].permitted << 32 | data[0].effective |
	       (uint64_t)data[1].effective << 32;
}

static void *capabilities_before(void *arg)
{
	pthread_barrier_wait(&confined);
	MUST((capabilities() & ~(1ull << CAP_IPC_LOCK)) == 0);
	REFUSED(socket(AF_PACKET, SOCK_RAW, 0), EPERM);
	return arg;
}

static void run_capabilities(void)
{
	pthread_t thread[3];

	pthread_barrier_init(&confined, NULL, 4);
	for (int i = 0; i < 3; i++)
		MUST(pthread_create(&thread[i], NULL, capabilities_before, NULL) == 0);
	MUST(confine_capabilities(&cfg, &err) == 0);
	MUST((capabilities() & ~(1ull << CAP_IPC_LOCK)) == 0);
	pthread_barrier_wait(&confined);
	for (int i = 0; i < 3; i++)
		MUST(pthread_join(thread[i], NULL) == 0);
}

/* One that does not listen keeps what it has: that is said. */
static void *deaf(void *arg)
{
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	pthread_barrier_wait(&confined);
	for (;;)
		pause();
	return arg;
}

static void run_deaf(void)
{
	pthread_t thread;

	pthread_barrier_init(&confined, NULL, 2);
	MUST(pthread_create(&thread, NULL, deaf, NULL) == 0);
	pthread_barrier_wait(&confined);
	MUST(confine_capabilities(&cfg, &err) == -EPERM && strstr(err.text, "keeps capabilities"));
}

static void test_calls(void **state)
{
	int status;

	(void)state;
	assert_int_equal(child(run_on), 0);
	assert_int_equal(child(run_log), 0);
	assert_int_equal(child(run_off), 0);
	assert_int_equal(child(run_af_xdp), 0);
	status = child(run_blocked);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
}

static void test_capabilities(void **state)
{
	(void)state;
	assert_int_equal(child(run_capabilities), 0);
	if (geteuid() == 0)
		assert_int_equal(child(run_deaf), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_calls), cmocka_unit_test(test_capabilities)};

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	return 77; /* sanitizers make calls of their own: the filter is off */
#endif
	return cmocka_run_group_tests(tests, NULL, NULL);
}
