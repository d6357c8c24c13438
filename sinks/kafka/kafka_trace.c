/* When each alert was durable in its log, acknowledged and committed: lines for perf/alert_latency.py, one an
 * alert: key, then the three as nanoseconds of the wall clock. Each producer writes a file, whose name begins
 * as SLUICE_ALERT_TRACE says. Without that: nothing. The sink thread. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "kafka_priv.h"

#define TRACE_MAX 8192 /* of a transaction; what comes beyond is not traced */

struct kafka_trace {
	FILE *out;
	uint32_t count;
	struct {
		char key[64];
		uint64_t durable_ns, acked_ns;
	} alert[TRACE_MAX];
};

static uint64_t wall_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

void kafka_trace_open(struct kafka_producer *tx)
{
	const char *begin = getenv("SLUICE_ALERT_TRACE");
	char path[512];

	if (!begin || tx->kp->lane != KAFKA_LANE_ALERTS)
		return;
	snprintf(path, sizeof path, "%.400s-%d-%u", begin, (int)tx->kp->part->log, tx->kp->at.partition);
	tx->trace = calloc(1, sizeof *tx->trace);
	if (tx->trace)
		tx->trace->out = fopen(path, "ae");
	if (tx->trace && !tx->trace->out)
		kafka_trace_close(tx);
}

void kafka_trace_close(struct kafka_producer *tx)
{
	if (tx->trace && tx->trace->out)
		fclose(tx->trace->out);
	free(tx->trace);
	tx->trace = NULL;
}

uint64_t kafka_trace_durable(const struct kafka_producer *tx, uint64_t durable_ns)
{
	if (!tx->trace)
		return 0;
	return durable_ns ? wall_ns() - (clock_mono_ns() - durable_ns) : wall_ns();
}

uint32_t kafka_trace_sent(struct kafka_producer *tx, const struct kafka_message *msg)
{
	struct kafka_trace *t = tx->trace;
	uint32_t bytes;

	if (!t || msg->topic != KAFKA_TOPIC_ALERTS || t->count == TRACE_MAX)
		return 0;
	bytes = msg->key_bytes < sizeof t->alert->key ? msg->key_bytes : sizeof t->alert->key - 1;
	memcpy(t->alert[t->count].key, msg->key, bytes);
	t->alert[t->count].key[bytes] = 0;
	t->alert[t->count].durable_ns = tx->kp->durable_ns;
	return ++t->count;
}

void kafka_trace_acked(struct kafka_producer *tx, const void *number)
{
	if (tx->trace && number)
		tx->trace->alert[(uintptr_t)number - 1].acked_ns = wall_ns();
}

void kafka_trace_ended(struct kafka_producer *tx, bool committed)
{
	struct kafka_trace *t = tx->trace;
	uint64_t now_ns = wall_ns();

	if (!t)
		return;
	for (uint32_t i = 0; committed && i < t->count; i++)
		fprintf(t->out, "%s %lu %lu %lu\n", t->alert[i].key, t->alert[i].durable_ns,
			t->alert[i].acked_ns, now_ns);
	fflush(t->out);
	t->count = 0;
}
