/* Sigma rules (sigmahq.io, specification 2.1) in, rules of this language out. Set-up only: no daemon, no
 * state.
 *
 * What a rule means is kept or the rule is refused by name; nothing is left out of a rule. Each rule that is
 * written has been compiled by itself. A mapping file says which event types and fields Sigma's log sources
 * and fields are: see rules/README.md. */
#ifndef SLUICE_SIGMA_H
#define SLUICE_SIGMA_H

#include <stdint.h>
#include <stdio.h>

#include "err.h"

#define SIGMA_BYTES_MAX (32u << 20) /* of all files together */
#define SIGMA_NODES_MAX 2000000u    /* of all documents together */
#define SIGMA_DOCUMENTS_MAX 100000u

struct sigma_source {
	const char *name; /* for error texts */
	const char *text;
	size_t bytes;
};

/* Why a document is refused. */
#define SIGMA_WHYS(X)                                                                                        \
	X(yaml, "no YAML, or anchors, aliases, tags in it")                                                  \
	X(kind, "no rule: a filter, a global document of Sigma 1, a document without detection")             \
	X(status, "deprecated or unsupported, as it says itself")                                            \
	X(logsource, "the mapping file does not have its log source")                                        \
	X(field, "the mapping file does not have one of its fields")                                         \
	X(modifier, "a modifier that has no equal here")                                                     \
	X(value, "a value that its field or modifier does not take")                                         \
	X(condition, "a condition that cannot be read, or one with an aggregation of Sigma 1")               \
	X(correlation, "a correlation that has no equal here")                                               \
	X(id, "its id is taken")                                                                             \
	X(compile, "the rule that it becomes is refused by the compiler")
enum sigma_why {
#define SIGMA_WHY(name, help) SIGMA_WHY_##name,
	SIGMA_WHYS(SIGMA_WHY)
#undef SIGMA_WHY
		SIGMA_WHY_COUNT
};
extern const char *const sigma_why_name[SIGMA_WHY_COUNT];

/* documents = imported + used + refused. */
struct sigma_report {
	uint32_t documents;
	uint32_t imported;
	uint32_t used;	/* stand in a correlation that is imported, and are no rule of their own */
	uint32_t rules; /* written */
	uint32_t refused;
	uint32_t refused_for[SIGMA_WHY_COUNT];
};

/* Writes a rule file to out. line gets a text for each refused document: "file:line:column: title (id):
 * what". map: the mapping file. patterns_max as in ruleset_compile(). Returns 0; -EINVAL if the mapping file
 * is wrong or the input is too large, -ENOMEM; out then holds nothing of use. */
int sigma_import(FILE *out, const struct sigma_source *map, const struct sigma_source *source, uint32_t count,
	uint32_t patterns_max, struct sigma_report *report, void (*line)(void *arg, const char *text),
	void *arg, struct err *err);

#endif
