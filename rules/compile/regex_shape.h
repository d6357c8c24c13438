/* What a regular expression looks like before Hyperscan sees it. Set-up only; pure. */
#ifndef SLUICE_REGEX_SHAPE_H
#define SLUICE_REGEX_SHAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Positions that one expression may have after its repeats are written out, pairs of them of which one may
 * follow the other, and how many all of a ruleset may have: from repeats alone, together, and pairs. One of
 * 5,000 takes Hyperscan 3 s at worst, one of 100,000 pairs 1 s, so a compile ends in a minute or two. */
#define REGEX_SIZE_MAX 5000u
#define REGEX_PAIRS_MAX 100000u
#define REGEX_PAIRS_SUM_MAX 2000000u
#define REGEX_REPEAT_SUM_MAX 60000u
#define REGEX_SIZE_SUM_MAX 2000000u

struct regex_shape {
	bool edge;	  /* may ask where its text begins or ends: ^ $ \A \Z \z \G */
	bool word;	  /* has \b or \B: these look at the next byte, but see the separator as the end */
	bool verb;	  /* starts with (*VERB) */
	uint64_t size;	  /* positions after repeats are written out; an estimate, saturating */
	uint64_t pairs;	  /* of positions that may follow each other; likewise */
	uint32_t literal; /* bytes of the longest text that each match holds; an estimate */
};

/* Errs on the safe side: a ^ or $ in a class counts as an edge. */
struct regex_shape regex_shape_of(const char *regex);

/* size, pairs and literal of a shape. */
void regex_size_of(const char *regex, struct regex_shape *shape);

/* Writes `bytes` of text as an expression that matches exactly them; out has room for 4 * bytes + 1. */
void regex_quote(char *out, const char *text, size_t bytes);

#endif
