/* See json_print.h. jansson knows only one number of digits for all: with less than 17 some would change. */
#include "json_print.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "value_text.h"

#define LONG_BYTES 17 /* 16 digits and the point: below, no text is shorter */

/* The text of a number, at `from`, to `to`, which is not behind it; returns where it ends. */
static char *number_put(char *to, const char *from, size_t bytes)
{
	char text[NUMBER_TEXT_BYTES], was[40];
	size_t n = bytes;

	if (bytes >= LONG_BYTES && bytes < sizeof was && memchr(from, '.', bytes)) {
		memcpy(was, from, bytes);
		was[bytes] = 0;
		n = number_text(text, strtod(was, NULL));
	}
	if (n < bytes && strpbrk(text, ".e")) /* a real stays one */
		memcpy(to, text, n);
	else
		memmove(to, from, n = bytes);
	return to + n;
}

static size_t string_bytes(const char *p)
{
	size_t n = 1;

	while (p[n] != '"')
		n += p[n] == '\\' ? 2 : 1;
	return n + 1;
}

static bool in_number(char c)
{
	return (c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.' || c == 'e' || c == 'E';
}

/* Up to the first that begins a string or a number. No function of the whole text, which may be long. */
static size_t plain_bytes(const char *p)
{
	size_t n = 0;

	while (p[n] && p[n] != '"' && p[n] != '-' && !(p[n] >= '0' && p[n] <= '9'))
		n++;
	return n;
}

static size_t number_bytes(const char *p)
{
	size_t n = 0;

	while (in_number(p[n]))
		n++;
	return n;
}

char *json_print(const json_t *value, size_t flags)
{
	char *text = json_dumps(value, flags), *to = text;

	for (const char *p = text; p && *p;) {
		size_t n = plain_bytes(p);

		memmove(to, p, n);
		to += n;
		p += n;
		n = *p == '"' ? string_bytes(p) : number_bytes(p);
		if (*p == '"') {
			memmove(to, p, n);
			to += n;
		} else {
			to = number_put(to, p, n);
		}
		p += n;
	}
	if (to)
		*to = 0;
	return text;
}

void json_print_file(const json_t *value, FILE *out, size_t flags)
{
	char *text = json_print(value, flags);

	fputs(text ? text : "null", out);
	free(text);
}
