/* Bytes of JSON values and the putting together of events. No allocation. */
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "gen_event.h"

void gen_field_raw(struct gen_field *f, const char *key, const char *json)
{
	size_t bytes = strlen(json);

	assert(bytes < sizeof f->value);
	f->key = key;
	f->bytes = (uint32_t)bytes;
	memcpy(f->value, json, bytes + 1);
}

void gen_field_text(struct gen_field *f, const char *key, const char *text)
{
	size_t bytes = strlen(text);

	assert(bytes + 3 <= sizeof f->value);
	f->key = key;
	f->value[0] = '"';
	memcpy(f->value + 1, text, bytes);
	f->value[bytes + 1] = '"';
	f->value[bytes + 2] = 0;
	f->bytes = (uint32_t)bytes + 2;
}

void gen_field_number(struct gen_field *f, const char *key, int64_t number)
{
	char digits[24];
	uint64_t v = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
	uint32_t n = sizeof digits;

	do {
		digits[--n] = (char)('0' + v % 10);
	} while (v /= 10);
	if (number < 0)
		digits[--n] = '-';
	f->key = key;
	f->bytes = (uint32_t)sizeof digits - n;
	memcpy(f->value, digits + n, f->bytes);
	f->value[f->bytes] = 0;
}

void gen_field_time(struct gen_field *f, const char *key, int64_t ms)
{
	static _Thread_local time_t cached_second = -1;
	static _Thread_local char cached[40];
	time_t second = (time_t)(ms / 1000);

	if (second !=
		cached_second) { /* neighbours share it: breaking a date down costs more than the rest */
		struct tm tm;

		gmtime_r(&second, &tm);
		strftime(cached, sizeof cached, "\"%Y-%m-%dT%H:%M:%S.000Z\"", &tm);
		cached_second = second;
	}
	gen_field_raw(f, key, cached);
	f->value[21] = (char)('0' + ms % 1000 / 100);
	f->value[22] = (char)('0' + ms % 100 / 10);
	f->value[23] = (char)('0' + ms % 10);
}

/* RFC 9562 version 4. */
void gen_uuid(struct gen_rng *rng, char out[37])
{
	static const char hex[] = "0123456789abcdef";
	uint64_t w[2] = {gen_rng_next(rng), gen_rng_next(rng)};
	uint32_t at = 0;

	w[0] = (w[0] & ~0xf000ull) | 0x4000;
	w[1] = (w[1] & ~(3ull << 62)) | 2ull << 62;
	for (uint32_t nibble = 0; nibble < 32; nibble++) {
		if (nibble == 8 || nibble == 12 || nibble == 16 || nibble == 20)
			out[at++] = '-';
		out[at++] = hex[w[nibble / 16] >> (60 - nibble % 16 * 4) & 15];
	}
	out[at] = 0;
}

struct gen_field *gen_draft_top(struct gen_draft *d, const char *key)
{
	for (uint32_t i = 0; i < d->top_count; i++)
		if (!strcmp(d->top[i].key, key))
			return &d->top[i];
	return NULL;
}

static char *put(char *at, const char *end, const void *data, size_t bytes)
{
	assert((size_t)(end - at) >= bytes);
	memcpy(at, data, bytes);
	return at + bytes;
}

static char *put_members(char *at, const char *end, const struct gen_field *f, uint32_t count, bool spaced)
{
	at = put(at, end, "{", 1);
	for (uint32_t i = 0; i < count; i++) {
		if (i)
			at = put(at, end, spaced ? " , " : ",", spaced ? 3 : 1);
		at = put(at, end, "\"", 1);
		at = put(at, end, f[i].key, strlen(f[i].key));
		at = put(at, end, spaced ? "\" :\t" : "\":", spaced ? 4 : 2);
		at = put(at, end, f[i].value, f[i].bytes);
	}
	return put(at, end, "}", 1);
}

uint32_t gen_draft_write(const struct gen_draft *d, char *out, uint32_t capacity)
{
	struct gen_draft whole;
	const char *end = out + capacity;

	if (d->attr_count == 0)
		return (uint32_t)(put_members(out, end, d->top, d->top_count, d->spaced) - out);
	whole.top_count = d->top_count;
	memcpy(whole.top, d->top, d->top_count * sizeof *d->top);
	for (uint32_t i = 0; i < whole.top_count; i++) {
		struct gen_field *f = &whole.top[i];
		char *to = f->value;

		/* an empty value stands for the members of attributes */
		if (!strcmp(f->key, "attributes") && f->bytes == 0)
			f->bytes = (uint32_t)(put_members(to, to + sizeof f->value, d->attr, d->attr_count,
						      d->spaced) -
					      to);
	}
	return (uint32_t)(put_members(out, end, whole.top, whole.top_count, d->spaced) - out);
}
