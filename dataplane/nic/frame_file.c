/* Reading a capture file. See frame_file.h. */
#include "frame_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "driver.h"

#define MAGIC_US 0xa1b2c3d4u
#define MAGIC_NS 0xa1b23c4du
#define VERSION_MAJOR 2u
#define VERSION_MINOR 4u
#define LINK_ETHERNET 1u
#define FRAME_BYTES_MAX 262144u /* as libpcap has it: a longer one is damage */
#define READ_BYTES 131072u	/* a piece stays in the second-level cache until its frames are copied */

struct file_head { /* in the byte order of who wrote the file */
	uint32_t magic;
	uint16_t major, minor;
	uint32_t unused[2];
	uint32_t snap_bytes;
	uint32_t link;
};
_Static_assert(sizeof(struct file_head) == 24, "as it is in the file");

struct frame_head {
	uint32_t seconds, fraction;
	uint32_t bytes; /* in the file */
	uint32_t frame_bytes;
};
_Static_assert(sizeof(struct frame_head) == 16, "as it is in the file");

struct frame_file {
	int fd;
	bool swapped; /* written in the other byte order */
	bool ended;
	uint32_t snap_bytes; /* of a frame: what goes beyond is passed over */
	uint32_t at, filled; /* of data */
	struct frame_file_stats stats;
	uint8_t data[FRAME_BYTES_MAX + sizeof(struct frame_head) + READ_BYTES];
};

static uint32_t word(const struct frame_file *file, uint32_t v)
{
	return file->swapped ? __builtin_bswap32(v) : v;
}

/* Has its head been understood? */
static bool head_take(struct frame_file *file, struct file_head h)
{
	file->swapped = h.magic == __builtin_bswap32(MAGIC_US) || h.magic == __builtin_bswap32(MAGIC_NS);
	h.magic = word(file, h.magic);
	if (file->swapped) {
		h.major = __builtin_bswap16(h.major);
		h.minor = __builtin_bswap16(h.minor);
	}
	file->snap_bytes = word(file, h.snap_bytes);
	if (!file->snap_bytes || file->snap_bytes > FRAME_BYTES_MAX)
		file->snap_bytes = FRAME_BYTES_MAX;
	return (h.magic == MAGIC_US || h.magic == MAGIC_NS) && h.major == VERSION_MAJOR &&
	       h.minor == VERSION_MINOR && word(file, h.link) == LINK_ETHERNET;
}

int frame_file_open(struct frame_file **out, const char *device, struct err *err)
{
	static const char key[] = ",rx_pcap=";
	const char *first = strstr(device, key);
	struct frame_file *file = malloc(sizeof *file);
	struct file_head head;
	char path[256];

	*out = NULL;
	if (!file)
		return err_set(err, -ENOMEM, "no memory to read a capture file");
	memset(file, 0, offsetof(struct frame_file, data)); /* the rest as it is read */
	file->fd = -1;
	if (!first || strstr(first + 1, key) || !driver_arg(device, "rx_pcap", path, sizeof path))
		goto leave;
	/* A pipe must not hold us up: it is the driver's. */
	file->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (file->fd < 0 || pread(file->fd, &head, sizeof head, 0) != (ssize_t)sizeof head ||
		!head_take(file, head) || lseek(file->fd, sizeof head, SEEK_SET) < 0)
		goto leave;
	(void)posix_fadvise(file->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	*out = file;
	return 0;
leave:
	frame_file_close(file);
	return 0;
}

void frame_file_close(struct frame_file *file)
{
	if (file && file->fd >= 0)
		close(file->fd);
	free(file);
}

static void count(uint64_t *counter, uint64_t more)
{
	__atomic_store_n(counter, *counter + more, __ATOMIC_RELAXED);
}

/* So many bytes from `at` on, read if they are not there yet. False: the file has no more. */
static inline bool data_need(struct frame_file *file, uint32_t bytes)
{
	if (__builtin_expect(file->filled - file->at >= bytes, 1))
		return true;
	memmove(file->data, file->data + file->at, file->filled - file->at);
	file->filled -= file->at;
	file->at = 0;
	while (file->filled < bytes) {
		ssize_t n = read(file->fd, file->data + file->filled, READ_BYTES);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			if (n < 0 || file->filled) /* not between two frames */
				count(&file->stats.errors, 1);
			file->ended = true;
			return false;
		}
		file->filled += (uint32_t)n;
	}
	return true;
}

/* Into m and, if it is too small, further mbufs behind it. False: there are none. */
static bool frame_put(struct rte_mbuf *m, struct rte_mempool *pool, const uint8_t *from, uint32_t bytes)
{
	struct rte_mbuf *last = m;

	m->pkt_len = bytes;
	for (;;) {
		uint32_t room = rte_pktmbuf_tailroom(last), part = bytes < room ? bytes : room;

		memcpy(rte_pktmbuf_mtod(last, uint8_t *), from, part);
		last->data_len = (uint16_t)part;
		from += part;
		bytes -= part;
		if (__builtin_expect(!bytes, 1))
			return true;
		last->next = rte_pktmbuf_alloc(pool);
		if (!last->next)
			return false;
		last = last->next;
		last->data_off = 0; /* nobody puts anything before what follows */
		m->nb_segs++;
	}
}

/* The next frame into m. False: the file has no more, or there are not enough mbufs. */
static bool frame_next(struct frame_file *file, struct rte_mbuf *m, struct rte_mempool *pool)
{
	struct frame_head h;
	uint32_t bytes, keep;

	if (!data_need(file, sizeof h))
		return false;
	memcpy(&h, file->data + file->at, sizeof h);
	bytes = word(file, h.bytes);
	if (bytes > FRAME_BYTES_MAX) {
		count(&file->stats.errors, 1);
		file->ended = true;
		return false;
	}
	if (!data_need(file, (uint32_t)sizeof h + bytes))
		return false;
	keep = bytes < file->snap_bytes ? bytes : file->snap_bytes;
	if (!frame_put(m, pool, file->data + file->at + sizeof h, keep)) {
		count(&file->stats.no_mbuf, 1);
		return false;
	}
	file->at += (uint32_t)sizeof h + bytes;
	return true;
}

uint16_t frame_file_burst(
	struct frame_file *file, uint16_t port, struct rte_mempool *pool, struct rte_mbuf **mbuf, uint16_t n)
{
	uint64_t bytes = 0;
	uint16_t taken = 0;

	if (file->ended)
		return 0;
	if (rte_pktmbuf_alloc_bulk(pool, mbuf, n)) {
		count(&file->stats.no_mbuf, 1);
		return 0;
	}
	for (; taken < n && frame_next(file, mbuf[taken], pool); taken++) {
		mbuf[taken]->port = port;
		bytes += mbuf[taken]->pkt_len;
	}
	if (taken < n)
		rte_pktmbuf_free_bulk(mbuf + taken, n - taken);
	count(&file->stats.frames, taken);
	count(&file->stats.bytes, bytes);
	return taken;
}

bool frame_file_ended(const struct frame_file *file)
{
	return file->ended;
}

struct frame_file_stats frame_file_stats(const struct frame_file *file)
{
	const struct frame_file_stats *s = &file->stats;

	return (struct frame_file_stats){.frames = __atomic_load_n(&s->frames, __ATOMIC_RELAXED),
		.bytes = __atomic_load_n(&s->bytes, __ATOMIC_RELAXED),
		.no_mbuf = __atomic_load_n(&s->no_mbuf, __ATOMIC_RELAXED),
		.errors = __atomic_load_n(&s->errors, __ATOMIC_RELAXED)};
}
