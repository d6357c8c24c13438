/* ch_pending DATA_DIR FOLDER PARTITIONS: which ranges were sent and are not known to be at their server: a
 * line "partition from to" for each. FOLDER: clickhouse or clickhouse-output. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "ch_intent.h"

static void range_print(uint32_t partition, const struct ch_range *r)
{
	printf("%u %" PRIu64 " %" PRIu64 "\n", partition, r->from, r->to);
}

int main(int argc, char **argv)
{
	struct ch_intent_file file;
	struct err err = {0};

	if (argc != 4) {
		fprintf(stderr, "ch_pending DATA_DIR FOLDER PARTITIONS\n");
		return 2;
	}
	for (uint32_t i = 0; i < strtoul(argv[3], NULL, 10); i++) {
		if (ch_intent_peek(&file, argv[1], argv[2], i, &err)) {
			fprintf(stderr, "ch_pending: %s\n", err.text);
			return 1;
		}
		if (file.last.pending)
			range_print(i, &file.last.range);
		for (uint32_t k = 0; k < file.last.parked_count; k++)
			range_print(i, &file.last.parked[k]);
	}
	return 0;
}
