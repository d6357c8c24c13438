/* Cost of turning journal records into a Native block: ns per event and bytes per row, best of several runs.
 * One thread, no server: what one partition of the ClickHouse sink pays before its socket. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ch_rows.h"
#include "clock.h"
#include "crc32c.h"

#define EVENTS 50000u
#define RUNS 15

struct recorded {
	uint8_t *data;
	size_t bytes;
};

static void text_put(struct event *ev, uint8_t *raw, enum field_id field, const char *at, size_t bytes)
{
	ev->field_mask |= 1ull << field;
	ev->field[field] = (struct span){(uint16_t)((const uint8_t *)at - raw), (uint16_t)bytes};
}

/* A click as a web shop's page sends it; its spans point into the raw bytes, as the parser makes them. */
static uint32_t click_write(uint8_t *out, uint32_t n)
{
	char raw[512];
	struct event ev = {.raw = (uint8_t *)raw,
		.type = EVENT_TYPE_click,
		.event_time_ms = 1794960000000 + n,
		.known = true};
	char user[16], page[32];
	const char *country[] = {"US", "DE", "FR", "IN", "BR"}, *device[] = {"mobile", "desktop", "tablet"};

	snprintf(user, sizeof user, "u%06u", n * 7919 % 100000);
	snprintf(page, sizeof page, "/product/%u", n % 5000);
	ev.raw_bytes = (uint32_t)snprintf(raw, sizeof raw,
		"{\"event_id\":\"%08x-0000-4000-8000-000000000000\",\"user_id\":\"%s\",\"ts\":%ld,\"page\":"
		"\"%s\",\"referrer\":\"/home\","
		"\"country\":\"%s\",\"device\":\"%s\"}",
		n, user, ev.event_time_ms, page, country[n % 5], device[n % 3]);
	memcpy(ev.event_id, &n, sizeof n);
	ev.field_mask = FBIT(event_id) | FBIT(ts);
	text_put(&ev, (uint8_t *)raw, FIELD_user_id, strstr(raw, user), strlen(user));
	text_put(&ev, (uint8_t *)raw, FIELD_page, strstr(raw, page), strlen(page));
	text_put(&ev, (uint8_t *)raw, FIELD_referrer, strstr(raw, "/home"), 5);
	text_put(&ev, (uint8_t *)raw, FIELD_country, strstr(raw, country[n % 5]), 2);
	text_put(&ev, (uint8_t *)raw, FIELD_device, strstr(raw, device[n % 3]), strlen(device[n % 3]));
	return record_write_event(out, &ev, n, ev.event_time_ms + 3, 0);
}

static struct recorded records_make(void)
{
	struct recorded r = {.data = aligned_alloc(64, EVENTS * 512u)};

	if (!r.data)
		exit(1);
	for (uint32_t n = 0; n < EVENTS; n++)
		r.bytes += click_write(r.data + r.bytes, n);
	return r;
}

static void rows_make(struct ch_rows *rows, const struct recorded *r)
{
	uint64_t offset = 0;
	struct err err;

	ch_rows_clear(rows);
	for (size_t at = 0; at < r->bytes; offset++) {
		const struct record *rec = (const struct record *)(r->data + at);

		if (ch_rows_hold(rows, rec, offset, 1, &err)) {
			fprintf(stderr, "%s\n", err.text);
			exit(1);
		}
		at += rec->bytes;
	}
	if (ch_rows_settle(rows, &err))
		exit(1);
}

int main(void)
{
	struct recorded r = records_make();
	uint64_t best_rows = UINT64_MAX, best_write = UINT64_MAX, best_crc = UINT64_MAX, sum = 0;
	struct bytes body = {0};
	struct ch_rows rows;

	ch_rows_init(&rows, "sluice-1", 0x123456789abcdefull, 3, NULL);
	for (int run = 0; run < RUNS; run++) {
		uint64_t t0 = clock_mono_ns(), t1, t2, t3;

		rows_make(&rows, &r);
		t1 = clock_mono_ns();
		body.bytes = 0;
		if (native_block_write(&rows.block[0]->native, &body))
			return 1;
		t2 = clock_mono_ns();
		sum += crc32c(0, body.data, body.bytes);
		t3 = clock_mono_ns();
		best_rows = t1 - t0 < best_rows ? t1 - t0 : best_rows;
		best_write = t2 - t1 < best_write ? t2 - t1 : best_write;
		best_crc = t3 - t2 < best_crc ? t3 - t2 : best_crc;
	}
	printf("native_encode: %u clicks of %.0f B: rows %.1f ns/event, block %.1f ns/event, crc %.1f "
	       "ns/event, %.1f B/row (%" PRIx64 ")\n",
		EVENTS, (double)r.bytes / EVENTS, (double)best_rows / EVENTS, (double)best_write / EVENTS,
		(double)best_crc / EVENTS, (double)body.bytes / EVENTS, sum);
	ch_rows_free(&rows);
	bytes_free(&body);
	free(r.data);
	return 0;
}
