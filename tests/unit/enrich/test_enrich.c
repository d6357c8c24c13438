/* The stage: parsed events in, the same events with more fields out; what was in their tails stays, what a
 * sender says about these fields counts for nothing, records of them are well-formed and hold the values. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "enrich_files.h"
#include "enrich_priv.h"
#include "ip_text.h"
#include "json.h"
#include "record.h"

#define EVENTS 64
#define RECEIVE_MS 1763700000000ll

static struct config cfg;
static char segments[64], products[64], users[64];
static struct json_parser *parser;
static struct event event[EVENTS];
static struct event *burst[EVENTS];
static char raw[EVENTS][2048 + EVENT_PAD_BYTES];
static uint32_t count;

static int setup(void **state)
{
	(void)state;
	file_path(segments);
	file_path(products);
	file_path(users);
	file_write_text(segments, "user,segment\nu1,gold\nu2,\"sil,ver\"\nu\xc3\xa9,acc\xc3\xa9nt\nu4,\n");
	file_write_text(products, "id,category\n42,books\n43,toys\n");
	file_write_text(users, "user,segment\nu1,second\nu3,third\nu4,fourth\n");
	parser = json_parser_new(256u << 10);
	return parser ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	unlink(segments);
	unlink(products);
	unlink(users);
	json_parser_free(parser);
	return 0;
}

static struct enrich_set *set_load(const char *geo_from)
{
	struct enrich_set *set;
	struct err err;
	char text[2048];

	snprintf(text, sizeof text,
		"enrich: {geoip_city: %scity.mmdb, geoip_asn: %sasn.mmdb, geo_from: %s}\n"
		"lookups:\n"
		"  - {name: segments, file: %s, to: user_segment}\n"
		"  - {name: products, file: %s, key: page, key_prefix: /product/, to: product_category}\n"
		"  - {name: users, file: %s, to: user_segment}\n",
		MMDB_DIR, MMDB_DIR, geo_from, segments, products, users);
	if (config_parse(&cfg, text, strlen(text), "test", &err) || enrich_set_load(&set, &cfg, &err))
		fail_msg("%s", err.text);
	return set;
}

static void begin(void)
{
	count = 0;
	json_parser_reset(parser);
}

/* Parses one more event of the burst, from an address. */
static struct event *put(const char *source, const char *json)
{
	static const struct parse_limits limits = {0, 300000};
	struct event *ev = &event[count];

	snprintf(raw[count], sizeof raw[count], "%s", json);
	json_parse_event(parser, (const uint8_t *)raw[count], (uint32_t)strlen(json), EVENT_TYPE_NONE,
		RECEIVE_MS, &limits, ev);
	assert_int_equal(ev->refused, 0);
	assert_true(ip_from_text(ev->src_addr, (const uint8_t *)source, (uint32_t)strlen(source)));
	burst[count++] = ev;
	return ev;
}

static const char *text_of(const struct event *ev, enum field_id field)
{
	static char out[4][300];
	static int turn;
	const uint8_t *text;
	uint32_t bytes;

	turn = (turn + 1) % 4;
	if (!(ev->field_mask >> field & 1))
		return "-";
	text = event_field(ev, field, &bytes);
	snprintf(out[turn], sizeof out[turn], "%.*s", (int)bytes, (const char *)text);
	return out[turn];
}

/* The record of the event is valid and has the same fields. */
static void check_record(const struct event *ev)
{
	static uint8_t out[65536 * 2] __attribute__((aligned(8)));
	uint32_t bytes = record_write_event(out, ev, 1, RECEIVE_MS, 0);
	const struct record *rec = (const struct record *)out;

	assert_true(record_valid(out, bytes));
	for (int f = 1; f < FIELD_ID_MAX; f++) {
		uint32_t in_event, in_record;
		const uint8_t *a, *b = record_field(rec, (enum field_id)f, &in_record);

		if (!(ev->field_mask >> f & 1)) {
			assert_null(b);
			continue;
		}
		a = event_field(ev, (enum field_id)f, &in_event);
		assert_int_equal(in_event, in_record);
		assert_memory_equal(a, b, in_event);
	}
}

static void test_values(void **state)
{
	struct enrich_set *set = set_load("event_or_packet");
	struct enricher *en = enricher_new(EVENTS, 256u << 10, 65536);
	struct enrich_stats stats = {0};
	struct event *known, *none, *escaped, *number, *spoof;

	(void)state;
	begin();
	known = put("192.0.2.1",
		"{\"user_id\":\"u1\",\"ts\":1763700000000,\"page\":\"/product/42/reviews?x=1\"}");
	none = put("9.9.9.9", "{\"user_id\":\"nobody\",\"ts\":1763700000000,\"page\":\"/product/\"}");
	escaped = put("2001:db8::9",
		"{\"user_id\":\"u\\u00e9\",\"ts\":1763700000000,\"page\":\"\\/product\\/43#a\"}");
	number = put("198.51.100.200", "{\"source\":\"web\",\"timestamp\":1763700000000,\"attributes\":{"
				       "\"user_id\":\"u2\",\"metric\":42.5}}");
	spoof = put("9.9.9.9",
		"{\"user_id\":\"u3\",\"ts\":1763700000000,\"page\":\"/product/4\",\"geo_country\":\"XX\","
		"\"user_segment\":\"mine\",\"_enrichment\":{\"geo_city\":\"y\"}}");
	enrich_run(en, set, burst, count, &stats);

	assert_string_equal(text_of(known, FIELD_geo_country), "DE");
	assert_string_equal(text_of(known, FIELD_geo_city), "Berlin");
	assert_string_equal(text_of(known, FIELD_geo_asn), "AS64496");
	assert_string_equal(text_of(known, FIELD_user_segment), "gold"); /* the first table wins */
	assert_string_equal(text_of(known, FIELD_product_category), "books");
	assert_int_equal(none->field_mask & event_enriched_mask, 0);
	assert_string_equal(text_of(escaped, FIELD_user_id), "u\xc3\xa9");
	assert_string_equal(text_of(escaped, FIELD_page), "/product/43#a");
	assert_string_equal(text_of(escaped, FIELD_user_segment), "acc\xc3\xa9nt");
	assert_string_equal(text_of(escaped, FIELD_product_category), "toys");
	assert_string_equal(text_of(escaped, FIELD_geo_country), "JP");
	assert_string_equal(text_of(number, FIELD_user_segment), "sil,ver");
	assert_string_equal(text_of(number, FIELD_geo_country), "US");
	assert_string_equal(text_of(number, FIELD_geo_city), "-"); /* the table has none there */
	assert_true(event_number(number, FIELD_metric) == 42.5);
	assert_string_equal(text_of(spoof, FIELD_geo_country), "-");
	assert_string_equal(text_of(spoof, FIELD_user_segment), "third"); /* not what the sender says */
	for (uint32_t i = 0; i < count; i++)
		check_record(burst[i]);
	assert_int_equal(stats.hits[ENRICH_GEOIP_CITY], 3);
	assert_int_equal(stats.misses[ENRICH_GEOIP_CITY], 2);
	assert_int_equal(stats.hits[ENRICH_LOOKUPS], 3);
	assert_int_equal(stats.misses[ENRICH_LOOKUPS], 2);
	assert_int_equal(stats.hits[ENRICH_LOOKUPS + 1], 2);
	assert_int_equal(stats.misses[ENRICH_LOOKUPS + 1], 1); /* "/product/" alone is no key */
	assert_int_equal(stats.too_long, 0);
	enricher_free(en);
	enrich_set_free(set);
}

/* An empty value is a known key that fills nothing, and lets a later table fill it. */
static void test_empty_value(void **state)
{
	struct enrich_set *set = set_load("event");
	struct enricher *en = enricher_new(EVENTS, 256u << 10, 65536);
	struct enrich_stats stats = {0};
	struct event *ev;

	(void)state;
	begin();
	ev = put("192.0.2.1", "{\"user_id\":\"u4\",\"ts\":1763700000000,\"page\":\"/\"}");
	enrich_run(en, set, burst, count, &stats);
	assert_string_equal(text_of(ev, FIELD_user_segment), "fourth");
	assert_int_equal(stats.hits[ENRICH_LOOKUPS], 1);
	assert_int_equal(stats.hits[ENRICH_LOOKUPS + 2], 1);
	assert_string_equal(text_of(ev, FIELD_geo_country), "-"); /* geo_from: event, and it has no ip */
	assert_int_equal(stats.misses[ENRICH_GEOIP_CITY], 0);
	enricher_free(en);
	enrich_set_free(set);
}

/* Whose address it is. The schema's field may be any text field for this. */
static void test_geo_from(void **state)
{
	static const struct {
		const char *from, *ip, *country;
	} row[] = {{"event", "192.0.2.1", "DE"}, {"packet", "192.0.2.1", "US"},
		{"event_or_packet", "192.0.2.1", "DE"}, {"event_or_packet", "no address", "-"},
		{"event", "192.0.2.1x", "-"}, {"event", "2001:db8::7", "IN"}};
	struct enricher *en = enricher_new(EVENTS, 256u << 10, 65536);
	struct enrich_stats stats = {0};

	(void)state;
	for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
		struct enrich_set *set = set_load(row[i].from);
		char json[256];
		struct event *ev;

		set->ip = FIELD_referrer;
		begin();
		snprintf(json, sizeof json,
			"{\"user_id\":\"u\",\"ts\":1763700000000,\"page\":\"/\",\"referrer\":\"%s\"}",
			row[i].ip);
		ev = put("198.51.100.1", json);
		enrich_run(en, set, burst, count, &stats);
		assert_string_equal(text_of(ev, FIELD_geo_country), row[i].country);
		enrich_set_free(set);
	}
	enricher_free(en);
}

/* An event that would not fit a record or 16-bit offsets stays as it was, and is counted. */
static void test_too_long(void **state)
{
	struct enrich_set *set = set_load("packet");
	struct enricher *en = enricher_new(EVENTS, 256u << 10, 65536);
	struct enrich_stats stats = {0};
	struct event *ev, before;

	(void)state;
	begin();
	ev = put("192.0.2.1", "{\"user_id\":\"u1\",\"ts\":1763700000000,\"page\":\"\\/product\\/42\"}");
	en->record_bytes_max = record_bytes_of(ev) + 10;
	before = *ev;
	enrich_run(en, set, burst, count, &stats);
	assert_int_equal(stats.too_long, 1);
	assert_memory_equal(&before, ev, sizeof before);
	en->record_bytes_max = 1 << 20;
	ev->raw_bytes = EVENT_BYTES_MAX - ev->tail_bytes - 10;
	ev->field_mask = FBIT(user_id);
	before = *ev;
	enrich_run(en, set, burst, count, &stats);
	assert_int_equal(stats.too_long, 2);
	assert_memory_equal(&before, ev, sizeof before);
	enricher_free(en);
	enrich_set_free(set);
}

/* Full bursts, all events with all values and tails: each event has its own. */
static void test_full_burst(void **state)
{
	struct enrich_set *set = set_load("packet");
	struct enricher *en = enricher_new(EVENTS, 256u << 10, 65536);
	struct enrich_stats stats = {0};
	char json[300];

	(void)state;
	for (int round = 0; round < 20; round++) {
		begin();
		for (uint32_t i = 0; i < EVENTS; i++) {
			snprintf(json, sizeof json,
				"{\"user_id\":\"%s\",\"ts\":1763700000000,\"page\":\"%sproduct/%u\","
				"\"referrer\":\"%0*d\\n\"}",
				i % 2 ? "u1" : "u\\u00e9", i % 3 ? "\\/" : "/", 42 + i % 2, (int)(i * 2), 0);
			put(i % 2 ? "192.0.2.1" : "198.51.100.1", json);
		}
		enrich_run(en, set, burst, count, &stats);
		for (uint32_t i = 0; i < EVENTS; i++) {
			assert_string_equal(text_of(burst[i], FIELD_geo_city), i % 2 ? "Berlin" : "New York");
			assert_string_equal(
				text_of(burst[i], FIELD_user_segment), i % 2 ? "gold" : "acc\xc3\xa9nt");
			assert_string_equal(
				text_of(burst[i], FIELD_product_category), i % 2 ? "toys" : "books");
			assert_string_equal(text_of(burst[i], FIELD_user_id), i % 2 ? "u1" : "u\xc3\xa9");
			assert_int_equal(burst[i]->field[FIELD_referrer].bytes, i ? i * 2 + 1 : 2);
			check_record(burst[i]);
		}
	}
	assert_int_equal(stats.too_long, 0);
	enricher_free(en);
	enrich_set_free(set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_empty_value),
		cmocka_unit_test(test_geo_from),
		cmocka_unit_test(test_too_long),
		cmocka_unit_test(test_full_burst),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
