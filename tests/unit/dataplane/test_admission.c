/* Who may send how much, and who goes first when batches run out: over real mbufs, with everything adding up.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "pipeline_rig.h"

#define PORT_LOW 9000
#define PORT_NORMAL 9001
#define PORT_HIGH 9002
#define SECOND_NS 1000000000ull

static const char rules_none[] = "rules: []\n";

static void start(void (*change)(struct config *cfg), uint32_t batches)
{
	rig_start(&(struct pipeline_wish){.port = PORT_LOW,
		.format = CONFIG_FORMAT_NDJSON,
		.rules = rules_none,
		.batches = batches,
		.batch_bytes = 16384,
		.dead_rate = 1 << 20,
		.change = change});
}

/* ---- rates ---- */

static void limits(struct config *cfg)
{
	cfg->listeners[0].rate = 10;
	cfg->listeners[0].burst = 3;
	cfg->listeners[1] = cfg->listeners[0];
	cfg->listeners[1].udp_port = PORT_NORMAL;
	cfg->listeners[1].rate = 5;
	cfg->listeners[1].burst = 0;
	cfg->listeners[2] = cfg->listeners[0];
	cfg->listeners[2].udp_port = PORT_HIGH;
	cfg->listeners[2].rate = 0;
	cfg->listeners[2].burst = 0;
	cfg->listeners_count = 3;
}

/* Sends `count` datagrams at once; how many were read. */
static uint64_t taken(uint8_t host, uint16_t port, uint64_t count, uint64_t mono_ns)
{
	const struct listener_stats *ls = &fx.stats.listener[fx.ports.listener_of[port] - 1];
	uint64_t before = ls->datagrams_read;

	for (uint64_t i = 0; i < count; i++)
		rig_send_at(host, "{}", 2, port, mono_ns);
	rig_drain();
	return ls->datagrams_read - before;
}

static void test_rate(void **state)
{
	uint64_t t = 50 * SECOND_NS;

	(void)state;
	start(limits, 16);
	assert_int_equal(taken(1, PORT_LOW, 9, t), 3);	  /* a burst */
	assert_int_equal(taken(2, PORT_LOW, 9, t), 3);	  /* another source has its own */
	assert_int_equal(taken(1, PORT_NORMAL, 9, t), 5); /* another listener, too: of one second */
	assert_int_equal(taken(1, PORT_HIGH, 9, t), 9);	  /* this one has none */
	assert_int_equal(taken(1, PORT_LOW, 9, t + SECOND_NS / 10 - 1), 0);
	assert_int_equal(taken(1, PORT_LOW, 9, t + SECOND_NS / 10), 1);
	assert_int_equal(taken(1, PORT_LOW, 9, t + SECOND_NS / 10), 0); /* what is refused costs nothing */
	assert_int_equal(taken(1, PORT_LOW, 9, t + SECOND_NS / 5), 1);
	assert_int_equal(taken(1, PORT_LOW, 9, t + 100 * SECOND_NS), 3); /* and a pause gains no more */
	/* Over the seconds it is the rate. */
	for (uint64_t i = 1, sum = 0; i <= 1000; i++) {
		sum += taken(3, PORT_LOW, 1, t + i * SECOND_NS / 100);
		if (i == 1000)
			assert_in_range(sum, 102, 103);
	}
	assert_int_equal(
		fx.stats.drops[DROP_rate_limited], fx.stats.listener[0].dropped[DROP_rate_limited] +
							   fx.stats.listener[1].dropped[DROP_rate_limited]);
	assert_int_equal(fx.stats.listener[1].dropped[DROP_rate_limited], 4);
	assert_int_equal(fx.stats.listener[2].dropped[DROP_rate_limited], 0);
	assert_int_equal(fx.stats.sources_forgotten, 0);
	rig_stop();
	rig_balance();
}

static void address(uint8_t out[16], uint32_t number)
{
	memset(out, 0, 16);
	out[10] = out[11] = 0xff;
	memcpy(out + 12, &number, 4);
}

/* Of addresses that nobody has seen: each is let in, however many there were; and who is over its rate stays
 * so meanwhile. */
static void test_forged_sources(void **state)
{
	struct config cfg = {.listeners_count = 1, .worker.sources_max = 1024};
	uint64_t now = 100 * SECOND_NS, forgotten = 0, flooder_taken = 0, honest_taken = 0;
	uint8_t flooder[16], honest[16], forged[16];
	struct admit a;

	(void)state;
	cfg.listeners[0].rate = 10;
	cfg.listeners[0].burst = 20;
	admit_set_up(&a, &cfg, &forgotten);
	assert_int_equal(a.sets, 256);
	a.source = calloc(1, admit_table_bytes(&a));
	assert_non_null(a.source);
	address(flooder, 1);
	address(honest, 2);
	for (uint32_t i = 0; i < 1000000; i++, now += 10000) { /* 10 s */
		address(forged, 1000 + i);
		assert_true(admit_take(&a, 0, forged, now));
		flooder_taken += admit_take(&a, 0, flooder, now);
		if (i % 20000 == 0) { /* 5 a second */
			assert_true(admit_take(&a, 0, honest, now));
			honest_taken++;
		}
	}
	assert_int_equal(honest_taken, 50);
	assert_in_range(flooder_taken, 119, 121); /* its burst and its rate: it was never forgotten */
	assert_in_range(forgotten, 990000, 1000000);
	free(a.source);
}

/* The table full of sources that are all over their rate: whoever comes new is let in all the same. */
static void test_full_table(void **state)
{
	struct config cfg = {.listeners_count = 1, .worker.sources_max = 64};
	uint64_t now = 100 * SECOND_NS, forgotten = 0;
	uint8_t addr[16];
	struct admit a;

	(void)state;
	cfg.listeners[0].rate = 1;
	cfg.listeners[0].burst = 5;
	admit_set_up(&a, &cfg, &forgotten);
	a.source = calloc(1, admit_table_bytes(&a));
	for (uint32_t i = 0; i < 10000; i++) {
		address(addr, i);
		for (int k = 0; k < 5; k++)
			assert_true(admit_take(&a, 0, addr, now));
		assert_false(admit_take(&a, 0, addr, now));
	}
	assert_int_equal(forgotten, 10000 - 64);
	free(a.source);
}

/* ---- priorities ---- */

static void three_priorities(struct config *cfg)
{
	cfg->listeners[0].priority = CONFIG_PRIORITY_LOW;
	for (uint32_t i = 1; i < 3; i++) {
		cfg->listeners[i] = cfg->listeners[0];
		cfg->listeners[i].udp_port = PORT_LOW + i;
		cfg->listeners[i].priority = CONFIG_PRIORITY_LOW + i;
	}
	cfg->listeners_count = 3;
}

static void low_and_high(struct config *cfg)
{
	three_priorities(cfg);
	cfg->listeners[1].priority = CONFIG_PRIORITY_LOW;
}

static void send_click(unsigned id, uint16_t port)
{
	char text[300];
	int n = snprintf(text, sizeof text,
		"{\"event_id\":\"00000000-0000-4000-8000-%012x\",\"user_id\":\"u1\",\"ts\":%lld,\"page\":\"/"
		"%0120d\"}",
		id, (long long)WALL_MS, 0);

	rig_send(1, text, (uint32_t)n, port);
}

/* The partition's writer takes nothing. Of each listener, in rounds: the first round in which it lost an
 * event, and the last in which one of its events was accepted. */
struct fate {
	unsigned first_lost, last_accepted;
};

static void stalled(unsigned rounds, struct fate fate[3])
{
	memset(fate, 0, 3 * sizeof *fate);
	for (unsigned r = 1; r <= rounds; r++)
		for (uint32_t i = 0; i < 3; i++) {
			uint64_t before = fx.stats.listener[i].accepted;

			send_click(r * 3 + i, (uint16_t)(PORT_LOW + i));
			if (fx.stats.listener[i].accepted > before)
				fate[i].last_accepted = r;
			else if (!fate[i].first_lost)
				fate[i].first_lost = r;
		}
}

static void test_stalled_partition(void **state)
{
	struct fate fate[3];

	(void)state;
	for (uint32_t batches = 4; batches <= 64; batches *= 2) {
		start(three_priorities, batches);
		stalled(150 * batches, fate);
		/* Whoever is higher loses nothing as long as one event of who is lower is still taken. */
		assert_in_range(fate[0].first_lost, 10, fate[1].first_lost - 1);
		assert_in_range(fate[1].first_lost, fate[0].last_accepted + 10, fate[2].first_lost - 1);
		assert_in_range(fate[2].first_lost, fate[1].last_accepted + 10, 150 * batches - 1);
		assert_int_equal(fx.stats.drops[DROP_shed_low], fx.stats.listener[0].dropped[DROP_shed_low]);
		assert_int_equal(
			fx.stats.drops[DROP_shed_normal], fx.stats.listener[1].dropped[DROP_shed_normal]);
		assert_int_equal(fx.stats.drops[DROP_no_batch], fx.stats.listener[2].dropped[DROP_no_batch]);
		assert_int_equal(fx.stats.listener[0].dropped[DROP_shed_low],
			150 * batches - fx.stats.listener[0].accepted);
		/* The writer is back: everyone is taken again. */
		rig_drain();
		stalled(10, fate);
		for (int i = 0; i < 3; i++)
			assert_int_equal(fate[i].first_lost, 0);
		rig_stop();
		rig_balance();
	}
}

/* Dead letters of who is low go as its events do, and do not take what is kept. */
static void test_refused(void **state)
{
	(void)state;
	start(low_and_high, 16);
	for (unsigned i = 0; i < 3000; i++) {
		send_click(i, PORT_HIGH);
		rig_send(1, "{\"x\":", 5, PORT_LOW);
	}
	assert_true(fx.stats.listener[0].dropped[DROP_shed_low] > 0);
	assert_true(fx.stats.listener[0].refused_kept > 0);
	assert_int_equal(fx.stats.listener[0].dropped[DROP_no_batch], 0);
	rig_stop();
	rig_balance();
}

/* Nothing is kept for anyone where all have the same, or where there is nobody above. */
static void test_one_priority(void **state)
{
	(void)state;
	start(NULL, 8);
	for (unsigned i = 0; i < 3000; i++)
		send_click(i, PORT_LOW);
	assert_true(fx.stats.drops[DROP_no_batch] > 0);
	assert_int_equal(fx.stats.drops[DROP_shed_low] + fx.stats.drops[DROP_shed_normal], 0);
	assert_int_equal(fx.pl.kept_batches_max, 0);
	rig_drain();
	rig_stop();
	rig_balance();
	start(low_and_high, 8);
	assert_int_equal(fx.pl.kept_batches[2], 0);
	assert_int_equal(fx.pl.kept_batches[0], 2);
	rig_stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_rate), cmocka_unit_test(test_forged_sources),
		cmocka_unit_test(test_full_table), cmocka_unit_test(test_stalled_partition),
		cmocka_unit_test(test_refused), cmocka_unit_test(test_one_priority)};

	return rig_pool() ? cmocka_run_group_tests(tests, NULL, NULL) : 77;
}
