/* Structured, rate-limited log on standard error. One line an event:
 *   2026-11-21T06:00:00.123Z level=warn area=kafka msg="broker away" broker=127.0.0.1:9092 suppressed=12
 * or the same as a JSON object. Control threads, partition threads and sinks only: RX stages may not log
 * (tests/lint holds that). Thread-safe: one write(2) a line. */
#ifndef SLUICE_LOG_H
#define SLUICE_LOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* level_max: lines above it are not printed. json: one JSON object a line. */
void log_init(enum log_level level_max, bool json);

/* A site's token bucket: at most `burst` lines in `window_ns`; the next line after that says how many were
 * held back. Zero-initialised statics are ready. */
struct log_site {
	_Atomic uint64_t window_start_ns;
	_Atomic uint32_t printed;
	_Atomic uint32_t suppressed;
	/* Constant; 0: the defaults. */
	uint32_t burst;
	uint64_t window_ns;
};

#define LOG_SITE_BURST 10
#define LOG_SITE_WINDOW_NS 5000000000ull

/* fmt: the message, then optional " key=value" pairs as the writer likes them. */
void log_write(struct log_site *site, enum log_level level, const char *area, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

#define LOG_AT(level, area, ...)                                                                             \
	do {                                                                                                 \
		static struct log_site log_site_;                                                            \
		log_write(&log_site_, level, area, __VA_ARGS__);                                             \
	} while (0)
#define log_error(area, ...) LOG_AT(LOG_LEVEL_ERROR, area, __VA_ARGS__)
#define log_warn(area, ...) LOG_AT(LOG_LEVEL_WARN, area, __VA_ARGS__)
#define log_info(area, ...) LOG_AT(LOG_LEVEL_INFO, area, __VA_ARGS__)
#define log_debug(area, ...) LOG_AT(LOG_LEVEL_DEBUG, area, __VA_ARGS__)

#endif
