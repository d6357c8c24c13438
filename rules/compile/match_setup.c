/* Makes and ends matchers. Control thread; afterwards one worker owns the matcher. */
#include <errno.h>
#include <stdlib.h>

#include "match_priv.h"

void matcher_free(struct matcher *m)
{
	if (!m)
		return;
	hs_free_scratch(m->scratch);
	confirm_end(&m->confirm);
	free(m->gather);
	free(m->hit);
	free(m->link);
	free(m->bit);
	free(m->touched);
	free(m->stamp);
	free(m->matched);
	free(m->rule_bit);
	free(m->folded);
	free(m->attr);
	free(m->attr_text);
	number_memory_free(&m->numbers);
	free(m->out);
	free(m->rule_hits);
	free(m);
}

static uint32_t folded_bytes(const struct ruleset *rs)
{
	uint32_t most = 0;

	for (uint32_t f = 1; f < SUBJECT_COUNT; f++)
		if (rs->dict[f].folded.bytes_max > most)
			most = rs->dict[f].folded.bytes_max;
	return most + 1;
}

static bool attrs_setup(struct matcher *m, const struct attr_tree *tree)
{
	if (!tree->count)
		return true;
	m->attr = calloc((size_t)MATCH_EVENTS_MAX * tree->count, sizeof *m->attr);
	m->attr_text = calloc(1, EVENT_BYTES_MAX + GATHER_PAD);
	return number_memory_init(&m->numbers, EVENT_BYTES_MAX) && m->attr && m->attr_text;
}

struct matcher *matcher_new(const struct ruleset *rs, struct err *err)
{
	struct matcher *m = NULL;
	size_t hits = rs->match_count < MATCH_HITS_MAX ? rs->match_count : MATCH_HITS_MAX;

	if (rs->metadata_only) {
		err_set(err, -EINVAL,
			"a ruleset from the store has no patterns: compile its source to match");
		return NULL;
	}
	if (posix_memalign((void **)&m, 64, (sizeof *m + 63) & ~(size_t)63))
		m = NULL;
	if (!m) {
		err_set(err, -ENOMEM, "out of memory for a matcher");
		return NULL;
	}
	memset(m, 0, sizeof *m);
	m->rs = rs;
	m->gather = calloc(1, GATHER_BYTES + GATHER_PAD);
	m->hit = calloc(GATHER_HITS_MAX, sizeof *m->hit);
	m->link = calloc(LINKS_MAX, sizeof *m->link);
	m->bit = calloc(rs->lit_count / 64 + 1, sizeof *m->bit);
	m->touched = calloc((size_t)rs->lit_count + 1, sizeof *m->touched);
	m->stamp = calloc((size_t)rs->match_count + 1, sizeof *m->stamp);
	m->matched = calloc((size_t)rs->match_count + 1, sizeof *m->matched);
	m->rule_bit = calloc(rs->match_count / 64 + 1, sizeof *m->rule_bit);
	m->folded = calloc(1, folded_bytes(rs));
	m->out = calloc(MATCH_EVENTS_MAX * hits + 1, sizeof *m->out);
	m->rule_hits = calloc((size_t)rs->match_count + 1, sizeof *m->rule_hits);
	if (!attrs_setup(m, &rs->attrs) || !confirm_setup(&m->confirm, rs) || !m->gather || !m->hit ||
		!m->link || !m->bit || !m->touched || !m->stamp || !m->matched || !m->rule_bit ||
		!m->folded || !m->out || !m->rule_hits ||
		(rs->scratch && hs_clone_scratch(rs->scratch, &m->scratch) != HS_SUCCESS)) {
		matcher_free(m);
		err_set(err, -ENOMEM, "out of memory for a matcher");
		return NULL;
	}
	return m;
}

const struct matcher_stats *matcher_stats(const struct matcher *m)
{
	return &m->stats;
}

const struct ruleset *matcher_ruleset(const struct matcher *m)
{
	return m->rs;
}

const uint64_t *matcher_rule_hits(const struct matcher *m)
{
	return m->rule_hits;
}
