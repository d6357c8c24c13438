/* Which configurations of protection are taken, and what the others are told. */
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

#include "protect.h"

static char key_path[] = "/tmp/sluice-protect-XXXXXX";

static void key_write(const char *text, mode_t mode)
{
	FILE *f = fopen(key_path, "w");

	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(key_path, mode), 0);
}

static void check(const char *rows, const char *want)
{
	static struct config cfg;
	char text[2048];
	struct err err = {0};
	int n = snprintf(text, sizeof text, "protect:\n%s", rows);

	config_defaults(&cfg);
	if (config_parse(&cfg, text, (size_t)n, "test", &err))
		fail_msg("%s", err.text);
	if (protect_config_check(&cfg, &err) != (want ? -22 : 0))
		fail_msg("%s: '%s'", rows, err.text);
	if (want && !strstr(err.text, want))
		fail_msg("'%s' is not in '%s'", want, err.text);
}

static void check_key(const char *want)
{
	char row[200];

	snprintf(row, sizeof row, "- {field: user_id, action: hash, key_file: %s}\n", key_path);
	check(row, want);
}

static void test_rows(void **state)
{
	(void)state;
	check("- {field: page}\n- {field: ip, action: drop}\n- {field: attributes.iban}\n", NULL);
	check("- {field: ip, types: click}\n- {field: ip, action: drop, types: \"log, transaction\"}\n",
		NULL);
	check("- {field: properties, action: drop}\n- {field: properties.mail}\n", NULL);
	check("- {field: value, action: drop, types: conversion}\n", NULL);
	check("- {field: pagee}\n", "expected a field");
	check("- {field: attributes.}\n", "name behind the dot");
	check("- {field: event_id, action: drop}\n", "identity");
	check("- {field: ts, action: drop}\n", "time");
	check("- {field: attributes, action: drop}\n", "one by one");
	check("- {field: attributes.user_id, action: drop}\n", "is the field user_id");
	check("- {field: geo_city}\n", "enrichment");
	check("- {field: value}\n", "expected drop");
	check("- {field: properties}\n", "expected drop");
	check("- {field: user_id}\n", "expected hash");
	check("- {field: user_id, action: drop}\n", "required");
	check("- {field: message, action: drop}\n", "hash or mask");
	check("- {field: amount, action: drop}\n", "another field");
	check("- {field: user_id, action: hash}\n", "key_file");
	check("- {field: page, key_file: /x}\n", "only the action hash");
	check("- {field: page}\n- {field: page, types: click}\n", "two rows for page of type click");
	check("- {field: page, types: clack}\n", "clack");
}

static void test_key(void **state)
{
	(void)state;
	key_write("00112233445566778899aabbccddeeff\n", 0600);
	check_key(NULL);
	key_write("00112233445566778899aabbccddeeff", 0644);
	check_key("others may read");
	key_write("00112233445566778899aabbccddeef", 0600);
	check_key("hex digits");
	key_write("00112233445566778899aabbccddee", 0600);
	check_key("hex digits");
	key_write("00112233445566778899aabbccddeegg", 0600);
	check_key("hex digits");
	key_write("", 0600);
	check_key("hex digits");
	assert_int_equal(truncate(key_path, 0), 0);
	{
		char long_key[140];

		memset(long_key, 'a', sizeof long_key);
		long_key[128] = 0;
		key_write(long_key, 0600);
		check_key(NULL);
		long_key[128] = 'a';
		long_key[130] = 0;
		key_write(long_key, 0600);
		check_key("protect.key_file");
	}
	unlink(key_path);
	check_key("No such file");
}

static int setup(void **state)
{
	int fd = mkstemp(key_path);

	(void)state;
	return fd < 0 ? -1 : close(fd);
}

static int teardown(void **state)
{
	(void)state;
	unlink(key_path);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows), cmocka_unit_test(test_key)};

	return cmocka_run_group_tests(tests, setup, teardown);
}
