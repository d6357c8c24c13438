/* Any bytes as a capture file, with few mbufs: frames are those of a plain walk over the file, in order and
 * whole; each mbuf comes back; damage and the end are seen, and counted once. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "eal_rig.h"
#include "frame_file.h"

#define MBUFS 63u
#define ROOM 512u
#define BURST 8u
#define FRAME_MAX 262144u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static struct rte_mempool *pool;

/* The plain walk. */
struct walk {
	const uint8_t *at, *end;
	bool swapped;
	uint32_t snap;
};

static uint32_t word(const struct walk *w, const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof v);
	return w->swapped ? __builtin_bswap32(v) : v;
}

static bool walk_begin(struct walk *w, const uint8_t *data, size_t bytes)
{
	uint32_t magic;

	if (bytes < 24)
		return false;
	*w = (struct walk){data + 24, data + bytes, false, 0};
	magic = word(w, data);
	w->swapped = magic != 0xa1b2c3d4 && magic != 0xa1b23c4d;
	magic = word(w, data);
	w->snap = word(w, data + 16);
	w->snap = w->snap && w->snap < FRAME_MAX ? w->snap : FRAME_MAX;
	return (magic == 0xa1b2c3d4 || magic == 0xa1b23c4d) &&
	       !memcmp(data + 4, w->swapped ? "\0\2\0\4" : "\2\0\4\0", 4) && word(w, data + 20) == 1;
}

/* The next frame; NULL: there is none, *damaged says if there should have been one. */
static const uint8_t *walk_next(struct walk *w, uint32_t *bytes, bool *damaged)
{
	const uint8_t *frame = w->at + 16;

	*damaged = w->at != w->end;
	if (w->end - w->at < 16 || word(w, w->at + 8) > FRAME_MAX ||
		w->end - frame < (ptrdiff_t)word(w, w->at + 8))
		return NULL;
	*bytes = word(w, w->at + 8);
	w->at = frame + *bytes;
	*bytes = *bytes < w->snap ? *bytes : w->snap;
	return frame;
}

static void same(const struct rte_mbuf *m, const uint8_t *frame, uint32_t bytes)
{
	uint32_t at = 0, segments = 0;

	for (const struct rte_mbuf *s = m; s; s = s->next, segments++) {
		if (at + s->data_len > bytes ||
			memcmp(rte_pktmbuf_mtod(s, const uint8_t *), frame + at, s->data_len))
			abort();
		at += s->data_len;
	}
	if (at != bytes || m->pkt_len != bytes || m->nb_segs != segments)
		abort();
}

static void run(struct frame_file *file, struct walk *w)
{
	struct rte_mbuf *m[BURST];
	uint64_t frames = 0;
	uint32_t bytes = 0;
	bool damaged = false;

	for (uint32_t idle = 0; idle < 2;) {
		uint16_t n = frame_file_burst(file, 0, pool, m, BURST);

		for (uint16_t i = 0; i < n; i++) {
			const uint8_t *frame = walk_next(w, &bytes, &damaged);

			if (!frame)
				abort();
			same(m[i], frame, bytes);
		}
		rte_pktmbuf_free_bulk(m, n);
		frames += n;
		idle = n ? 0 : idle + 1;
	}
	if (frame_file_stats(file).frames != frames || rte_mempool_in_use_count(pool))
		abort();
	if (!frame_file_ended(file)) { /* one that all mbufs together do not hold */
		if (!walk_next(w, &bytes, &damaged) || bytes <= (MBUFS - BURST) * ROOM)
			abort();
		return;
	}
	if (walk_next(w, &bytes, &damaged) || frame_file_stats(file).errors != damaged)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct frame_file *file;
	struct walk w;
	struct err err;
	char device[64];
	int fd;

	if (!pool) {
		rig_eal("fuzz");
		pool = rte_pktmbuf_pool_create(
			"fuzz", MBUFS, 0, 0, RTE_PKTMBUF_HEADROOM + ROOM, SOCKET_ID_ANY);
		if (!pool)
			abort();
	}
	fd = memfd_create("frames", 0);
	if (fd < 0 || (bytes && write(fd, data, bytes) != (ssize_t)bytes))
		abort();
	snprintf(device, sizeof device, "net_pcap0,rx_pcap=/proc/self/fd/%d", fd);
	if (frame_file_open(&file, device, &err) || !file != !walk_begin(&w, data, bytes))
		abort();
	if (file)
		run(file, &w);
	frame_file_close(file);
	close(fd);
	return 0;
}
