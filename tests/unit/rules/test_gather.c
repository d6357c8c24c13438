/* The property that the gathered scan rests on: for any fields and patterns, its hits are those of each
 * single pattern scanned over each single field. Deterministic. */
#include <stdio.h>

#include <hs/hs.h>

#include "rule_event_make.h"

#define SETS 250
#define BURSTS 420 /* a set; 105,000 in all */
#define PATTERNS 10
#define EVENTS_MAX 6

static uint64_t seed = 20261121;

static uint32_t rnd(uint32_t below)
{
	seed += 0x9e3779b97f4a7c15ull;
	uint64_t z = seed;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return (uint32_t)((z ^ (z >> 31)) % below);
}

static const enum field_id fields[] = {FIELD_page, FIELD_referrer, FIELD_device};

struct single {
	hs_database_t *db;
	enum field_id field;
	char expr[128];
};

static hs_scratch_t *scratch;

static int on_hit(
	unsigned int id, unsigned long long from, unsigned long long to, unsigned int flags, void *arg)
{
	(void)id;
	(void)from;
	(void)to;
	(void)flags;
	*(bool *)arg = true;
	return 1;
}

static bool brute(const struct single *s, const struct event *ev)
{
	uint32_t bytes;
	const uint8_t *p;
	bool hit = false;

	if (!(ev->field_mask >> s->field & 1))
		return false;
	p = event_field(ev, s->field, &bytes);
	hs_scan(s->db, (const char *)p, bytes, 0, scratch, on_hit, &hit);
	return hit;
}

static void random_atom(char *out, size_t room)
{
	static const char *const atoms[] = {"a", "b", "ab", "[ab]", "[^a]", ".", "\\s", "\\n", "\\x00",
		"\\xff", "\\w", "\\W", "\\d", "c", "(a|b)", "(ab|c)", "\\x2f", "[^\\n]", "(?i)B",
		"(?:ba|a\\n)"};

	snprintf(out, room, "%s", atoms[rnd(sizeof atoms / sizeof *atoms)]);
}

static void random_expr(char out[128])
{
	static const char *const repeats[] = {"*", "+", "?", "{2}", "{1,3}", "{0,4}", "{2,}", "", "", "", ""};
	static const char *const front[] = {"^", "\\A", "\\b", "\\B", "(?m)^", "^$|"};
	static const char *const back[] = {"$", "\\z", "\\Z", "\\b", "\\B", "(?m:$)"};
	size_t n = 0;
	uint32_t atoms = 1 + rnd(4);

	if (!rnd(7))
		n += (size_t)snprintf(out + n, 128 - n, "%s", front[rnd(6)]);
	for (uint32_t i = 0; i < atoms; i++) {
		char atom[24];

		random_atom(atom, sizeof atom);
		n += (size_t)snprintf(out + n, 128 - n, "%s%s", atom, repeats[rnd(11)]);
		if (!rnd(16))
			n += (size_t)snprintf(out + n, 128 - n, "|");
	}
	if (!rnd(7))
		snprintf(out + n, 128 - n, "%s", back[rnd(6)]);
}

/* Random expressions that Hyperscan takes, each with a database of its own. */
static void random_set(struct single *s, char *yaml, size_t room)
{
	static const char *const names[] = {"page", "referrer", "device"};
	hs_compile_error_t *problem;
	size_t n = (size_t)snprintf(yaml, room, "rules:\n");

	for (uint32_t i = 0; i < PATTERNS; i++) {
		uint32_t field = rnd(3);
		bool nocase = !rnd(4);
		unsigned flags = HS_FLAG_DOTALL | HS_FLAG_ALLOWEMPTY | (nocase ? HS_FLAG_CASELESS : 0);

		s[i].field = fields[field];
		do {
			problem = NULL;
			random_expr(s[i].expr);
			if (hs_compile(s[i].expr, flags, HS_MODE_BLOCK, NULL, &s[i].db, &problem))
				s[i].db = NULL;
			hs_free_compile_error(problem);
		} while (!s[i].db);
		assert_int_equal(hs_alloc_scratch(s[i].db, &scratch), HS_SUCCESS);
		n += (size_t)snprintf(yaml + n, room - n,
			"- {id: r%u, when: {%s: {regex: '%s', nocase: %s}}, then: tag}\n", i, names[field],
			s[i].expr, nocase ? "true" : "false");
	}
	assert_true(n < room);
}

static void random_event(struct made_event *m)
{
	static const char letters[] = {'a', 'b', 'a', 'b', 'c', 'A', '\n', 0, (char)0xff, '/', '7', ' '};
	char text[640];

	made_reset(m, EVENT_TYPE_click);
	for (int tail = 0; tail < 2; tail++)
		for (uint32_t f = 0; f < 3; f++) {
			uint32_t bytes = rnd(3) ? rnd(12) : rnd(rnd(8) ? 40 : 600);

			if (rnd(2) || m->ev.field_mask & 1ull << fields[f])
				continue;
			for (uint32_t i = 0; i < bytes; i++)
				text[i] = letters[rnd(sizeof letters)];
			if (tail)
				made_tail(m, fields[f], text, bytes);
			else
				made_text(m, fields[f], text, bytes);
		}
}

static void compare(const struct single *s, const struct event *ev)
{
	uint32_t at = 0;

	for (uint32_t i = 0; i < PATTERNS; i++) {
		bool want = brute(&s[i], ev);
		bool have = at < ev->hit_count && ev->hit[at] == i;

		at += have;
		if (want != have)
			fail_msg("pattern %s on %s: alone %d, gathered %d", s[i].expr,
				field_table[s[i].field].name, want, have);
	}
	assert_int_equal(at, ev->hit_count);
	assert_int_equal(ev->actions, at ? 1 : 0);
}

static void test_gathered_is_single(void **state)
{
	static struct made_event made[EVENTS_MAX];
	static struct single s[PATTERNS];
	struct event *burst[EVENTS_MAX];
	uint64_t hits = 0, rescans = 0;
	char yaml[4096];

	(void)state;
	for (uint32_t set = 0; set < SETS; set++) {
		struct ruleset *rs;
		struct matcher *m;

		random_set(s, yaml, sizeof yaml);
		rs = compiled(yaml);
		m = matcher_of(rs);
		for (uint32_t b = 0; b < BURSTS; b++) {
			uint32_t n = 1 + rnd(EVENTS_MAX);

			for (uint32_t i = 0; i < n; i++) {
				random_event(&made[i]);
				burst[i] = &made[i].ev;
			}
			matcher_run(m, burst, n);
			for (uint32_t i = 0; i < n; i++) {
				compare(s, burst[i]);
				hits += burst[i]->hit_count;
			}
		}
		rescans += matcher_stats(m)->rescans;
		matcher_free(m);
		ruleset_free(rs);
		for (uint32_t i = 0; i < PATTERNS; i++)
			hs_free_database(s[i].db);
	}
	hs_free_scratch(scratch);
	assert_true(hits > 100000);
	assert_true(rescans > 100); /* both ways were taken */
	assert_true(rescans < SETS * BURSTS / 2);
	print_message("%d bursts, %llu hits, %llu bursts rescanned\n", SETS * BURSTS,
		(unsigned long long)hits, (unsigned long long)rescans);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_gathered_is_single)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
