/* The known name that a misspelt one was probably meant to be, for "did you mean". Offer every known name;
 * the first of the nearest stays. Set-up only; pure. */
#ifndef SLUICE_NEAREST_H
#define SLUICE_NEAREST_H

#include <stddef.h>

struct nearest {
	const char *name; /* NULL: none is near; else borrowed from who offered it */
	const char *word;
	unsigned best;
};

/* Far: more edits (insert, delete, replace) than 1 + a third of the word's length, or than 3. */
struct nearest nearest_to(const char *word);
/* name may be NULL: not offered. */
void nearest_offer(struct nearest *n, const char *name);

#endif
