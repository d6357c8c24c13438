/* `rules check`: rule files compiled as one ruleset, each error named, their tests run, and a verdict as the
 * last line. No daemon needed. */
#include "cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "config.h"
#include "rules_fit.h"
#include "ruleset.h"
#include "state_rules.h"

#define PATTERNS_MANY 1000u

struct check {
	const struct cli *cli;
	struct rule_source *source; /* borrows from cli */
	bool *bad;		    /* by source: an error is in it */
	uint32_t source_count, file_count;
	const struct config *cfg;
	bool cfg_given;	   /* else it is the defaults: what depends on it is only a warning */
	uint32_t warnings; /* costly patterns, too */
	json_t *errors, *warned;
};

static void report_line(void *arg, const char *line)
{
	json_array_append_new(arg, json_text(line));
}

/* Long compiles say where they are. */
static void progress(void *arg, const char *subject, uint32_t patterns, uint32_t done, uint32_t count)
{
	if (patterns < PATTERNS_MANY)
		return;
	fprintf(arg, "compiling %u patterns of ", patterns);
	render_text(arg, subject);
	fprintf(arg, " (field %u of %u)\n", done + 1, count);
}

/* Of argument `files`; NULL: no memory. */
static struct rule_source *sources_of(const struct cli *cli, uint32_t *source_count)
{
	const json_t *files = json_object_get(cli->args, "files");
	size_t count = json_array_size(files);
	struct rule_source *source = calloc(count + 1, sizeof *source);

	*source_count = (uint32_t)count;
	for (size_t i = 0; source && i < count; i++) {
		const json_t *file = json_array_get(files, i), *text = json_object_get(file, "text");

		source[i] = (struct rule_source){json_string_value(json_object_get(file, "name")),
			json_string_value(text), json_string_length(text),
			json_is_true(json_object_get(file, "list"))};
	}
	return source;
}

struct ruleset *cli_files_compile(const struct cli *cli, struct err *err)
{
	uint32_t count;
	struct rule_source *source = sources_of(cli, &count);
	struct ruleset *rs = NULL;
	struct config cfg;

	ruleset_progress_set(progress, stderr);
	config_defaults(&cfg);
	if (!source)
		err_set(err, -ENOMEM, "no memory");
	else if (ruleset_compile(&rs, source, count, (uint32_t)cfg.rules.patterns_max, err))
		rs = NULL;
	free(source);
	return rs;
}

/* The file that the line begins with is one with errors. */
static void bad_mark(struct check *check, const char *line)
{
	size_t best = 0;
	uint32_t file = check->source_count;

	for (uint32_t i = 0; i < check->source_count; i++) {
		size_t bytes = strlen(check->source[i].name);

		if (bytes > best && !strncmp(line, check->source[i].name, bytes) && line[bytes] == ':') {
			best = bytes;
			file = i;
		}
	}
	if (file < check->source_count)
		check->bad[file] = true;
}

static void error_line(void *arg, const char *line)
{
	struct check *check = arg;

	bad_mark(check, line);
	json_array_append_new(check->errors, json_text(line));
	if (check->cli->json)
		return;
	render_text(stderr, line);
	fputc('\n', stderr);
}

static const char *plural(uint64_t count)
{
	return count == 1 ? "" : "s";
}

/* "45 rules in 6 files are good, 2 warnings". */
static void verdict_good(const struct check *check, const struct ruleset *rs, char *out, size_t cap)
{
	uint32_t rules = ruleset_rule_count(rs);
	int n = snprintf(out, cap, "rules check: %u rule%s in %u file%s %s good", rules, plural(rules),
		check->file_count, plural(check->file_count), rules == 1 ? "is" : "are");

	if (check->warnings && n > 0 && (size_t)n < cap)
		snprintf(
			out + n, cap - (size_t)n, ", %u warning%s", check->warnings, plural(check->warnings));
}

/* "3 errors and 1 failed test in 2 files; nothing would be applied". */
static void verdict_bad(
	const struct check *check, uint64_t errors, bool more, uint32_t failed, char *out, size_t cap)
{
	char text[2][48] = {"", ""};
	uint32_t files = 0;

	for (uint32_t i = 0; i < check->source_count; i++)
		files += check->bad[i];
	if (errors)
		snprintf(text[0], sizeof text[0], "%s%lu error%s", more ? "more than " : "", errors,
			plural(errors));
	if (failed)
		snprintf(text[1], sizeof text[1], "%u failed test%s", failed, plural(failed));
	snprintf(out, cap, "rules check: %s%s%s in %u file%s; nothing would be applied", text[0],
		errors && failed ? " and " : "", text[1], files, plural(files));
}

static void warn(struct check *check, const char *line)
{
	check->warnings++;
	json_array_append_new(check->warned, json_text(line));
}

/* What rules ask of the configuration. */
static void fit(struct check *check, const struct ruleset *rs)
{
	for (uint32_t i = 0; i < ruleset_rule_count(rs); i++) {
		const struct rule_info *rule = ruleset_rule(rs, i);
		const char *warning =
			check->cfg_given || rule->expired ? rules_fit_warning(check->cfg, rule) : NULL;
		struct err err;
		size_t n;

		if (rules_fit_route(check->cfg, rule, &err)) {
			if (check->cfg_given) {
				error_line(check, err.text);
				continue;
			}
			n = strlen(err.text);
			snprintf(err.text + n, sizeof err.text - n,
				" by default, and refused if it is in the daemon's configuration (--config)");
			warn(check, err.text);
		}
		if (warning) {
			err_set(&err, 0, "%s:%u: rule %s %s", rule->file, rule->line, rule->id, warning);
			warn(check, err.text);
		}
	}
}

static void verdict_print(const struct check *check, FILE *out, json_t *result, const char *verdict)
{
	json_object_set_new(result, "verdict", json_text(verdict));
	if (check->cli->json) {
		cli_print(check->cli, out, result);
		return;
	}
	json_object_del(result, "verdict");
	cli_print(check->cli, out, result);
	fprintf(out, "%s\n", verdict);
}

/* Compiled, with their tests. */
static enum cli_exit check_compiled(struct check *check, struct ruleset *rs, FILE *out, struct err *err)
{
	json_t *report = json_array(), *costly = json_array();
	struct rule_test_counts tests;
	struct rule_costs costs;
	char verdict[200];
	const json_t *line;
	json_t *result;
	size_t i;

	ruleset_costs(rs, &costs, report_line, costly);
	check->warnings += costs.costly;
	tests = ruleset_run_tests(rs, &state_rules_tester, report_line, report);
	json_array_foreach(report, i, line) bad_mark(check, json_string_value(line));
	result = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:I, s:I, s:I, s:I, s:o}", "rules",
		(json_int_t)ruleset_rule_count(rs), "rules_with_state", (json_int_t)ruleset_state_count(rs),
		"patterns", (json_int_t)costs.patterns, "patterns_scanned_per_event",
		(json_int_t)costs.edge_patterns, "patterns_confirmed_by_pcre2",
		(json_int_t)costs.confirmed_patterns, "databases", (json_int_t)costs.databases,
		"database_bytes", (json_int_t)costs.database_bytes, "scratch_bytes_per_worker",
		(json_int_t)costs.scratch_bytes, "version", ruleset_version(rs), "passed_tests",
		(json_int_t)tests.passed, "failed_tests", (json_int_t)tests.failed, "tests_not_run",
		(json_int_t)tests.not_run, "costly_patterns", (json_int_t)costs.costly, "costly", costly);
	if (ruleset_expire(rs, clock_wall_ms(), err) < 0) {
		json_decref(result);
		json_decref(report);
		return CLI_FAILED;
	}
	fit(check, rs);
	if (!ruleset_rule_count(rs))
		warn(check, "no rule in these files: to apply them takes every rule out of force");
	if (tests.failed || json_array_size(check->errors))
		verdict_bad(
			check, json_array_size(check->errors), false, tests.failed, verdict, sizeof verdict);
	else
		verdict_good(check, rs, verdict, sizeof verdict);
	if (check->cli->json)
		json_object_set(result, "errors", check->errors);
	json_object_set(result, "warnings", check->warned);
	json_object_set_new(result, "report", report);
	verdict_print(check, out, result, verdict);
	return tests.failed || json_array_size(check->errors) ? CLI_FAILED : CLI_OK;
}

static enum cli_exit check_run(struct check *check, FILE *out, struct err *err)
{
	struct rule_problems problems = {.line = error_line, .arg = check};
	struct ruleset *rs = NULL;
	enum cli_exit code = CLI_FAILED;
	char verdict[200];
	size_t n;
	int rc;

	ruleset_progress_set(progress, stderr);
	rc = ruleset_check(&rs, check->source, check->source_count, (uint32_t)check->cfg->rules.patterns_max,
		&problems, err);
	if (rc == 0) {
		code = check_compiled(check, rs, out, err);
	} else if (problems.count) {
		verdict_bad(check, problems.count, problems.more, 0, verdict, sizeof verdict);
		n = strlen(verdict);
		snprintf(verdict + n, sizeof verdict - n, "; tests were not run");
		verdict_print(check, out,
			check->cli->json ? json_pack("{s:O}", "errors", check->errors) : json_object(),
			verdict);
	}
	ruleset_free(rs);
	return code;
}

enum cli_exit local_rules_check(const struct cli *cli, FILE *out, struct err *err)
{
	const char *path = json_string_value(json_object_get(cli->args, "config"));
	struct config cfg;
	struct check check = {
		.cli = cli, .cfg = &cfg, .cfg_given = path, .errors = json_array(), .warned = json_array()};
	enum cli_exit code = CLI_FAILED;
	int rc = 0;

	config_defaults(&cfg);
	if (path)
		rc = config_load(&cfg, path, err);
	check.source = sources_of(cli, &check.source_count);
	check.bad = calloc(check.source_count + 1u, sizeof *check.bad);
	for (uint32_t i = 0; check.source && i < check.source_count; i++)
		check.file_count += !check.source[i].list;
	if (!check.source || !check.bad)
		err_set(err, -ENOMEM, "no memory");
	else if (rc == 0)
		code = check_run(&check, out, err);
	json_decref(check.warned);
	json_decref(check.errors);
	free(check.bad);
	free(check.source);
	return code;
}
