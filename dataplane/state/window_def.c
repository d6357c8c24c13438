/* One window definition: from the keys of the configuration to what the stages run, with every check that
 * needs no other definition. Set-up only. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config_table.h"
#include "window_priv.h"

#define PANES_MAX 4096
#define ROLLUPS_MAX 4
#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define NAME_CHARS LETTERS "0123456789_"

const char *const window_kind_name[] = {"tumbling", "hopping", "session", "funnel"};

/* A definition while it is made: `canon` is *cw with its texts in canonical form. */
struct making {
	struct window_def *def;
	struct config_windows canon;
	uint32_t types;
	struct err *err;
};

/* `bytes` is the whole of a config_str or config_text. */
static int canon_take(const struct window_canon *c, char *out, size_t bytes, struct err *err)
{
	if (c->cut || c->bytes >= bytes)
		return err_set(err, -EINVAL, "longer than %zu bytes in canonical form", bytes - 1);
	memcpy(out, c->text, bytes);
	return 0;
}

/* The error of a key: "KEY: " before it. */
static int of_key(int rc, const char *key, struct err *err)
{
	if (rc)
		err_prefix(err, "%s", key);
	return rc;
}

/* ---- name, keys of the kind ---- */

static int name_check(struct making *m)
{
	static const char letters[] = LETTERS;
	const char *name = m->canon.name;

	/* Topics, table names and labels are made of it. */
	if (!*name || !strchr(letters, *name) || name[strspn(name, NAME_CHARS)])
		return err_set(m->err, -EINVAL, "name: expected a letter, then letters, digits and _");
	memcpy(m->def->name, name, strlen(name) + 1);
	return 0;
}

/* What the kind does not have must not be set; what it needs must be. */
static int keys_check(struct making *m)
{
	static const char *const need[][2] = {
		{"slide", "hopping"}, {"gap", "session"}, {"within", "funnel"}, {"steps", "funnel"}};
	const char *kind = window_kind_name[m->canon.kind];
	config_text value;

	for (uint32_t i = 0; i < config_key_count; i++) {
		const struct config_key *key = &config_key_table[i];
		struct config_windows fresh;
		config_text usual;

		if (strcmp(key->section, "windows") != 0 || window_text_has(key->name, m->canon.kind))
			continue;
		memset(&fresh, 0, sizeof fresh);
		config_value_parse(key, &fresh, key->def, NULL);
		config_value_print(key, &fresh, usual, sizeof usual);
		config_value_print(key, &m->canon, value, sizeof value);
		if (strcmp(value, usual) != 0)
			return err_set(m->err, -EINVAL, "%s: '%.60s': a %s window has no %s", key->name,
				value, kind, key->name);
	}
	for (size_t i = 0; i < sizeof need / sizeof *need; i++) {
		window_text_value(&m->canon, need[i][0], value, sizeof value);
		if (!strcmp(kind, need[i][1]) && (!*value || !strcmp(value, "0ms")))
			return err_set(m->err, -EINVAL, "%s: a %s window needs it", need[i][0], kind);
	}
	if (window_text_has("size", m->canon.kind) && !m->canon.size)
		return err_set(m->err, -EINVAL, "size: expected more than 0");
	return 0;
}

/* ---- times ---- */

static int times_take(struct making *m)
{
	struct window_def *def = m->def;
	config_str size, slide;

	def->size_ms = window_text_has("size", def->kind) ? (int64_t)m->canon.size : 0;
	def->slide_ms = def->kind == WINDOW_TUMBLING ? def->size_ms : (int64_t)m->canon.slide;
	def->gap_ms = (int64_t)m->canon.gap;
	def->within_ms = (int64_t)m->canon.within;
	def->lateness_ms = (int64_t)m->canon.lateness;
	if (def->kind != WINDOW_HOPPING)
		return 0;
	window_text_value(&m->canon, "size", size, sizeof size);
	window_text_value(&m->canon, "slide", slide, sizeof slide);
	if (def->slide_ms >= def->size_ms)
		return err_set(m->err, -EINVAL,
			"slide: %s is not less than size, %s: windows that do not overlap are tumbling",
			slide, size);
	if (def->size_ms % def->slide_ms)
		return err_set(m->err, -EINVAL, "slide: %s does not divide size, %s", slide, size);
	if (def->size_ms / def->slide_ms > PANES_MAX)
		return err_set(m->err, -EINVAL,
			"slide: %s makes %" PRId64 " panes of size, %s: expected at most %d", slide,
			def->size_ms / def->slide_ms, size, PANES_MAX);
	return 0;
}

static int rollup_take(struct making *m)
{
	const struct config_section *section = config_section_find("windows", strlen("windows"));
	const struct config_key *key = config_key_find(section, "size", strlen("size"));
	struct window_canon c = {0};
	uint64_t last = m->canon.size;
	int count = 0;

	for (const char *p = m->canon.rollup + strspn(m->canon.rollup, " "); *p;) {
		size_t n = strcspn(p, ", ");
		struct config_windows one = {0};
		config_str text;

		snprintf(text, sizeof text, "%.*s", (int)n, p);
		if (config_value_parse(key, &one, text, NULL) || one.size <= last || one.size % last)
			return err_set(m->err, -EINVAL,
				"rollup: '%.40s': expected durations as 1h,1d, each a multiple of the one "
				"before and of size",
				text);
		if (count++ == ROLLUPS_MAX)
			return err_set(m->err, -EINVAL, "rollup: more than %d sizes", ROLLUPS_MAX);
		last = one.size;
		window_text_value(&one, "size", text, sizeof text);
		window_canon_put(&c, ",", count > 1);
		window_canon_put(&c, text, strlen(text));
		p += n;
		p += strspn(p, " ");
		if (*p && *p != ',')
			return err_set(m->err, -EINVAL, "rollup: '%.40s': expected a comma between sizes", p);
		p += *p == ',';
		p += strspn(p, " ");
	}
	if (c.bytes >= sizeof m->def->rollup)
		return err_set(m->err, -EINVAL, "rollup: longer than %zu bytes", sizeof m->def->rollup - 1);
	memcpy(m->def->rollup, c.text, sizeof m->def->rollup);
	return of_key(canon_take(&c, m->canon.rollup, sizeof m->canon.rollup, m->err), "rollup", m->err);
}

int window_def_check_step(const struct window_def *def, int64_t step_ms, struct err *err)
{
	const struct {
		const char *key;
		int64_t ms;
	} row[] = {{"size", def->size_ms}, {"slide", def->kind == WINDOW_HOPPING ? def->slide_ms : 0}};

	for (size_t i = 0; i < sizeof row / sizeof *row; i++)
		if (row[i].ms % step_ms)
			return err_set(err, -EINVAL,
				"window %s: %s: %" PRId64 " ms is not a multiple of state.step, %" PRId64
				" ms",
				def->name, row[i].key, row[i].ms, step_ms);
	return 0;
}

/* ---- fields ---- */

static int group_take(struct making *m)
{
	struct window_canon c = {0};
	int rc = window_groups_parse(m->def, m->canon.by, &c, m->err);

	if (!rc)
		rc = canon_take(&c, m->canon.by, sizeof m->canon.by, m->err);
	return of_key(rc, "by", m->err);
}

/* Sessions and funnels need all events of a key in one partition: the field is the first of the partition key
 * of each type that has it. A type that does not have it never counts. */
static int group_check(struct making *m, uint32_t types)
{
	enum field_id field = m->def->group[0];
	const char *kind = window_kind_name[m->def->kind], *name;
	bool used = false;

	if (m->def->kind != WINDOW_SESSION && m->def->kind != WINDOW_FUNNEL)
		return 0;
	if (m->def->group_count != 1)
		return err_set(m->err, -EINVAL, "by: a %s window is by exactly one field, as user_id", kind);
	if (m->def->attr[0])
		return err_set(m->err, -EINVAL,
			"by: %.60s: events are partitioned by fields: those of one value may lie in several "
			"partitions, where no %s window can see them together; expected a field, as user_id",
			m->def->attr[0], kind);
	name = field_table[field].name;
	for (int i = 1; i < EVENT_TYPE_MAX; i++) {
		const struct type_info *type = &type_table[i];

		if (!type->name || !(types >> i & 1) || !(type->uses >> field & 1))
			continue;
		if (type->part_key[0] != field)
			return err_set(m->err, -EINVAL,
				"by: %s: %s events are partitioned by %s: those of one %s may lie in several "
				"partitions, "
				"where no %s window can see them together; expected %s, or other types",
				name, type->name, field_table[type->part_key[0]].name, name, kind,
				field_table[type->part_key[0]].name);
		used = true;
	}
	if (!used)
		return err_set(m->err, -EINVAL, "by: %s: none of the window's event types has it", name);
	return 0;
}

/* ---- tests ---- */

static int where_take(struct making *m)
{
	struct window_canon types = {0}, where = {0};
	int rc = window_types_parse(&m->types, m->canon.types, &types, m->err);

	if (!rc)
		rc = canon_take(&types, m->canon.types, sizeof m->canon.types, m->err);
	if (rc)
		return of_key(rc, "types", m->err);
	rc = window_filter_parse(&m->def->filter, m->types, m->canon.where, &where, m->err);
	if (!rc)
		rc = canon_take(&where, m->canon.where, sizeof m->canon.where, m->err);
	return of_key(rc, "where", m->err);
}

/* NAME: TESTS, of `bytes` bytes. */
static int step_add(struct making *m, const char *text, size_t bytes, struct window_canon *c)
{
	struct window_def *def = m->def;
	const char *name = text + strspn(text, " "), *colon = memchr(text, ':', bytes);
	size_t n = strcspn(name, ": ;");
	char *step;
	config_text tests;
	int rc;

	if (!n || !colon || name + n + strspn(name + n, " ") != colon || strspn(name, NAME_CHARS "-") != n)
		return err_set(m->err, -EINVAL,
			"'%.*s': expected NAME: TESTS, the name of letters, digits, _ and -",
			bytes < 80 ? (int)bytes : 80, text);
	if (def->step_count == WINDOW_STEPS_MAX)
		return err_set(m->err, -EINVAL, "more than %d steps", WINDOW_STEPS_MAX);
	step = def->step_name[def->step_count];
	if (n >= sizeof def->step_name[0])
		return err_set(m->err, -EINVAL, "'%.*s': a name has at most %zu bytes", n < 80 ? (int)n : 80,
			name, sizeof def->step_name[0] - 1);
	memcpy(step, name, n);
	for (uint32_t i = 0; i < def->step_count; i++)
		if (!strcmp(def->step_name[i], step))
			return err_set(m->err, -EINVAL, "two steps are named %s", step);
	window_canon_put(c, ";", c->bytes != 0);
	window_canon_put(c, step, n);
	window_canon_put(c, ":", 1);
	snprintf(tests, sizeof tests, "%.*s", (int)(text + bytes - colon - 1), colon + 1);
	rc = window_filter_parse(
		&def->step[def->step_count], window_filter_types(def->filter), tests, c, m->err);
	if (rc)
		return of_key(rc, step, m->err);
	if (!tests[strspn(tests, " ")])
		return err_set(m->err, -EINVAL, "%s: no tests: expected some, as type = conversion", step);
	def->step_count++;
	return 0;
}

static int steps_take(struct making *m, uint32_t *types)
{
	struct window_canon c = {0};
	int rc = 0;

	*types = window_filter_types(m->def->filter);
	if (m->def->kind != WINDOW_FUNNEL)
		return 0;
	*types = 0;
	for (const char *p = m->canon.steps; *p && !rc;) {
		const char *end = p;
		char quote = 0;

		for (; *end && (quote || *end != ';'); end++) {
			if (quote && *end == '\\' && end[1])
				end++;
			else if (*end == quote)
				quote = 0;
			else if (!quote && (*end == '"' || *end == '\''))
				quote = *end;
		}
		rc = step_add(m, p, (size_t)(end - p), &c);
		if (!rc)
			*types |= window_filter_types(m->def->step[m->def->step_count - 1]);
		p = end + (*end == ';');
	}
	if (!rc && m->def->step_count < 2)
		rc = err_set(m->err, -EINVAL,
			"expected two steps or more, as view: type = page_view; buy: type = conversion");
	if (!rc)
		rc = canon_take(&c, m->canon.steps, sizeof m->canon.steps, m->err);
	return of_key(rc, "steps", m->err);
}

/* ---- what is computed ---- */

static int calls_take(config_text text, struct err *err)
{
	struct window_canon c = {0};

	window_canon_calls(&c, text);
	return canon_take(&c, text, sizeof(config_text), err);
}

/* Of an attempt only its steps are kept; and only a funnel has attempts. */
static int funnel_check(const struct making *m)
{
	bool funnel = m->def->kind == WINDOW_FUNNEL;

	for (uint32_t i = 0; i < agg_set_count(m->def->aggs); i++) {
		const struct agg_spec *spec = agg_set_spec(m->def->aggs, i);
		bool plain = spec->kind == AGG_count && spec->field == FIELD_NONE && !spec->value_bytes;

		if (funnel && !plain && spec->kind != AGG_conversion_rate)
			return err_set(m->err, -EINVAL, "%s: a funnel has count and conversion_rate only",
				spec->label);
		if (!funnel && spec->kind == AGG_conversion_rate)
			return err_set(m->err, -EINVAL, "%s: only a funnel has attempts", spec->label);
	}
	return 0;
}

static int aggregates_take(struct making *m)
{
	int rc = calls_take(m->canon.aggregates, m->err);

	if (!rc)
		rc = agg_set_parse(&m->def->aggs, m->canon.aggregates, m->err);
	if (rc)
		return of_key(rc, "aggregates", m->err);
	rc = of_key(funnel_check(m), "aggregates", m->err);
	if (rc)
		return rc;
	rc = calls_take(m->canon.anomaly, m->err);
	if (!rc)
		memcpy(m->def->anomaly, m->canon.anomaly, sizeof m->def->anomaly);
	return of_key(rc, "anomaly", m->err);
}

/* What a row calls its values: labels, and names that an aggregate makes besides. */
struct names {
	uint32_t count;
	char name[3 * AGG_MAX][AGG_LABEL_BYTES + 8];
};

static void names_take(struct names *n, const struct agg_spec *spec)
{
	static const char *const quantile[] = {"p50", "p95", "p99"};
	const char *field = spec->field != FIELD_NONE ? field_table[spec->field].name : "";

	if (spec->kind != AGG_quantiles)
		snprintf(n->name[n->count++], sizeof n->name[0], "%s", spec->label);
	if (spec->kind == AGG_variance)
		snprintf(n->name[n->count++], sizeof n->name[0], "stddev_%.60s", field);
	for (size_t i = 0; spec->kind == AGG_quantiles && i < sizeof quantile / sizeof *quantile; i++)
		snprintf(n->name[n->count++], sizeof n->name[0], "%s_%.60s", quantile[i], field);
}

/* In a row each name stands for one thing, whatever values were renamed to. */
static int names_check(struct making *m)
{
	static const char *const fixed[] = {"window", "kind", "start", "end", "start_ms", "end_ms", "step",
		"other", "cut", "revision", "node", "window_start", "window_end"};
	const struct window_def *def = m->def;
	struct names n = {0};
	const char *twice = NULL;

	for (uint32_t i = 0; i < agg_set_count(def->aggs); i++)
		names_take(&n, agg_set_spec(def->aggs, i));
	for (uint32_t i = 0; i < n.count && !twice; i++) {
		for (size_t k = 0; k < sizeof fixed / sizeof *fixed; k++)
			twice = strcmp(n.name[i], fixed[k]) == 0 ? n.name[i] : twice;
		for (uint32_t k = 0; k < def->group_count; k++)
			twice = strcmp(n.name[i], window_group_name(def, k)) == 0 ? n.name[i] : twice;
		for (uint32_t k = 0; k < i; k++)
			twice = strcmp(n.name[i], n.name[k]) == 0 ? n.name[i] : twice;
		if (n.name[i][0] == '_')
			twice = n.name[i];
	}
	if (!twice)
		return 0;
	return err_set(
		m->err, -EINVAL, "aggregates: the name %s has another meaning in rows; say `as NAME`", twice);
}

static int def_fill(struct making *m)
{
	struct window_def *def = m->def;
	uint32_t types;
	int rc;

	def->kind = (enum window_kind)m->canon.kind;
	def->keys_max = m->canon.keys_max;
	def->to_kafka = m->canon.kafka;
	def->to_clickhouse = m->canon.clickhouse;
	rc = name_check(m);
	if (!rc)
		rc = keys_check(m);
	if (!rc)
		rc = times_take(m);
	if (!rc)
		rc = rollup_take(m);
	if (!rc)
		rc = group_take(m);
	if (!rc)
		rc = where_take(m);
	if (!rc)
		rc = steps_take(m, &types);
	if (!rc)
		rc = group_check(m, types);
	if (!rc)
		rc = aggregates_take(m);
	if (!rc)
		rc = names_check(m);
	if (rc)
		return rc;
	def->text = window_text_print(&m->canon);
	if (!def->text)
		return err_set(m->err, -ENOMEM, "no memory");
	def->uid = window_text_uid(def->text);
	return 0;
}

int window_def_make(struct window_def **out, const struct config_windows *cw, struct err *err)
{
	struct making m = {.canon = *cw, .err = err};
	int rc;

	*out = NULL;
	m.def = calloc(1, sizeof *m.def);
	if (!m.def)
		return err_set(err, -ENOMEM, "window %s: no memory", cw->name);
	rc = def_fill(&m);
	if (rc) {
		err_prefix(err, "window %.48s", cw->name);
		window_def_free(m.def);
		return rc;
	}
	*out = m.def;
	return 0;
}

void window_def_free(struct window_def *def)
{
	if (!def)
		return;
	for (uint32_t i = 0; i < WINDOW_STEPS_MAX; i++)
		window_filter_free(def->step[i]);
	window_filter_free(def->filter);
	if (def->aggs)
		agg_set_free(def->aggs);
	window_groups_free(def);
	free(def->text);
	free(def);
}

int window_def_parse(struct window_def **out, const char *text, struct err *err)
{
	struct config_windows cw;
	char *copy;
	int rc;

	*out = NULL;
	rc = window_text_read(&cw, text, err);
	if (!rc)
		rc = window_def_make(out, &cw, err);
	if (rc)
		return rc;
	/* The text as it was stored, though this version might print it otherwise: rows name it by its hash.
	 */
	copy = strdup(text);
	if (!copy) {
		window_def_free(*out);
		*out = NULL;
		return err_set(err, -ENOMEM, "no memory");
	}
	free((*out)->text);
	(*out)->text = copy;
	(*out)->uid = window_text_uid(copy);
	return 0;
}
