/* Sets of tables: all or nothing, faults by name, versions that follow the contents. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "enrich.h"
#include "enrich_files.h"

static struct config cfg;
static char segments[64], products[64];

static int setup(void **state)
{
	(void)state;
	file_path(segments);
	file_path(products);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unlink(segments);
	unlink(products);
	return 0;
}

static void configure(const char *more)
{
	struct err err;
	char text[1024];

	snprintf(text, sizeof text,
		"enrich:\n  geoip_city: %scity.mmdb\n"
		"lookups:\n  - {name: segments, file: %s, to: user_segment}\n"
		"  - {name: products, file: %s, key: page, key_prefix: /product/, to: product_category%s}\n",
		MMDB_DIR, segments, products, more);
	if (config_parse(&cfg, text, strlen(text), "test", &err))
		fail_msg("%s", err.text);
	file_write_text(segments, "user,segment\nu1,gold\nu2,silver\n");
	file_write_text(products, "id,category\n42,books\n");
}

static void test_load(void **state)
{
	struct enrich_table_info info;
	struct enrich_set *set, *again;
	struct err err = {{0}};

	(void)state;
	configure("");
	assert_true(enrich_configured(&cfg));
	if (enrich_set_load(&set, &cfg, &err))
		fail_msg("%s", err.text);
	enrich_set_info(set, ENRICH_GEOIP_CITY, &info);
	assert_string_equal(info.name, "geoip_city");
	assert_true(info.rows > 9 && info.bytes > 2 * 65536 * 4);
	enrich_set_info(set, ENRICH_GEOIP_ASN, &info);
	assert_null(info.name);
	enrich_set_info(set, ENRICH_LOOKUPS, &info);
	assert_string_equal(info.name, "segments");
	assert_string_equal(info.file, segments);
	assert_int_equal(info.rows, 2);
	enrich_set_info(set, ENRICH_LOOKUPS + 1, &info);
	assert_string_equal(info.name, "products");
	enrich_set_info(set, ENRICH_LOOKUPS + 2, &info);
	assert_null(info.name);
	assert_true(enrich_set_loaded_ms(set) > 1700000000000);

	assert_int_equal(enrich_set_load(&again, &cfg, &err), 0);
	assert_int_equal(enrich_set_version(again), enrich_set_version(set));
	enrich_set_free(again);
	file_write_text(products, "id,category\n42,toys\n");
	assert_int_equal(enrich_set_load(&again, &cfg, &err), 0);
	assert_int_not_equal(enrich_set_version(again), enrich_set_version(set));
	enrich_set_free(again);
	enrich_set_free(set);
}

static void test_errors(void **state)
{
	struct enrich_set *set;
	struct err err;

	(void)state;
	configure("");
	file_write_text(products, "id,category\n42,books\n42,toys\n");
	assert_int_equal(enrich_set_load(&set, &cfg, &err), -EINVAL);
	assert_null(set);
	assert_non_null(strstr(err.text, "lookups: products: "));
	assert_non_null(strstr(err.text, "line 3: the key '42' is in line 2 already"));
	configure(", value_column: none");
	assert_int_equal(enrich_set_load(&set, &cfg, &err), -EINVAL);
	configure("");
	snprintf(cfg.lookups[1].to, sizeof cfg.lookups[1].to, "country");
	assert_int_equal(enrich_set_load(&set, &cfg, &err), -EINVAL);
	assert_non_null(strstr(err.text, "to: 'country' comes from the sender"));
	snprintf(cfg.lookups[1].to, sizeof cfg.lookups[1].to, "nothing");
	assert_int_equal(enrich_set_load(&set, &cfg, &err), -EINVAL);
	assert_non_null(strstr(err.text, "to: 'nothing' is no field"));
	configure("");
	snprintf(cfg.lookups[0].key, sizeof cfg.lookups[0].key, "ts");
	assert_int_equal(enrich_set_load(&set, &cfg, &err), -EINVAL);
	assert_non_null(strstr(err.text, "key: 'ts' is no text"));
	configure("");
	snprintf(cfg.enrich.geoip_city, sizeof cfg.enrich.geoip_city, "/nonexistent.mmdb");
	assert_int_equal(enrich_set_load(&set, &cfg, &err), -ENOENT);
	assert_non_null(strstr(err.text, "enrich.geoip_city: /nonexistent.mmdb"));
	configure("");
	snprintf(cfg.lookups[1].name, sizeof cfg.lookups[1].name, "segments");
	assert_int_equal(config_check(&cfg, &err), -EINVAL);
}

static void test_off(void **state)
{
	struct enrich_set *set;
	struct err err;

	(void)state;
	config_defaults(&cfg);
	assert_false(enrich_configured(&cfg));
	assert_int_equal(enrich_set_load(&set, &cfg, &err), 0);
	enrich_set_free(set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_load),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_off),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
