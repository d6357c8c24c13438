/* The log writer. Any control or sink thread; a line is built on the stack and leaves in one write(2). */
#include "log.h"

#include "clock.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static _Atomic enum log_level log_level_max = LOG_LEVEL_INFO; /* control may change it at any time */
static _Atomic bool log_json;
static const char *const log_level_name[] = {"error", "warn", "info", "debug"};

void log_init(enum log_level level_max, bool json)
{
	log_level_max = level_max;
	log_json = json;
}

/* True if the line may be printed; *held gets the number of lines held back before it. */
static bool log_site_take(struct log_site *site, uint32_t *held)
{
	uint64_t now = clock_mono_ns();
	uint64_t start = atomic_load_explicit(&site->window_start_ns, memory_order_relaxed);
	uint64_t window_ns = site->window_ns ? site->window_ns : LOG_SITE_WINDOW_NS;

	*held = 0;
	if (start == 0 || now - start > window_ns) {
		if (atomic_compare_exchange_strong(&site->window_start_ns, &start, now)) {
			atomic_store(&site->printed, 0);
			*held = atomic_exchange(&site->suppressed, 0);
		}
	}
	if (atomic_fetch_add(&site->printed, 1) < (site->burst ? site->burst : LOG_SITE_BURST))
		return true;
	atomic_fetch_add(&site->suppressed, 1);
	return false;
}

/* Copies text with the characters escaped that would end the quoted string or the line. */
static size_t log_quote(char *out, size_t cap, const char *in)
{
	size_t n = 0;

	for (; *in && n + 3 < cap; in++) {
		unsigned char c = (unsigned char)*in;

		if (c == '"' || c == '\\')
			out[n++] = '\\';
		out[n++] = c < 0x20 ? ' ' : (char)c;
	}
	out[n] = 0;
	return n;
}

void log_write(struct log_site *site, enum log_level level, const char *area, const char *fmt, ...)
{
	char msg[1024], quoted[1536], line[2048], stamp[40], more[32] = "";
	uint32_t held;
	int64_t wall = clock_wall_ms();
	time_t seconds = (time_t)(wall / 1000);
	struct tm tm;
	va_list ap;
	int n;

	if (level > log_level_max || !log_site_take(site, &held))
		return;
	va_start(ap, fmt);
	vsnprintf(msg, sizeof msg, fmt, ap);
	va_end(ap);
	log_quote(quoted, sizeof quoted, msg);
	gmtime_r(&seconds, &tm);
	n = (int)strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(stamp + n, sizeof stamp - (size_t)n, ".%03dZ", (int)(wall % 1000));
	if (held)
		snprintf(more, sizeof more, log_json ? ",\"suppressed\":%u" : " suppressed=%u", held);
	n = snprintf(line, sizeof line,
		log_json ? "{\"time\":\"%s\",\"level\":\"%s\",\"area\":\"%s\",\"msg\":\"%s\"%s}\n"
			 : "%s level=%s area=%s msg=\"%s\"%s\n",
		stamp, log_level_name[level], area, quoted, more);
	if (n > 0 && write(STDERR_FILENO, line, (size_t)n) < 0)
		return; /* standard error is gone: nowhere left to say so */
}
