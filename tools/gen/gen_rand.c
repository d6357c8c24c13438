/* Seeding and the Zipf tables of sluice-gen. Set-up only; the draws are in the header. */
#include "gen_rand.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

void gen_rng_seed(struct gen_rng *rng, uint64_t seed)
{
	for (int i = 0; i < 4; i++) {
		uint64_t z = seed += 0x9e3779b97f4a7c15ull;

		z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
		z = (z ^ z >> 27) * 0x94d049bb133111ebull;
		rng->s[i] = z ^ z >> 31;
	}
}

/* Vose's construction: slots that have less than their share are topped up by one that has more. */
static void alias_fill(struct gen_zipf *z, double *share, uint32_t *small, uint32_t *large)
{
	uint32_t smalls = 0, larges = 0;

	for (uint32_t i = 0; i < z->n; i++) {
		if (share[i] < 1.0)
			small[smalls++] = i;
		else
			large[larges++] = i;
	}
	while (smalls && larges) {
		uint32_t lo = small[--smalls], hi = large[larges - 1];

		z->cut[lo] = (uint32_t)(share[lo] * 4294967295.0);
		z->alias[lo] = hi;
		share[hi] -= 1.0 - share[lo];
		if (share[hi] < 1.0) {
			larges--;
			small[smalls++] = hi;
		}
	}
	while (larges) {
		uint32_t i = large[--larges];

		z->cut[i] = UINT32_MAX;
		z->alias[i] = i;
	}
	while (smalls) {
		uint32_t i = small[--smalls];

		z->cut[i] = UINT32_MAX;
		z->alias[i] = i;
	}
}

int gen_zipf_make(struct gen_zipf *z, uint32_t n, double s)
{
	double *share = calloc(n, sizeof *share), sum = 0;
	uint32_t *small = malloc(n * sizeof *small), *large = malloc(n * sizeof *large);
	int rc = -ENOMEM;

	*z = (struct gen_zipf){
		.n = n, .cut = malloc(n * sizeof *z->cut), .alias = malloc(n * sizeof *z->alias)};
	if (!share || !small || !large || !z->cut || !z->alias)
		goto out;
	for (uint32_t i = 0; i < n; i++)
		sum += share[i] = pow(i + 1.0, -s);
	for (uint32_t i = 0; i < n; i++)
		share[i] *= n / sum;
	alias_fill(z, share, small, large);
	rc = 0;
out:
	free(share);
	free(small);
	free(large);
	if (rc)
		gen_zipf_free(z);
	return rc;
}

void gen_zipf_free(struct gen_zipf *z)
{
	free(z->cut);
	free(z->alias);
	*z = (struct gen_zipf){0};
}
