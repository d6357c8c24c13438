/* Texts of a definition in one form, so that what differs in blanks and quotes only has the same uid. Never
 * longer than what was written, but where a number is. Set-up only; pure. */
#include <string.h>

#include "window_priv.h"

void window_canon_put(struct window_canon *c, const char *text, size_t bytes)
{
	if (c->cut || bytes >= sizeof c->text - c->bytes) {
		c->cut = true;
		return;
	}
	memcpy(c->text + c->bytes, text, bytes);
	c->bytes += bytes;
	c->text[c->bytes] = 0;
}

bool window_canon_bare(char ch)
{
	return (unsigned char)ch > ' ' && !strchr(",()\"'=<>!;", ch);
}

void window_canon_value(struct window_canon *c, const char *text, size_t bytes)
{
	size_t single = 0, twice = 0, bare = 0;
	char quote;

	for (size_t i = 0; i < bytes; i++) {
		single += text[i] == '\'';
		twice += text[i] == '"';
		bare += window_canon_bare(text[i]);
	}
	if (bytes && bare == bytes) {
		window_canon_put(c, text, bytes);
		return;
	}
	quote = twice > single ? '\'' : '"';
	window_canon_put(c, &quote, 1);
	for (size_t i = 0; i < bytes; i++) {
		if (text[i] == quote || text[i] == '\\')
			window_canon_put(c, "\\", 1);
		window_canon_put(c, text + i, 1);
	}
	window_canon_put(c, &quote, 1);
}

/* Length of what stands in quotes or parentheses at p, with them; 1 for anything else. */
static size_t group_bytes(const char *p)
{
	const char *at = p;
	int depth = 0;

	do {
		if (*at == '"' && strchr(at + 1, '"'))
			at = strchr(at + 1, '"');
		depth += (*at == '(') - (*at == ')');
		at++;
	} while (depth > 0 && *at);
	return (size_t)(at - p);
}

void window_canon_calls(struct window_canon *c, const char *text)
{
	bool blank = false, joint = true; /* joint: a blank here separates nothing */

	for (const char *p = text; *p;) {
		bool mark = *p == ',' || *p == ';' || *p == '(';
		size_t n = group_bytes(p);

		if (*p == ' ') {
			blank = true;
			p++;
			continue;
		}
		if (blank && !joint && !mark)
			window_canon_put(c, " ", 1);
		window_canon_put(c, p, n);
		joint = *p == ',' || *p == ';';
		blank = false;
		p += n;
	}
}
