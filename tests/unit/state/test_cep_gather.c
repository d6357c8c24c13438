/* Saved states of stateful rules for another number of partitions. */
#include "cep_rig.h"

#include "cep_priv.h"

/* Every key of two partitions' states is in exactly one of three, with what it knows; waiting events, too. */
static void gather(uint8_t kind)
{
	struct rule_state rule = rig_rule((enum rule_state_kind)kind);
	static struct cep_rig from[2], to;
	struct bytes saved[2] = {{0}, {0}};
	uint64_t keys = 0, waiting = 0, hits = 0;
	struct err err;

	for (uint32_t i = 0; i < 2; i++) {
		cep_rig_open(&from[i], &rule);
		for (uint32_t key = i; key < 60; key += 2)
			for (uint32_t n = 0; n < 2; n++)
				cep_rig_hit(&from[i], 0, key, n, n ? 4 : 1);
		if (kind == RULE_STATE_ABSENCE) {
			cep_rig_reach(&from[i], CEP_RIG_TIME + 1);
			cep_rig_hit(&from[i], 0, i, 5, 1);
		}
		cep_rig_flush(&from[i]);
		cep_save(from[i].cep, &saved[i]);
	}
	for (uint32_t p = 0; p < 3; p++) {
		struct cep_gather how = {3, 0, 2, p == 1};

		cep_rig_open(&to, &rule);
		to.cep->params.partition = p;
		for (how.index = 0; how.index < 2; how.index++)
			assert_int_equal(cep_load_more(to.cep, &how, saved[how.index].data,
						 saved[how.index].bytes, &err),
				0);
		cep_gather_end(to.cep);
		assert_int_equal(to.cep->machine[0]->touched, cep_stats(to.cep, 0)->keys);
		keys += cep_stats(to.cep, 0)->keys;
		waiting += cep_stats(to.cep, 0)->waiting;
		hits += cep_stats(to.cep, 0)->hits;
		cep_rig_reload(&to);
		/* behind what waits from before */
		for (uint32_t key = 0; kind == RULE_STATE_ABSENCE && key < 60; key++)
			cep_rig_hit(&to, 0, key, 6, 1);
		cep_rig_reload(&to);
		to.offset = 1 << 20;
		cep_rig_close(&to);
	}
	assert_int_equal(keys, 60);
	assert_int_equal(waiting, kind == RULE_STATE_ABSENCE ? 62 : 0);
	assert_int_equal(hits, kind == RULE_STATE_ABSENCE ? 122 : 120);
	for (uint32_t i = 0; i < 2; i++) {
		bytes_free(&saved[i]);
		cep_rig_close(&from[i]);
	}
}

static void test_gather(void **state)
{
	(void)state;
	for (uint8_t kind = RULE_STATE_COUNT; kind <= RULE_STATE_TRAVEL; kind++)
		gather(kind);
}

/* Gathered again and again keys stay in the order of their use, by numbers that do not grow. Before that:
 * what a version left with which they did. */
static void test_gather_again(void **state)
{
	struct rule_state rule = rig_rule(RULE_STATE_COUNT);
	static const uint32_t hit[] = {3, 1, 4, 2, /* 3 and 1 go for: */ 5, 6, 4, 2, 3};
	static struct cep_rig rig;
	struct bytes saved = {0};
	struct err err;

	(void)state;
	rule.keys_max = 4;
	rule.at_least = 2;
	rule.evidence_max = 0;
	cep_rig_open(&rig, &rule);
	rig.cep->machine[0]->touched = 1ull << 60;
	for (uint32_t i = 0; i < 9; i++) {
		cep_rig_hit(&rig, 0, hit[i], i, 1);
		cep_rig_flush(&rig);
		assert_int_equal(rig.alerts.count, i < 6 ? 0 : i < 7 ? 1 : 2);
		for (uint32_t n = 0; i == 3 && n < 9; n++) {
			struct cep_gather how = {1, 255, 256, true};

			bytes_reset(&saved);
			cep_save(rig.cep, &saved);
			cep_rig_close(&rig);
			cep_rig_open(&rig, &rule);
			rig.cep->params.partition = 0;
			assert_int_equal(
				cep_load_more(rig.cep, n ? &how : NULL, saved.data, saved.bytes, &err), 0);
			if (n)
				cep_gather_end(rig.cep);
			assert_int_equal(rig.cep->machine[0]->touched, 4);
		}
	}
	bytes_free(&saved);
	cep_rig_close(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_gather), cmocka_unit_test(test_gather_again)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
