/* `rules check`, `schema clickhouse` and `position clickhouse`: no daemon needed. */
#include "cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "clickhouse.h"
#include "config.h"
#include "ruleset.h"
#include "state_rules.h"

#define PATTERNS_MANY 1000u

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

struct ruleset *cli_files_compile(const struct cli *cli, struct err *err)
{
	const json_t *files = json_object_get(cli->args, "files");
	size_t count = json_array_size(files);
	struct rule_source *source = calloc(count ? count : 1, sizeof *source);
	struct ruleset *rs = NULL;
	struct config cfg;

	ruleset_progress_set(progress, stderr);
	config_defaults(&cfg);
	for (size_t i = 0; source && i < count; i++) {
		const json_t *file = json_array_get(files, i), *text = json_object_get(file, "text");

		source[i] = (struct rule_source){json_string_value(json_object_get(file, "name")),
			json_string_value(text), json_string_length(text),
			json_is_true(json_object_get(file, "list"))};
	}
	if (!source)
		err_set(err, -ENOMEM, "no memory");
	else if (ruleset_compile(&rs, source, (uint32_t)count, (uint32_t)cfg.rules.patterns_max, err))
		rs = NULL;
	free(source);
	return rs;
}

enum cli_exit local_rules_check(const struct cli *cli, FILE *out, struct err *err)
{
	struct ruleset *rs = cli_files_compile(cli, err);
	struct rule_test_counts tests;
	struct rule_costs costs;
	json_t *report, *costly, *result;

	if (!rs)
		return CLI_FAILED;
	report = json_array();
	costly = json_array();
	ruleset_costs(rs, &costs, report_line, costly);
	tests = ruleset_run_tests(rs, &state_rules_tester, report_line, report);
	result = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:I, s:I, s:I, s:I, s:o, s:o}",
		"rules", (json_int_t)ruleset_rule_count(rs), "rules_with_state",
		(json_int_t)ruleset_state_count(rs), "patterns", (json_int_t)costs.patterns,
		"patterns_scanned_per_event", (json_int_t)costs.edge_patterns, "patterns_confirmed_by_pcre2",
		(json_int_t)costs.confirmed_patterns, "databases", (json_int_t)costs.databases,
		"database_bytes", (json_int_t)costs.database_bytes, "scratch_bytes_per_worker",
		(json_int_t)costs.scratch_bytes, "version", ruleset_version(rs), "passed_tests",
		(json_int_t)tests.passed, "failed_tests", (json_int_t)tests.failed, "tests_not_run",
		(json_int_t)tests.not_run, "costly_patterns", (json_int_t)costs.costly, "costly", costly,
		"report", report);
	cli_print(cli, out, result);
	ruleset_free(rs);
	if (tests.failed)
		err_set(err, -EINVAL, "%u tests failed", tests.failed);
	return tests.failed ? CLI_FAILED : CLI_OK;
}

enum cli_exit local_schema_clickhouse(const struct cli *cli, FILE *out, struct err *err)
{
	const char *path = json_string_value(json_object_get(cli->args, "config"));
	struct config cfg;

	if (path) {
		if (config_load(&cfg, path, err))
			return CLI_FAILED;
	} else {
		config_defaults(&cfg);
	}
	return clickhouse_schema_ddl(&cfg, out, err) ? CLI_FAILED : CLI_OK;
}

enum cli_exit local_position_clickhouse(const struct cli *cli, FILE *out, struct err *err)
{
	const char *dir = json_string_value(json_object_get(cli->args, "dir"));
	uint64_t partition = (uint64_t)json_integer_value(json_object_get(cli->args, "partition"));
	uint64_t offset = (uint64_t)json_integer_value(json_object_get(cli->args, "offset"));
	bool output = json_is_true(json_object_get(cli->args, "output"));
	struct config cfg;

	config_defaults(&cfg);
	if (partition > UINT32_MAX) {
		err_set(err, -EINVAL, "there is no such partition");
		return CLI_FAILED;
	}
	if (clickhouse_position_set(dir ? dir : cfg.node.data_dir, output, (uint32_t)partition, offset, err))
		return CLI_FAILED;
	cli_print(cli, out,
		json_pack("{s:I, s:I}", "partition", (json_int_t)partition, "delivered_before",
			(json_int_t)offset));
	return CLI_OK;
}
