/* The trail of rules: which lines are read, and where rollbacks lead. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <unistd.h>

#include "rules_trail.h"

static const char line[] =
	"2026-11-29T10:00:00Z action=apply uid=0 pid=4242 from=1/0123456789abcdef to=2/fedcba9876543210\n";

static void test_parse(void **state)
{
	struct rules_change c;
	char text[sizeof line];

	(void)state;
	assert_true(rules_change_parse(&c, line));
	assert_string_equal(c.action, "apply");
	assert_int_equal(c.pid, 4242);
	assert_int_equal(c.to, 2);
	assert_string_equal(c.to_version, "fedcba9876543210");
	for (size_t cut = 0; cut + 2 < sizeof line; cut++) { /* a version may end early, nothing else */
		memcpy(text, line, sizeof line);
		text[cut] = 0;
		if (rules_change_parse(&c, text))
			assert_true(cut > strlen(line) - 17);
	}
	assert_false(rules_change_parse(&c, ""));
	assert_false(
		rules_change_parse(&c, "2026-11-29T10:00:00Z action=apply uid=0 pid=1 from=1/a to=2/b x"));
	assert_false(rules_change_parse(&c, "x action=apply uid=0 pid=1 from=1/a to=2/b"));
}

/* Steps as text: "a>b" apply, "a<b" rollback, "a?b" canary, "a!b" promote, "a-b" end of a canary, "a=b" start
 * (from 0: the first); what lies below the ruleset in force, as their letters. */
static const char *below(const char *steps, char in_force)
{
	static const struct {
		char sign;
		const char *name;
	} action[] = {{'>', "apply"}, {'<', "rollback"}, {'?', "canary"}, {'!', "promote"},
		{'-', "canary-stop"}, {'=', "start"}};
	static char text[32];
	struct rules_change change[16];
	struct rules_trail t = {change, 0};
	uint32_t generation[16], count;
	char name[2] = {in_force, 0};

	for (const char *p = steps; *p; p += 3) {
		struct rules_change *c = &change[t.count++];

		memset(c, 0, sizeof *c);
		for (size_t k = 0; k < sizeof action / sizeof *action; k++)
			if (action[k].sign == p[1])
				snprintf(c->action, sizeof c->action, "%s", action[k].name);
		c->from_version[0] = p[0];
		c->to_version[0] = p[2];
		c->from = p[0] == '0' ? 0 : (uint32_t)p[0];
		c->to = (uint32_t)p[2];
	}
	count = rules_trail_below(&t, name, generation, 16);
	for (uint32_t i = 0; i < count; i++)
		text[i] = (char)generation[i];
	text[count] = 0;
	return text;
}

static void test_below(void **state)
{
	(void)state;
	assert_string_equal(below("", 'a'), "");
	assert_string_equal(below("a>b", 'b'), "a");
	assert_string_equal(below("a>bb>c", 'c'), "ba");
	assert_string_equal(below("a>bb>cc<b", 'b'), "a"); /* not c again */
	assert_string_equal(below("a>bb>cc<bb<a", 'a'), "");
	assert_string_equal(below("a>bb>aa>c", 'c'), "aba");
	assert_string_equal(below("a>bb>aa<b", 'b'), "a");
	assert_string_equal(below("a>bb>b", 'b'), "a");	  /* the same again */
	assert_string_equal(below("a>bc>d", 'd'), "cba"); /* a start with c in between */
	assert_string_equal(below("a>b", 'x'), "ba");	  /* and x now */
	assert_string_equal(below("a>bb>cc<a", 'a'), ""); /* over two at once */
	assert_string_equal(below("0=aa>b", 'b'), "a");
	assert_string_equal(below("0=aa>bb=a", 'a'), ""); /* a crash: b was never there for long */
	assert_string_equal(
		below("0=cc?xx!aa=x", 'x'), "c"); /* a crash of a promotion: the canary is there again */
	assert_string_equal(below("0=cc?xx!aa=xx<c", 'c'), "");
	assert_string_equal(below("0=aa>bb>cc=b", 'b'), "a");
	assert_string_equal(below("0=aa>bb<aa=b", 'b'), "a"); /* of a rollback */
	assert_string_equal(below("0=aa=cc=d", 'd'), "ca");   /* other files, again and again */
	assert_string_equal(below("0=aa?x", 'x'), "a");	      /* a rollback ends the canary */
	assert_string_equal(below("0=aa?xx<a", 'a'), "");
	assert_string_equal(below("0=aa>bb?xx!c", 'c'), "ba"); /* and not to the canary */
	assert_string_equal(below("0=aa>bb?xx-b", 'b'), "a");
	assert_string_equal(below("0=aa?xx?y", 'y'), "a"); /* one takes the other's place */
	assert_string_equal(below("0=aa?xx?xx>b", 'b'), "a");
	assert_string_equal(below("0=aa?xx=c", 'c'), "a");
	assert_string_equal(below("x?x", 'x'), "");
	assert_string_equal(below("0?x", 'x'), "");
}

static void test_file(void **state)
{
	char dir[] = "/tmp/sluice_trail_XXXXXX", path[64];
	struct rules_trail t;
	struct err err;
	FILE *out;

	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_int_equal(rules_trail_read(&t, dir, &err), 0);
	assert_int_equal(t.count, 0);
	snprintf(path, sizeof path, "%s/rules-audit.log", dir);
	out = fopen(path, "w");
	fputs("garbage\n", out);
	for (uint32_t i = 0; i < 2 * RULES_TRAIL_MAX + 10; i++) {
		fputs(line, out);
		fputc(0, out);
		fprintf(out, "%01000u\n", i);
	}
	fputs("2026-11-29T10:00:01Z action=rollback uid=0 pid=1 from=2/b to=3/c", out); /* cut off */
	fclose(out);
	assert_int_equal(rules_trail_read(&t, dir, &err), 0);
	assert_in_range(t.count, RULES_TRAIL_MAX, 2 * RULES_TRAIL_MAX);
	assert_string_equal(t.change[t.count - 1].action, "rollback");
	rules_trail_free(&t);
	unlink(path);
	rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse), cmocka_unit_test(test_below), cmocka_unit_test(test_file)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
