/* Thousands of reloads under load, each compiled, switched to and freed while workers match: every event has
 * the hits of its batch's generation and of no other, none is lost or doubled, generations never go back.
 * With ASan (LeakSanitizer) ten thousand of them leave nothing behind. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "packets.h"
#include "eal_start.h"
#include "worker_rig.h"

#if defined(__SANITIZE_ADDRESS__)
#define RELOADS 10000u
#elif defined(__SANITIZE_THREAD__)
#define RELOADS 500u
#else
#define RELOADS 2000u
#endif
#define EVENTS_MAX 64000000u

static struct worker_rig rig;
static uint8_t *seen; /* a bit for each event */
static uint64_t twice, wrong;
static atomic_bool fed_enough;
static uint32_t fed;		/* of the feeder, until it is joined */
static _Atomic uint32_t newest; /* generation of which an event has been taken */

/* Generation g has two rules, of page g % RIG_PAGES; each third one a canary with state, too. */
static uint32_t hits_of(uint32_t g, uint32_t id, uint16_t want[3])
{
	char page[16], part[16];
	uint32_t n = 0;

	snprintf(page, sizeof page, "/p%u", id % RIG_PAGES);
	snprintf(part, sizeof part, "p%u", g % RIG_PAGES);
	if (id % RIG_PAGES == g % RIG_PAGES)
		want[n++] = 0;
	if (strstr(page, part))
		want[n++] = 1;
	if (g % 3 == 0)
		want[n++] = 2;
	return n;
}

static void event_take(void *arg, uint32_t id, const struct batch *b, const struct record *rec)
{
	uint16_t want[3];
	uint32_t n = hits_of(b->generation, id, want);

	(void)arg;
	if (b->generation > newest)
		newest = b->generation;
	wrong += rec->hit_count != n || memcmp(record_hits(rec), want, n * sizeof *want) != 0;
	twice += seen[id / 8] >> id % 8 & 1;
	seen[id / 8] |= (uint8_t)(1 << id % 8);
}

static struct ruleset *compiled(const char *text)
{
	struct rule_source src = {"r.yaml", text, strlen(text), false};
	struct ruleset *rs;
	struct err err = {0};

	if (ruleset_compile(&rs, &src, 1, 100, &err))
		fail_msg("%s", err.text);
	return rs;
}

static struct ruleset *rules_of(uint32_t g)
{
	struct ruleset *rs, *more, *both;
	struct err err = {0};
	char text[400];

	snprintf(text, sizeof text,
		"rules:\n- {id: a, when: {page: /p%u}, then: tag}\n- {id: b, when: {page: {contains: p%u}}, "
		"then: tag}\n",
		g % RIG_PAGES, g % RIG_PAGES);
	rs = compiled(text);
	if (g % 3)
		return rs;
	more = compiled(
		"rules:\n- {id: c, when: {page: {prefix: /}}, by: user_id, count: {at_least: 2, within: 1m}, "
		"then: alert}\n- {id: d, when: {page: {contains: p1}}, then: [alert, drop]}\n");
	if (ruleset_canary(&both, rs, more, 100, &err))
		fail_msg("%s", err.text);
	ruleset_free(rs);
	ruleset_free(more);
	return both;
}

static void *feeder(void *arg)
{
	(void)arg;
	for (; !atomic_load(&fed_enough) && fed + 64 <= EVENTS_MAX; fed += 64) {
		worker_rig_feed(&rig, fed, fed + 64);
		nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL); /* reloads are what this is about */
	}
	return NULL;
}

static void stats_check(void)
{
	uint64_t frames = 0, drops = 0, reloads = 0, longest = 0;

	for (uint32_t w = 0; w < RIG_WORKERS; w++) {
		const struct worker_stats *s = dataplane_worker_stats(rig.dp, w);

		frames += s->frames;
		reloads += s->reloads;
		longest = s->reload_cycles_max > longest ? s->reload_cycles_max : longest;
		for (int d = 0; d < DROP_ID_MAX; d++)
			drops += s->drops[d];
	}
	assert_int_equal(frames, fed);
	assert_int_equal(drops, 0);
	assert_int_equal(rig.taken, fed);
	assert_int_equal(twice, 0);
	assert_int_equal(wrong, 0);
	assert_int_equal(rig.back, 0);
	assert_true(longest > 0 && rig.switches >= RELOADS && reloads >= RELOADS);
	print_message("%u reloads over %u events, %llu changes of generation seen\n", RELOADS, fed,
		(unsigned long long)rig.switches);
}

static void test_reloads(void **state)
{
	struct ruleset *rs = rules_of(1), *next;
	struct err err = {0};
	pthread_t thread;

	(void)state;
	seen = calloc(EVENTS_MAX / 8, 1);
	assert_non_null(seen);
	worker_rig_make(&rig, "test8");
	rig.cfg.worker.batch_age = 100;
	worker_rig_create(&rig);
	worker_rig_start(&rig, rs, event_take, NULL);
	assert_int_equal(pthread_create(&thread, NULL, feeder, NULL), 0);
	for (uint32_t g = 2; g < RELOADS + 2; g++) {
		next = rules_of(g);
		assert_int_equal(dataplane_set_ruleset(rig.dp, next, g, &err), 0);
		ruleset_free(rs);
		rs = next;
		while (newest < g) /* no reload without events in between */
			nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
	}
	atomic_store(&fed_enough, true);
	pthread_join(thread, NULL);
	worker_rig_stop(&rig);
	stats_check();
	worker_rig_free(&rig);
	ruleset_free(rs);
	free(seen);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_reloads)};

	rig_eal_start(RIG_WORKERS);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
