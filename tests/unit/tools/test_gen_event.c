/* The generator's word against the real parser's: each event that sluice-gen makes is accepted, or refused
 * for the reason that its truth file names; the same seed makes the same events. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <stdio.h>

#include "gen_event.h"
#include "json.h"

#define START_MS 1715200123456
#define EVENTS 60000

static struct gen_opts options(uint64_t seed)
{
	char *argv[] = {"sluice-gen", "--file", "-", "--count", "1", "--start-ts", "1715200123456",
		"--bad-permille", "400", "--dup-permille", "50", "--noid-permille", "100",
		"--escape-permille", "150", "--utf8-permille", "150", "--extra-permille", "150",
		"--fraud-permille", "100", "--disorder-ms", "700", "--mix", "all"};
	struct gen_opts o;
	struct err err;

	assert_int_equal(gen_opts_parse(&o, sizeof argv / sizeof *argv, argv, &err), GEN_OPTS_RUN);
	o.seed = seed;
	return o;
}

static void test_parser_agrees(void **state)
{
	static uint8_t raw[GEN_EVENT_BYTES_MAX + EVENT_PAD_BYTES];
	struct parse_limits limits = {30ll * 86400000, 300000};
	struct json_parser *jp = json_parser_new(1 << 20);
	struct gen_opts o = options(7);
	struct gen_maker *m;
	struct err err;
	uint64_t seen[DROP_ID_MAX] = {0}, types[EVENT_TYPE_MAX] = {0};

	(void)state;
	assert_non_null(jp);
	assert_int_equal(gen_maker_new(&m, &o, &err), 0);
	for (uint32_t i = 0; i < EVENTS; i++) {
		const struct gen_event *sent = gen_maker_next(m, 0);
		enum drop_reason want = sent->reason == DROP_duplicate ? DROP_NONE : sent->reason;
		struct event ev;

		seen[sent->reason]++;
		types[sent->type]++;
		memcpy(raw, sent->raw, sent->bytes);
		json_parser_reset(jp);
		json_parse_event(jp, raw, sent->bytes, EVENT_TYPE_NONE, START_MS, &limits, &ev);
		if (ev.refused != want)
			print_message("%s, not %s: %.*s\n", drop_table[ev.refused].name,
				drop_table[want].name, (int)sent->bytes, sent->raw);
		assert_int_equal(ev.refused, want);
		if (want == DROP_NONE) {
			assert_int_equal(ev.type, sent->type);
			assert_int_equal(!!(ev.field_mask & FBIT(event_id)), sent->has_id);
		}
	}
	for (uint32_t k = 0; k < GEN_BAD_COUNT; k++)
		assert_true(seen[gen_bad_table[k].reason] > 50);
	for (int type = 1; type < EVENT_TYPE_MAX; type++)
		assert_true(!type_table[type].name || types[type] > 500);
	assert_true(seen[DROP_duplicate] > 1000);
	gen_maker_free(m);
	json_parser_free(jp);
}

static void test_same_seed(void **state)
{
	struct gen_opts a = options(3), b = options(4);
	struct gen_maker *one, *same, *other;
	uint32_t differ = 0;
	struct err err;

	(void)state;
	assert_int_equal(gen_maker_new(&one, &a, &err), 0);
	assert_int_equal(gen_maker_new(&same, &a, &err), 0);
	assert_int_equal(gen_maker_new(&other, &b, &err), 0);
	for (uint32_t i = 0; i < 5000; i++) {
		const struct gen_event *x = gen_maker_next(one, i), *y = gen_maker_next(same, 0);
		const struct gen_event *z = gen_maker_next(other, 0);

		assert_int_equal(x->bytes, y->bytes);
		assert_memory_equal(x->raw, y->raw, x->bytes);
		assert_string_equal(x->id, y->id);
		assert_int_equal(x->reason, y->reason);
		differ += x->bytes != z->bytes || memcmp(x->raw, z->raw, x->bytes) != 0;
	}
	assert_true(differ > 4900);
	gen_maker_free(one);
	gen_maker_free(same);
	gen_maker_free(other);
}

/* What parses an accepted event of sluice-gen. */
struct reader {
	struct json_parser *jp;
	struct gen_maker *m;
	uint8_t raw[GEN_EVENT_BYTES_MAX + EVENT_PAD_BYTES];
	struct event ev;
};

static void read_next(struct reader *r)
{
	static const struct parse_limits limits = {0, 300000};
	const struct gen_event *sent = gen_maker_next(r->m, 0);

	memcpy(r->raw, sent->raw, sent->bytes);
	json_parser_reset(r->jp);
	json_parse_event(r->jp, r->raw, sent->bytes, EVENT_TYPE_NONE, START_MS + 3600000, &limits, &r->ev);
	assert_int_equal(r->ev.refused, 0);
}

static void read_start(struct reader *r, char *const *argv, int argc, struct gen_opts *o)
{
	struct err err;

	assert_int_equal(gen_opts_parse(o, argc, (char **)argv, &err), GEN_OPTS_RUN);
	assert_int_equal(gen_maker_new(&r->m, o, &err), 0);
	r->jp = json_parser_new(1 << 20);
	assert_non_null(r->jp);
}

static void read_end(struct reader *r)
{
	gen_maker_free(r->m);
	json_parser_free(r->jp);
}

/* So many events are late, by so much beside the disorder; the others keep to the disorder. */
static void test_late(void **state)
{
	static struct reader r;
	char *argv[] = {"gen", "--file", "-", "--count", "1", "--start-ts", "1715200123456", "--disorder",
		"2000", "--late", "0.05", "--late-by", "60000", "--mix", "iot"};
	struct gen_opts o;
	uint32_t late = 0;

	(void)state;
	read_start(&r, argv, sizeof argv / sizeof *argv, &o);
	for (int64_t i = 0; i < 100000; i++) {
		int64_t back;

		read_next(&r);
		back = START_MS + i / 100 - r.ev.event_time_ms; /* 100000 a second */
		assert_true((back >= 0 && back <= 2000) || (back >= 60000 && back <= 62000));
		late += back > 2000;
	}
	assert_in_range(late, 4700, 5300);
	read_end(&r);
}

/* page_view, then session, then conversion of one visit, with the same user; shares as the mix says. */
static void test_funnel(void **state)
{
	static struct reader r;
	static struct {
		uint8_t views, sessions, conversions;
		uint32_t user;
	} visit[200000];
	char *argv[] = {
		"gen", "--file", "-", "--count", "1", "--start-ts", "1715200123456", "--mix", "ecommerce"};
	uint32_t of_type[EVENT_TYPE_MAX] = {0}, order_kept = 0, late_part = 0;
	struct gen_opts o;

	(void)state;
	memset(visit, 0, sizeof visit);
	read_start(&r, argv, sizeof argv / sizeof *argv, &o);
	for (uint32_t i = 0; i < 200000; i++) {
		char text[64] = "";
		uint32_t bytes, user, number;
		const uint8_t *p;

		read_next(&r);
		of_type[r.ev.type]++;
		if (r.ev.type == EVENT_TYPE_click)
			continue;
		p = event_field(&r.ev, FIELD_session_id, &bytes);
		memcpy(text, p, bytes);
		assert_int_equal(sscanf(text, "s%u-%u", &user, &number), 2);
		assert_true(number < 200000);
		assert_true(!visit[number].user || visit[number].user == user + 1);
		visit[number].user = user + 1;
		if (r.ev.type == EVENT_TYPE_conversion && i > 100000) {
			late_part++;
			order_kept += visit[number].views >= 5 && visit[number].sessions == 1;
		}
		visit[number].views += r.ev.type == EVENT_TYPE_page_view && visit[number].views < 255;
		visit[number].sessions += r.ev.type == EVENT_TYPE_session;
		visit[number].conversions += r.ev.type == EVENT_TYPE_conversion;
		assert_true(visit[number].conversions <= 1);
	}
	assert_in_range(of_type[EVENT_TYPE_page_view], 118000, 122000);
	assert_in_range(of_type[EVENT_TYPE_conversion], 5600, 6400);
	assert_true(late_part > 2500 && order_kept * 10 > late_part * 9);
	read_end(&r);
}

/* Values drift in small steps; some devices give one value very often in a row. */
static void test_devices(void **state)
{
	static struct reader r;
	static struct {
		double value;
		uint32_t same, readings;
	} device[50];
	char *argv[] = {"gen", "--file", "-", "--count", "1", "--start-ts", "1715200123456", "--mix", "iot",
		"--devices", "50"};
	struct gen_opts o;
	uint32_t stuck = 0, moved = 0;

	(void)state;
	memset(device, 0, sizeof device);
	read_start(&r, argv, sizeof argv / sizeof *argv, &o);
	for (uint32_t i = 0; i < 100000; i++) {
		char text[64] = "";
		uint32_t bytes, number;
		const uint8_t *p;
		double value, step;

		read_next(&r);
		p = event_field(&r.ev, FIELD_device_id, &bytes);
		memcpy(text, p, bytes);
		assert_int_equal(sscanf(text, "d%u", &number), 1);
		assert_true(number < 50);
		value = event_number(&r.ev, FIELD_value);
		step = value - device[number].value;
		if (device[number].readings++) {
			assert_true(step > -1 && step < 1);
			device[number].same = value == device[number].value ? device[number].same + 1 : 0;
			moved += step != 0;
			stuck += device[number].same == 40;
		}
		device[number].value = value;
	}
	assert_true(stuck > 5 && stuck < 100);
	assert_true(moved > 80000);
	read_end(&r);
}

static void test_zipf_is_skewed(void **state)
{
	static uint32_t hits[1000];
	struct gen_rng rng;
	struct gen_zipf z;

	(void)state;
	gen_rng_seed(&rng, 1);
	assert_int_equal(gen_zipf_make(&z, 1000, 1.0), 0);
	for (uint32_t i = 0; i < 1000000; i++)
		hits[gen_zipf_draw(&z, &rng)]++;
	/* H(1000) = 7.485: the first has 13.36%, the second half of it, the hundredth a hundredth */
	assert_in_range(hits[0], 132000, 135200);
	assert_in_range(hits[1], 65700, 67900);
	assert_in_range(hits[99], 1180, 1490);
	gen_zipf_free(&z);
}

static void test_options_are_checked(void **state)
{
	static char *bad[][4] = {{"gen", "--udp", "127.0.0.1:1", "--nosuch"},
		{"gen", "--file", "x", "--progress=1"}, {"gen", "--file", "x", "--count="},
		{"gen", "--udp", "h:1", "--rate=-1"}, {"gen", "--udp", "h:1", "--mix=click=0,platform=0"},
		{"gen", "--udp", "h:1", "--mix=view=3"}, {"gen", "--udp", "h:1", "--dup-permille=1001"},
		{"gen", "--udp", "h:1", "--bad-kinds=nosuch"}, {"gen", "--udp", "h:1", "--zipf=nan"},
		{"gen", "--pcap", "x", "--progress"}, {"gen", "--udp", "h:1", "--mix=nosuch"},
		{"gen", "--udp", "h:1", "--mix=log=0"}, {"gen", "--udp", "h:1", "--late=0.1"},
		{"gen", "--udp", "h:1", "--late=1.5"}};
	struct gen_opts o;
	struct err err;

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		err.text[0] = 0;
		assert_int_equal(gen_opts_parse(&o, 4, bad[i], &err), GEN_OPTS_WRONG);
		assert_true(err.text[0] != 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parser_agrees),
		cmocka_unit_test(test_same_seed),
		cmocka_unit_test(test_late),
		cmocka_unit_test(test_funnel),
		cmocka_unit_test(test_devices),
		cmocka_unit_test(test_zipf_is_skewed),
		cmocka_unit_test(test_options_are_checked),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
