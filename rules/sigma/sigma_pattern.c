/* Texts with wildcards: how Sigma writes them, what its modifiers make of them, and the test that a pattern
 * comes to. A pattern is a list of pieces; whatever has wildcards inside becomes an expression whose size is
 * that of the text. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "regex_shape.h"
#include "sigma_priv.h"

static bool is_word(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static struct piece *piece_new(struct sigma *sg, enum piece_kind kind, const char *text, size_t bytes)
{
	struct piece *p = rule_pool_get(&sg->pool, 1, sizeof *p);

	if (!p) {
		sigma_no_memory(sg);
		return NULL;
	}
	p->kind = kind;
	p->text = text;
	p->bytes = bytes;
	return p;
}

/* A backslash takes the meaning of a wildcard or of another backslash; before anything else it is itself. */
struct piece *pattern_read(struct sigma *sg, const char *text, size_t bytes)
{
	char *plain = rule_pool_get(&sg->pool, 1, bytes + 1);
	struct piece *head = NULL, **tail = &head;
	size_t used = 0, start = 0;

	if (!plain) {
		sigma_no_memory(sg);
		return NULL;
	}
	for (size_t i = 0; i <= bytes; i++) {
		bool wild = i < bytes && (text[i] == '*' || text[i] == '?');

		if ((wild || i == bytes) && (used > start || (!head && i == bytes))) {
			*tail = piece_new(sg, PIECE_TEXT, plain + start, used - start);
			if (!*tail)
				return NULL;
			tail = &(*tail)->next;
			start = used;
		}
		if (wild) {
			*tail = piece_new(sg, text[i] == '*' ? PIECE_ANY : PIECE_ONE, "", 0);
			if (!*tail)
				return NULL;
			tail = &(*tail)->next;
		} else if (i < bytes) {
			if (text[i] == '\\' && i + 1 < bytes && strchr("*?\\", text[i + 1]))
				i++;
			plain[used++] = text[i];
		}
	}
	return head;
}

static bool is_empty(const struct piece *p)
{
	return p->kind == PIECE_TEXT && !p->bytes && !p->next;
}

struct piece *pattern_around(struct sigma *sg, struct piece *p, bool before, bool behind)
{
	struct piece *head = before ? piece_new(sg, PIECE_ANY, "", 0) : p, *last;
	struct piece *end = behind ? piece_new(sg, PIECE_ANY, "", 0) : NULL;

	if (!head || (behind && !end))
		return NULL;
	if (is_empty(p))
		return before ? head : end;
	if (before)
		head->next = p;
	for (last = head; last->next; last = last->next)
		;
	last->next = end;
	return head;
}

/* A dash that begins a word and ends none, as that of a command's option. */
static bool is_dash(const struct piece *p, size_t i, bool first)
{
	if (p->text[i] != '-' && p->text[i] != '/')
		return false;
	if (i ? is_word(p->text[i - 1]) : !first)
		return false;
	return i + 1 < p->bytes && is_word(p->text[i + 1]);
}

struct piece *pattern_windash(struct sigma *sg, struct piece *p)
{
	struct piece *head = NULL, **tail = &head;
	bool first = true; /* nothing, or no word, stands before */

	for (struct piece *it = p; it; it = it->next, first = true) {
		size_t start = 0;

		if (it->kind != PIECE_TEXT) {
			*tail = piece_new(sg, it->kind, it->text, it->bytes);
			if (!*tail)
				return NULL;
			tail = &(*tail)->next;
			continue;
		}
		for (size_t i = 0; i <= it->bytes; i++) {
			bool dash = i < it->bytes && is_dash(it, i, first);

			if ((dash || i == it->bytes) && (i > start || is_empty(p))) {
				*tail = piece_new(sg, PIECE_TEXT, it->text + start, i - start);
				if (!*tail)
					return NULL;
				tail = &(*tail)->next;
			}
			if (!dash)
				continue;
			*tail = piece_new(sg, PIECE_DASH, "", 0);
			if (!*tail)
				return NULL;
			tail = &(*tail)->next;
			start = i + 1;
		}
	}
	return head;
}

struct piece *pattern_base64(struct sigma *sg, const struct piece *p, uint32_t shift, bool whole)
{
	static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	static const uint8_t cut_before[] = {0, 2, 3}, cut_behind[] = {0, 3, 2};
	size_t n = p->bytes + shift, groups = (n + 2) / 3, before, behind;
	char *out = rule_pool_get(&sg->pool, 4, groups + 1);

	if (!out) {
		sigma_no_memory(sg);
		return NULL;
	}
	for (size_t g = 0; g < groups; g++) {
		uint32_t v = 0;

		for (size_t k = 0; k < 3; k++) {
			size_t at = g * 3 + k;

			v = v << 8 | (at < shift ? ' ' : at < n ? (uint8_t)p->text[at - shift] : 0);
		}
		for (size_t k = 0; k < 4; k++)
			out[g * 4 + k] = digit[v >> (18 - 6 * k) & 63];
	}
	for (size_t k = n; k < groups * 3; k++)
		out[groups * 4 - 1 - (k - n)] = '=';
	before = whole ? 0 : cut_before[shift];
	behind = whole ? 0 : cut_behind[n % 3];
	if (before + behind >= groups * 4)
		return piece_new(sg, PIECE_TEXT, "", 0);
	return piece_new(sg, PIECE_TEXT, out + before, groups * 4 - before - behind);
}

static char *put16(char *to, uint32_t unit, bool big)
{
	to[big ? 0 : 1] = (char)(unit >> 8);
	to[big ? 1 : 0] = (char)unit;
	return to + 2;
}

/* The text is UTF-8: libyaml has checked it. */
struct piece *pattern_utf16(struct sigma *sg, const struct piece *p, bool big, bool mark)
{
	char *out = rule_pool_get(&sg->pool, 2, p->bytes + 1), *to = out;

	if (!out) {
		sigma_no_memory(sg);
		return NULL;
	}
	if (mark)
		to = put16(to, 0xfeff, big);
	for (size_t i = 0; i < p->bytes;) {
		uint8_t c = (uint8_t)p->text[i];
		uint32_t more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : c >= 0xc0 ? 1 : 0;
		uint32_t code = more ? c & (0x3fu >> more) : c;

		for (i++; more && i < p->bytes; more--, i++)
			code = code << 6 | ((uint8_t)p->text[i] & 0x3f);
		if (code >= 0x10000) {
			to = put16(to, 0xd800 + ((code - 0x10000) >> 10 & 0x3ff), big);
			code = 0xdc00 + (code & 0x3ff);
		}
		to = put16(to, code, big);
	}
	return piece_new(sg, PIECE_TEXT, out, (size_t)(to - out));
}

static bool has_letter(const struct piece *p)
{
	for (; p; p = p->next)
		for (size_t i = 0; i < p->bytes; i++)
			if ((p->text[i] | 0x20) >= 'a' && (p->text[i] | 0x20) <= 'z')
				return true;
	return false;
}

/* An expression for the pieces from p up to end. */
static struct sx *regex_test(struct sigma *sg, const char *field, const struct piece *p,
	const struct piece *end, bool before, bool behind)
{
	static const char one[] = "(?:[\\x00-\\x7f]|[\\xc2-\\xf4][\\x80-\\xbf]+)";
	static const char dash[] = "(?:[-/]|\\xe2\\x80[\\x93-\\x95])";
	size_t room = 8;
	char *text, *to;

	for (const struct piece *it = p; it != end; it = it->next)
		room += 4 * it->bytes + sizeof one;
	text = to = rule_pool_get(&sg->pool, 1, room);
	if (!text) {
		sigma_no_memory(sg);
		return NULL;
	}
	if (!before)
		to = stpcpy(to, "\\A");
	for (const struct piece *it = p; it != end; it = it->next) {
		if (it->kind == PIECE_TEXT) {
			regex_quote(to, it->text, it->bytes);
			to += strlen(to);
		} else if (it->kind != PIECE_ANY) {
			to = stpcpy(to, it->kind == PIECE_ONE ? one : dash);
		} else if (!(it->next && it->next->kind == PIECE_ANY)) {
			to = stpcpy(to, ".*");
		}
	}
	if (!behind)
		to = stpcpy(to, "\\z");
	return sx_test(sg, field, SX_REGEX, text, (size_t)(to - text));
}

struct sx *pattern_test(struct sigma *sg, const char *field, const struct piece *p, bool nocase)
{
	static const enum sx_op ops[2][2] = {{SX_EQ, SX_PREFIX}, {SX_SUFFIX, SX_CONTAINS}};
	const struct piece *end = NULL;
	bool before = false, behind = false;
	struct sx *test;

	for (; p && p->kind == PIECE_ANY; p = p->next)
		before = true;
	if (!p) {
		test = sx_test(sg, field, SX_PRESENT, "true", 4);
		if (test) {
			test->plain = true;
			test->asks = SX_PRESENT;
		}
		return test;
	}
	for (const struct piece *it = p; it; it = it->next) {
		if (it->kind != PIECE_ANY)
			end = NULL;
		else if (!end)
			end = it;
	}
	behind = end != NULL;
	if (p->kind == PIECE_TEXT && p->next == end)
		test = sx_test(sg, field, ops[before][behind], p->text, p->bytes);
	else
		test = regex_test(sg, field, p, end, before, behind);
	if (test)
		test->nocase = nocase && has_letter(p);
	if (test)
		test->asks = ops[before][behind];
	return test;
}
