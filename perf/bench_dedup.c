/* Remembering ids: ns and instructions an id, hash and prefetch included, in batches as a writer has them.
 * The ring is full, so each new id pushes one out.
 * Making, hashing and prefetching the ids is in all lines, and alone in the last one.
 *
 * usage: bench_dedup [IDS_MAX]    1,000,000 by default */
#include "bench_util.h"
#include "dedup.h"

#define BATCH 200u

struct bench {
	struct dedup d;
	uint64_t next, random; /* the new id to come; state of known ones' random numbers */
	uint32_t known; /* of 1024 ids so many, at random, are one of the last ids_max / 2 accepted ones */
	bool made_only;
	uint64_t accepted, sent;
};

static void run(void *arg, uint32_t count)
{
	struct bench *b = arg;
	uint64_t id[BATCH][2] = {0}, hash[BATCH];
	uint32_t guess[BATCH];

	for (uint32_t done = 0; done < count; done += BATCH) {
		uint32_t n = count - done < BATCH ? count - done : BATCH;

		for (uint32_t i = 0; i < n; i++) {
			uint64_t random = b->random =
				b->random * 6364136223846793005ull + 1442695040888963407ull;
			uint64_t back = ((random >> 22 & UINT32_MAX) * (b->d.ids_max / 2) >> 32) + 1;
			/* No branch: each second one would be guessed wrong, on the account of what is
			 * measured. */
			uint64_t known = -(uint64_t)(random >> 54 < b->known);

			id[i][0] = (b->next - (back & known)) * 0x9e3779b97f4a7c15ull;
			b->next += 1 + known;
			hash[i] = dedup_hash(&b->d, (const uint8_t *)id[i]) | 1;
			dedup_prefetch(&b->d, hash[i]);
		}
		if (b->made_only)
			continue;
		dedup_guess(&b->d, hash, guess, n);
		for (uint32_t i = 0; i < n; i++)
			b->accepted +=
				dedup_add_guessed(&b->d, (const uint8_t *)id[i], hash[i], guess[i], 1000);
		b->sent += n;
	}
}

static void report(struct bench *b, const char *name, uint32_t known)
{
	b->known = known;
	b->accepted = b->sent = 0;
	bench_report(name, run, b, 400000, 0);
	if (b->sent)
		printf("   accepted %.1f %%\n", 100.0 * (double)b->accepted / (double)b->sent);
}

int main(int argc, char **argv)
{
	uint32_t ids_max = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 1000000;
	struct bench b = {.next = 1, .random = 2};

	bench_step_items = 2 * BATCH;
	if (dedup_init(&b.d, 600000, ids_max, 12345) != 0)
		return 1;
	run(&b, ids_max + ids_max / 2);
	printf("-- %u ids, all places taken\n", ids_max);
	report(&b, "new ids", 0);
	report(&b, "one of 16 known, at random", 1024 / 16);
	report(&b, "one of 4 known", 1024 / 4);
	report(&b, "half of them known", 1024 / 2);
	b.made_only = true;
	report(&b, "made, hashed, prefetched and no more", 0);
	dedup_free(&b.d);
	return 0;
}
