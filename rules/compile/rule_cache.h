/* Compiled Hyperscan databases, and what it says of expressions, on disk, so that a start does not compile
 * again what it compiled before. A file is found by a hash of all that goes into its database (expressions,
 * flags, ids, Hyperscan's version, the processor's features), holds that as a check, and is used only if it
 * is ours (owner, mode), whole (length, CRC) and accepted by Hyperscan; on any doubt the database is
 * compiled. Set-up only; any thread. */
#ifndef SLUICE_RULE_CACHE_H
#define SLUICE_RULE_CACHE_H

#include <hs/hs.h>
#include <stdbool.h>
#include <stdint.h>

struct rule_cache_key {
	uint64_t hash[2];
};

/* The key of a database in block mode. */
struct rule_cache_key rule_cache_key(
	const char *const *expr, const unsigned *flags, const unsigned *id, uint32_t count);

/* The database, or NULL. Without a folder (ruleset_cache_set()) there is never one. */
hs_database_t *rule_cache_get(const struct rule_cache_key *key);
/* Keeps one; what fails is left out. */
void rule_cache_put(const struct rule_cache_key *key, const hs_database_t *db);

/* What Hyperscan says of expressions, kept under the key of them all (their ids are of no matter): asking it
 * takes longer than everything else in a compile whose databases are there. */
struct rule_width {
	uint32_t min, max; /* of a match in bytes; UINT32_MAX: unbounded */
	uint8_t at_eod;	   /* some matches are only at the end of the data */
	uint8_t confirm;   /* it takes the expression as a prefilter only */
	uint8_t pad[2];
};
bool rule_cache_widths(const struct rule_cache_key *key, struct rule_width *out, uint32_t count);
void rule_cache_put_widths(const struct rule_cache_key *key, const struct rule_width *width, uint32_t count);

#endif
