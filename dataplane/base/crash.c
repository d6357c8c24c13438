/* Crash points: see crash.h. The environment is read at the first pass of any point, by whichever thread gets
 * there; after that the table is constant but for its counters. */
#include "crash.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CRASH_POINTS_MAX 8
#define CRASH_NAME_MAX 64

struct crash_target {
	char name[CRASH_NAME_MAX];
	_Atomic long left;
};

_Atomic int crash_state = -1;
static struct crash_target crash_target[CRASH_POINTS_MAX];
static int crash_count;
static pthread_once_t crash_once = PTHREAD_ONCE_INIT;

/* A text that cannot be read as a list of name:N stops the process: a test that injects nothing proves
 * nothing. */
static void crash_refuse(void)
{
	static const char text[] = "SLUICE_CRASH: expected name:N[,name:N...] with N >= 1\n";
	ssize_t n = write(STDERR_FILENO, text, sizeof text - 1);

	(void)n;
	abort();
}

static void crash_read(void)
{
	const char *at = getenv("SLUICE_CRASH");

	while (at && *at) {
		const char *colon = strchr(at, ':');
		char *end = NULL;
		struct crash_target *t = &crash_target[crash_count];

		if (!colon || colon == at || colon - at >= CRASH_NAME_MAX || crash_count == CRASH_POINTS_MAX)
			crash_refuse();
		memcpy(t->name, at, (size_t)(colon - at));
		t->left = strtol(colon + 1, &end, 10);
		if (end == colon + 1 || t->left < 1 || (*end && *end != ','))
			crash_refuse();
		crash_count++;
		at = *end ? end + 1 : end;
	}
	atomic_store(&crash_state, crash_count ? 1 : 0);
}

void crash_point_armed(const char *name)
{
	pthread_once(&crash_once, crash_read);
	for (int i = 0; i < crash_count; i++)
		if (!strcmp(crash_target[i].name, name) && atomic_fetch_sub(&crash_target[i].left, 1) == 1)
			kill(getpid(), SIGKILL);
}
