/* A reading of regular expressions that is only as exact as its question needs: can the result depend on what
 * stands before or behind the text? Then the expression may not be scanned among other fields. Hyperscan
 * decides about syntax, regex_size.c about size. */
#include "regex_shape.h"

#include <string.h>

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

struct regex_shape regex_shape_of(const char *regex)
{
	struct regex_shape shape = {.verb = !strncmp(regex, "(*", 2)};

	regex_size_of(regex, &shape);
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
