/* Damaged MaxMind DB files: an error, or a table that can be searched for any address. The first byte says
 * which kind of table, the last 16 are an address. The library reads a file, so each input becomes one in
 * memory. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "geoip.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void check_texts(const struct geoip *geo)
{
	for (uint32_t i = 1; i < geo->results; i++) {
		const struct geoip_result *r = &geo->result[i];

		for (int k = 0; k < GEOIP_TEXTS_MAX; k++)
			if (r->bytes[k] &&
				(!geo->field[k] || r->bytes[k] > field_table[geo->field[k]].len_max))
				abort();
		if ((uint64_t)r->at + r->bytes[0] + r->bytes[1] > geo->text_bytes)
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	uint8_t addr[16] = {0};
	struct geoip geo;
	char path[64];
	int fd;

	if (bytes < 18)
		return 0;
	fd = memfd_create("fuzz-geoip", 0);
	if (fd < 0 || write(fd, data + 1, bytes - 1) != (ssize_t)bytes - 1)
		abort();
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	if (geoip_load(&geo, data[0] % GEOIP_KINDS, path, 1 << 20, NULL) == 0) {
		check_texts(&geo);
		for (uint32_t i = 0; i < 1024; i++) {
			memcpy(addr, data + bytes - 16, 16);
			if (i % 2)
				memcpy(addr, "\0\0\0\0\0\0\0\0\0\0\xff\xff", 12);
			addr[i % 2 ? 12 : 0] ^= (uint8_t)(i >> 2);
			addr[i % 2 ? 13 : 1] ^= (uint8_t)(i * 37);
			if (geoip_find(&geo, addr) >= geo.results)
				abort();
		}
		geoip_free(&geo);
	}
	close(fd);
	return 0;
}
