/* Any bytes as Sigma rules, and what stands behind a line of five dashes as a mapping file: a rule file that
 * compiles, or refusals that add up. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ruleset.h"
#include "sigma.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static const char map_default[] =
	"keywords: [page]\n"
	"logsources:\n"
	"  - {category: webserver, when: {type: click}}\n"
	"  - {category: payments, when: {type: transaction}, fields: {user: user_id}}\n"
	"  - {when: {type: log}, others: attributes, keywords: [message]}\n"
	"fields: {url: page, query: {field: page, only: contains}, "
	"amount: amount, from: src_addr}\n";

static void keep_line(void *arg, const char *line)
{
	if (!*line)
		abort();
	(*(uint32_t *)arg)++;
}

/* The rules together: more than one ruleset's attributes are the one thing that may still be wrong with them.
 * They are those that were reported, and they alert. */
static void compile(const char *text, size_t bytes, uint32_t rules)
{
	const struct rule_source source = {.name = "fuzz", .text = text, .bytes = bytes};
	struct ruleset *rs = NULL;
	struct err err = {0};

	if (ruleset_compile(&rs, &source, 1, 20000, &err) && !strstr(err.text, "attributes") &&
		!strstr(err.text, "positions") && !strstr(err.text, "keyring") &&
		!strstr(err.text, "text patterns"))
		abort();
	if (rs && ruleset_rule_count(rs) != rules)
		abort();
	for (uint32_t i = 0; rs && i < rules; i++)
		if (ruleset_rule(rs, i)->actions != RULE_ACTION_ALERT)
			abort();
	ruleset_free(rs);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	const char *text = (const char *)data, *behind = memmem(data, bytes, "\n-----\n", 7);
	struct sigma_source map = {"map", map_default, sizeof map_default - 1};
	struct sigma_source source = {"fuzz", text, behind ? (size_t)(behind - text) : bytes};
	struct sigma_report report;
	struct err err = {0};
	uint32_t lines = 0;
	char *out = NULL;
	size_t out_bytes;
	FILE *f;
	int rc;

	if (bytes > 1 << 14)
		return 0;
	if (behind)
		map = (struct sigma_source){"map", behind + 7, bytes - source.bytes - 7};
	f = open_memstream(&out, &out_bytes);
	if (!f)
		abort();
	rc = sigma_import(f, &map, &source, 1, 20000, &report, keep_line, &lines, &err);
	fclose(f);
	if (rc && !err.text[0])
		abort();
	if (!rc && (report.documents != report.imported + report.used + report.refused ||
			   lines != report.refused))
		abort();
	if (!rc)
		compile(out, out_bytes, report.rules);
	free(out);
	return 0;
}
