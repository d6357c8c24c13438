/* Error texts: formatting only. Any thread; no memory of its own. */
#include "err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int err_set(struct err *err, int code, const char *fmt, ...)
{
	va_list ap;

	if (!err)
		return code;
	va_start(ap, fmt);
	vsnprintf(err->text, sizeof err->text, fmt, ap);
	va_end(ap);
	return code;
}

void err_prefix(struct err *err, const char *fmt, ...)
{
	char head[sizeof err->text], old[sizeof err->text];
	va_list ap;
	int n;

	if (!err)
		return;
	memcpy(old, err->text, sizeof old);
	va_start(ap, fmt);
	n = vsnprintf(head, sizeof head, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof head)
		return;
	snprintf(err->text, sizeof err->text, "%.*s: %.*s", n, head, (int)(sizeof err->text - (size_t)n - 3),
		old);
}
