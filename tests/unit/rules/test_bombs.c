/* Rule files made to cost: each is refused by name and place, or compiled, by a child process that may have
 * so much memory and processor time and no more. What is beyond them ends the child by a signal, or with "out
 * of memory", and the test fails. */
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rule_event_make.h"

#define PATTERNS_MAX 20000
#ifdef __SANITIZE_ADDRESS__ /* needs terabytes of addresses, and several times the processor time */
#define CPU_SECONDS 300
#define MEMORY_BYTES RLIM_INFINITY
#elif defined(__SANITIZE_THREAD__)
#define CPU_SECONDS 300
#define MEMORY_BYTES RLIM_INFINITY
#else
#define CPU_SECONDS 60
#define MEMORY_BYTES (1200ull << 20)
#endif

struct file {
	char *text;
	size_t bytes;
	bool rules; /* a second rule file, no list */
};

#define RULES "rules:\n"
#define RULE(id, test) "  - {id: r" id ", when: {type: click, " test "}, then: [tag]}\n"

/* head, then count times part with its index for each %u, then end. */
static struct file made(const char *head, uint32_t count, const char *part, const char *end)
{
	struct file f = {0};
	FILE *out = open_memstream(&f.text, &f.bytes);

	assert_non_null(out);
	fputs(head, out);
	for (uint32_t i = 0; i < count; i++)
		for (const char *p = part; *p; p++) {
			if (p[0] == '%' && p[1] == 'u') {
				fprintf(out, "%u", i);
				p++;
			} else {
				fputc(*p, out);
			}
		}
	fputs(end, out);
	assert_int_equal(fclose(out), 0);
	return f;
}

/* In the child: 0 and "ok", or 1 and the error. */
static int compile(const struct rule_source *source, uint32_t count, int out)
{
	struct rlimit cpu = {CPU_SECONDS, CPU_SECONDS}, memory = {MEMORY_BYTES, MEMORY_BYTES};
	struct ruleset *rs;
	struct err err = {0};
	int rc;

	if (setrlimit(RLIMIT_CPU, &cpu) || (MEMORY_BYTES != RLIM_INFINITY && setrlimit(RLIMIT_AS, &memory)))
		return 2;
	rc = ruleset_compile(&rs, source, count, PATTERNS_MAX, &err);
	ruleset_free(rs);
	dprintf(out, "%s", rc ? err.text : "ok");
	return rc ? 1 : 0;
}

/* says: the beginning of the error, and a part of it; NULL: it compiles. */
static void bomb(struct file rules, struct file list, const char *place, const char *says)
{
	const struct rule_source source[] = {{.name = "b.yaml", .text = rules.text, .bytes = rules.bytes},
		{.name = list.rules ? "c.yaml" : "list.txt",
			.text = list.text,
			.bytes = list.bytes,
			.list = !list.rules}};
	char text[600] = "";
	size_t n = 0;
	int fd[2], status;
	struct rusage used;
	ssize_t got;
	pid_t pid;

	assert_int_equal(pipe(fd), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(compile(source, list.text ? 2 : 1, fd[1]));
	close(fd[1]);
	while (n < sizeof text - 1 && (got = read(fd[0], text + n, sizeof text - 1 - n)) > 0)
		n += (size_t)got;
	close(fd[0]);
	assert_int_equal(wait4(pid, &status, 0, &used), pid);
	if (!WIFEXITED(status))
		fail_msg("%s: ended by signal %d", says ? says : "compile", WTERMSIG(status));
	print_message("%5ld ms, %4ld MiB: %.100s\n",
		used.ru_utime.tv_sec * 1000 + used.ru_utime.tv_usec / 1000, used.ru_maxrss >> 10, text);
	if (says && (strncmp(text, place, strlen(place)) != 0 || !strstr(text, says)))
		fail_msg("%s... %s... expected, not: %s", place, says, text);
	if (!says)
		assert_string_equal(text, "ok");
	assert_int_equal(WEXITSTATUS(status), says ? 1 : 0);
	free(rules.text);
	free(list.text);
}

#define NO_LIST ((struct file){0})

static void test_regexes(void **state)
{
	(void)state;
	bomb(made(RULES RULE("1", "page: {regex: '((((a{99}){99}){99}){99}){99}'}"), 0, "", ""), NO_LIST,
		"b.yaml:2:48: rule r1: ", "positions");
	bomb(made(RULES RULE("1", "page: {regex: '(a{1099511627776}){1099511627776}'}"), 0, "", ""), NO_LIST,
		"b.yaml:2:48: rule r1: ", "positions");
	bomb(made(RULES "  - {id: r1, when: {page: {regex: '", 500, "(.*a)?", "x'}}, then: [tag]}\n"),
		NO_LIST, "b.yaml:2:35: rule r1: ", "pairs of its positions");
	bomb(made(RULES "  - {id: r1, when: {page: {regex: '(", 600, "ab%u|", "z)+z'}}, then: [tag]}\n"),
		NO_LIST, "b.yaml:2:35: rule r1: ", "pairs of its positions");
	bomb(made(RULES "  - {id: r1, when: {page: {regex: '", 10000, "ab%u|", "z'}}, then: [tag]}\n"),
		NO_LIST, "b.yaml:2:35: rule r1: ", "at most 4096");
	bomb(made(RULES "  - {id: r1, when: {page: {regex: '", 250, "(", "a'}}, then: [tag]}\n"), NO_LIST,
		"b.yaml:2:35: rule r1: ", "positions");
	bomb(made(RULES, 40, RULE("%u", "page: {regex: 'k%u[ab]{1,4900}c'}"), ""), NO_LIST,
		"b.yaml:14:49: rule r12: ", "60000 from repeats");
	bomb(made(RULES, 30, RULE("%u", "page: {regex: 'k%u(a|b|c|d|e|f|g|h|i){1,800}(x|y)*c'}"), ""),
		NO_LIST, "b.yaml:", "positions");
	bomb(made(RULES, PATTERNS_MAX + 1, RULE("%u", "page: {contains: 'needle%u'}"), ""), NO_LIST,
		"b.yaml:20002:", "more than 20000 text patterns");
	/* What is at the bounds, and compiles. */
	bomb(made(RULES RULE("1", "page: {regex: '(((((((a?)?)?)*)*)+)+)+b'}"), 0, "", ""), NO_LIST, NULL,
		NULL);
	bomb(made(RULES RULE("1", "page: {regex: 'a.{1,4990}b'}"), 0, "", ""), NO_LIST, NULL, NULL);
	bomb(made(RULES "  - {id: r1, when: {page: {regex: '(", 300, "ab%u|", "z)+z'}}, then: [tag]}\n"),
		NO_LIST, NULL, NULL);
	bomb(made(RULES, 5000, RULE("%u", "page: {contains: 'needle%u', nocase: true}"), ""), NO_LIST, NULL,
		NULL);
}

static void test_lists(void **state)
{
	static const char in_file[] = RULES RULE("1", "page: {in: {file: list.txt}}");
	struct file empty = made(in_file, 0, "", "");

	(void)state;
	bomb(made(in_file, 0, "", ""), made("", 1000001, "v%u\n", ""),
		"list.txt:2:45: rule r1: ", "more than 1000000 values");
	bomb(made(in_file, 0, "", ""), made("", 10u << 20, "x", ""),
		"list.txt:1:1: rule r1: ", "at most 2048");
	bomb(made(RULES, 60000, RULE("%u", "page: {in: {file: list.txt}}"), ""),
		made("", 1000000, "v%u\n", ""), "list.txt:", "more than 4000000 values in all rules");
	bomb(empty, made("", 300u << 20, "x", ""), "list.txt: ", "more than 268435456 bytes");
	bomb(made(in_file, 0, "", ""), made("", 1000000, "v%u\n", ""), NULL, NULL);
	bomb(made(RULES "  - {id: r1, when: {page: {in: [", 1000000, "v%u,", "x]}}, then: [tag]}\n"), NO_LIST,
		"b.yaml:2:", "more than 1000000 values");
}

/* So many rules of 2,000 tests. */
static struct file tests_made(char id, uint32_t count)
{
	struct file row = made("", 2000, "{page: a},", ""), all = {0};
	FILE *out = open_memstream(&all.text, &all.bytes);

	assert_non_null(out);
	fputs(RULES, out);
	for (uint32_t i = 0; i < count; i++)
		fprintf(out, "  - {id: %c%u, when: {any: [%s]}, then: [tag]}\n", id, i, row.text);
	assert_int_equal(fclose(out), 0);
	free(row.text);
	return all;
}

static void test_numbers_of_rules(void **state)
{
	struct file second;

	(void)state;
	bomb(made(RULES, 65536, RULE("%u", "page: '/%u'"), ""), NO_LIST,
		"b.yaml:65537:5: rule r65535: ", "65535 rules");
	bomb(made(RULES, 65535, RULE("%u", "page: '/%u'"), ""), NO_LIST, NULL, NULL);
	bomb(made(RULES, 65, RULE("%u", "attributes.a%u: x"), ""), NO_LIST,
		"b.yaml:66:", "more than 64 attributes");
	bomb(made(RULES, 1025,
		     "  - {id: r%u, when: {type: transaction}, by: ip, count: {at_least: 2, within: 1s}, "
		     "then: [alert]}\n",
		     ""),
		NO_LIST, "b.yaml:1026:5: rule r1024: ", "1024 rules with state");
	bomb(made(RULES "  - {id: r1, when: {any: [", 4097, "{page: {prefix: a%u}},", "]}, then: [tag]}\n"),
		NO_LIST, "b.yaml:2:", "more than 4096 tests in one rule");
	bomb(tests_made('a', 600), NO_LIST, "b.yaml:", "too many nodes");
	second = tests_made('b', 300);
	second.rules = true;
	bomb(tests_made('a', 300), second, "c.yaml:", "more than 1000000 tests in all rules");
	bomb(made(RULES "  - {id: r1, when: {page: a}, then: [tag], tests: [{expect: tag, send: [", 10001,
		     "{page: a},", "]}]}\n"),
		NO_LIST, "b.yaml:2:", "more than 10000 events");
	bomb(made(RULES
		     "  - {id: r1, when: {type: log}, then: [alert], tests: [{expect: alert, send: [{times: "
		     "10000, every: 1s, each: {type: log, attributes: {a: [",
		     30000, "1,", "1]}}}]}]}\n"),
		NO_LIST, "b.yaml:2:", "take more than 134217728 bytes");
}

static void test_yaml(void **state)
{
	(void)state;
	bomb(made("", 1000000, "[", ""), NO_LIST, "b.yaml:1:33: ", "nested too deeply");
	bomb(made("", 1000000, "{a: ", ""), NO_LIST, "b.yaml:1:", "nested too deeply");
	bomb(made("a: &a [x, x]\n", 30, "b%u: &b [*a, *a, *a]\n", ""), NO_LIST, "b.yaml:1:4: ", "anchors");
	bomb(made("a: b\n", 1, "<<: {c: d}\n", ""), NO_LIST, "b.yaml:2:1: ", "merge keys");
	bomb(made("", 1000000, "- a\n- b\n- c\n", ""), NO_LIST, "b.yaml:2000000:3: ", "too many nodes");
	bomb(made(RULES, 1000000, "k%u: 1\n", ""), NO_LIST, "b.yaml:2:1: ", "unknown key");
	bomb(made("rules: ", 70u << 20, " ", ""), NO_LIST, "b.yaml:1:1: ", "at most 67108864");
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_regexes), cmocka_unit_test(test_lists),
		cmocka_unit_test(test_numbers_of_rules), cmocka_unit_test(test_yaml)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
