/* How large a regular expression is once its repeats are written out: its positions, and the pairs of
 * positions of which one may follow the other (Glushkov's automaton, which is what Hyperscan builds first).
 * Time and memory of a compile grow with both. An estimate: classes and escapes are one position, flags none.
 */
#include <string.h>

#include "regex_shape.h"

#define GROUPS_MAX 200
#define TOP (1ull << 40)

/* A piece of the expression. first, last: positions at which a match of it may begin, end. */
struct piece {
	uint64_t size, pairs, first, last;
	uint32_t literal; /* the longest text that each match holds */
	bool nullable;
	bool plain; /* one character that stands for itself */
};

/* What is open: alternatives before the last bar, and what stands behind it. */
struct group {
	struct piece alternatives, row;
	bool bar;
	uint32_t run; /* characters at the end of row that stand for themselves */
};

static uint64_t plus(uint64_t a, uint64_t b)
{
	return a + b < TOP ? a + b : TOP;
}

static uint64_t times(uint64_t a, uint64_t b)
{
	uint64_t c;

	return __builtin_mul_overflow(a, b, &c) || c > TOP ? TOP : c;
}

static struct piece joined(struct piece a, struct piece b)
{
	return (struct piece){.size = plus(a.size, b.size),
		.pairs = plus(plus(a.pairs, b.pairs), times(a.last, b.first)),
		.first = a.nullable ? plus(a.first, b.first) : a.first,
		.last = b.nullable ? plus(a.last, b.last) : b.last,
		.literal = a.literal > b.literal ? a.literal : b.literal,
		.nullable = a.nullable && b.nullable};
}

static struct piece either(struct piece a, struct piece b)
{
	return (struct piece){.size = plus(a.size, b.size),
		.pairs = plus(a.pairs, b.pairs),
		.first = plus(a.first, b.first),
		.last = plus(a.last, b.last),
		.literal = a.literal < b.literal ? a.literal : b.literal,
		.nullable = a.nullable || b.nullable};
}

/* least to most copies one after the other; without an end the last of them again and again. */
static struct piece repeated(struct piece a, uint64_t least, uint64_t most, bool endless)
{
	uint64_t n = most ? most : 1, ends = n - (least ? least : 1) + 1;
	struct piece p = {
		.size = times(a.size, n), .nullable = a.nullable || !least, .literal = least ? a.literal : 0};
	uint64_t steps = a.nullable ? times(n, n) / 2 : n - 1;

	p.pairs = plus(times(a.pairs, n), times(times(a.last, a.first), steps));
	if (endless)
		p.pairs = plus(p.pairs, times(a.last, a.first));
	p.first = a.nullable ? times(a.first, n) : a.first;
	p.last = times(a.last, a.nullable ? n : ends);
	return p;
}

/* Behind a class: its closing bracket may stand first as a literal. */
static const char *skip_class(const char *p)
{
	p++;
	if (*p == '^')
		p++;
	if (*p == ']')
		p++;
	while (*p && *p != ']') {
		if (*p == '\\' && p[1])
			p++;
		p++;
	}
	return *p ? p + 1 : p;
}

/* {m}, {m,}, {m,n} at *p: takes it; false if it is none. */
static bool repeat_take(const char **p, uint64_t *least, uint64_t *most, bool *endless)
{
	const char *at = *p + 1;
	bool digit = false;

	*least = *most = 0;
	for (; *at >= '0' && *at <= '9'; at++, digit = true)
		*least = plus(times(*least, 10), (uint64_t)(*at - '0'));
	*endless = *at == ',' && at[1] == '}';
	if (*at == ',')
		for (at++; *at >= '0' && *at <= '9'; at++)
			*most = plus(times(*most, 10), (uint64_t)(*at - '0'));
	if (*most < *least)
		*most = *least;
	if (*at != '}' || !digit)
		return false;
	*p = at + 1;
	return true;
}

/* The quantifiers behind a piece. */
static struct piece quantified(struct piece a, const char **p)
{
	uint64_t least, most;
	bool endless, done = false;

	for (;; done = true) {
		if (**p == '{') {
			if (!repeat_take(p, &least, &most, &endless))
				return a;
			a = repeated(a, least, most, endless);
		} else if (**p == '*' || **p == '+' || **p == '?') {
			if (!done) /* behind another one: lazy, possessive */
				a = repeated(a, **p == '+', 1, **p != '?');
			(*p)++;
		} else {
			return a;
		}
	}
}

static void append(struct group *g, struct piece a)
{
	g->run = a.plain ? g->run + 1 : 0;
	g->row = joined(g->row, a);
	if (g->run > g->row.literal)
		g->row.literal = g->run;
}

static void bar(struct group *g)
{
	g->alternatives = g->bar ? either(g->alternatives, g->row) : g->row;
	g->bar = true;
	g->row = (struct piece){.nullable = true};
	g->run = 0;
}

static struct piece closed(struct group *g)
{
	return g->bar ? either(g->alternatives, g->row) : g->row;
}

/* One position at *p, behind which *p stands then. */
static struct piece atom(const char **p)
{
	struct piece a = {.size = 1, .first = 1, .last = 1};
	const char *at = *p;

	if (*at == '[') {
		*p = skip_class(at);
	} else if (*at == '\\' && at[1]) {
		a.plain = !strchr("abBdDsSwWAzZGQEhHvVRXpPkgc123456789", at[1]);
		*p = at + 2;
	} else {
		a.plain = *at != '.' && *at != '^' && *at != '$';
		*p = at + 1;
	}
	if (a.plain)
		a.literal = 1;
	return a;
}

void regex_size_of(const char *p, struct regex_shape *shape)
{
	struct group group[GROUPS_MAX];
	uint32_t depth = 0;
	struct piece whole;

	group[0] = (struct group){.row.nullable = true};
	shape->size = shape->pairs = TOP;
	while (*p) {
		struct piece a;

		if (*p == '(') {
			if (++depth == GROUPS_MAX)
				return;
			group[depth] = (struct group){.row.nullable = true};
			p++;
			if (*p == '?')
				p += strspn(p, "?:=!<>imsx-");
			continue;
		}
		if (*p == '|') {
			bar(&group[depth]);
			p++;
			continue;
		}
		if (*p == ')' && depth) {
			a = closed(&group[depth--]);
			p++;
		} else if (strchr("*+?", *p)) {
			p++;
			continue;
		} else {
			a = atom(&p);
		}
		append(&group[depth], quantified(a, &p));
	}
	whole = closed(&group[depth]);
	while (depth) {
		append(&group[--depth], whole);
		whole = closed(&group[depth]);
	}
	shape->size = whole.size;
	shape->pairs = whole.pairs;
	shape->literal = whole.literal;
}
