/* The configuration: each row of the table parses its default, survives print and parse, and refuses what is
 * out of its range with the place, the key, the value and what is expected. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "config.h"
#include "config_table.h"

/* An entry of each list, so that each key is printed. */
/* An entry of each list, so that each key is printed. Listeners come last: tests add to them. */
#define INPUTS                                                                                               \
	"protect:\n  - {field: f}\nlookups:\n  - {name: l, file: f, to: x}\nwindows:\n  - name: "            \
	"w\nports:\n  - name: p0\n    device: "                                                              \
	"net_null0\n"                                                                                        \
	"listeners:\n  - name: web\n    udp_port: 9000\n"

static struct config cfg, again;

static int parse(const char *text, struct err *err)
{
	return config_parse(&cfg, text, strlen(text), "t.yaml", err);
}

/* Prints cfg, parses that into `again`, and compares every byte but where they come from. */
static void round_trip(bool help)
{
	struct err err = {0};
	size_t bytes;
	char *text;
	FILE *out = open_memstream(&text, &bytes);

	assert_non_null(out);
	config_print(&cfg, out, help);
	fclose(out);
	if (config_parse(&again, text, bytes, "printed", &err))
		fail_msg("%s", err.text);
	assert_string_equal(again.from.file, "printed");
	cfg.from = again.from;
	assert_memory_equal(&cfg, &again, sizeof cfg);
	free(text);
}

static void test_defaults(void **state)
{
	struct err err;

	(void)state;
	config_defaults(&cfg);
	assert_string_equal(cfg.node.id, "sluice-1");
	assert_int_equal(cfg.eal.memory, 256u << 20);
	assert_int_equal(cfg.worker.batch_age, 1000);
	assert_int_equal(cfg.time.past_max, 30ull * 86400 * 1000);
	assert_int_equal(cfg.worker.power, CONFIG_POWER_ADAPTIVE);
	assert_int_equal(cfg.listeners_count, 0);
	for (uint32_t i = 0; i < config_key_count; i++) {
		const struct config_key *key = &config_key_table[i];
		static char base[sizeof(struct config)];

		err.text[0] = 0;
		if (key->def && config_value_parse(key, base, key->def, &err))
			fail_msg("default of %s.%s: %s", key->section, key->name, err.text);
		assert_true(key->max >= key->min);
		assert_true(!strcmp(key->reload, "restart") || !strcmp(key->reload, "live"));
	}
	round_trip(false);
	round_trip(true);
}

/* Values at both ends of each key's range (each choice; text of the longest length) come back from text. */
static void test_each_key_round_trips(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < config_key_count; i++) {
		const struct config_key *key = &config_key_table[i];
		const struct config_section *section =
			config_section_find(key->section, strlen(key->section));

		for (int end = 0; end < 2; end++) {
			struct err err = {0};
			uint64_t v = end ? key->max : key->min;
			char *base;

			assert_int_equal(parse(INPUTS, &err), 0);
			base = (char *)&cfg + section->offset + key->offset;
			if (config_key_is_text(key)) {
				assert_true(key->max < config_key_bytes(key));
				memset(base, 0, config_key_bytes(key));
				memset(base, end ? '"' : '\\', v);
			} else if (key->kind == CONFIG_KIND_BOOL) {
				*base = (char)end;
			} else {
				for (const char *p = key->choices; end && p && *p; p++)
					v += *p == '|';
				memcpy(base, &v, sizeof v);
			}
			round_trip(end);
		}
	}
}

static void test_bounds(void **state)
{
	char text[sizeof(config_text) + 1];
	struct err err;

	(void)state;
	for (uint32_t i = 0; i < config_key_count; i++) {
		const struct config_key *key = &config_key_table[i];
		static char base[sizeof(struct config)];

		if (key->kind == CONFIG_KIND_BOOL || key->kind == CONFIG_KIND_ENUM) {
			assert_int_equal(config_value_parse(key, base, "maybe", &err), -22);
			continue;
		}
		if (config_key_is_text(key)) {
			memset(text, 'a', key->max + 1);
			text[key->max + 1] = 0;
		} else {
			snprintf(text, sizeof text, "%llu%s", (unsigned long long)key->max + 1,
				key->kind == CONFIG_KIND_MS   ? "ms"
				: key->kind == CONFIG_KIND_US ? "us"
							      : "");
		}
		assert_int_equal(config_value_parse(key, base, text, &err), -22);
		assert_non_null(strstr(err.text, "expected"));
		assert_non_null(strstr(err.text, key->name));
	}
}

static void test_units(void **state)
{
	struct err err;

	(void)state;
	assert_int_equal(parse("time: {past_max: 2h, future_max: 1500ms}\nworker: {batch_age: 2ms}\n"
			       "kafka: {tx_age: 3000us}\njournal: {block_bytes: 512KiB}\n",
				 &err),
		0);
	assert_int_equal(cfg.time.past_max, 7200000);
	assert_int_equal(cfg.time.future_max, 1500);
	assert_int_equal(cfg.worker.batch_age, 2000);
	assert_int_equal(cfg.kafka.tx_age, 3);
	assert_int_equal(cfg.journal.block_bytes, 524288);
}

struct bad {
	const char *text, *expect;
};

static void test_errors(void **state)
{
	static const struct bad row[] = {
		{"node:\n  idd: x\n", "t.yaml:2:3: node.idd: unknown key; did you mean id?"},
		{"kafak:\n  enabled: true\n", "t.yaml:1:1: kafak: unknown section; did you mean kafka?"},
		{"zzzzzzzz: 1\n",
			"t.yaml:1:1: zzzzzzzz: unknown section; docs/config.md and --print-config list all"},
		{"kafka:\n  tx_timeout: 5s\n", "t.yaml:2:15: kafka.tx_timeout: '5s': expected a duration "
					       "with its unit (as 500ms, 10s, "
					       "5m, 1h, 30d) from 1m to 15m"},
		{"time:\n  past_max: 3600\n",
			"t.yaml:2:13: time.past_max: '3600': expected a duration with its unit"},
		{"journal:\n  block_age: 50\n",
			"t.yaml:2:14: journal.block_age: '50': expected a duration with"},
		{"time:\n  tick: 1500us\n", "t.yaml:2:9: time.tick: '1500us': expected a duration"},
		{"worker:\n  count: -1\n", "t.yaml:2:10: worker.count: '-1': expected a number from 1 to 64"},
		{"worker:\n  count: 99999999999999999999\n",
			"t.yaml:2:10: worker.count: '99999999999999999999': expected"},
		{"worker:\n  count: 2x\n", "t.yaml:2:10: worker.count: '2x': expected a number"},
		{"worker:\n  power: fast\n",
			"t.yaml:2:10: worker.power: 'fast': expected one of poll adaptive"},
		{"eal:\n  hugepages: yes\n", "t.yaml:2:14: eal.hugepages: 'yes': expected true or false"},
		{"eal:\n  memory: 1MB\n",
			"t.yaml:2:11: eal.memory: '1MB': expected bytes (as 4096, 64KiB, 1MiB, 2GiB)"},
		{"node:\n  id: \"a\\tb\"\n", "t.yaml:2:7: node.id: 'a\tb': expected text of 1 to 64 bytes"},
		{"node:\n  id: [a]\n", "t.yaml:2:7: node.id: not a single value: expected text"},
		{"node:\n  id: 0123456789012345678901234567890123456789012345678901234567890123456789\n",
			"expected text of 1 to 64 bytes, has 70"},
		{"windows:\n  - {name: w, by: [page, country]}\n", "bytes (several in one text: \"a, b\")"},
		{"node:\n  id:\n", "node.id: no value: expected text"},
		{"node: 5\n", "t.yaml:1:7: node: expected keys with values"},
		{"ports: {name: a}\n", "t.yaml:1:8: ports: expected a list"},
		{"ports:\n  - name: a\n", "t.yaml:2:5: ports: the key device is missing: PCI address"},
		{"listeners:\n  - name: a\n    udp_port: 0\n",
			"t.yaml:3:15: listeners.udp_port: '0': expected a number "
			"from 1 to 65535"},
		{"- a\n", "t.yaml:1:1: expected sections"},
		{"node:\n  id: a\n  id: b\n", "t.yaml:3:3:"},
		{"node: &x\n  id: a\n", "t.yaml:1:"},
		{"node: {id: a\n", "t.yaml:"},
	};
	struct err err;

	(void)state;
	for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
		err.text[0] = 0;
		assert_int_equal(parse(row[i].text, &err), -22);
		if (!strstr(err.text, row[i].expect) || strncmp(err.text, "t.yaml:", 7) != 0)
			fail_msg("for %s\ngot      %s\nexpected %s", row[i].text, err.text, row[i].expect);
	}
}

static void test_list_bound(void **state)
{
	char text[2048] = "ports:\n";
	struct err err;

	(void)state;
	for (int i = 0; i < 17; i++)
		snprintf(text + strlen(text), sizeof text - strlen(text), "- {name: p%d, device: d%d}\n", i,
			i);
	assert_int_equal(parse(text, &err), -22);
	assert_string_equal(err.text, "t.yaml:18:3: ports: more than 16 entries");
}

static void test_set(void **state)
{
	struct err err;

	(void)state;
	config_defaults(&cfg);
	assert_int_equal(config_set(&cfg, "kafka.brokers=a:1,b=2", &err), 0);
	assert_string_equal(cfg.kafka.brokers, "a:1,b=2");
	assert_int_equal(config_set(&cfg, "kafka.broker=a", &err), -22);
	assert_string_equal(err.text, "'kafka.broker=a': unknown key; did you mean brokers?");
	assert_int_equal(config_set(&cfg, "kafkaa.brokers=a", &err), -22);
	assert_int_equal(config_set(&cfg, "kafka", &err), -22);
	assert_int_equal(config_set(&cfg, "a=b.c", &err), -22);
	assert_int_equal(config_set(&cfg, "ports.name=a", &err), -22);
	assert_non_null(strstr(err.text, "list"));
	assert_int_equal(config_set(&cfg, "worker.count=0", &err), -22);
	assert_int_equal(config_set(&cfg, "node.id=\xff", &err), -22);
	assert_int_equal(config_set(&cfg, "node.id=a\xe2\x80\xa8z", &err), -22);
	assert_int_equal(config_set(&cfg, "node.id=\xe2\x80", &err), -22);
}

static void test_check(void **state)
{
	static const struct bad row[] = {
		{"kafka.enabled=true", "kafka.brokers: empty"},
		{"clickhouse.enabled=true|clickhouse.url=localhost:8123", "clickhouse.url: expected"},
		{"webhook.enabled=true|webhook.url=ftp://x", "webhook.url: expected"},
		{"webhook.enabled=true", "webhook.url: expected"},
		{"kafka.enabled=true|kafka.brokers=b:1|kafka.min_isr=4", "kafka.min_isr: 4 is more than"},
		{"clickhouse.lag_policy=skip", "clickhouse.lag_policy: skip needs clickhouse.lag_limit"},
		{"kafka.topic_positions=alerts", "kafka.topic_positions: 'alerts' is kafka.topic_alerts too"},
		{"kafka.topic_positions=web.clicks", "is kafka.topic_click too"},
		{"kafka.topic_dead=web.clicks", "kafka.topic_dead: 'web.clicks' is kafka.topic_click too: "
						"what they hold would be mixed"},
		{"kafka.topic_late=events.raw", "kafka.topic_late: 'events.raw' is kafka.topic_platform too"},
		{"kafka.topic_late=alerts", "kafka.topic_alerts: 'alerts' is kafka.topic_late too"},
		{"kafka.topic_enriched=web.clicks",
			"kafka.topic_enriched: 'web.clicks' is kafka.topic_click too"},
		{"kafka.topic_dead=events.enriched", "is kafka.topic_enriched too"},
		{"kafka.topic_dead=refused|kafka.topic_late=refused|kafka.topic_click=e|kafka.topic_platform="
		 "e",
			""},
		{"kafka.topic_dead=a b", "kafka.topic_dead: 'a b': expected letters"},
		{"worker.cores=1,x", "worker.cores: '1,x': expected core numbers"},
		{"worker.cores=1-2", "names 2 cores for 1 workers"},
		{"worker.cores=3-2", "expected core numbers"},
		{"eal.main_cores=,", "eal.main_cores"},
		{"node.id=a b", "node.id: 'a b'"},
		{"journal.block_bytes=131073", "not a multiple of 4096"},
		{"worker.batch_bytes=131072|journal.block_bytes=131072", "does not fit a block"},
		{"journal.block_bytes=1MiB|journal.segment_bytes=4194304|worker.batch_bytes=64KiB", ""},
		{"clickhouse.database=a;b", "clickhouse.database"},
	};
	struct err err;

	(void)state;
	for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
		char text[200], *save, *part;

		assert_int_equal(parse(INPUTS, &err), 0);
		assert_int_equal(config_check(&cfg, &err), 0);
		snprintf(text, sizeof text, "%s", row[i].text);
		for (part = strtok_r(text, "|", &save); part; part = strtok_r(NULL, "|", &save))
			assert_int_equal(config_set(&cfg, part, &err), 0);
		err.text[0] = 0;
		assert_int_equal(config_check(&cfg, &err), row[i].expect[0] ? -22 : 0);
		if (!strstr(err.text, row[i].expect))
			fail_msg("for %s\ngot      %s\nexpected %s", row[i].text, err.text, row[i].expect);
	}
	config_defaults(&cfg);
	assert_int_equal(config_check(&cfg, &err), -22);
	assert_int_equal(parse(INPUTS "  - name: two\n    udp_port: 9000\n", &err), 0);
	assert_int_equal(config_check(&cfg, &err), -22);
	assert_string_equal(err.text, "listeners: 'web' and 'two' have the same name or UDP port");
	assert_int_equal(
		parse(INPUTS "  - name: two\n    udp_port: 9001\n    allow: 10.0.0.0/8,10.0.0.1/8\n", &err),
		0);
	assert_int_equal(config_check(&cfg, &err), -22);
	assert_string_equal(err.text,
		"listeners.allow of two: '10.0.0.1/8': expected an address, or ADDRESS/BITS without "
		"bits behind the prefix");
}

static void test_load(void **state)
{
	char path[] = "/tmp/sluice_config_XXXXXX";
	int fd = mkstemp(path);
	struct err err;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "node: {id: box-7}\n", 18), 18);
	close(fd);
	assert_int_equal(config_load(&cfg, path, &err), 0);
	assert_string_equal(cfg.node.id, "box-7");
	unlink(path);
	assert_int_equal(config_load(&cfg, path, &err), -2);
	assert_non_null(strstr(err.text, path));
	assert_true(config_load(&cfg, "/", &err) < 0);
	assert_int_equal(config_load(&cfg, "/dev/zero", &err), -22); /* endless: bounded */
	assert_int_equal(parse("", &err), 0);
	assert_int_equal(parse("kafka:\nnode:\n", &err), 0);
}

static void test_values_alone(void **state)
{
	static const char *const none[] = {
		"", "5", "5 ", "x", "-5s", "5 s ", "5w", "1.5s", "99999999999999999999s", "5us"};
	uint64_t v;

	(void)state;
	assert_true(config_duration("60s", &v));
	assert_int_equal(v, 60000);
	assert_true(config_duration("1 d", &v));
	assert_int_equal(v, 86400000);
	assert_true(config_duration("5ms", &v));
	assert_int_equal(v, 5);
	for (size_t i = 0; i < sizeof none / sizeof *none; i++)
		assert_false(config_duration(none[i], &v));
	assert_true(config_bytes("64MiB", &v));
	assert_int_equal(v, 64 << 20);
	assert_true(config_bytes("4096", &v));
	assert_int_equal(v, 4096);
	assert_false(config_bytes("64MB", &v));
}

/* Two ports, with addresses and more of each. */
static void test_addresses(void **state)
{
	static const struct {
		const char *one, *two, *expect;
	} row[] = {
		{"addresses: \"192.0.2.2, 2001:db8::2\"", "addresses: fe80::2", ""},
		{"addresses: 192.0.2.2", "addresses: 192.0.2.3\n    promiscuous: true",
			"ports.addresses of b: a port with decap or promiscuous"},
		{"addresses: 192.0.2.2", "addresses: 192.0.2.3\n    decap: gre",
			"ports.addresses of b: a port with decap or promiscuous"},
		{"addresses: 192.0.2.2", "promiscuous: true\n    decap: any", ""},
		{"addresses: \"192.0.2.2,192.0.2.4\"", "addresses: \"192.0.2.3, 192.0.2.4\"",
			"ports.addresses: 'a' and 'b' have an address in common"},
		{"addresses: 192.0.2.2/24", "mtu: 1500",
			"ports.addresses of a: '192.0.2.2/24' is no address: expected"},
	};
	struct err err;

	(void)state;
	for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
		char text[600];

		snprintf(text, sizeof text,
			"ports:\n  - name: a\n    device: net_null0\n    %s\n  - name: b\n    device: "
			"net_null1\n    %s\nlisteners:\n  - name: web\n    udp_port: 9000\n",
			row[i].one, row[i].two);
		if (parse(text, &err))
			fail_msg("%s", err.text);
		err.text[0] = 0;
		assert_int_equal(config_check(&cfg, &err), row[i].expect[0] ? -22 : 0);
		if (!strstr(err.text, row[i].expect))
			fail_msg("got      %s\nexpected %s", err.text, row[i].expect);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_each_key_round_trips), cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_units), cmocka_unit_test(test_errors),
		cmocka_unit_test(test_list_bound), cmocka_unit_test(test_set), cmocka_unit_test(test_check),
		cmocka_unit_test(test_addresses), cmocka_unit_test(test_load),
		cmocka_unit_test(test_values_alone)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
