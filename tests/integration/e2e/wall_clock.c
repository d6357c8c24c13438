/* The wall clock of one process, set by a test while the machine's own stays as it is. To be preloaded
 * (LD_PRELOAD): the file that SLUICE_TEST_CLOCK names holds, as 8 bytes, by how many milliseconds
 * CLOCK_REALTIME is off; whoever has the file may write there at any time. Other clocks are as they are, as
 * when the clock of a machine is set. Waits until a time of the wall clock are told the machine's time, as
 * the kernel would know it. Any thread. */
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

static _Atomic int64_t none;
static _Atomic int64_t *shift_ms = &none;

__attribute__((constructor)) static void wall_clock_map(void)
{
	const char *path = getenv("SLUICE_TEST_CLOCK");
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	void *p = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *shift_ms, PROT_READ, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		abort(); /* a test that shifts nothing proves nothing */
	close(fd);
	shift_ms = p;
}

static void shift(struct timespec *t, int64_t ms)
{
	int64_t ns = t->tv_nsec + ms % 1000 * 1000000;

	t->tv_sec += ms / 1000 + (ns < 0 ? -1 : ns / 1000000000);
	t->tv_nsec = ns < 0 ? ns + 1000000000 : ns % 1000000000;
}

static struct timespec wall(clockid_t clock)
{
	struct timespec t = {0, 0};

	syscall(SYS_clock_gettime, clock, &t);
	shift(&t, atomic_load_explicit(shift_ms, memory_order_relaxed));
	return t;
}

/* A deadline as the machine's clock knows it. One of the monotonic clock, which a condition may have, is far
 * below any wall clock time. */
static struct timespec until(const struct timespec *t)
{
	struct timespec real = *t;

	if (t->tv_sec > 1000000000)
		shift(&real, -atomic_load_explicit(shift_ms, memory_order_relaxed));
	return real;
}

int clock_gettime(clockid_t clock, struct timespec *t)
{
	if (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE)
		return (int)syscall(SYS_clock_gettime, clock, t);
	*t = wall(clock);
	return 0;
}

int gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
	struct timespec t = wall(CLOCK_REALTIME);

	(void)zone;
	*tv = (struct timeval){t.tv_sec, t.tv_nsec / 1000};
	return 0;
}

time_t time(time_t *out)
{
	time_t t = wall(CLOCK_REALTIME).tv_sec;

	if (out)
		*out = t;
	return t;
}

int timespec_get(struct timespec *t, int base)
{
	if (base != TIME_UTC)
		return 0;
	*t = wall(CLOCK_REALTIME);
	return base;
}

/* ---- the functions behind ours ---- */

int pthread_cond_timedwait(
	pthread_cond_t *restrict cond, pthread_mutex_t *restrict lock, const struct timespec *restrict at)
{
	const struct timespec real = until(at);
	/* There is an older one of the same name. */
	__typeof__(pthread_cond_timedwait) *next = dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");

	return next(cond, lock, &real);
}

int cnd_timedwait(cnd_t *restrict cond, mtx_t *restrict lock, const struct timespec *restrict at)
{
	const struct timespec real = until(at);
	__typeof__(cnd_timedwait) *next = dlsym(RTLD_NEXT, "cnd_timedwait");

	return next(cond, lock, &real);
}

int pthread_mutex_timedlock(pthread_mutex_t *restrict lock, const struct timespec *restrict at)
{
	const struct timespec real = until(at);
	__typeof__(pthread_mutex_timedlock) *next = dlsym(RTLD_NEXT, "pthread_mutex_timedlock");

	return next(lock, &real);
}

int sem_timedwait(sem_t *restrict sem, const struct timespec *restrict at)
{
	const struct timespec real = until(at);
	__typeof__(sem_timedwait) *next = dlsym(RTLD_NEXT, "sem_timedwait");

	return next(sem, &real);
}
