/* seccomp filter (libseccomp) and capabilities (raw calls: the C library has none for all threads). */
#include "confine.h"

#include <dirent.h>
#include <errno.h>
#include <linux/capability.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "log.h"

#define CALLS_MAX 1024 /* numbers of system calls: far below */
#ifndef SYS_SECCOMP
#define SYS_SECCOMP 1 /* si_code; the C library of Debian 12 has no name for it */
#endif
#define CAP(name) (1ull << CAP_##name)

enum { SECCOMP_ON, SECCOMP_LOG, SECCOMP_OFF }; /* control.seccomp */

/* ---- capabilities ---- */

static uint64_t caps_keep;
static _Atomic uint32_t caps_done;

static int caps_set(uint64_t keep)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &head, data))
		return -errno;
	for (int i = 0; i < 2; i++) {
		data[i].permitted &= (uint32_t)(keep >> (32 * i));
		data[i].effective = data[i].permitted;
		data[i].inheritable = 0;
	}
	return syscall(SYS_capset, &head, data) ? -errno : 0;
}

/* capset() is for the calling thread alone: the others are told by a signal. */
static void caps_signalled(int signo)
{
	int saved = errno;

	(void)signo;
	(void)caps_set(caps_keep);
	atomic_fetch_add(&caps_done, 1);
	errno = saved;
}

/* Calls `each` for every other thread; returns how many there are, or the first -errno. */
static int threads_each(int (*each)(pid_t tid, struct err *err), struct err *err)
{
	DIR *dir = opendir("/proc/self/task");
	const struct dirent *entry;
	int count = 0, rc = 0;

	if (!dir)
		return err_set(err, -errno, "/proc/self/task: %s", strerror(errno));
	while (rc >= 0 && (entry = readdir(dir))) {
		pid_t tid = (pid_t)strtol(entry->d_name, NULL, 10);

		if (tid <= 0 || tid == gettid())
			continue;
		rc = each(tid, err);
		count++;
	}
	closedir(dir);
	return rc < 0 ? rc : count;
}

static int thread_signal(pid_t tid, struct err *err)
{
	if (syscall(SYS_tgkill, getpid(), tid, SIGRTMAX) == 0)
		return 0;
	if (errno != ESRCH)
		return err_set(err, -errno, "tgkill: %s", strerror(errno));
	atomic_fetch_add(&caps_done, 1); /* it has ended */
	return 0;
}

static int thread_check(pid_t tid, struct err *err)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = tid};
	struct __user_cap_data_struct data[2];
	uint64_t has;

	if (syscall(SYS_capget, &head, data))
		return 0; /* it has ended */
	has = data[0].permitted | (uint64_t)data[1].permitted << 32;
	return has & ~caps_keep ? err_set(err, -EPERM, "thread %d keeps capabilities %llx", (int)tid,
					  (unsigned long long)(has & ~caps_keep))
				: 0;
}

static bool device_is(const struct config *cfg, const char *driver)
{
	for (uint32_t i = 0; i < cfg->ports_count; i++)
		if (!strncmp(cfg->ports[i].device, driver, strlen(driver)))
			return true;
	return false;
}

/* Ports whose end is a change of the kernel's network configuration. */
static bool device_tells_kernel(const struct config *cfg)
{
	return device_is(cfg, "net_af_xdp") || device_is(cfg, "net_tap");
}

int confine_capabilities(const struct config *cfg, struct err *err)
{
	struct sigaction old, act = {.sa_handler = caps_signalled, .sa_flags = SA_RESTART};
	int count, rc;

	/* Rings register locked memory for their buffers, those of threads to come, too. */
	caps_keep = CAP(IPC_LOCK);
	if (device_tells_kernel(cfg))
		caps_keep |= CAP(NET_ADMIN) | CAP(NET_RAW) | CAP(BPF);
	atomic_store(&caps_done, 0);
	sigaction(SIGRTMAX, &act, &old);
	rc = caps_set(caps_keep);
	if (rc)
		err_set(err, rc, "capset: %s", strerror(-rc));
	count = rc ? rc : threads_each(thread_signal, err);
	for (int i = 0; count > 0 && i < 2000 && (int)atomic_load(&caps_done) < count; i++)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	sigaction(SIGRTMAX, &old, NULL);
	rc = count < 0 ? count : threads_each(thread_check, err);
	if (rc < 0)
		return rc;
	log_info("control", "capabilities given up; what stays, if it was there: ipc_lock%s",
		device_tells_kernel(cfg) ? ", net_admin, net_raw, bpf" : "");
	return 0;
}

/* ---- system calls ---- */

static _Atomic uint64_t refused[CALLS_MAX];
static uint64_t said[CALLS_MAX]; /* server thread */

/* The kernel has not made the call; whoever made it gets EPERM. */
static void call_refused(int signo, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;

	(void)signo;
	if (info->si_code != SYS_SECCOMP)
		return;
	atomic_fetch_add_explicit(&refused[(uint32_t)info->si_syscall % CALLS_MAX], 1, memory_order_relaxed);
	uc->uc_mcontext.gregs[REG_RAX] = -EPERM;
}

uint64_t confine_refused(void)
{
	uint64_t sum = 0;

	for (int i = 0; i < CALLS_MAX; i++)
		sum += atomic_load_explicit(&refused[i], memory_order_relaxed);
	return sum;
}

void confine_say(void)
{
	for (int i = 0; i < CALLS_MAX; i++) {
		uint64_t count = atomic_load_explicit(&refused[i], memory_order_relaxed);
		char *name;

		if (count == said[i])
			continue;
		name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, i);
		log_error("control", "SYSTEM CALL REFUSED: name=%s times=%llu (control.seccomp)",
			name ? name : "?", (unsigned long long)count);
		free(name);
		said[i] = count;
	}
}

static const int plain_calls[] = {
#define CALL(name) SCMP_SYS(name),
#include "syscalls.def"
#undef CALL
};

/* Calls of which only some arguments are let through. */
static int rules_of_arguments(scmp_filter_ctx filter, bool kernel_network)
{
	static const int families[] = {AF_UNIX, AF_INET, AF_INET6};
	static const unsigned long names[] = {
		PR_SET_NAME, PR_GET_NAME, PR_SET_TIMERSLACK, PR_GET_DUMPABLE, PR_SET_VMA};
	pid_t self = getpid();
	int rc = 0;

	for (size_t i = 0; i < sizeof families / sizeof *families && !rc; i++)
		rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
			SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)families[i], 0));
	/* getaddrinfo() looks for the machine's addresses so, and goes on without: refused without a word. */
	if (!rc)
		rc = seccomp_rule_add(filter, kernel_network ? SCMP_ACT_ALLOW : SCMP_ACT_ERRNO(EAFNOSUPPORT),
			SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_EQ, AF_NETLINK, 0));
	for (size_t i = 0; i < sizeof names / sizeof *names && !rc; i++)
		rc = seccomp_rule_add(
			filter, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1, SCMP_A0(SCMP_CMP_EQ, names[i], 0));
	/* Threads, no processes. What clone3() is told lies in memory: the C library takes clone() without
	 * it. */
	if (!rc)
		rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
			SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
	if (!rc)
		rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	/* Signals to itself: abort(), cancelled threads. Limits are read, its own. */
	if (!rc)
		rc = seccomp_rule_add(
			filter, SCMP_ACT_ALLOW, SCMP_SYS(kill), 1, SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)self, 0));
	if (!rc)
		rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
			SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)self, 0));
	if (!rc)
		rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 2, SCMP_A0(SCMP_CMP_EQ, 0, 0),
			SCMP_A2(SCMP_CMP_EQ, 0));
	if (!rc && kernel_network)
		rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(bpf), 0);
	return rc;
}

static int filter_load(uint32_t other, bool kernel_network)
{
	scmp_filter_ctx filter = seccomp_init(other);
	int rc;

	if (!filter)
		return -ENOMEM;
	rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
	if (!rc)
		rc = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	if (!rc)
		rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	for (size_t i = 0; i < sizeof plain_calls / sizeof *plain_calls && !rc; i++)
		rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, plain_calls[i], 0);
	if (!rc)
		rc = rules_of_arguments(filter, kernel_network);
	if (!rc)
		rc = seccomp_load(filter);
	seccomp_release(filter);
	return rc;
}

int confine_calls(const struct config *cfg, struct err *err)
{
	struct sigaction act = {.sa_sigaction = call_refused, .sa_flags = SA_SIGINFO | SA_NODEFER};
	int rc;

	if (cfg->control.seccomp == SECCOMP_OFF) {
		log_warn("control", "no filter of system calls: control.seccomp is off");
		return 0;
	}
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	log_warn("control", "no filter of system calls: the sanitizers' own are not in it");
	return 0;
#endif
	if (sigaction(SIGSYS, &act, NULL))
		return err_set(err, -errno, "SIGSYS: %s", strerror(errno));
	rc = filter_load(
		cfg->control.seccomp == SECCOMP_ON ? SCMP_ACT_TRAP : SCMP_ACT_LOG, device_tells_kernel(cfg));
	if (rc)
		return err_set(err, rc,
			"control.seccomp: the kernel does not take the filter: %s; `off` starts without",
			strerror(-rc));
	log_info("control", "system calls are filtered: other ones are %s",
		cfg->control.seccomp == SECCOMP_ON ? "refused" : "only logged by the kernel");
	return 0;
}
