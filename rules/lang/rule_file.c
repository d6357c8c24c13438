/* One rule file: `rules:` and each rule's keys. Set-up only. */
#include <errno.h>
#include <string.h>

#include "config.h"
#include "hash.h"
#include "record.h"
#include "rule_read_priv.h"

const char *const rule_severity_name[] = {"info", "low", "medium", "high", "critical", NULL};

/* What a rule says, without its layout: kinds, keys, texts, in order. */
uint64_t node_hash(const struct ynode *n, uint64_t h)
{
	uint8_t mark = (uint8_t)(n->kind * 2 + n->quoted);

	h = hash_bytes(&mark, 1, h);
	if (n->key)
		h = hash_bytes(n->key, strlen(n->key), h);
	if (n->kind == YNODE_SCALAR)
		return hash_bytes(n->text, n->text_bytes, h);
	h = hash_bytes(&n->count, sizeof n->count, h);
	YNODE_EACH (it, n)
		h = node_hash(it, h);
	return h;
}

static int id_read(struct rule_reader *rd, const struct ynode *n, struct rule *rule)
{
	const struct ynode *id = ynode_get(n, "id");

	if (!id)
		return rule_err(rd, n, "a rule needs an id");
	if (id->kind != YNODE_SCALAR || !id->text_bytes || id->text_bytes > RULE_ID_BYTES_MAX ||
		strspn(id->text, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != id->text_bytes)
		return rule_err(rd, id, "id: expected 1 to %d of a-z 0-9 - _ .", RULE_ID_BYTES_MAX);
	rule->info.id = rule_pool_text(rd->pool, id->text, id->text_bytes);
	rd->rule_id = rule->info.id;
	return rule->info.id ? 0 : rule_no_memory(rd);
}

/* One line of text; NULL if the key is not there. */
static int line_read(
	struct rule_reader *rd, const struct ynode *n, const char *what, uint32_t bytes_max, const char **out)
{
	*out = NULL;
	if (!n)
		return 0;
	if (n->kind != YNODE_SCALAR || !n->text_bytes || n->text_bytes > bytes_max)
		return rule_err(rd, n, "%s: expected 1 to %u bytes of text", what, bytes_max);
	for (size_t i = 0; i < n->text_bytes; i++)
		if ((unsigned char)n->text[i] < ' ')
			return rule_err(rd, n, "%s: one line without control characters", what);
	*out = rule_pool_text(rd->pool, n->text, n->text_bytes);
	return *out ? 0 : rule_no_memory(rd);
}

static int texts_read(struct rule_reader *rd, const struct ynode *n, struct rule *rule)
{
	const struct ynode *expires = ynode_get(n, "expires");
	int rc = line_read(rd, ynode_get(n, "title"), "title", RULE_TITLE_BYTES_MAX, &rule->info.title);

	if (!rule->info.title)
		rule->info.title = rule->info.id;
	rc = rc ? rc : line_read(rd, ynode_get(n, "owner"), "owner", RULE_TITLE_BYTES_MAX, &rule->info.owner);
	if (!rc && expires && (!value_date(expires, &rule->info.expires_ms) || rule->info.expires_ms <= 0))
		rc = rule_err(rd, expires,
			"expires: expected a date like 2027-01-31, or a time like 2027-01-31T12:00:00Z");
	return rc;
}

static int severity_read(struct rule_reader *rd, const struct ynode *n, struct rule *rule)
{
	rule->info.severity = SEVERITY_MEDIUM;
	if (!n)
		return 0;
	if (n->kind != YNODE_SCALAR)
		return rule_err(rd, n, "severity: expected info, low, medium, high or critical");
	for (int i = 0; rule_severity_name[i]; i++)
		if (!strcmp(rule_severity_name[i], n->text)) {
			rule->info.severity = (enum rule_severity)i;
			return 0;
		}
	return rule_err_unknown(rd, n, false, "severity", rule_severity_name, 5);
}

/* {route: topic}: as Kafka has it, letters, digits, '.', '_', '-', and neither "." nor "..". */
static int route_read(struct rule_reader *rd, const struct ynode *n, struct rule *rule)
{
	static const char *const names[] = {"route"};
	const struct ynode *topic = ynode_get(n, "route");

	YNODE_EACH (it, n)
		if (strcmp(it->key, "route"))
			return rule_err_unknown(rd, it, true, "action", names, 1);
	if (!topic || topic->kind != YNODE_SCALAR || topic->text_bytes > RULE_TOPIC_BYTES_MAX ||
		!config_name_ok(topic->text) || !topic->text[strspn(topic->text, ".")])
		return rule_err(rd, topic ? topic : n,
			"then: route: expected a Kafka topic: up to %u letters, digits, '.', '_' and '-'",
			RULE_TOPIC_BYTES_MAX);
	if (rule->info.route)
		return rule_err(rd, topic, "then: route is given twice");
	rule->info.actions |= RULE_ACTION_ROUTE;
	rule->info.route = rule_pool_text(rd->pool, topic->text, topic->text_bytes);
	return rule->info.route ? 0 : rule_no_memory(rd);
}

static int action_read(struct rule_reader *rd, const struct ynode *n, struct rule *rule)
{
	static const char *const names[] = {"alert", "tag", "drop"};
	static const uint8_t actions[] = {RULE_ACTION_ALERT, RULE_ACTION_TAG, RULE_ACTION_DROP};

	if (n->kind == YNODE_MAP)
		return route_read(rd, n, rule);
	if (n->kind != YNODE_SCALAR)
		return rule_err(rd, n, "then: expected alert, tag, drop or {route: topic}");
	if (!strcmp(n->text, "route"))
		return rule_err(rd, n, "then: route: to which topic? expected {route: topic}");
	for (int i = 0; i < 3; i++)
		if (!strcmp(names[i], n->text)) {
			if (rule->info.actions & actions[i])
				return rule_err(rd, n, "then: %s is given twice", names[i]);
			rule->info.actions |= actions[i];
			return 0;
		}
	return rule_err_unknown(rd, n, false, "action", names, 3);
}

static int then_read(struct rule_reader *rd, const struct ynode *n, struct rule *rule)
{
	int rc = 0;

	if (!n)
		return 0;
	if (n->kind != YNODE_SEQ)
		return action_read(rd, n, rule);
	if (!n->count)
		return rule_err(rd, n, "then: at least one of alert, tag, drop, {route: topic}");
	YNODE_EACH (it, n)
		if (!rc)
			rc = action_read(rd, it, rule);
	return rc;
}

static int keys_check(struct rule_reader *rd, const struct ynode *n)
{
	static const char *const names[] = {"id", "title", "severity", "owner", "expires", "when", "allow",
		"then", "tests", "by", "count", "sum", "distinct", "rate_change", "sequence", "absence",
		"travel", "anomaly", "unchanged", "order", "suppress", "evidence", "limits"};
	uint32_t count = sizeof names / sizeof *names;

	YNODE_EACH (it, n) {
		uint32_t i = 0;

		while (i < count && strcmp(names[i], it->key))
			i++;
		if (i == count)
			return rule_err_unknown(rd, it, true, "key of a rule", names, count);
	}
	if (!ynode_get(n, "when") && !ynode_get(n, "sequence"))
		return rule_err(rd, n, "a rule needs `when`");
	if (!ynode_get(n, "then"))
		return rule_err(rd, n, "a rule needs `then`");
	return 0;
}

static int rule_read(struct rule_reader *rd, const struct ynode *n, struct rule *rule)
{
	const struct ynode *tests;
	int rc;

	rd->rule_id = NULL;
	if (n->kind != YNODE_MAP)
		return rule_err(rd, n, "expected a rule, a mapping with id, when and then");
	rc = id_read(rd, n, rule);
	rc = rc ? rc : keys_check(rd, n);
	rc = rc ? rc : texts_read(rd, n, rule);
	rc = rc ? rc : severity_read(rd, ynode_get(n, "severity"), rule);
	rc = rc ? rc : then_read(rd, ynode_get(n, "then"), rule);
	rc = rc ? rc : state_read(rd, n, rule);
	tests = ynode_get(n, "tests");
	if (!rc && tests)
		rc = samples_read(rd, tests, rule);
	return rc;
}

static int file_read(struct rule_list *list, struct rule_reader *rd, const char *file)
{
	static const char *const names[] = {"rules"};
	const struct ynode *root = rd->tree->root, *rules;

	if (!root)
		return 0;
	if (root->kind != YNODE_MAP)
		return rule_err(rd, root, "expected `rules:` and a list below it");
	YNODE_EACH (it, root)
		if (strcmp(it->key, "rules"))
			return rule_err_unknown(rd, it, true, "key", names, 1);
	rules = ynode_get(root, "rules");
	if (!rules || value_is_null(rules))
		return 0;
	if (rules->kind != YNODE_SEQ)
		return rule_err(rd, rules, "rules: expected a list");
	YNODE_EACH (it, rules) {
		struct rule *rule = rule_pool_get(rd->pool, 1, sizeof *rule);
		uint64_t lists = rd->lists;
		int rc;

		if (!rule)
			return rule_no_memory(rd);
		rd->lists = 0;
		rule->info.file = file;
		rule->info.line = it->line;
		rule->column = it->column;
		rc = rule_read(rd, it, rule);
		if (rc && rule_problem(list->problems, rc, rd->err))
			return rc;
		if (rc) {
			rd->lists = lists;
			continue;
		}
		if (list->count == RULE_COUNT_MAX)
			return rule_err(rd, it, "more than %u rules", RULE_COUNT_MAX);
		*list->tail = rule;
		list->tail = &rule->next;
		list->count++;
		list->version = node_hash(it, list->version);
		rule->info.content = node_hash(it, rd->lists);
		if (lists && rd->lists)
			rd->lists = hash_bytes(&lists, sizeof lists, rd->lists);
		else
			rd->lists |= lists;
	}
	if (rd->lists)
		list->version = hash_bytes(&rd->lists, sizeof rd->lists, list->version);
	return 0;
}

int rule_problem(struct rule_problems *problems, int rc, const struct err *err)
{
	if (rc != -EINVAL || !problems || problems->count == RULE_PROBLEMS_MAX)
		return rc;
	problems->count++;
	problems->line(problems->arg, err->text);
	return 0;
}

int rules_read(struct rule_list *list, struct rule_pool *pool, const struct rule_source *source,
	uint32_t source_count, uint32_t index, struct err *err)
{
	const struct rule_source *mine = &source[index];
	struct ytree tree;
	struct rule_reader rd = {.pool = pool,
		.tree = &tree,
		.source = source,
		.source_count = source_count,
		.all = list,
		.err = err};
	const char *file;
	int rc;

	if (!list->tail)
		list->tail = &list->head;
	rc = ytree_parse(&tree, mine->text, mine->bytes, mine->name, err);
	if (rc)
		return rc;
	file = rule_pool_text(pool, mine->name, strlen(mine->name));
	rc = file ? file_read(list, &rd, file) : rule_no_memory(&rd);
	ytree_free(&tree);
	return rc;
}
