/* Hits of weaker expressions, confirmed by PCRE2 on the RX worker: the bit of one that does not match is
 * taken back before a rule looks at it. Steps of the search are bounded, and so is its memory, which is the
 * matcher's: an expression that needs more on a value does not match it, and is counted. */
#include "match_priv.h"

void confirm_bits(struct matcher *m, const struct event *ev)
{
	const struct ruleset *rs = m->rs;

	for (uint32_t i = 0; i < m->touched_count; i++) {
		uint32_t lit = m->touched[i], bytes;
		const struct pattern *p = &rs->pattern[lit];
		const uint8_t *text;
		int rc;

		if (lit >= rs->pattern_count || !p->confirm)
			continue;
		text = p->subject < FIELD_ID_MAX
			       ? event_field(ev, (enum field_id)p->subject, &bytes)
			       : attr_text(m, ev, m->now, p->subject - FIELD_ID_MAX, &bytes);
		m->stats.confirms++;
		rc = text ? pcre2_match(p->confirm, text, bytes, 0, 0, m->confirm.found, m->confirm.limits)
			  : -1;
		if (rc >= 0)
			continue;
		m->stats.confirms_cut += rc != PCRE2_ERROR_NOMATCH;
		m->bit[lit / 64] &= ~(1ull << (lit % 64));
	}
}
