/* Answers of good, careless and evil servers; each is fed whole and byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>

#include "ch_answer.h"

static struct ch_answer answer;

static int feed_by(const char *text, size_t bytes, size_t step)
{
	struct err err = {0};
	int rc = 0;

	ch_answer_reset(&answer);
	for (size_t at = 0; rc == 0 && at < bytes; at += step)
		rc = ch_answer_feed(&answer, text + at, step < bytes - at ? step : bytes - at, &err);
	if (rc < 0)
		assert_true(err.text[0]);
	return rc;
}

static void gives(const char *text, int expected)
{
	assert_int_equal(feed_by(text, strlen(text), 1), expected);
	assert_int_equal(feed_by(text, strlen(text), 7), expected);
	assert_int_equal(feed_by(text, strlen(text), 1 << 20), expected);
}

static void test_good(void **state)
{
	(void)state;
	gives("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX-ClickHouse-Query-Id: q-1\r\n\r\nabc", 1);
	assert_int_equal(answer.status, 200);
	assert_string_equal(answer.body, "abc");
	assert_string_equal(answer.query_id, "q-1");
	assert_false(answer.has_exception);
	assert_true(answer.keep_alive);
	gives("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", 1);
	assert_string_equal(answer.body, "abc");
	gives("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: "
	      "close\r\n\r\n",
		1);
	assert_false(answer.keep_alive);
	gives("HTTP/1.1 404 Not Found\r\nX-ClickHouse-Exception-Code: 60\r\nContent-Length: 1\r\n\r\nx", 1);
	assert_true(answer.has_exception);
	assert_int_equal(answer.exception_code, 60);
	/* An exception in a trailer counts as well as one in the header, and one that is no number too. */
	gives("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-ClickHouse-Exception-Code: "
	      "x\r\n\r\n",
		1);
	assert_true(answer.has_exception);
}

static void test_incomplete(void **state)
{
	(void)state;
	gives("", 0);
	gives("HTTP/1.1 200 OK\r\n", 0);
	gives("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc", 0);
	gives("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", 0);
	gives("HTTP/1.1 100 Continue\r\n\r\n", 0);
}

static void test_evil(void **state)
{
	(void)state;
	gives("SSH-2.0-OpenSSH\r\n", -EPROTO);
	gives("HTTP/1.1 200 OK\r\n\r\nends when the connection ends", -EPROTO);
	gives("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n", -EPROTO);
	gives("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", -EPROTO);
	gives("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc", -EPROTO);
	gives("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", -EPROTO);
	gives("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", -EPROTO);
	gives("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n", 0);
	for (int i = 0; i < 9; i++) {
		struct err err;
		const char *more = "HTTP/1.1 102 Processing\r\n\r\n";

		if (i == 0)
			ch_answer_reset(&answer);
		assert_int_equal(ch_answer_feed(&answer, more, strlen(more), &err), i < 8 ? 0 : -EPROTO);
	}
}

static void test_bounds(void **state)
{
	static char text[200000];
	struct err err;
	int n;

	(void)state;
	n = snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nX-ClickHouse-Query-Id: ");
	memset(text + n, 'a', 100000);
	ch_answer_reset(&answer);
	assert_int_equal(ch_answer_feed(&answer, text, 150000, &err), -EPROTO); /* header too long */
	n = snprintf(text, sizeof text,
		"HTTP/1.1 200 OK\r\nX-ClickHouse-Query-Id: %0*d\r\nContent-Length: 2000\r\n\r\n", 300, 7);
	memset(text + n, 'b', 2000);
	ch_answer_reset(&answer);
	assert_int_equal(
		ch_answer_feed(&answer, text, (size_t)n + 2000, &err), -EPROTO); /* body of 1000 at most */
	assert_int_equal(strlen(answer.query_id), CH_ANSWER_VALUE_MAX - 1);
	assert_non_null(strstr(err.text, "body too long"));
}

/* Bytes behind the answer: it counts, the connection does not go on. */
static void test_trailing(void **state)
{
	const char *text =
		"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

	(void)state;
	assert_int_equal(feed_by(text, strlen(text), 1 << 20), 1);
	assert_false(answer.keep_alive);
}

static int begin(void **state)
{
	struct err err;

	(void)state;
	return ch_answer_init(&answer, 1000, &err);
}

static int end(void **state)
{
	(void)state;
	ch_answer_free(&answer);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_incomplete),
		cmocka_unit_test(test_evil),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_trailing),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
