#include "virtual_line.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "udp_peer.h"

#define UNDER_WAY_MAX 100000
#define START_NS 1000000000000ull
#define REFUSAL 40

struct item {
	uint64_t at_ns, order;
	enum line_way way;
	size_t bytes;
	uint8_t *data;
};

struct virtual_line line;
static struct item heap[UNDER_WAY_MAX], inbox[UNDER_WAY_MAX];
static size_t heap_count, inbox_first, inbox_count;
static uint64_t order, bottleneck_free_ns;

ssize_t __wrap_send(int fd, const void *data, size_t bytes, int flags);
ssize_t __wrap_recv(int fd, void *data, size_t bytes, int flags);
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout_ms);
int __wrap_clock_gettime(clockid_t clock, struct timespec *out);

static bool before(const struct item *a, const struct item *b)
{
	return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

static void heap_put(struct item item)
{
	size_t i = heap_count++;

	assert_true(heap_count < UNDER_WAY_MAX);
	for (; i && before(&item, &heap[(i - 1) / 2]); i = (i - 1) / 2)
		heap[i] = heap[(i - 1) / 2];
	heap[i] = item;
}

static struct item heap_take(void)
{
	struct item top = heap[0], last = heap[--heap_count];
	size_t i = 0;

	for (;;) {
		size_t next = 2 * i + 1;

		if (next + 1 < heap_count && before(&heap[next + 1], &heap[next]))
			next++;
		if (next >= heap_count || !before(&heap[next], &last))
			break;
		heap[i] = heap[next];
		i = next;
	}
	heap[i] = last;
	return top;
}

void line_reset(uint64_t seed)
{
	while (heap_count)
		free(heap[--heap_count].data);
	for (; inbox_count; inbox_count--)
		free(inbox[inbox_first++ % UNDER_WAY_MAX].data);
	inbox_first = order = bottleneck_free_ns = 0;
	memset(&line, 0, sizeof line);
	line.now_ns = START_NS;
	line.random = seed * 0x9e3779b97f4a7c15ull | 1;
}

static uint64_t below(uint64_t most)
{
	line.random ^= line.random << 13;
	line.random ^= line.random >> 7;
	line.random ^= line.random << 17;
	return (line.random >> 16) % most;
}

static bool chance(unsigned percent)
{
	return percent && below(100) < percent;
}

size_t line_event(uint64_t i, char out[LINE_EVENT_MAX])
{
	return (size_t)snprintf(out, LINE_EVENT_MAX,
		"{\"type\":\"log\",\"message\":\"%.*s\",\"number\":%06llu}", (int)(i * 37 % 60),
		"abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefgh", (unsigned long long)i);
}

bool line_has_all(uint64_t count)
{
	for (uint64_t i = 1; i <= count; i++)
		if (!line.arrived[i])
			return false;
	return line.highest == count;
}

static void put_once(enum line_way way, const uint8_t *data, size_t bytes, uint64_t at_ns)
{
	struct item item = {at_ns + line.delay_ns, order++, way, bytes, malloc(bytes)};

	assert_non_null(item.data);
	memcpy(item.data, data, bytes);
	if (chance(line.late_percent))
		item.at_ns += below(line.late_ns);
	heap_put(item);
}

static void put(enum line_way way, const uint8_t *data, size_t bytes, uint64_t at_ns)
{
	if (line.cut || chance(line.loss_percent[way])) {
		line.lost[way]++;
		return;
	}
	put_once(way, data, bytes, at_ns);
	if (chance(line.twice_percent))
		put_once(way, data, bytes, at_ns);
}

static uint64_t get(const uint8_t *at, unsigned bytes)
{
	uint64_t v = 0;

	while (bytes--)
		v = v << 8 | at[bytes];
	return v;
}

/* The ACK of a partition's events among those from `first` on. */
static void answer(uint64_t producer, unsigned partition, uint64_t first, unsigned count, uint64_t at_ns)
{
	static const struct udp_peer unsigned_peer;
	static uint8_t out[20000];
	uint64_t ranges[PEER_ACK_RANGES][2], refusals[1024][2];
	unsigned range_count = 0, refusal_count = 0, partitions = line.partitions ? line.partitions : 1;

	for (uint64_t s = first; s < first + count; s++) {
		if (s % partitions != partition)
			continue;
		if (line.refuse_every && s % line.refuse_every == 0) {
			refusals[refusal_count][0] = s;
			refusals[refusal_count++][1] = REFUSAL;
			continue;
		}
		if (range_count == 0 || s - ranges[range_count - 1][0] > 63) {
			ranges[range_count][0] = s;
			ranges[range_count++][1] = 0;
		}
		ranges[range_count - 1][1] |= 1ull << (s - ranges[range_count - 1][0]);
	}
	if (range_count + refusal_count == 0)
		return;
	line.answers++;
	put(LINE_BACK, out,
		peer_ack(&unsigned_peer, out, producer, ranges, range_count, refusals, refusal_count), at_ns);
}

static void arrive(const uint8_t *data, size_t bytes, uint64_t at_ns)
{
	uint64_t producer = get(data + 8, 8), first = get(data + 16, 8);
	unsigned count = (unsigned)get(data + 24, 2);
	size_t at = 32;

	assert_in_range(first, 1, LINE_EVENTS_MAX - count + 1);
	for (uint64_t s = first; s < first + count; s++) {
		char want[LINE_EVENT_MAX];
		size_t size = line_event(s, want);

		assert_true(at + 2 + size <= bytes);
		assert_int_equal(get(data + at, 2), size);
		assert_memory_equal(data + at + 2, want, size);
		at += 2 + size;
		line.arrived_again += line.arrived[s];
		line.arrived[s] = 1;
		line.highest = s > line.highest ? s : line.highest;
	}
	assert_int_equal(at, bytes);
	for (unsigned p = 0; p < (line.partitions ? line.partitions : 1); p++)
		answer(producer, p, first, count, at_ns + line.commit_ns[p]);
}

/* All that arrives until then. */
static void run_until(uint64_t at_ns)
{
	while (heap_count && heap[0].at_ns <= at_ns) {
		struct item item = heap_take();

		if (item.way == LINE_BACK) {
			assert_true(inbox_count < UNDER_WAY_MAX);
			inbox[(inbox_first + inbox_count++) % UNDER_WAY_MAX] = item;
			continue;
		}
		arrive(item.data, item.bytes, item.at_ns);
		free(item.data);
	}
}

ssize_t __wrap_send(int fd, const void *data, size_t bytes, int flags)
{
	uint64_t leaves_ns = line.now_ns;

	(void)fd, (void)flags;
	line.datagrams++;
	if (line.lose &&
		line.lose(get((const uint8_t *)data + 16, 8), (unsigned)get((const uint8_t *)data + 24, 2))) {
		line.lost[LINE_THERE]++;
		return (ssize_t)bytes;
	}
	if (line.datagram_ns) {
		if (bottleneck_free_ns < leaves_ns)
			bottleneck_free_ns = leaves_ns;
		if ((bottleneck_free_ns - leaves_ns) / line.datagram_ns > line.queue_max) {
			line.lost[LINE_THERE]++;
			return (ssize_t)bytes;
		}
		leaves_ns = bottleneck_free_ns += line.datagram_ns;
	}
	put(LINE_THERE, data, bytes, leaves_ns);
	return (ssize_t)bytes;
}

ssize_t __wrap_recv(int fd, void *data, size_t bytes, int flags)
{
	struct item item;

	(void)fd, (void)flags;
	run_until(line.now_ns);
	if (!inbox_count) {
		errno = EAGAIN;
		return -1;
	}
	item = inbox[inbox_first++ % UNDER_WAY_MAX];
	inbox_count--;
	assert_true(item.bytes <= bytes);
	memcpy(data, item.data, item.bytes);
	free(item.data);
	return (ssize_t)item.bytes;
}

int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
	uint64_t end_ns = timeout_ms < 0 ? UINT64_MAX : line.now_ns + (uint64_t)timeout_ms * MS;

	(void)fds, (void)count;
	run_until(line.now_ns);
	while (!inbox_count && heap_count && heap[0].at_ns <= end_ns) {
		line.now_ns = heap[0].at_ns;
		run_until(line.now_ns);
	}
	if (inbox_count)
		return 1;
	assert_true(timeout_ms >= 0); /* nothing would ever come */
	line.now_ns = end_ns;
	return 0;
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *out)
{
	(void)clock;
	out->tv_sec = (time_t)(line.now_ns / 1000000000u);
	out->tv_nsec = (long)(line.now_ns % 1000000000u);
	return 0;
}
