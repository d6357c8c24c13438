/* Sources in, ruleset out; and what others may ask about one. Control threads make and free rulesets, any
 * thread reads them. A ruleset owns everything it points to, the sources' text included. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "ruleset_priv.h"

int ruleset_rule_err(const struct rule *rule, const struct cond *cond, struct err *err, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	return err_set(err, -EINVAL, "%s:%u:%u: rule %s: %s", rule->info.file,
		cond ? cond->line : rule->info.line, cond ? cond->column : rule->column, rule->info.id, text);
}

int ruleset_no_memory(struct err *err)
{
	return err_set(err, -ENOMEM, "out of memory for the ruleset");
}

int ruleset_problem(struct ruleset *rs, int rc, const struct err *err)
{
	return rule_problem(rs->list.problems, rc, err);
}

int ruleset_problems_end(const struct ruleset *rs, struct err *err)
{
	if (!rs->list.problems || !rs->list.problems->count)
		return 0;
	return err_set(err, -EINVAL, "%s", "");
}

void ruleset_free(struct ruleset *rs)
{
	if (!rs)
		return;
	hs_free_scratch(rs->scratch);
	for (uint32_t f = 0; f < SUBJECT_COUNT; f++) {
		hs_free_database(rs->gather_db[f]);
		hs_free_database(rs->single_db[f]);
		hs_free_database(rs->edge_db[f]);
		textmap_free(&rs->dict[f].exact);
		textmap_free(&rs->dict[f].folded);
	}
	textmap_free(&rs->pattern_map);
	for (uint32_t i = 0; i < rs->pattern_count; i++)
		pcre2_code_free(rs->pattern[i].confirm);
	free(rs->pattern);
	rule_pool_free(&rs->pool);
	free(rs);
}

static int ids_check(struct ruleset *rs, struct err *err)
{
	struct rule *const *rule = rs->rule;
	struct textmap map = {0};
	int rc = 0;

	for (uint32_t i = 0; i < rs->rule_count && !rc; i++) {
		const struct rule_info *info = &rule[i]->info;
		struct textmap_slot *slot = textmap_add(&map, info->id, (uint32_t)strlen(info->id));

		if (!slot)
			rc = ruleset_no_memory(err);
		else if (slot->value != TEXTMAP_NONE)
			rc = ruleset_problem(rs,
				ruleset_rule_err(rule[i], NULL, err, "this id is taken by the rule at %s:%u",
					rule[slot->value]->info.file, rule[slot->value]->info.line),
				err);
		else
			slot->value = i;
	}
	textmap_free(&map);
	return rc;
}

static int sources_size(const struct rule_source *source, uint32_t source_count, struct err *err)
{
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < source_count; i++) {
		bytes += source[i].bytes;
		if (bytes > RULE_SOURCES_BYTES_MAX)
			return err_set(err, -EINVAL, "%s: more than %u bytes in all rule files and lists",
				source[i].name, RULE_SOURCES_BYTES_MAX);
	}
	return 0;
}

static int sources_keep(
	struct ruleset *rs, const struct rule_source *source, uint32_t source_count, struct err *err)
{
	rs->source = rule_pool_get(&rs->pool, source_count, sizeof *rs->source);
	if (!rs->source)
		return ruleset_no_memory(err);
	for (uint32_t i = 0; i < source_count; i++) {
		struct rule_source *mine = &rs->source[i];

		*mine = source[i];
		mine->name = rule_pool_text(&rs->pool, source[i].name, strlen(source[i].name));
		mine->text = rule_pool_text(&rs->pool, source[i].text, source[i].bytes);
		if (!mine->name || !mine->text)
			return ruleset_no_memory(err);
		rs->source_count++;
	}
	return 0;
}

static int list_read(struct ruleset *rs, struct rule_list *list, const struct rule_source *source,
	uint32_t source_count, struct err *err)
{
	int rc = 0;

	for (uint32_t i = 0; i < source_count && !rc; i++)
		if (!source[i].list)
			rc = ruleset_problem(
				rs, rules_read(list, &rs->pool, source, source_count, i, err), err);
	return rc;
}

static int read_sources(
	struct ruleset *rs, const struct rule_source *source, uint32_t source_count, struct err *err)
{
	struct rule_list canary = {0};
	int rc = sources_size(source, source_count, err);

	rc = rc ? rc : list_read(rs, &rs->list, source, rs->canary_from, err);
	if (!rc && rs->canary_from < source_count)
		rc = list_read(rs, &canary, source + rs->canary_from, source_count - rs->canary_from, err);
	rc = rc ? rc : sources_keep(rs, source, source_count, err);
	if (rc)
		return rc;
	rs->rule = rule_pool_get(&rs->pool, (size_t)rs->list.count + canary.count, sizeof *rs->rule);
	if (!rs->rule)
		return ruleset_no_memory(err);
	for (struct rule *it = rs->list.head; it; it = it->next)
		rs->rule[rs->rule_count++] = it;
	rc = ids_check(rs, err);
	rc = rc ? rc : ruleset_canary_join(rs, &canary, err);
	snprintf(rs->version, sizeof rs->version, "%016llx", (unsigned long long)rs->list.version);
	return rc;
}

int ruleset_compile_how(struct ruleset **out, const struct rule_source *source, uint32_t source_count,
	const struct compile_how *how, struct err *err)
{
	struct ruleset *rs = calloc(1, sizeof *rs);
	int rc;

	*out = NULL;
	if (!rs)
		return ruleset_no_memory(err);
	rs->metadata_only = how->metadata_only;
	rs->canary_from = how->canary_from < source_count ? how->canary_from : source_count;
	rs->expire_ms = INT64_MIN;
	rs->list.problems = how->problems;
	rc = read_sources(rs, source, source_count, err);
	rc = rc ? rc : ruleset_matches(rs, err);
	rc = rc ? rc : ruleset_types(rs, err);
	rc = rc ? rc : ruleset_states(rs, err);
	if (!rc && !how->metadata_only) {
		rc = ruleset_attrs(rs, err);
		rc = rc ? rc : ruleset_patterns(rs, how->patterns_max, err);
		rc = rc ? rc : ruleset_programs(rs, err);
		rc = rc ? rc : ruleset_databases(rs, err);
	}
	if (rc) {
		ruleset_free(rs);
		return rc;
	}
	rs->list.problems = NULL;
	*out = rs;
	return 0;
}

int ruleset_compile(struct ruleset **out, const struct rule_source *source, uint32_t source_count,
	uint32_t patterns_max, struct err *err)
{
	const struct compile_how how = {.patterns_max = patterns_max, .canary_from = source_count};

	return ruleset_compile_how(out, source, source_count, &how, err);
}

int ruleset_check(struct ruleset **out, const struct rule_source *source, uint32_t source_count,
	uint32_t patterns_max, struct rule_problems *problems, struct err *err)
{
	const struct compile_how how = {
		.patterns_max = patterns_max, .canary_from = source_count, .problems = problems};
	struct err last = {0};
	int rc = ruleset_compile_how(out, source, source_count, &how, &last);

	if (rc == -EINVAL && last.text[0])
		problems->more = rule_problem(problems, rc, &last) != 0;
	else if (rc && rc != -EINVAL)
		err_set(err, rc, "%s", last.text);
	return rc;
}

struct ruleset *ruleset_empty(void)
{
	struct ruleset *rs;

	return ruleset_compile(&rs, NULL, 0, 0, NULL) ? NULL : rs;
}

int ruleset_compile_dir(struct ruleset **out, const char *dir, uint32_t patterns_max, struct err *err)
{
	struct rule_files files;
	int rc = rule_files_read_dir(&files, dir, err);

	*out = NULL;
	if (rc)
		return rc;
	rc = ruleset_compile(out, files.source, files.count, patterns_max, err);
	rule_files_free(&files);
	return rc;
}

int ruleset_dir_version(char version[17], const char *dir, struct err *err)
{
	const struct compile_how how = {.canary_from = UINT32_MAX, .metadata_only = true};
	struct rule_files files;
	struct ruleset *rs = NULL;
	int rc = rule_files_read_dir(&files, dir, err);

	if (rc)
		return rc;
	rc = ruleset_compile_how(&rs, files.source, files.count, &how, err);
	if (rc == 0)
		memcpy(version, rs->version, sizeof rs->version);
	ruleset_free(rs);
	rule_files_free(&files);
	return rc;
}

uint32_t ruleset_rule_count(const struct ruleset *rs)
{
	return rs->rule_count;
}

uint32_t ruleset_pattern_count(const struct ruleset *rs)
{
	return rs->pattern_count;
}

const struct rule_info *ruleset_rule(const struct ruleset *rs, uint32_t index)
{
	return &rs->rule[index]->info;
}

bool ruleset_routes(const struct ruleset *rs)
{
	for (uint32_t i = 0; i < rs->rule_count; i++)
		if (rule_route(&rs->rule[i]->info))
			return true;
	return false;
}

const char *ruleset_version(const struct ruleset *rs)
{
	return rs->version;
}
