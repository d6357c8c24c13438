/* Parts of one process ask a server about its tables together: what one has found holds for all that were in
 * doubt before it looked, and for none that came to doubt later. SLUICE_CH_URL: a real engine. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ch_part_priv.h"
#include "clock.h"

const struct sink_ops sink_kafka_ops, sink_kafka_alerts_ops, sink_webhook_ops; /* not linked here */

static struct config cfg;

static bool never(void *arg)
{
	(void)arg;
	return false;
}

static void part_open(struct ch_part *p, unsigned logs)
{
	static struct sink_part part = {.error_lock = PTHREAD_MUTEX_INITIALIZER};
	struct err err;

	*p = (struct ch_part){.part = &part, .cfg = &cfg.clickhouse, .intent.fd = -1, .letters.fd = -1};
	p->http.sock.fd = -1;
	if (ch_catalog_make(&p->catalog, logs, NULL, &err) ||
		ch_http_open(&p->http, p->cfg, never, NULL, &err) || ch_targets_open(p, &err))
		fail_msg("%s", err.text);
}

static void part_close(struct ch_part *p)
{
	ch_http_close(&p->http);
	ch_catalog_free(p->catalog);
}

/* As one that waits for the look of another. */
static void asked(struct ch_part *p)
{
	p->target[0].asked_ns = clock_mono_ns();
}

static void run(struct ch_part *p, const char *sql)
{
	struct err err;

	if (ch_http_query(&p->http, sql, 30000, &err))
		fail_msg("%s: %s", sql, err.text);
}

static void use(struct ch_part *p)
{
	struct err err;

	if (ch_target_use(p, 0, &err))
		fail_msg("%s", err.text);
	assert_true(p->target[0].fit);
}

static bool there(struct ch_part *p, const char *table)
{
	char sql[200];

	snprintf(sql, sizeof sql, "EXISTS TABLE t_looks.%s", table);
	run(p, sql);
	return p->http.answer.body[0] == '1';
}

static void away(struct ch_part *p)
{
	struct err err;

	err_set(&err, -EAGAIN, "as if it had gone");
	ch_target_away(p, 0, -EAGAIN, &err);
	p->target[0].again_ns = 0;
}

static void test_one_looks_for_all(void **state)
{
	static struct ch_part first, second, output;

	(void)state;
	part_open(&first, CH_LOG_INPUT);
	part_open(&second, CH_LOG_INPUT);
	part_open(&output, CH_LOG_OUTPUT);
	run(&first, "DROP DATABASE IF EXISTS t_looks SYNC");
	asked(&second);
	use(&first);
	assert_true(there(&first, "events_raw"));
	run(&first, "DROP TABLE t_looks.events_raw SYNC");
	use(&second); /* in doubt since before the look: it is believed */
	assert_false(there(&second, "events_raw"));
	use(&output); /* expects other tables: looks itself */
	assert_true(there(&output, "alerts"));
	away(&second);
	assert_false(second.target[0].fit);
	use(&second); /* in doubt since the look */
	assert_true(there(&second, "events_raw"));
	part_close(&first);
	part_close(&second);
	part_close(&output);
	part_open(&first, CH_LOG_INPUT);
	run(&first, "DROP TABLE t_looks.events_raw SYNC");
	use(&first); /* another start */
	assert_true(there(&first, "events_raw"));
	part_close(&first);
}

/* What another part has come to doubt meanwhile, or found wrong, is believed by none. */
static void test_doubts_are_shared(void **state)
{
	static struct ch_part part[4];
	struct err err;

	(void)state;
	for (int i = 0; i < 4; i++)
		part_open(&part[i], CH_LOG_INPUT);
	for (int i = 1; i < 4; i++)
		asked(&part[i]);
	use(&part[0]);
	run(&part[0], "DROP TABLE t_looks.events_raw SYNC");
	use(&part[1]);
	assert_false(there(&part[1], "events_raw"));
	away(&part[1]);
	use(&part[2]); /* its own doubt is older than the look, another's is not */
	assert_true(there(&part[2], "events_raw"));
	run(&part[0],
		"ALTER TABLE t_looks.clicks_raw MODIFY SETTING non_replicated_deduplication_window = 0");
	assert_int_equal(ch_target_use(&part[1], 0, &err), 0); /* there was a look since it was away */
	away(&part[0]);
	assert_int_equal(ch_target_use(&part[0], 0, &err), -EINVAL);
	assert_int_equal(ch_target_use(&part[3], 0, &err), -EINVAL);
	run(&part[0],
		"ALTER TABLE t_looks.clicks_raw MODIFY SETTING non_replicated_deduplication_window = 100");
	use(&part[3]);
	for (int i = 0; i < 4; i++)
		part_close(&part[i]);
}

/* One that a part has never asked is doubted from the first question on, however long ago the part began. */
static void test_late_first_question(void **state)
{
	static struct ch_part first, second;

	(void)state;
	part_open(&first, CH_LOG_INPUT);
	part_open(&second, CH_LOG_INPUT);
	use(&first);
	run(&first, "DROP TABLE t_looks.events_raw SYNC");
	use(&second);
	assert_true(there(&second, "events_raw"));
	part_close(&first);
	part_close(&second);
}

/* A refusal of the server's, as of a password, is none that somebody mends by statements. */
static void test_other_refusals_wait_longer(void **state)
{
	static struct ch_part part;
	struct err err;

	(void)state;
	part_open(&part, CH_LOG_INPUT);
	part.part->refused_ms = 0;
	snprintf(part.http.user, sizeof part.http.user, "nobody");
	assert_int_equal(ch_target_use(&part, 0, &err), -EINVAL);
	assert_int_equal(part.part->refused_ms, 0);
	part_close(&part);
}

/* A look that found something wrong answers nobody. */
static void test_refusals_are_not_shared(void **state)
{
	static struct ch_part part[2];
	struct err err;

	(void)state;
	part_open(&part[0], CH_LOG_INPUT);
	run(&part[0], "ALTER TABLE t_looks.clicks_raw MODIFY COLUMN referrer LowCardinality(String)");
	part_close(&part[0]);
	for (int i = 0; i < 2; i++)
		part_open(&part[i], CH_LOG_INPUT);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(ch_target_use(&part[i], 0, &err), -EINVAL);
		assert_non_null(strstr(err.text, "referrer has type LowCardinality(String)"));
		assert_int_equal(part[i].part->refused_ms, 5000); /* somebody may mend it at any time */
		part[i].part->refused_ms = 0;
		part_close(&part[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_looks_for_all),
		cmocka_unit_test(test_doubts_are_shared),
		cmocka_unit_test(test_late_first_question),
		cmocka_unit_test(test_refusals_are_not_shared),
		cmocka_unit_test(test_other_refusals_wait_longer),
	};

	config_defaults(&cfg);
	cfg.clickhouse.enabled = true;
	snprintf(cfg.clickhouse.url, sizeof cfg.clickhouse.url, "%s", getenv("SLUICE_CH_URL"));
	snprintf(cfg.clickhouse.database, sizeof cfg.clickhouse.database, "t_looks");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
