/* Partitions whose lanes get their first positions: see kafka_split.h. A few at a time, in a list. */
#include "kafka_split.h"

#include <pthread.h>
#include <stddef.h>

static pthread_mutex_t split_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct kafka_split *splits;

static bool split_held(const struct kafka_split *s)
{
	for (const struct kafka_split *at = splits; at; at = at->next)
		if (at->epoch == s->epoch && at->partition == s->partition)
			return true;
	return false;
}

bool kafka_split_begin(struct kafka_split *s)
{
	bool free;

	pthread_mutex_lock(&split_mutex);
	free = !split_held(s);
	if (free) {
		s->next = splits;
		splits = s;
	}
	pthread_mutex_unlock(&split_mutex);
	return free;
}

void kafka_split_end(struct kafka_split *s)
{
	struct kafka_split **at = &splits;

	pthread_mutex_lock(&split_mutex);
	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	pthread_mutex_unlock(&split_mutex);
}
