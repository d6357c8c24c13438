/* What is refused before anything is sent: URLs, files of secrets; and positions in files. Answers are the
 * integration test's (e2e/webhook). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "secret.h"
#include "sink_mark.h"
#include "wh_priv.h"

/* The runner is not here. */
bool sink_gives_up(void)
{
	return false;
}

static int check(const char *url)
{
	struct config_webhook cfg = {0};
	struct err err;

	snprintf(cfg.url, sizeof cfg.url, "%s", url);
	return wh_config_check(&cfg, &err);
}

static void test_urls(void **state)
{
	(void)state;
	assert_int_equal(check("http://127.0.0.1:9093/api/v2/alerts"), 0);
	assert_int_equal(check("https://[::1]/x?y=z"), 0);
	assert_int_equal(check("https://alerts.example"), 0);
	assert_int_equal(check(""), -EINVAL);
	assert_int_equal(check("alerts.example"), -EINVAL);
	assert_int_equal(check("file:///etc/passwd"), -EINVAL);
	assert_int_equal(check("gopher://x/"), -EINVAL);
	assert_int_equal(check("http://user:secret@x/"), -EINVAL);
	assert_int_equal(check("http://x y/"), -EINVAL);
}

static char path[] = "/tmp/sluice-secret-XXXXXX";

static void put(const void *text, size_t bytes, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_TRUNC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, bytes), bytes);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static int secret(char *out, size_t bytes, int lines)
{
	struct err err;

	return secret_file_read(out, bytes, path, "x", lines, &err);
}

static void test_secrets(void **state)
{
	char out[16];
	struct err err;

	(void)state;
	put("word\r\n", 6, 0600);
	assert_int_equal(secret(out, sizeof out, 0), 0);
	assert_string_equal(out, "word");
	assert_int_equal(secret(out, 4, 0), -EINVAL); /* longer than there is room for */
	put("A: 1\nB: 2\n", 10, 0600);
	assert_int_equal(secret(out, sizeof out, 0), -EINVAL);
	assert_int_equal(secret(out, sizeof out, 1), 0);
	assert_string_equal(out, "A: 1\nB: 2");
	put("a\0b", 3, 0600);
	assert_int_equal(secret(out, sizeof out, 1), -EINVAL);
	put("word", 4, 0640); /* others may read it */
	assert_int_equal(secret(out, sizeof out, 0), -EINVAL);
	assert_int_equal(secret_file_read(out, sizeof out, "/tmp", "x", 0, &err), -EINVAL);
	assert_int_equal(secret_file_read(out, sizeof out, "", "x", 0, &err), 0);
	assert_string_equal(out, "");
}

static void test_public_files(void **state)
{
	struct err err;

	(void)state;
	put("text", 4, 0644);
	assert_int_equal(public_file_check(path, "x.y", &err), 0);
	assert_int_equal(public_file_check("", "x.y", &err), 0);
	assert_int_equal(public_file_check("/tmp", "x.y", &err), 0);
	assert_int_equal(public_file_check("/nowhere/x", "x.y", &err), -EINVAL);
	assert_string_equal(err.text, "x.y: /nowhere/x: No such file or directory");
}

static int checked(const struct config_webhook *cfg, const char *text)
{
	struct err err = {0};
	int rc = wh_http_check(cfg, &err);

	if (rc && !strstr(err.text, text))
		fail_msg("%s: not in: %s", text, err.text);
	return rc;
}

/* As it is read when a connection is made. */
static void test_check(void **state)
{
	static struct config_webhook cfg;

	(void)state;
	snprintf(cfg.url, sizeof cfg.url, "https://127.0.0.1:1/");
	assert_int_equal(checked(&cfg, ""), 0);
	put("word", 4, 0644);
	snprintf(cfg.ca_file, sizeof cfg.ca_file, "%s", path);
	assert_int_equal(checked(&cfg, ""), 0);
	snprintf(cfg.token_file, sizeof cfg.token_file, "%s", path);
	assert_int_equal(checked(&cfg, "webhook.token_file"), -EINVAL);
	put("word", 4, 0600);
	assert_int_equal(checked(&cfg, ""), 0);
	snprintf(cfg.headers_file, sizeof cfg.headers_file, "%s", path);
	assert_int_equal(checked(&cfg, "webhook.headers_file"), -EINVAL); /* no header */
	snprintf(cfg.headers_file, sizeof cfg.headers_file, "/nowhere/x");
	assert_int_equal(checked(&cfg, "webhook.headers_file"), -EINVAL);
	cfg.headers_file[0] = 0;
	snprintf(cfg.ca_file, sizeof cfg.ca_file, "/nowhere/x");
	assert_int_equal(checked(&cfg, "webhook.ca_file"), -EINVAL);
	snprintf(cfg.url, sizeof cfg.url, "ftp://x/");
	assert_int_equal(checked(&cfg, "webhook.url"), -EINVAL);
}

static void test_marks(void **state)
{
	uint64_t position = 0;

	(void)state;
	assert_int_equal(sink_mark_write(path, 5, 77), 0);
	assert_int_equal(sink_mark_write(path, 5, 78), 0);
	assert_int_equal(sink_mark_read(path, 5, &position), 1);
	assert_int_equal(position, 78);
	assert_int_equal(sink_mark_read(path, 6, &position), 0); /* of another log */
	assert_int_equal(sink_mark_read("/tmp/sluice-no-such-file", 5, &position), 0);
	put("short", 5, 0600);
	assert_int_equal(sink_mark_read(path, 5, &position), -EBADMSG);
	assert_int_equal(sink_mark_write("/proc/x", 5, 1), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_urls), cmocka_unit_test(test_secrets),
		cmocka_unit_test(test_public_files), cmocka_unit_test(test_check),
		cmocka_unit_test(test_marks)};
	int rc, fd = mkstemp(path);

	if (fd < 0)
		return 1;
	close(fd);
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(path);
	return rc;
}
