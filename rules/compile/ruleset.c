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
	free(rs->pattern);
	rule_pool_free(&rs->pool);
	free(rs);
}

static int ids_check(const struct ruleset *rs, struct err *err)
{
	struct textmap map = {0};
	int rc = 0;

	for (uint32_t i = 0; i < rs->rule_count && !rc; i++) {
		const struct rule_info *info = &rs->rule[i]->info;
		struct textmap_slot *slot = textmap_add(&map, info->id, (uint32_t)strlen(info->id));

		if (!slot)
			rc = ruleset_no_memory(err);
		else if (slot->value != TEXTMAP_NONE)
			rc = ruleset_rule_err(rs->rule[i], NULL, err, "this id is taken by the rule at %s:%u",
				rs->rule[slot->value]->info.file, rs->rule[slot->value]->info.line);
		else
			slot->value = i;
	}
	textmap_free(&map);
	return rc;
}

static int read_sources(
	struct ruleset *rs, const struct rule_source *source, uint32_t source_count, struct err *err)
{
	uint64_t bytes = 0;

	rs->source = rule_pool_get(&rs->pool, source_count, sizeof *rs->source);
	if (!rs->source)
		return ruleset_no_memory(err);
	for (uint32_t i = 0; i < source_count; i++) {
		bytes += source[i].bytes;
		if (bytes > RULE_SOURCES_BYTES_MAX)
			return err_set(err, -EINVAL, "%s: more than %u bytes in all rule files and lists",
				source[i].name, RULE_SOURCES_BYTES_MAX);
	}
	for (uint32_t i = 0; i < source_count; i++) {
		int rc = source[i].list ? 0 : rules_read(&rs->list, &rs->pool, source, source_count, i, err);

		if (rc)
			return rc;
		rs->source[i].name = rule_pool_text(&rs->pool, source[i].name, strlen(source[i].name));
		rs->source[i].text = rule_pool_text(&rs->pool, source[i].text, source[i].bytes);
		rs->source[i].bytes = source[i].bytes;
		rs->source[i].list = source[i].list;
		if (!rs->source[i].name || !rs->source[i].text)
			return ruleset_no_memory(err);
		rs->source_count++;
	}
	rs->rule = rule_pool_get(&rs->pool, rs->list.count, sizeof *rs->rule);
	if (!rs->rule)
		return ruleset_no_memory(err);
	for (struct rule *it = rs->list.head; it; it = it->next)
		rs->rule[rs->rule_count++] = it;
	snprintf(rs->version, sizeof rs->version, "%016llx", (unsigned long long)rs->list.version);
	return ids_check(rs, err);
}

static int compile(struct ruleset **out, const struct rule_source *source, uint32_t source_count,
	uint32_t patterns_max, bool metadata_only, struct err *err)
{
	struct ruleset *rs = calloc(1, sizeof *rs);
	int rc;

	*out = NULL;
	if (!rs)
		return ruleset_no_memory(err);
	rs->metadata_only = metadata_only;
	rs->expire_ms = INT64_MIN;
	rc = read_sources(rs, source, source_count, err);
	rc = rc ? rc : ruleset_matches(rs, err);
	rc = rc ? rc : ruleset_types(rs, err);
	rc = rc ? rc : ruleset_states(rs, err);
	if (!rc && !metadata_only) {
		rc = ruleset_attrs(rs, err);
		rc = rc ? rc : ruleset_patterns(rs, patterns_max, err);
		rc = rc ? rc : ruleset_programs(rs, err);
		rc = rc ? rc : ruleset_databases(rs, err);
	}
	if (rc) {
		ruleset_free(rs);
		return rc;
	}
	*out = rs;
	return 0;
}

int ruleset_compile(struct ruleset **out, const struct rule_source *source, uint32_t source_count,
	uint32_t patterns_max, struct err *err)
{
	return compile(out, source, source_count, patterns_max, false, err);
}

int ruleset_compile_metadata(
	struct ruleset **out, const struct rule_source *source, uint32_t source_count, struct err *err)
{
	return compile(out, source, source_count, 0, true, err);
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
	struct rule_files files;
	struct ruleset *rs = NULL;
	int rc = rule_files_read_dir(&files, dir, err);

	if (rc)
		return rc;
	rc = ruleset_compile_metadata(&rs, files.source, files.count, err);
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

const char *ruleset_version(const struct ruleset *rs)
{
	return rs->version;
}
