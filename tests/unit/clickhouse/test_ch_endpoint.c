/* URLs and password files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ch_http.h"

static void url_is(const char *url, const char *host, const char *port)
{
	struct ch_endpoint endpoint;
	struct err err;

	assert_int_equal(ch_endpoint_parse(&endpoint, url, &err), 0);
	assert_string_equal(endpoint.host, host);
	assert_string_equal(endpoint.port, port);
}

static void test_urls(void **state)
{
	static const char *const bad[] = {"", "ftp://x", "http://", "http://:80", "http://a:", "http://a:0",
		"http://a:65536", "http://a:99999999999999999999", "https://", "https:/a", "HTTPS://a",
		"http://a:80x", "http://a/db", "http://u:p@a:80", "http://[::1", "http://[::1]x",
		"http://a b", "http://a\r\nX: y", "http://a:-1", "http://a:+1", "http://a?query=x"};
	struct ch_endpoint endpoint;

	(void)state;
	url_is("http://127.0.0.1:8123", "127.0.0.1", "8123");
	url_is("http://db-1.example.net", "db-1.example.net", "8123");
	url_is("http://[::1]:9/", "::1", "9");
	url_is("https://db", "db", "8443");
	url_is("https://[::1]:9/", "::1", "9");
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct err err = {0};

		if (ch_endpoint_parse(&endpoint, bad[i], &err) != -EINVAL ||
			!strstr(err.text, "clickhouse.url"))
			fail_msg("taken: %s", bad[i]);
		assert_null(strstr(err.text, "u:p"));
		assert_null(strstr(err.text, "query=x"));
	}
}

static void test_lists(void **state)
{
	static const char *const bad[] = {"http://a,", ",http://a", "http://a,,http://b", "http://a,ftp://b",
		"http://a,http://a:8123", "http://a, http://b",
		"http://a,http://b,http://c,http://d,http://e,http://f,http://g,http://h,http://i"};
	struct ch_endpoint list[CH_ENDPOINTS_MAX];
	uint32_t count;
	struct err err;

	(void)state;
	assert_int_equal(ch_endpoints_parse(list, &count, "http://b:1/,http://[::1]:2,http://a", &err), 0);
	assert_int_equal(count, 3);
	assert_string_equal(list[0].name, "b:1");
	assert_string_equal(list[1].name, "::1:2");
	assert_string_equal(list[2].name, "a:8123");
	assert_int_equal(
		ch_endpoints_parse(list, &count,
			"http://a,http://b,http://c,http://d,http://e,http://f,http://g,http://h", &err),
		0);
	assert_int_equal(count, CH_ENDPOINTS_MAX);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (ch_endpoints_parse(list, &count, bad[i], &err) != -EINVAL)
			fail_msg("taken: %s", bad[i]);
}

static int open_with(const char *content, size_t bytes, mode_t mode, char *password)
{
	struct config_clickhouse cfg = {.url = "http://127.0.0.1:1", .user = "u", .timeout = 1000};
	char path[] = "/tmp/sluice-pw-XXXXXX";
	int fd = mkstemp(path), rc;
	struct ch_http h;
	struct err err;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, content, bytes), (ssize_t)bytes);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
	snprintf(cfg.password_file, sizeof cfg.password_file, "%s", path);
	rc = ch_http_open(&h, &cfg, NULL, NULL, &err);
	snprintf(password, 256, "%s", h.password);
	ch_http_close(&h);
	unlink(path);
	return rc;
}

static void test_password(void **state)
{
	static char big[400];
	char password[256];

	(void)state;
	memset(big, 'p', sizeof big);
	assert_int_equal(open_with("secret\n", 7, 0600, password), 0);
	assert_string_equal(password, "secret");
	assert_int_equal(open_with("", 0, 0600, password), 0);
	assert_string_equal(password, "");
	assert_int_equal(open_with("secret\n", 7, 0640, password), -EINVAL);
	assert_int_equal(open_with("secret\n", 7, 0604, password), -EINVAL);
	assert_int_equal(open_with("a\r\nX-Evil: 1", 12, 0600, password), -EINVAL);
	assert_int_equal(open_with("a\0b", 3, 0600, password), -EINVAL);
	assert_int_equal(open_with(big, sizeof big, 0600, password), -EINVAL);
}

static void test_password_path(void **state)
{
	struct config_clickhouse cfg = {
		.url = "http://127.0.0.1:1", .password_file = "/nowhere/x", .timeout = 1000};
	struct ch_http h;
	struct err err;

	(void)state;
	assert_int_equal(ch_http_open(&h, &cfg, NULL, NULL, &err), -EINVAL);
	ch_http_close(&h);
	assert_int_equal(ch_http_check(&cfg, &err), -EINVAL); /* says the same */
	assert_non_null(strstr(err.text, "clickhouse.password_file: /nowhere/x"));
	snprintf(cfg.password_file, sizeof cfg.password_file, "/tmp");
	assert_int_equal(ch_http_open(&h, &cfg, NULL, NULL, &err), -EINVAL);
	ch_http_close(&h);
	cfg.password_file[0] = 0;
	snprintf(cfg.user, sizeof cfg.user, "a\nb");
	assert_int_equal(ch_http_open(&h, &cfg, NULL, NULL, &err), -EINVAL);
	ch_http_close(&h);
}

static void test_check_tls(void **state)
{
	struct config_clickhouse cfg = {
		.url = "http://127.0.0.1:1", .ca_file = "/nowhere/ca", .timeout = 1000};
	struct err err;

	(void)state;
	assert_int_equal(ch_http_check(&cfg, &err), 0); /* nobody reads it */
	snprintf(cfg.url, sizeof cfg.url, "http://127.0.0.1:1,https://127.0.0.1:2");
	assert_int_equal(ch_http_check(&cfg, &err), -EINVAL);
	assert_non_null(strstr(err.text, "clickhouse.ca_file: /nowhere/ca"));
	cfg.ca_file[0] = 0;
	assert_int_equal(ch_http_check(&cfg, &err), 0);
	snprintf(cfg.cert_file, sizeof cfg.cert_file, "/nowhere/cert");
	assert_int_equal(ch_http_check(&cfg, &err), -EINVAL);
	assert_non_null(strstr(err.text, "clickhouse.cert_file"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_urls),
		cmocka_unit_test(test_lists),
		cmocka_unit_test(test_password),
		cmocka_unit_test(test_password_path),
		cmocka_unit_test(test_check_tls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
