/* Events written anew: what is stored instead, where fields then are, what other fields keep, what refused
 * events leave. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "json.h"
#include "protect.h"
#include "record.h"

#define NOW_MS 1763700000000ll
#define ID "550e8400-e29b-41d4-a716-446655440000"
/* hashlib.blake2b(b"alice", key=bytes(range(16)), digest_size=16) */
#define ALICE "98d21ff1e65642882b0cf9b332e1e3f9"
#define CARD "4111111111111111"
#define MASKED "************1111"

static char key_path[] = "/tmp/sluice-protect-XXXXXX";
static struct json_parser *parser;
static struct protector *pt;
static struct protect_stats stats;
static struct event ev;
static uint8_t raw[70000];

static void configure(const char *rows, const char *cards)
{
	static struct config cfg;
	char text[2048];
	struct err err = {0};
	int n = snprintf(
		text, sizeof text, "%s%sprivacy: {cards: %s}\n", *rows ? "protect:\n" : "", rows, cards);

	config_defaults(&cfg);
	if (config_parse(&cfg, text, (size_t)n, "test", &err))
		fail_msg("%s", err.text);
	for (uint32_t i = 0; i < cfg.protect_count; i++)
		if (cfg.protect[i].action == 1)
			snprintf(cfg.protect[i].key_file, sizeof cfg.protect[i].key_file, "%s", key_path);
	protector_free(pt);
	if (protector_new(&pt, &cfg, &err))
		fail_msg("%s", err.text);
	memset(&stats, 0, sizeof stats);
}

static void parse(const char *json)
{
	static const struct parse_limits limits = {0, 300000};
	size_t n = strlen(json);

	memset(raw, '"', sizeof raw);
	memcpy(raw, json, n);
	json_parser_reset(parser);
	memset(&ev, 0xa5, sizeof ev);
	json_parse_event(parser, raw, (uint32_t)n, EVENT_TYPE_NONE, NOW_MS, &limits, &ev);
}

static void raw_is(const char *want)
{
	if (ev.raw_bytes != strlen(want) || memcmp(ev.raw, want, ev.raw_bytes) != 0)
		fail_msg("%.*s\nis not\n%s", (int)ev.raw_bytes, ev.raw, want);
}

static void becomes(const char *json, const char *want)
{
	parse(json);
	if (ev.refused)
		fail_msg("%s: %s", drop_table[ev.refused].name, json);
	assert_true(protect_event(pt, &ev, &stats));
	raw_is(want);
}

static void field_is(enum field_id id, const char *want)
{
	const uint8_t *p;
	uint32_t bytes;

	if (!want) {
		assert_false(ev.field_mask >> id & 1);
		return;
	}
	assert_true(ev.field_mask >> id & 1);
	p = event_field(&ev, id, &bytes);
	assert_int_equal(bytes, strlen(want));
	assert_memory_equal(p, want, bytes);
}

#define HEAD "{\"event_id\":\"" ID "\",\"ts\":1763700000000,"

static void test_actions(void **state)
{
	(void)state;
	configure("- {field: user_id, action: hash}\n- {field: page}\n- {field: country, action: drop}\n",
		"off");
	becomes(HEAD "\"user_id\":\"alice\",\"page\":\"/secret\",\"country\":\"DE\",\"device\":\"tv\"}",
		HEAD "\"user_id\":\"" ALICE "\",\"page\":\"***\",\"country\":null,\"device\":\"tv\"}");
	field_is(FIELD_event_id, ID);
	field_is(FIELD_ts, "1763700000000");
	field_is(FIELD_user_id, ALICE);
	field_is(FIELD_page, "***");
	field_is(FIELD_country, NULL);
	field_is(FIELD_device, "tv");
	assert_int_equal(ev.event_time_ms, NOW_MS);
	assert_int_equal(stats.hashed, 1);
	assert_int_equal(stats.masked, 1);
	assert_int_equal(stats.dropped, 1);
	/* null is nothing to protect */
	becomes("{ \"user_id\" : \"bob\" , \"ts\" : 1 , \"page\" : \"\" , \"country\" : null } ",
		"{ \"user_id\" : \"9bedb50409b929f3c6d55974585c66b5\" , \"ts\" : 1 , \"page\" : \"***\" , "
		"\"country\" : null } ");
	field_is(FIELD_ts, "1");
	assert_int_equal(stats.dropped, 1);
}

static void test_escapes(void **state)
{
	(void)state;
	configure("- {field: user_id, action: hash}\n- {field: page}\n", "off");
	/* in keys and in values: the same pseudonym, and nothing of the text in the tail */
	becomes("{\"\\u0075ser_id\":\"\\u0061lice\",\"ts\":1,\"page\":\"se\\tcret\",\"referrer\":\"a\\nb\"}",
		"{\"\\u0075ser_id\":\"" ALICE "\",\"ts\":1,\"page\":\"***\",\"referrer\":\"a\\nb\"}");
	field_is(FIELD_user_id, ALICE);
	field_is(FIELD_page, "***");
	field_is(FIELD_referrer, "a\nb");
	assert_int_equal(ev.tail_bytes, 3);
}

static void test_attributes(void **state)
{
	(void)state;
	configure("- {field: user_id, action: hash}\n- {field: attributes.iban}\n"
		  "- {field: attributes.list, action: drop}\n- {field: properties.mail, action: hash}\n"
		  "- {field: status, action: drop, types: platform}\n",
		"off");
	becomes("{\"source\":\"s\",\"ts\":1,\"attributes\":{\"user_id\":\"alice\",\"iban\":17,\"metric\":1.5,"
		"\"list\":[1,{\"iban\":2}],\"iban\":{\"a\":\"}\"},\"status\":\"ok\",\"x\":{\"iban\":3}}}",
		"{\"source\":\"s\",\"ts\":1,\"attributes\":{\"user_id\":\"" ALICE
		"\",\"iban\":\"***\",\"metric\":1.5,"
		"\"list\":null,\"iban\":\"***\",\"status\":null,\"x\":{\"iban\":3}}}");
	field_is(FIELD_user_id, ALICE);
	field_is(FIELD_source, "s");
	field_is(FIELD_status, NULL);
	field_is(FIELD_attributes, "{\"user_id\":\"" ALICE "\",\"iban\":\"***\",\"metric\":1.5,\"list\":null,"
				   "\"iban\":\"***\",\"status\":null,\"x\":{\"iban\":3}}");
	assert_true(event_number(&ev, FIELD_metric) == 1.5);
	/* what the type does not use is protected as well: it has the name */
	becomes("{\"user_id\":\"alice\",\"ts\":1,\"page\":\"p\",\"attributes\":{\"iban\":1,\"user_id\":"
		"\"alice\"},"
		"\"properties\":{\"mail\":\"alice\"},\"iban\":4}",
		"{\"user_id\":\"" ALICE
		"\",\"ts\":1,\"page\":\"p\",\"attributes\":{\"iban\":\"***\",\"user_id\":\"" ALICE
		"\"},\"properties\":{\"mail\":\"" ALICE "\"},\"iban\":\"***\"}");
	/* where rules find it, too, but where another row has the name */
	becomes("{\"user_id\":\"alice\",\"ts\":1,\"page\":\"p\",\"properties\":{\"iban\":1,\"x\":{\"iban\":2}"
		"},"
		"\"list\":[{\"iban\":3}],\"mail\":4}",
		"{\"user_id\":\"" ALICE
		"\",\"ts\":1,\"page\":\"p\",\"properties\":{\"iban\":\"***\",\"x\":{\"iban\":2}},"
		"\"list\":null,\"mail\":4}");
	configure("- {field: properties.iban, action: hash}\n- {field: attributes.iban, action: drop}\n",
		"off");
	becomes("{\"user_id\":\"b\",\"ts\":1,\"page\":\"p\",\"attributes\":{\"iban\":1},\"properties\":{"
		"\"iban\":"
		"\"alice\"},\"iban\":1}",
		"{\"user_id\":\"b\",\"ts\":1,\"page\":\"p\",\"attributes\":{\"iban\":null},\"properties\":{"
		"\"iban\":\"" ALICE "\"},\"iban\":null}");
	configure("- {field: user_id, action: hash}\n- {field: attributes.iban}\n"
		  "- {field: attributes.list, action: drop}\n- {field: properties.mail, action: hash}\n"
		  "- {field: status, action: drop, types: platform}\n",
		"off");
	/* another type than the row's */
	becomes("{\"type\":\"transaction\",\"user_id\":\"alice\",\"ts\":1,\"amount\":5,\"status\":\"ok\"}",
		"{\"type\":\"transaction\",\"user_id\":\"" ALICE
		"\",\"ts\":1,\"amount\":5,\"status\":\"ok\"}");
	assert_int_equal(event_decimal(&ev, FIELD_amount), 5 * FIELD_DECIMAL_ONE);
	field_is(FIELD_status, "ok");
}

/* A field's name is an attribute where the type does not use the field; `type` is always what the event is.
 */
static void test_fields_of_other_types(void **state)
{
	(void)state;
	configure("- {field: attributes.page}\n- {field: attributes.type}\n", "off");
	becomes("{\"type\":\"log\",\"ts\":1,\"source\":\"s\",\"message\":\"m\",\"page\":\"SECRET\","
		"\"attributes\":{\"page\":1,"
		"\"type\":2}}",
		"{\"type\":\"log\",\"ts\":1,\"source\":\"s\",\"message\":\"m\",\"page\":\"***\","
		"\"attributes\":{\"page\":\"***"
		"\",\"type\":"
		"\"***\"}}");
	becomes("{\"user_id\":\"u\",\"ts\":1,\"page\":\"/\",\"properties\":{\"page\":\"SECRET\"}}",
		"{\"user_id\":\"u\",\"ts\":1,\"page\":\"/\",\"properties\":{\"page\":\"***\"}}");
	field_is(FIELD_page, "/");
}

static void test_numbers_dropped(void **state)
{
	(void)state;
	configure("- {field: metric, action: drop}\n- {field: properties, action: drop}\n", "off");
	becomes("{\"source\":\"s\",\"ts\":1,\"attributes\":{\"metric\":1.5,\"status\":\"a\\nb\"}}",
		"{\"source\":\"s\",\"ts\":1,\"attributes\":{\"metric\":null,\"status\":\"a\\nb\"}}");
	assert_false(ev.field_mask & FBIT(metric));
	field_is(FIELD_status, "a\nb");
	becomes("{\"type\":\"custom\",\"ts\":1,\"properties\":{\"a\":[1]},\"value\":7}",
		"{\"type\":\"custom\",\"ts\":1,\"properties\":null,\"value\":7}");
	assert_true(event_number(&ev, FIELD_value) == 7);
	field_is(FIELD_properties, NULL);
}

static void test_cards(void **state)
{
	(void)state;
	configure("- {field: card, action: hash}\n", "mask");
	becomes("{\"type\":\"log\",\"source\":\"s\",\"ts\":1763700000000,\"message\":\"pay " CARD
		" now\",\"attributes\":{\"note\":[\"4111 1111 1111 1111\",{\"" CARD
		"\":\"\\u0034111-1111-1111-1111\"}],"
		"\"n\":" CARD ",\"f\":0." CARD ",\"neg\":-" CARD ".5}}",
		"{\"type\":\"log\",\"source\":\"s\",\"ts\":1763700000000,\"message\":\"pay " MASKED
		" now\",\"attributes\":{\"note\":[\"**** **** **** 1111\",{\"" MASKED
		"\":\"\\u002a***-****-****-1111\"}],\"n\":1000000000001111,\"f\":0." CARD
		",\"neg\":-1000000000001111.5}}");
	field_is(FIELD_message, "pay " MASKED " now");
	assert_int_equal(stats.cards, 6);
	/* a text whose decoded form is in the tail */
	becomes("{\"type\":\"log\",\"source\":\"s\",\"ts\":1,\"message\":\"a\\t\\u0034111111111111111\"}",
		"{\"type\":\"log\",\"source\":\"s\",\"ts\":1,\"message\":\"a\\t\\u002a***********1111\"}");
	field_is(FIELD_message, "a\t" MASKED);
	/* A row goes before; keys of partitions are never masked by chance. */
	becomes("{\"type\":\"transaction\",\"ts\":1,\"user_id\":\"" CARD
		"\",\"amount\":1,\"card\":\"alice\"}",
		"{\"type\":\"transaction\",\"ts\":1,\"user_id\":\"" CARD "\",\"amount\":1,\"card\":\"" ALICE
		"\"}");
	configure("", "mask");
	becomes("{\"type\":\"transaction\",\"ts\":1,\"user_id\":\"u\",\"amount\":1,\"card\":\"" CARD "\"}",
		"{\"type\":\"transaction\",\"ts\":1,\"user_id\":\"u\",\"amount\":1,\"card\":\"" MASKED "\"}");
	configure("", "count");
	becomes("{\"source\":\"s\",\"ts\":1,\"attributes\":{\"x\":\"" CARD "\"}}",
		"{\"source\":\"s\",\"ts\":1,\"attributes\":{\"x\":\"" CARD "\"}}");
	assert_int_equal(stats.cards, 1);
}

static void refused(const char *json, enum protect_text text, const char *want)
{
	parse(json);
	ev.refused = ev.refused ? ev.refused : DROP_bad_format; /* text of another format */
	ev.field_mask = 0;
	if (!want) {
		assert_false(protect_refused(pt, &ev, text, &stats));
		return;
	}
	assert_true(protect_refused(pt, &ev, text, &stats));
	raw_is(want);
}

static void test_refused_json(void **state)
{
	(void)state;
	configure("- {field: user_id, action: hash, types: click}\n- {field: referrer, types: log}\n"
		  "- {field: referrer, action: drop, types: click}\n",
		"mask");
	/* whatever its type: the strictest row of the key */
	refused("{\"user_id\":\"alice\",\"user_id\":\"alice\",\"referrer\":\"r\",\"x\":\"" CARD "\"}",
		PROTECT_JSON,
		"{\"user_id\":\"" ALICE "\",\"user_id\":\"" ALICE "\",\"referrer\":null,\"x\":\"" MASKED
		"\"}");
	refused("{\"user_id\":\"alice\"", PROTECT_TEXT, NULL);
	refused("user_id=alice " CARD, PROTECT_TEXT, NULL);
	assert_int_equal(stats.withheld, 2);
	configure("", "mask");
	refused("user_id=alice " CARD, PROTECT_TEXT, "user_id=alice " MASKED);
	refused("user_id=alice " CARD, PROTECT_PACKED, NULL);
	refused("[\"" CARD "\"", PROTECT_TEXT, "[\"" MASKED "\"");
	configure("", "count");
	refused(CARD, PROTECT_PACKED, CARD);
	assert_int_equal(stats.cards, 1);
}

/* As long as events may be, and what grows beyond that. */
static void test_long(void **state)
{
	static char json[EVENT_BYTES_MAX + 1];
	size_t n;

	(void)state;
	configure("- {field: user_id, action: hash}\n- {field: attributes.a}\n", "mask");
	n = (size_t)snprintf(json, sizeof json,
		"{\"source\":\"s\",\"ts\":1,\"attributes\":{\"user_id\":\"alice\"},"
		"\"x\":\"");
	memset(json + n, 'x', EVENT_BYTES_MAX - 29 - n);
	memcpy(json + EVENT_BYTES_MAX - 29, "\"}", 3);
	parse(json);
	assert_int_equal(ev.refused, 0);
	assert_true(protect_event(pt, &ev, &stats));
	assert_int_equal(ev.raw_bytes, EVENT_BYTES_MAX);
	field_is(FIELD_user_id, ALICE);
	memcpy(json + EVENT_BYTES_MAX - 29, "x\"}", 4);
	parse(json);
	assert_int_equal(ev.refused, 0);
	assert_false(protect_event(pt, &ev, &stats));
	n = (size_t)snprintf(json, sizeof json, "{\"source\":\"s\",\"ts\":1,\"attributes\":{\"a\":0");
	while (n + 8 < 60000)
		n += (size_t)snprintf(json + n, sizeof json - n, ",\"a\":0");
	snprintf(json + n, sizeof json - n, "}}");
	parse(json);
	assert_int_equal(ev.refused, 0);
	assert_false(protect_event(pt, &ev, &stats));
}

static int setup(void **state)
{
	int fd = mkstemp(key_path);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "w");

	(void)state;
	if (!f)
		return -1;
	fputs("000102030405060708090a0b0c0d0e0f\n", f);
	parser = json_parser_new(0);
	return fclose(f) || !parser ? -1 : 0;
}

static int teardown(void **state)
{
	(void)state;
	unlink(key_path);
	protector_free(pt);
	json_parser_free(parser);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_actions), cmocka_unit_test(test_escapes),
		cmocka_unit_test(test_attributes), cmocka_unit_test(test_fields_of_other_types),
		cmocka_unit_test(test_numbers_dropped), cmocka_unit_test(test_cards),
		cmocka_unit_test(test_refused_json), cmocka_unit_test(test_long)};

	return cmocka_run_group_tests(tests, setup, teardown);
}
