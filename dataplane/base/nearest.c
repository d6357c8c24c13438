/* Names that are a few edits apart: see nearest.h. */
#include "nearest.h"

#include <string.h>

#define NAME_MAX_BYTES 63u /* longer names are far from all */
#define EDITS_MAX 3u

static unsigned name_distance(const char *a, const char *b)
{
	unsigned row[NAME_MAX_BYTES + 1], n = (unsigned)strlen(b);

	if (strlen(a) > NAME_MAX_BYTES || n > NAME_MAX_BYTES)
		return 99;
	for (unsigned j = 0; j <= n; j++)
		row[j] = j;
	for (unsigned i = 1; a[i - 1]; i++) {
		unsigned diagonal = row[0];

		row[0] = i;
		for (unsigned j = 1; j <= n; j++) {
			unsigned above = row[j], best = diagonal + (a[i - 1] != b[j - 1]);

			best = above + 1 < best ? above + 1 : best;
			row[j] = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
			diagonal = above;
		}
	}
	return row[n];
}

struct nearest nearest_to(const char *word)
{
	unsigned most = 1 + (unsigned)strlen(word) / 3;

	return (struct nearest){.word = word, .best = most < EDITS_MAX ? most : EDITS_MAX};
}

void nearest_offer(struct nearest *n, const char *name)
{
	unsigned d = name ? name_distance(n->word, name) : 99;

	if (d < n->best || (d == n->best && !n->name)) {
		n->best = d;
		n->name = name;
	}
}
