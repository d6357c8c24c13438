/* Supervised processes; see sup_child.h. */
#include "sup_child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"

void sup_child_arg(struct sup_child *c, const char *fmt, ...)
{
	va_list ap;
	char *text;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0 || c->arg_count + 1 >= SUP_ARGS_MAX)
		abort();
	va_end(ap);
	c->arg[c->arg_count++] = text;
	c->arg[c->arg_count] = NULL;
}

/* In the child, between fork and exec: async-signal-safe calls only. */
static _Noreturn void child_exec(const struct sup_child *c, int log_fd, pid_t parent)
{
	static const char message[] = "cannot be executed\n";
	int null_fd = open("/dev/null", O_RDONLY);
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setpgid(0, 0); /* Ctrl-C is the supervisor's to handle: it ends its children in order */
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent) /* died before the prctl */
		_exit(127);
	dup2(null_fd, STDIN_FILENO);
	dup2(log_fd, STDOUT_FILENO);
	dup2(log_fd, STDERR_FILENO);
	execvp(c->arg[0], c->arg);
	if (write(STDERR_FILENO, c->arg[0], strlen(c->arg[0])) < 0 ||
		write(STDERR_FILENO, message, sizeof message - 1) < 0)
		_exit(126);
	_exit(127);
}

int sup_child_start(struct sup_child *c, uint64_t now_ms, struct err *err)
{
	pid_t self = getpid();
	int fd = open(c->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	struct stat st;

	if (fd < 0)
		return err_set(err, -errno, "%s: %s", c->log_path, strerror(errno));
	c->log_start = fstat(fd, &st) ? 0 : st.st_size;
	c->pid = fork();
	if (c->pid == 0)
		child_exec(c, fd, self);
	close(fd);
	if (c->pid < 0) {
		c->pid = 0;
		return err_set(err, -errno, "fork: %s", strerror(errno));
	}
	c->state = SUP_STARTING;
	c->started_ms = now_ms;
	return 0;
}

bool sup_child_tick(struct sup_child *c, uint64_t now_ms, struct err *err)
{
	if (c->state == SUP_STARTING && (!c->ready || c->ready(c))) {
		c->state = SUP_READY;
		return true;
	}
	if (c->state == SUP_BACKOFF && now_ms >= c->next_start_ms) {
		if (sup_child_start(c, now_ms, err)) {
			c->next_start_ms = now_ms + SUP_BACKOFF_MAX_MS;
			return false;
		}
		return true;
	}
	return false;
}

void sup_child_ended(struct sup_child *c, int status, uint64_t now_ms)
{
	c->pid = 0;
	c->status = status;
	c->state = SUP_DOWN;
	if (!c->restart)
		return;
	if (now_ms - c->started_ms >= SUP_STEADY_MS)
		c->backoff_ms = 0;
	c->backoff_ms = c->backoff_ms ? c->backoff_ms * 2 : SUP_BACKOFF_FIRST_MS;
	if (c->backoff_ms > SUP_BACKOFF_MAX_MS)
		c->backoff_ms = SUP_BACKOFF_MAX_MS;
	c->next_start_ms = now_ms + c->backoff_ms;
	c->restarts++;
	c->state = SUP_BACKOFF;
}

static bool wait_end(struct sup_child *c, uint64_t until_ns)
{
	const struct timespec pause = {0, 10000000};

	for (;;) {
		int status;
		pid_t pid = waitpid(c->pid, &status, WNOHANG);

		if (pid == c->pid || (pid < 0 && errno == ECHILD)) {
			c->status = pid < 0 ? 0 : status;
			c->pid = 0;
			return true;
		}
		if (clock_mono_ns() >= until_ns)
			return false;
		nanosleep(&pause, NULL);
	}
}

bool sup_child_stop(struct sup_child *c, uint64_t grace_ms)
{
	bool orderly = true;

	if (c->pid) {
		kill(c->pid, SIGTERM);
		orderly = sup_child_wait(c, grace_ms);
	}
	c->state = SUP_DOWN;
	return orderly;
}

bool sup_child_wait(struct sup_child *c, uint64_t wait_ms)
{
	if (wait_end(c, clock_mono_ns() + wait_ms * 1000000))
		return true;
	kill(c->pid, SIGKILL);
	wait_end(c, UINT64_MAX);
	return false;
}

const char *sup_child_end_text(const struct sup_child *c, char *out, uint32_t bytes)
{
	if (WIFSIGNALED(c->status))
		snprintf(out, bytes, "signal %d", WTERMSIG(c->status));
	else
		snprintf(out, bytes, "exit status %d", WEXITSTATUS(c->status));
	return out;
}

bool sup_child_logged(const struct sup_child *c, const char *text)
{
	FILE *f = fopen(c->log_path, "r");
	char line[1024];
	bool found = false;

	if (!f)
		return false;
	if (!fseeko(f, c->log_start, SEEK_SET))
		while (!found && fgets(line, sizeof line, f))
			found = strstr(line, text) != NULL;
	fclose(f);
	return found;
}

void sup_child_free(struct sup_child *c)
{
	for (uint32_t i = 0; i < c->arg_count; i++)
		free(c->arg[i]);
	c->arg_count = 0;
}
