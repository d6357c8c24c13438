/* Lines of librdkafka: which of them are of one kind, and that a kind is said once, with a count later. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "kafka/kafka_log.h"

#define BROKER(name, text) "[thrd:" name "]: " name ": " text
#define REFUSED "Connect to ipv4#127.0.0.1:1 failed: Connection refused "

static void test_kinds(void **state)
{
	struct log_site *site = kafka_log_site(
		"FAIL", BROKER("127.0.0.1:1/bootstrap", REFUSED "(after 0ms in state CONNECT)"));

	(void)state;
	/* The same again, and from another client. */
	assert_ptr_equal(site,
		kafka_log_site("FAIL", BROKER("127.0.0.1:1/bootstrap",
					       REFUSED "(after 13ms in state CONNECT, 17 identical error(s) "
						       "suppressed)")));
	assert_ptr_equal(kafka_log_site("REQTMOUT", BROKER("b:1/1", "Timed out 1 in-flight, 0 retry-queued")),
		kafka_log_site("REQTMOUT", BROKER("b:1/1", "Timed out 3 in-flight, 12 retry-queued")));
	/* Another broker, facility, or reason. */
	assert_ptr_not_equal(site, kafka_log_site("FAIL", BROKER("127.0.0.1:2/bootstrap",
								  REFUSED "(after 0ms in state CONNECT)")));
	assert_ptr_not_equal(site, kafka_log_site("ERROR", BROKER("127.0.0.1:1/bootstrap",
								   REFUSED "(after 0ms in state CONNECT)")));
	assert_ptr_not_equal(
		site, kafka_log_site("FAIL",
			      BROKER("127.0.0.1:1/bootstrap",
				      "Connect to ipv4#127.0.0.1:1 failed: Host is down (after 0ms)")));
	assert_ptr_equal(kafka_log_site("X", ""), kafka_log_site("X", "123"));
	assert_ptr_not_equal(kafka_log_site("X", "[thrd:no end"), kafka_log_site("X", " (after [thrd:a]: "));
}

static void test_once(void **state)
{
	struct log_site *site = kafka_log_site("FAIL", "said twice 1");

	(void)state;
	for (int i = 0; i < 5; i++)
		kafka_log(NULL, 3, "FAIL", i % 2 ? "said twice 1" : "said twice 2");
	assert_int_equal(atomic_load(&site->suppressed), 4);
	assert_int_equal(site->burst, 1);
	assert_true(site->window_ns == 60000000000ull);
}

/* Names in texts of brokers are theirs: however many they make, there is a place. */
static void test_full(void **state)
{
	struct log_site *last = NULL;
	char text[64];

	(void)state;
	for (uint32_t i = 0; i < 2 * KAFKA_LOG_KINDS; i++) {
		snprintf(text, sizeof text, "[thrd:broker%u]: away", i);
		last = kafka_log_site("FAIL", text);
		assert_non_null(last);
	}
	assert_ptr_equal(last, kafka_log_site("FAIL", "one more of them"));
	assert_int_equal(last->burst, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_once),
		cmocka_unit_test(test_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
