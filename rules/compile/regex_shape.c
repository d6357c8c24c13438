/* A reading of regular expressions that is only as exact as its two questions need: can the result depend on
 * what stands before or behind the text (then the expression may not be scanned among other fields), and how
 * large is it written out. Hyperscan decides about syntax. */
#include "regex_shape.h"

#include <string.h>

#define GROUPS_MAX 200
#define SIZE_TOP (1ull << 40)

/* Looks neither at classes nor at \Q..\E nor at comments, so that nothing can hide in a misread one. The one
 * exception is the ^ right behind [. \b and \B are no edges: the separator is no word character, and so is to
 * them what the end of a text is. */
static bool has_edge(const char *p, bool *word)
{
	for (; *p; p++) {
		if (*p == '\\') {
			p++;
			if (!*p)
				return true;
			if (strchr("AZzG", *p))
				return true;
			*word = *word || *p == 'b' || *p == 'B';
			if (*p == 'c' && p[1])
				p++; /* \c[ is a control character, not the start of a class */
			continue;
		}
		if (*p == '[' && p[1] == '^')
			p++;
		else if (*p == '^' || *p == '$')
			return true;
	}
	return false;
}

static uint64_t capped(uint64_t a)
{
	return a < SIZE_TOP ? a : SIZE_TOP;
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

/* {m}, {m,}, {m,n} at p: how often it writes its atom out; 0 if it is no repeat. */
static uint64_t repeat_of(const char *p, const char **end)
{
	uint64_t low = 0, high = 0;
	bool comma = false, digit = false;

	for (p++; *p >= '0' && *p <= '9'; p++, digit = true)
		low = capped(low * 10 + (uint64_t)(*p - '0'));
	if (*p == ',') {
		comma = true;
		for (p++; *p >= '0' && *p <= '9'; p++)
			high = capped(high * 10 + (uint64_t)(*p - '0'));
	}
	if (*p != '}' || !digit)
		return 0;
	*end = p + 1;
	if (!comma)
		high = low;
	if (high < low)
		high = low;
	return high ? high : 1;
}

static uint64_t size_of(const char *p)
{
	uint64_t sum[GROUPS_MAX] = {0}, last = 0;
	uint32_t depth = 0;

	while (*p) {
		const char *end = p + 1;

		if (*p == '{') {
			uint64_t times = repeat_of(p, &end);

			if (times) {
				sum[depth] = capped(sum[depth] + last * (times - 1));
				last = capped(last * times);
				p = end;
				continue;
			}
		}
		if (*p == '(') {
			if (++depth == GROUPS_MAX)
				return SIZE_TOP;
			sum[depth] = 0;
			last = 0;
		} else if (*p == ')' && depth) {
			last = sum[depth--];
			sum[depth] = capped(sum[depth] + last);
		} else if (!strchr("*+?|", *p)) {
			last = 1;
			sum[depth] = capped(sum[depth] + 1);
			if (*p == '[')
				end = skip_class(p);
			else if (*p == '\\' && p[1])
				end = p + 2;
		}
		p = end;
	}
	while (depth) {
		sum[depth - 1] = capped(sum[depth - 1] + sum[depth]);
		depth--;
	}
	return sum[0];
}

struct regex_shape regex_shape_of(const char *regex)
{
	struct regex_shape shape = {.verb = !strncmp(regex, "(*", 2), .size = size_of(regex)};

	shape.edge = has_edge(regex, &shape.word);
	return shape;
}

void regex_quote(char *out, const char *text, size_t bytes)
{
	static const char hex[] = "0123456789abcdef";

	for (size_t i = 0; i < bytes; i++) {
		unsigned char c = (unsigned char)text[i];

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
			(c && strchr(" /_-=%:;,'\"@!~<>&", c))) {
			*out++ = (char)c;
			continue;
		}
		*out++ = '\\';
		*out++ = 'x';
		*out++ = hex[c >> 4];
		*out++ = hex[c & 15];
	}
	*out = 0;
}
