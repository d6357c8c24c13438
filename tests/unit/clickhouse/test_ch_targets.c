/* Which server is talked to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ch_part_priv.h"

const struct sink_ops sink_kafka_ops, sink_kafka_alerts_ops, sink_webhook_ops; /* not linked here */

static bool never(void *arg)
{
	(void)arg;
	return false;
}

/* One that is away is asked; what comes next must not go there. */
static void test_asked_in_vain(void **state)
{
	static struct config cfg;
	static struct sink_part part = {.error_lock = PTHREAD_MUTEX_INITIALIZER};
	static struct ch_part p = {.part = &part, .cfg = &cfg.clickhouse, .intent.fd = -1, .letters.fd = -1};
	struct err err;

	(void)state;
	config_defaults(&cfg);
	/* Port 1 takes no connections. */
	strcpy(cfg.clickhouse.url, "http://127.0.0.1:1,http://127.0.0.2:1");
	p.http.sock.fd = -1;
	if (ch_http_open(&p.http, p.cfg, never, NULL, &err) || ch_targets_open(&p, &err))
		fail_msg("%s", err.text);
	p.current = 1;
	p.target[1].fit = true;
	ch_http_use(&p.http, &p.target[1].endpoint);
	assert_int_not_equal(ch_target_use(&p, 0, &err), 0);
	assert_int_equal(p.current, 1);
	assert_string_equal(p.http.endpoint.name, "127.0.0.2:1");
	assert_true(p.target[1].fit);
	assert_int_not_equal(p.target[0].fault[0], 0);
	ch_http_close(&p.http);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_asked_in_vain)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
