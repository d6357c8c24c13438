/* What a stage gets of a store's generations, and gives back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "cep_priv.h"
#include "ruleset.h"
#include "state_rules.h"

static char dir[] = "/tmp/sluice-state-rules-XXXXXX";

static void rules_put(struct ruleset_store *store, uint32_t generation)
{
	struct rule_source source = {"r.yaml", NULL, 0, false};
	struct ruleset *rs;
	char text[300];
	uint32_t number;
	struct err err;

	snprintf(text, sizeof text,
		"rules:\n- {id: first, when: {type: click}, by: page, count: {at_least: 2, within: 1m}, "
		"then: "
		"alert}\n- {id: r%u, when: {type: click}, by: ip, count: {at_least: 3, within: 1m}, then: "
		"alert}\n",
		generation);
	source.text = text;
	source.bytes = strlen(text);
	if (ruleset_compile(&rs, &source, 1, 1000, &err) || ruleset_store_put(store, rs, &number, &err))
		fail_msg("%s", err.text);
	assert_int_equal(number, generation);
	ruleset_free(rs);
}

static int nothing_emitted(void *arg, uint64_t offset, const struct record *rec)
{
	(void)arg, (void)offset, (void)rec;
	return -1;
}

/* A stage copies what it needs: however many it has passed through, no generation stays for it. */
static void test_given_back(void **state)
{
	struct cep_params params = {0, state_rules_get, NULL, nothing_emitted, NULL};
	struct ruleset_store *store;
	struct err err = {""};
	struct cep *cep;
	char command[100];
	uint32_t few;

	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_int_equal(ruleset_store_open(&store, dir, &err), 0);
	params.rules_arg = store;
	cep = cep_new(&params);
	for (uint32_t g = 1; g <= 5; g++) {
		rules_put(store, g);
		assert_int_equal(cep_switch(cep, g, &err), 0);
	}
	few = ruleset_store_compiled(store);
	for (uint32_t g = 6; g <= 20; g++) {
		rules_put(store, g);
		assert_int_equal(cep_switch(cep, g, &err), 0);
		assert_int_equal(cep_map(cep, g - 3, &err), 0);
		assert_int_equal(cep->map_count, 2);
		assert_int_equal(ruleset_store_compiled(store), few);
	}
	assert_int_equal(cep_count(cep), 2);
	assert_string_equal(cep->machine[0]->id[0] == 'f' ? cep->machine[1]->id : cep->machine[0]->id, "r20");
	assert_int_not_equal(cep_switch(cep, 21, &err), 0);
	assert_int_equal(ruleset_store_compiled(store), few);
	cep_free(cep);
	ruleset_store_close(store);
	snprintf(command, sizeof command, "rm -r %s", dir);
	assert_int_equal(system(command), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_given_back)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
