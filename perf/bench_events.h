/* Unique events for benchmarks, made from a seed: clicks of about 187 bytes and platform events. C and C++.
 */
#ifndef SLUICE_BENCH_EVENTS_H
#define SLUICE_BENCH_EVENTS_H

#include <stdio.h>
#include <stdlib.h>

#include "bench_util.h"

#define BENCH_RECEIVE_MS 1763700000000ll
#define BENCH_EVENT_BYTES 400 /* more than the longest */

struct bench_events {
	uint8_t *bytes;
	uint32_t *offset, *length;
	uint32_t count;
	uint64_t total;
};

/* Per mille of events that are platform events, that have an escape, and that have non-ASCII text. */
struct bench_mix {
	uint32_t platform, escaped, utf8;
};

static inline int bench_id(char out[40], uint64_t *seed)
{
	uint64_t a = bench_random(seed), b = bench_random(seed);

	return snprintf(out, 40, "%08x-%04x-4%03x-%04x-%012llx", (uint32_t)a, (uint32_t)(a >> 32) & 0xffff,
		(uint32_t)(a >> 48) & 0xfff, 0x8000 | ((uint32_t)(b >> 48) & 0x3fff),
		(unsigned long long)(b & 0xffffffffffffull));
}

static inline int bench_click(char *out, uint64_t *seed, uint64_t ts, const char *extra)
{
	static const char *const referrer[] = {"https://example.com/", "https://www.google.com/",
		"https://news.ycombinator.com/item?id=42", "", "https://t.co/abc123",
		"https://example.com/products/1?utm_source=mail&utm_medium=email",
		"android-app://com.google.android.gm"};
	static const char *const page[] = {"/products/%u", "/products/%u", "/category/%u/list", "/p%u"};
	static const char *const device[] = {"mobile", "desktop", "tablet"};
	static const char country[] = "USDEFRGBINBRJPCNCAMXITESNLSENOFIDKPLCZATCHBEPTIEGRROHUBGHR";
	uint64_t r = bench_random(seed), user = bench_random(seed) % 1000000;
	char id[40], path[64];

	bench_id(id, seed);
	snprintf(path, sizeof path, page[r & 3], (uint32_t)(r >> 8) % 1000);
	return snprintf(out, BENCH_EVENT_BYTES,
		"{\"event_id\":\"%s\",\"user_id\":\"u%llu\",\"ts\":%llu,\"page\":\"%s%s\",\"referrer\":\"%"
		"s\","
		"\"country\":\"%.2s\",\"device\":\"%s\"}",
		id, (unsigned long long)user, (unsigned long long)ts, path, extra, referrer[(r >> 20) % 7],
		country + 2 * ((r >> 34) % 29), device[(r >> 50) % 3]);
}

static inline int bench_platform(char *out, uint64_t *seed, uint64_t ts)
{
	static const char *const source[] = {"web", "device", "checkout-service"};
	uint64_t r = bench_random(seed), user = bench_random(seed) % 1000000;
	uint32_t second = (uint32_t)(ts / 1000 % 3600);
	char id[40];

	bench_id(id, seed);
	return snprintf(out, BENCH_EVENT_BYTES,
		"{\"event_id\":\"%s\",\"source\":\"%s\",\"timestamp\":\"2025-11-21T04:%02u:%02uZ\","
		"\"attributes\":"
		"{\"user_id\":\"u%llu\",\"metric\":%u.%u,\"status\":\"ok\"}}",
		id, source[r % 3], second / 60, second % 60, (unsigned long long)user,
		(uint32_t)(r >> 8) % 1000, (uint32_t)(r >> 20) % 100);
}

/* Events stand 16-byte aligned, with at least 64 readable bytes behind each. */
static inline struct bench_events bench_events_make(uint32_t count, struct bench_mix mix, uint64_t seed)
{
	struct bench_events e = {NULL, NULL, NULL, count, 0};
	uint64_t at = 0, ts = BENCH_RECEIVE_MS - 3600000;

	e.bytes = (uint8_t *)calloc((size_t)count + 4, 512);
	e.offset = (uint32_t *)calloc(count, sizeof *e.offset);
	e.length = (uint32_t *)calloc(count, sizeof *e.length);
	if (!e.bytes || !e.offset || !e.length)
		abort();
	for (uint32_t i = 0; i < count; i++) {
		uint32_t dice = (uint32_t)(bench_random(&seed) >> 33) % 1000;
		char *out = (char *)e.bytes + at;
		int length;

		ts += bench_random(&seed) & 3;
		if (dice < mix.platform)
			length = bench_platform(out, &seed, ts);
		else if (dice < mix.platform + mix.escaped)
			length = bench_click(out, &seed, ts, "\\/a\\u00e9");
		else if (dice < mix.platform + mix.escaped + mix.utf8)
			length = bench_click(out, &seed, ts, "\xc3\xa9\xe2\x82\xac");
		else
			length = bench_click(out, &seed, ts, "");
		e.offset[i] = (uint32_t)at;
		e.length[i] = (uint32_t)length;
		e.total += (uint64_t)length;
		at += ((uint32_t)length + 15) & ~15u;
	}
	return e;
}

static inline void bench_events_free(struct bench_events *e)
{
	free(e->bytes);
	free(e->offset);
	free(e->length);
}

#endif
