/* Copying frames for a capture, and choosing them. Worker thread. */
#include "capture.h"

#include <string.h>

#include "decode_peek.h"
#include "pipeline.h"

static bool frame_wanted(const struct capture_filter *f, uint32_t port, const struct rte_mbuf *m)
{
	struct decode_peek from;

	if (f->port != CAPTURE_ANY && f->port != port)
		return false;
	if (f->udp_port == CAPTURE_ANY && !f->source.count)
		return true;
	from = decode_peek(rte_pktmbuf_mtod(m, const uint8_t *), m->data_len);
	if (f->udp_port != CAPTURE_ANY && (!from.has_udp || from.udp_port != f->udp_port))
		return false;
	return !f->source.count || (from.has_source && ip_list_has(&f->source, from.source));
}

/* ---- the ring ---- */

static void ring_put(struct capture_ring *r, uint64_t at, const void *from, uint32_t bytes)
{
	uint32_t start = (uint32_t)(at % CAPTURE_RING_BYTES);
	uint32_t first = bytes < CAPTURE_RING_BYTES - start ? bytes : CAPTURE_RING_BYTES - start;

	memcpy(r->data + start, from, first);
	memcpy(r->data, (const uint8_t *)from + first, bytes - first);
}

static void ring_get(const struct capture_ring *r, uint64_t at, void *to, uint32_t bytes)
{
	uint32_t start = (uint32_t)(at % CAPTURE_RING_BYTES);
	uint32_t first = bytes < CAPTURE_RING_BYTES - start ? bytes : CAPTURE_RING_BYTES - start;

	memcpy(to, r->data + start, first);
	memcpy((uint8_t *)to + first, r->data, bytes - first);
}

static void add_one(_Atomic uint64_t *counter)
{
	atomic_store_explicit(
		counter, atomic_load_explicit(counter, memory_order_relaxed) + 1, memory_order_relaxed);
}

static void frame_copy(
	struct capture *c, struct capture_ring *r, const struct rte_mbuf *m, struct burst_time now)
{
	uint64_t wall_ns = now.mono_ns + (uint64_t)c->wall_minus_mono_ns;
	uint64_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
	uint64_t used = head - atomic_load_explicit(&r->tail, memory_order_acquire);
	struct capture_head h = {.seconds = (uint32_t)(wall_ns / 1000000000u),
		.nanoseconds = (uint32_t)(wall_ns % 1000000000u),
		.bytes = m->pkt_len < CAPTURE_FRAME_BYTES_MAX ? m->pkt_len : CAPTURE_FRAME_BYTES_MAX,
		.frame_bytes = m->pkt_len};
	uint32_t left = h.bytes;

	add_one(&r->matched);
	if (CAPTURE_RING_BYTES - used < sizeof h + h.bytes) {
		add_one(&r->lost);
		return;
	}
	ring_put(r, head, &h, sizeof h);
	head += sizeof h;
	for (; m && left; m = m->next) {
		uint32_t n = m->data_len < left ? m->data_len : left;

		ring_put(r, head, rte_pktmbuf_mtod(m, const uint8_t *), n);
		head += n;
		left -= n;
	}
	/* The segments say less than the packet: what is missing is what was in the ring, of this capture. */
	atomic_store_explicit(&r->head, head + left, memory_order_release);
}

static uint64_t drops_of(const struct worker_stats *s, uint64_t mask)
{
	uint64_t sum = 0;

	for (uint32_t i = 1; i < DROP_ID_MAX; i++)
		if (mask >> i & 1)
			sum += s->drops[i];
	return sum;
}

void capture_burst(struct capture *c, struct pipeline *pl, uint32_t port, struct rte_mbuf *const *mbuf,
	uint32_t n, struct burst_time now)
{
	struct capture_ring *r = &c->ring[pl->worker];
	uint32_t done = 0;

	for (uint32_t i = 0; i < n; i++) {
		uint64_t before;

		if (!frame_wanted(&c->filter, port, mbuf[i]))
			continue;
		if (!c->filter.drops) {
			frame_copy(c, r, mbuf[i], now);
			continue;
		}
		if (i > done)
			pipeline_burst(pl, mbuf + done, i - done, now);
		before = drops_of(pl->stats, c->filter.drops);
		pipeline_burst(pl, mbuf + i, 1, now);
		if (drops_of(pl->stats, c->filter.drops) != before)
			frame_copy(c, r, mbuf[i], now);
		done = i + 1;
	}
	if (done < n)
		pipeline_burst(pl, mbuf + done, n - done, now);
}

void capture_dropped(struct capture *c, uint32_t worker, uint32_t port, struct rte_mbuf *const *mbuf,
	uint32_t n, enum drop_reason why, struct burst_time now)
{
	if (c->filter.drops && !(c->filter.drops >> why & 1))
		return;
	for (uint32_t i = 0; i < n; i++)
		if (frame_wanted(&c->filter, port, mbuf[i]))
			frame_copy(c, &c->ring[worker], mbuf[i], now);
}

/* ---- the reader ---- */

/* The ring whose next frame is the oldest; NULL: all are empty. */
static struct capture_ring *ring_oldest(struct capture *c, struct capture_head *oldest)
{
	struct capture_ring *found = NULL;

	for (uint32_t w = 0; w < c->workers; w++) {
		struct capture_ring *r = &c->ring[w];
		uint64_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
		struct capture_head h;

		if (atomic_load_explicit(&r->head, memory_order_acquire) == tail)
			continue;
		ring_get(r, tail, &h, sizeof h);
		if (found && (h.seconds > oldest->seconds ||
				     (h.seconds == oldest->seconds && h.nanoseconds >= oldest->nanoseconds)))
			continue;
		found = r;
		*oldest = h;
	}
	return found;
}

size_t capture_read(struct capture *c, uint8_t *to, size_t room)
{
	struct capture_ring *r;
	struct capture_head h;
	size_t bytes = 0;

	while ((r = ring_oldest(c, &h)) && sizeof h + h.bytes <= room - bytes) {
		uint64_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);

		ring_get(r, tail, to + bytes, (uint32_t)sizeof h + h.bytes);
		bytes += sizeof h + h.bytes;
		atomic_store_explicit(&r->tail, tail + sizeof h + h.bytes, memory_order_release);
	}
	return bytes;
}

struct capture_counts capture_counts(const struct capture *c)
{
	struct capture_counts sum = {0};

	for (uint32_t w = 0; w < c->workers; w++) {
		sum.matched += atomic_load_explicit(&c->ring[w].matched, memory_order_relaxed);
		sum.lost += atomic_load_explicit(&c->ring[w].lost, memory_order_relaxed);
	}
	return sum;
}
