/* The truth file of sluice-gen against the journal: every event that was sent is in the journal or has a
 * name. One thread. */
#ifndef SLUICE_VER_TRUTH_H
#define SLUICE_VER_TRUTH_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "ver_read.h"

#define VER_RANGES_MAX 1024

struct ver_truth_opts {
	const char *path;
	const char *missing_list; /* file for the ids that are missing, or NULL */
	bool missing_ok;	  /* any event may be missing: counted and listed */
	bool lost_given;
	uint64_t lost; /* so many events were lost under a name: no more may be missing, and fewer
			       only by as many as were sent again */
	uint32_t range_count;
	struct {
		uint64_t from, to; /* lines of the truth file; missing events must lie in one of them */
	} range[VER_RANGES_MAX];
};

struct ver_truth_result {
	uint64_t lines;
	uint64_t accepted, duplicate, refused, rule_drop; /* as the file says */
	uint64_t missing;				  /* accepted or refused, not in the journal */
	uint64_t outside;				  /* of these: in no allowed range */
	uint64_t unknown;   /* ids in the journal that were never sent, or were to be refused */
	uint64_t twice;	    /* ids more than once in the journal */
	uint64_t wrong;	    /* other type or other reason than the file says */
	uint64_t intervals; /* groups of missing lines */
	bool ok;
};

int ver_truth_check(struct ver_truth_result *r, const struct ver_truth_opts *o, const struct ver_journal *j,
	struct err *err);

#endif
