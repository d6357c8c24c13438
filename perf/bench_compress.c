/* Blocks of a segment as frames of zstd, by bytes of a frame and level: how much smaller, and the CPU time a
 * MB to compress, and to decompress and check as readers and the journal's own verification do.
 *
 *   bench_compress SEGMENT    a raw segment, or what `zstd -dc` gives of a compressed one */
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "bench_util.h"
#include "block_format.h"

#define ROUNDS 3

static double cpu_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

struct blocks {
	uint8_t *data;
	size_t bytes; /* of the blocks, from the first on */
	size_t *end;  /* of each */
	uint32_t count;
};

/* Takes headers at their word: the file is ours. */
static void blocks_load(struct blocks *b, const char *path)
{
	int fd = open(path, O_RDONLY);
	struct stat s;

	if (fd < 0 || fstat(fd, &s) != 0 || !(b->data = malloc((size_t)s.st_size)) ||
		!(b->end = malloc((size_t)s.st_size / BLOCK_ALIGN * sizeof *b->end + 1)) ||
		read(fd, b->data, (size_t)s.st_size) != s.st_size) {
		perror(path);
		exit(1);
	}
	close(fd);
	while (b->bytes + BLOCK_HEADER_BYTES <= (size_t)s.st_size) {
		const struct block_header *h = (const struct block_header *)(b->data + b->bytes);

		if (h->magic != BLOCK_MAGIC || block_header_crc(h) != h->header_crc ||
			(b->count && h->segment != ((struct block_header *)b->data)->segment))
			break;
		b->bytes += h->total_bytes;
		b->end[b->count++] = b->bytes;
	}
}

/* One way through: frames of at most frame_max bytes. *check_ms: decompressing, and the checks of blocks. */
static size_t frames_run(
	const struct blocks *b, size_t frame_max, int level, double *pack_ms, double *check_ms)
{
	size_t bound = ZSTD_compressBound(frame_max > 1u << 20 ? frame_max : 1u << 20), from = 0, sum = 0;
	ZSTD_CCtx *c = ZSTD_createCCtx();
	ZSTD_DCtx *d = ZSTD_createDCtx();
	uint8_t *packed = malloc(bound), *raw = malloc(bound);

	for (uint32_t i = 0; i < b->count; i++) {
		size_t bytes = b->end[i] - from, n;
		double at;

		if (i + 1 < b->count && b->end[i + 1] - from <= frame_max)
			continue;
		at = cpu_ms();
		n = ZSTD_compressCCtx(c, packed, bound, b->data + from, bytes, level);
		*pack_ms += cpu_ms() - at;
		sum += n + 72;
		at = cpu_ms();
		if (ZSTD_decompressDCtx(d, raw, bound, packed, n) != bytes)
			exit(1);
		for (size_t k = 0; k < bytes;) {
			const struct block_header *h = (const struct block_header *)(raw + k);

			if (block_header_crc(h) != h->header_crc || block_payload_fault(h, h + 1))
				exit(1);
			k += h->total_bytes;
		}
		*check_ms += cpu_ms() - at;
		from = b->end[i];
	}
	ZSTD_freeCCtx(c);
	ZSTD_freeDCtx(d);
	free(packed);
	free(raw);
	return sum;
}

int main(int argc, char **argv)
{
	static const size_t frame[] = {1, 64 << 10, 256 << 10, 512 << 10, 1 << 20};
	static const int level[] = {1, 3, 6};
	struct blocks b = {0};

	if (argc != 2) {
		fprintf(stderr, "usage: bench_compress SEGMENT\n");
		return 2;
	}
	blocks_load(&b, argv[1]);
	printf("%u blocks, %.1f MB, %.0f bytes each\n", b.count, (double)b.bytes / 1e6,
		(double)b.bytes / b.count);
	for (size_t f = 0; b.count && f < sizeof frame / sizeof *frame; f++)
		for (size_t l = 0; l < sizeof level / sizeof *level; l++) {
			double pack = 1e9, check = 1e9;
			size_t bytes = 0;

			for (int round = 0; round < ROUNDS; round++) {
				double p = 0, c = 0;

				bytes = frames_run(&b, frame[f], level[l], &p, &c);
				pack = p < pack ? p : pack;
				check = c < check ? c : check;
			}
			printf("frame %7zu level %d: ratio %.2f, CPU ms a MB: compress %.2f, check %.2f\n",
				frame[f], level[l], (double)b.bytes / (double)bytes,
				pack * 1e6 / (double)b.bytes, check * 1e6 / (double)b.bytes);
		}
	return 0;
}
