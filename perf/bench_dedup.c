/* Remembering ids: ns and instructions an id, hash and prefetch included, in batches as a writer has them.
 * The ring is full, so each new id pushes one out.
 *
 * usage: bench_dedup [IDS_MAX]    1,000,000 by default */
#include "bench_util.h"
#include "dedup.h"

#define BATCH 200u

struct bench {
	struct dedup d;
	uint64_t random, known; /* seeds: of new ids; of a known one of each two */
	uint32_t repeat;	/* of 100 ids, so many are sent once more, some time after */
	uint64_t accepted, sent;
};

static void id_of(uint64_t number, uint8_t id[16])
{
	uint64_t word[2] = {number * 0x9e3779b97f4a7c15ull, number};

	memcpy(id, word, 16);
}

static void run(void *arg, uint32_t count)
{
	struct bench *b = arg;
	uint8_t id[BATCH][16];
	uint64_t hash[BATCH];

	for (uint32_t done = 0; done < count; done += BATCH) {
		uint32_t n = count - done < BATCH ? count - done : BATCH;

		for (uint32_t i = 0; i < n; i++) {
			uint64_t number = b->random++;

			if (b->repeat && bench_random(&b->known) % 100 < b->repeat && number > b->d.ids_max)
				number -= 1 + bench_random(&b->known) % (b->d.ids_max / 2);
			id_of(number, id[i]);
			hash[i] = dedup_hash(&b->d, id[i]) | 1;
			dedup_prefetch(&b->d, hash[i]);
		}
		for (uint32_t i = 0; i < n; i++)
			b->accepted += dedup_add(&b->d, id[i], hash[i], 1000);
		b->sent += n;
	}
}

int main(int argc, char **argv)
{
	uint32_t ids_max = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 1000000;
	struct bench b = {.random = 1, .known = 2};

	if (dedup_init(&b.d, 600000, ids_max, 12345) != 0)
		return 1;
	run(&b, ids_max + ids_max / 2);
	printf("-- %u ids, all places taken\n", ids_max);
	bench_report("new ids", run, &b, 400000, 0);
	b.repeat = 50;
	b.accepted = b.sent = 0;
	bench_report("half of them known, at random", run, &b, 400000, 0);
	printf("accepted %.1f %%\n", 100.0 * (double)b.accepted / (double)b.sent);
	dedup_free(&b.d);
	return 0;
}
