/* The C client over a line that loses and reorders, in virtual time: what is lost is found by what was
 * answered, what is only late is not repeated, nothing is repeated without measure. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sc_client_priv.h"
#include "udp_peer.h"
#include "virtual_line.h"

#define EVENTS 6000
#define SEEDS 10

static struct sluice_client *open_client(void)
{
	struct sluice_client_options o = {.host = "127.0.0.1", .port = "9"};
	struct sluice_client *c;
	char error[200] = "";

	if (sluice_client_open(&c, &o, error, sizeof error))
		fail_msg("%s", error);
	return c;
}

static struct sluice_client *start(uint64_t seed, unsigned loss_percent, uint64_t delay_ns)
{
	line_reset(seed);
	line.loss_percent[LINE_THERE] = line.loss_percent[LINE_BACK] = loss_percent;
	line.delay_ns = delay_ns;
	for (unsigned p = 0; p < LINE_PARTITIONS; p++)
		line.commit_ns[p] = MS;
	return open_client();
}

static struct sluice_client_counts counts(const struct sluice_client *c)
{
	struct sluice_client_counts n;

	sluice_client_counts(c, &n);
	assert_true(n.accepted == n.acked + n.refused + n.outstanding);
	assert_true(n.outstanding <= SLUICE_CLIENT_WINDOW_EVENTS && n.never_sent == 0);
	return n;
}

static void wait_until(struct sluice_client *c, uint64_t at_ns)
{
	while (line.now_ns < at_ns)
		assert_int_equal(sluice_client_poll(c, (int)((at_ns - line.now_ns + MS - 1) / MS)), 0);
}

static void send_events(struct sluice_client *c, uint64_t from, uint64_t to, uint64_t gap_ns)
{
	char event[LINE_EVENT_MAX];
	uint64_t due_ns = line.now_ns;

	for (uint64_t i = from; i <= to; i++, due_ns += gap_ns) {
		wait_until(c, due_ns);
		assert_int_equal(sluice_client_send(c, event, line_event(i, event), -1), 0);
	}
}

/* Every event is there, whole, and the client knows it; returns how long it took. */
static uint64_t deliver(struct sluice_client *c, uint64_t events, uint64_t gap_ns)
{
	uint64_t began_ns = line.now_ns;

	send_events(c, 1, events, gap_ns);
	assert_int_equal(sluice_client_flush(c, -1), 0);
	assert_true(line_has_all(events));
	assert_true(counts(c).acked + counts(c).refused == events && counts(c).outstanding == 0);
	assert_true(counts(c).refused == (line.refuse_every ? events / line.refuse_every : 0));
	return line.now_ns - began_ns;
}

struct total {
	double seconds, repeated, arrived_again, datagrams;
};

static struct total deliver_often(
	void (*set)(void), unsigned loss_percent, uint64_t delay_ns, uint64_t gap_ns)
{
	struct total t = {0};

	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		struct sluice_client *c = start(seed, loss_percent, delay_ns);

		if (set)
			set();
		t.seconds += (double)deliver(c, EVENTS, gap_ns) / 1e9 / SEEDS;
		t.repeated += (double)counts(c).repeated / SEEDS;
		t.arrived_again += (double)line.arrived_again / SEEDS;
		t.datagrams += (double)line.datagrams / SEEDS;
		assert_true(sluice_client_close(c) == 0);
	}
	return t;
}

/* All arrives at every loss. Repeated is what the loss asks for: an event is settled if it and its answer get
 * through, so that it leaves 1 / (1 - loss)^2 times. The times are those of this line, exact and repeatable;
 * bounds are a quarter above what they are. */
static void test_loss(void **state)
{
	static const struct {
		unsigned loss_percent;
		uint64_t delay_ns;
		double seconds, seconds_paced; /* at most; paced: 400 events a second, 15 s of them */
	} table[] = {{0, MS / 2, 0.015, 15.1}, {1, MS / 2, 0.027, 15.1}, {5, MS / 2, 0.046, 15.1},
		{20, MS / 2, 0.11, 15.1}, {50, MS / 2, 2, 15.5}, {0, 50 * MS, 0.7, 15.2},
		{1, 50 * MS, 1.25, 15.3}, {5, 50 * MS, 2, 15.4}, {20, 50 * MS, 4.3, 16},
		{50, 50 * MS, 40, 25}};

	(void)state;
	for (unsigned i = 0; i < sizeof table / sizeof *table; i++) {
		double through = (100 - table[i].loss_percent) / 100.0;
		double repeats = EVENTS * (1 / (through * through) - 1);

		for (unsigned paced = 0; paced < 2; paced++) {
			double most = paced ? table[i].seconds_paced : table[i].seconds;
			struct total t = deliver_often(
				NULL, table[i].loss_percent, table[i].delay_ns, paced ? 2500000 : 0);

			print_message("loss %2u%% each way, delay %4.1f ms%s: %7.3f s, %5.0f repeats, %4.0f "
				      "expected\n",
				table[i].loss_percent, (double)table[i].delay_ns / 1e6,
				paced ? ", paced" : "", t.seconds, t.repeated, repeats);
			assert_true(t.seconds < most);
			assert_true(t.repeated >= 0.8 * repeats && t.repeated <= 1.1 * repeats);
		}
	}
}

static void set_lossy_answers(void)
{
	line.loss_percent[LINE_BACK] = 30;
}

static void set_twice(void)
{
	line.loss_percent[LINE_THERE] = line.loss_percent[LINE_BACK] = 20;
	line.twice_percent = 10;
	line.late_percent = 20;
	line.late_ns = 20 * MS;
	line.refuse_every = 500;
	line.partitions = 4;
}

static void test_answers_lost(void **state)
{
	struct total t = deliver_often(set_lossy_answers, 0, 5 * MS, 0);

	(void)state;
	assert_true(t.seconds < 0.4 && t.arrived_again == t.repeated);
	assert_true(t.repeated < 1.15 * EVENTS * (1 / 0.7 - 1));
}

/* Everything at once: losses, late and doubled datagrams, partitions, refusals. */
static void test_worst(void **state)
{
	(void)state;
	assert_true(deliver_often(set_twice, 0, MS / 2, 2500000).seconds < 15.5);
	assert_true(deliver_often(set_twice, 0, MS / 2, 0).seconds < 2.5);
}

static void set_a_little_late(void)
{
	line.late_percent = 20;
	line.late_ns = 2 * MS;
}

static void set_very_late(void)
{
	line.late_percent = 20;
	line.late_ns = 20 * MS;
}

static void set_slow_partition(void)
{
	line.partitions = LINE_PARTITIONS;
	line.commit_ns[1] = 10 * MS;
}

/* Nothing is lost: what comes in another order, or is durable later, is repeated until the client has learned
 * how late things are here, and then seldom. */
static void test_reordered(void **state)
{
	static const struct {
		void (*set)(void);
		uint64_t delay_ns, gap_ns;
		double part; /* of the events that are repeated, at most */
	} table[] = {{set_a_little_late, 5 * MS, 0, 0.002}, {set_a_little_late, 5 * MS, 2500000, 0.002},
		{set_very_late, 5 * MS, 0, 0.07}, {set_very_late, 5 * MS, 2500000, 0.01},
		{set_very_late, MS / 2, 2500000, 0.08}, {set_slow_partition, MS / 2, 0, 0.06},
		{set_slow_partition, MS / 2, 250000, 0.01}, {set_slow_partition, MS / 2, 2500000, 0.001}};

	(void)state;
	for (unsigned i = 0; i < sizeof table / sizeof *table; i++) {
		struct total t = deliver_often(table[i].set, 0, table[i].delay_ns, table[i].gap_ns);

		print_message("no loss, case %u: %4.0f of %u repeated\n", i, t.repeated, EVENTS);
		assert_true(t.repeated <= EVENTS * table[i].part);
	}
}

static uint64_t victim, victim_left_ns[20];
static unsigned victim_leaves, victim_losses;

static bool lose_victim(uint64_t first, unsigned count)
{
	if (victim < first || victim >= first + count)
		return false;
	assert_true(victim_leaves < 20);
	victim_left_ns[victim_leaves] = line.now_ns;
	return victim_leaves++ < victim_losses;
}

static void choose_victim(uint64_t sequence, unsigned losses)
{
	victim = sequence;
	victim_losses = losses;
	victim_leaves = 0;
	line.lose = lose_victim;
}

/* A repeat that is lost is found as the first loss is: each a round trip and the window (and the step of the
 * clock) after the one before, none doubled. */
static void test_repeats_lost(void **state)
{
	struct sluice_client *c = start(1, 0, 10 * MS);

	(void)state;
	choose_victim(300, 8);
	deliver(c, 600, 2500000);
	assert_int_equal(victim_leaves, 9);
	assert_true(counts(c).repeated == 8);
	for (unsigned i = 1; i < victim_leaves; i++)
		assert_in_range(victim_left_ns[i] - victim_left_ns[i - 1], 21 * MS, 33 * MS);
	sluice_client_close(c);
}

static void answer_again(struct sluice_client *c, uint64_t sequence, uint64_t now_ns)
{
	static const struct udp_peer unsigned_peer;
	uint64_t ranges[PEER_ACK_RANGES][2] = {{sequence, 1}}, none[1][2];
	uint8_t ack[200];

	assert_true(sc_take(c, ack, peer_ack(&unsigned_peer, ack, c->producer, ranges, 1, none, 0), now_ns));
}

/* An answer more to what was repeated is a sign that there was no need, but not each time, and not long
 * after. */
static void test_signs(void **state)
{
	struct sluice_client *c = start(1, 0, 10 * MS);
	uint32_t credit;

	(void)state;
	choose_victim(300, 1);
	deliver(c, 600, 2500000);
	credit = c->rack.credit;
	for (unsigned i = 0; i < 5; i++)
		answer_again(c, 300, line.now_ns + i * 1000 * MS);
	assert_true(c->rack.widenings == 1 && c->rack.credit == credit - SC_RACK_SHARE);
	line.lose = NULL;
	choose_victim(650, 1);
	send_events(c, 601, 2000, 2500000);
	assert_int_equal(sluice_client_flush(c, -1), 0);
	assert_int_equal(victim_leaves, 2);
	answer_again(c, 650, line.now_ns + 10000 * MS);
	assert_true(c->rack.widenings == 1 && counts(c).settled_again == 6);
	sluice_client_close(c);
}

/* Nothing later tells of the last one: it is sent once more after two round trips, then after the time-out.
 */
static void test_tail(void **state)
{
	struct sluice_client *c = start(1, 0, 10 * MS);

	(void)state;
	choose_victim(400, 4);
	deliver(c, 400, 2500000);
	assert_int_equal(victim_leaves, 6);
	assert_in_range(victim_left_ns[1] - victim_left_ns[0], 40 * MS, 44 * MS);
	assert_in_range(victim_left_ns[2] - victim_left_ns[1], 21 * MS, 30 * MS);
	assert_true(victim_left_ns[3] == victim_left_ns[2] && victim_left_ns[5] == victim_left_ns[4]);
	assert_in_range(victim_left_ns[4] - victim_left_ns[3], 42 * MS, 60 * MS);
	wait_until(c, line.now_ns + 100 * MS);
	assert_true(counts(c).settled_again ==
		    1); /* both of the last two were answered: no repeat was needless */
	assert_true(c->rack.widenings == 0 && !c->rto.doubted);
	sluice_client_close(c);
}

/* A peer that is away is asked with two datagrams at most at a time, ever less often; what is repeated when
 * it is back grows with what it answers. */
static void test_silence(void **state)
{
	struct sluice_client *c = start(1, 0, 5 * MS);
	uint64_t datagrams, back_ns;

	(void)state;
	send_events(c, 1, 1000, 2500000);
	assert_int_equal(sluice_client_flush(c, -1), 0);
	line.cut = true;
	send_events(c, 1001, 2024, 100000); /* the window is full */
	datagrams = line.datagrams;
	wait_until(c, line.now_ns + 60000 * MS);
	assert_in_range(line.datagrams - datagrams, 25, 40);
	assert_true(counts(c).outstanding == 1024);
	line.cut = false;
	datagrams = line.datagrams;
	while (counts(c).acked == 1000)
		assert_int_equal(sluice_client_poll(c, 10), 0);
	back_ns = line.now_ns;
	assert_in_range(line.datagrams - datagrams, 1, 14);
	assert_int_equal(sluice_client_flush(c, -1), 0);
	assert_true(line_has_all(2024) && line.now_ns - back_ns < 100 * MS);
	assert_true(line.datagrams - datagrams < 100);
	sluice_client_close(c);
}

/* The way becomes much longer, for a sender that waits for each answer: after a few repeats it has been
 * measured anew, and nothing more is repeated. */
static void test_longer_way(void **state)
{
	struct sluice_client *c = start(1, 0, MS / 2);
	uint64_t repeated = 0;

	(void)state;
	for (uint64_t i = 1; i <= 200; i++) {
		if (i == 101)
			line.delay_ns = 100 * MS;
		if (i == 131)
			repeated = counts(c).repeated;
		send_events(c, i, i, 0);
		assert_int_equal(sluice_client_flush(c, -1), 0);
	}
	print_message("a longer way: %u repeats\n", (unsigned)repeated);
	assert_true(repeated <= 40);
	assert_true(counts(c).repeated == repeated && line_has_all(200));
	sluice_client_close(c);
}

static void set_bottleneck(void)
{
	line.datagram_ns = MS;
	line.queue_max = 20;
}

/* A narrow line whose queue is smaller than the window: what is too much is lost at once. It is used to the
 * full, and what leaves is not much more than what it carries. */
static void test_bottleneck(void **state)
{
	struct total t = deliver_often(set_bottleneck, 0, 5 * MS, 0);
	double least = EVENTS / 17.7; /* datagrams, if none were lost */

	(void)state;
	print_message("bottleneck: %.3f s, %.0f datagrams of %.0f\n", t.seconds, t.datagrams, least);
	assert_true(t.seconds < 1.5 * least / 1000 && t.datagrams < 2 * least);
}

/* One partition of four takes nothing, the others go on, and the window does not fill: its events are
 * repeated, but no more than four for each one that is settled. */
static bool lose_partition(uint64_t first, unsigned count)
{
	return count == 1 && first % 4 == 0 && line.now_ns < victim_left_ns[0];
}

static void test_share(void **state)
{
	struct sluice_client *c = start(1, 0, MS / 2);

	(void)state;
	victim_left_ns[0] = line.now_ns + 2000 * MS;
	line.lose = lose_partition;
	for (uint64_t i = 1; i <= 900; i++) {
		struct sluice_client_counts n;

		send_events(c, i, i, 0);
		wait_until(c, line.now_ns + 2 * MS);
		n = counts(c);
		assert_true(n.repeated <= SC_RACK_SHARE * n.acked);
	}
	line.lose = NULL;
	assert_int_equal(sluice_client_flush(c, -1), 0);
	assert_true(line_has_all(900));
	sluice_client_close(c);
}

static bool is_live_open(struct sluice_client *c)
{
	for (uint64_t s = c->window.base; s < c->window.next_send; s++)
		if (s % 4 != 1 && !sc_window_slot(&c->window, s)->settled)
			return true;
	return false;
}

/* One partition of four takes events and makes none of them durable, answers are lost, also all of the last
 * ones before the window is full: so nothing more is settled that would allow repeats. Returns how long it
 * takes then until all events of the other partitions are settled. */
static uint64_t dead_partition(uint64_t seed, unsigned loss_percent, uint64_t delay_ns, uint64_t gap_ns)
{
	struct sluice_client *c = start(seed, 0, delay_ns);
	char event[LINE_EVENT_MAX];
	uint64_t due_ns, i = 401;

	line.partitions = 4;
	send_events(c, 1, i - 1, gap_ns);
	assert_int_equal(sluice_client_flush(c, -1), 0);
	line.commit_ns[1] = 1000000000 * MS;
	line.loss_percent[LINE_BACK] = loss_percent;
	for (due_ns = line.now_ns;; i++, due_ns += gap_ns) {
		wait_until(c, due_ns);
		if (i == 401 + SC_WINDOW - 20)
			line.loss_percent[LINE_BACK] = 100;
		if (sluice_client_send(c, event, line_event(i, event), 0) == -EAGAIN)
			break;
	}
	wait_until(c, line.now_ns + 2 * delay_ns + 2 * MS);
	line.loss_percent[LINE_BACK] = loss_percent;
	for (due_ns = line.now_ns; is_live_open(c) && line.now_ns < due_ns + 600000 * MS;)
		wait_until(c, line.now_ns + 10 * MS);
	due_ns = line.now_ns - due_ns;
	sluice_client_close(c);
	return due_ns;
}

static void test_dead_partition(void **state)
{
	static const struct {
		unsigned loss_percent;
		uint64_t delay_ns, gap_ns;
		double seconds; /* at most */
	} table[] = {{1, MS / 2, 250000, 0.1}, {1, MS / 2, 2500000, 0.1}, {5, MS / 2, 2500000, 0.2},
		{20, MS / 2, 250000, 45}, {20, MS / 2, 2500000, 5}, {5, 25 * MS, 2500000, 5},
		{20, 25 * MS, 2500000, 250}};

	(void)state;
	for (unsigned i = 0; i < sizeof table / sizeof *table; i++) {
		double longest = 0;

		for (uint64_t seed = 1; seed <= SEEDS; seed++) {
			double seconds = (double)dead_partition(seed, table[i].loss_percent,
						 table[i].delay_ns, table[i].gap_ns) /
					 1e9;

			longest = seconds > longest ? seconds : longest;
		}
		print_message("a dead partition, case %u: the others settled after %.3f s\n", i, longest);
		assert_true(longest < table[i].seconds);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_loss),
		cmocka_unit_test(test_answers_lost),
		cmocka_unit_test(test_worst),
		cmocka_unit_test(test_reordered),
		cmocka_unit_test(test_repeats_lost),
		cmocka_unit_test(test_signs),
		cmocka_unit_test(test_tail),
		cmocka_unit_test(test_silence),
		cmocka_unit_test(test_longer_way),
		cmocka_unit_test(test_bottleneck),
		cmocka_unit_test(test_share),
		cmocka_unit_test(test_dead_partition),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
