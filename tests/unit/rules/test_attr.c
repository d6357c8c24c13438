/* Attributes in rules: what a name reaches, what tests make of the value, and random events of all types
 * against a plain search in the tree that they were written from. */
#include <stdio.h>

#include "json.h"
#include "rule_event_make.h"

#define BURST 32
#define EVENT_ROOM 4096

static struct json_parser *jp;

struct parsed {
	uint8_t raw[EVENT_ROOM + EVENT_PAD_BYTES];
	struct event ev;
};

static void parse_into(struct parsed *p, const char *json)
{
	static const struct parse_limits limits = {0, 300000};
	size_t bytes = strlen(json);

	assert_true(bytes <= EVENT_ROOM);
	memcpy(p->raw, json, bytes);
	memset(p->raw + bytes, '"', EVENT_PAD_BYTES);
	json_parse_event(jp, p->raw, (uint32_t)bytes, EVENT_TYPE_NONE, 1763700000000, &limits, &p->ev);
	if (p->ev.refused)
		fail_msg("%s: refused: %u", json, p->ev.refused);
}

/* True if a rule with these tests matches the event. */
static bool matches(const char *when, const char *json)
{
	static struct parsed p;
	char yaml[2000];
	struct ruleset *rs;
	struct matcher *m;
	struct event *burst = &p.ev;
	bool hit;

	snprintf(yaml, sizeof yaml, "rules:\n  - id: r\n    when: %s\n    then: tag\n", when);
	rs = compiled(yaml);
	m = matcher_of(rs);
	json_parser_reset(jp);
	parse_into(&p, json);
	matcher_run(m, &burst, 1);
	hit = p.ev.hit_count == 1;
	matcher_free(m);
	ruleset_free(rs);
	return hit;
}

#define PLATFORM(rest) "{\"source\":\"web\",\"ts\":1763699990000," rest "}"
#define CUSTOM(rest) "{\"type\":\"custom\",\"ts\":1763699990000," rest "}"
#define ATTRS                                                                                                \
	"\"attributes\":{\"code\":503,\"path\":\"\\/"                                                        \
	"a\\u00e9\",\"ok\":false,\"nil\":null,\"list\":[{\"x\":1}],"                                         \
	"\"request\":{\"method\":\"GET\",\"size\":-2.5e3},\"http.status\":404,\"user_id\":\"u9\"}"

static void test_reach(void **state)
{
	static const struct {
		const char *when, *json;
		bool hit;
	} row[] = {
		/* inside attributes: text, number, boolean, nesting, keys with dots, fields that stand there
		   too */
		{"{attributes.code: '503'}", PLATFORM(ATTRS), true},
		{"{attributes.code: 503}", PLATFORM(ATTRS), true},
		{"{attributes.code: {ge: 500, lt: 600}}", PLATFORM(ATTRS), true},
		{"{attributes.code: {gt: 503}}", PLATFORM(ATTRS), false},
		{"{attributes.code: {regex: '^5[0-9]+$'}}", PLATFORM(ATTRS), true},
		{"{attributes.path: {suffix: \"\\u00e9\"}}", PLATFORM(ATTRS), true},
		{"{attributes.path: {prefix: /A, nocase: true}}", PLATFORM(ATTRS), true},
		{"{attributes.path: {contains: u00}}", PLATFORM(ATTRS), false},
		{"{attributes.path: {contains: /a}}", PLATFORM(ATTRS), true},
		{"{attributes.path: {eq: \"/a\\u00e9\"}}", PLATFORM(ATTRS), true},
		{"{attributes.path: {ge: 0}}", PLATFORM(ATTRS), false},
		{"{attributes.ok: false}", PLATFORM(ATTRS), true},
		{"{attributes.ok: {in: [true, maybe]}}", PLATFORM(ATTRS), false},
		{"{attributes.nil: {present: true}}", PLATFORM(ATTRS), false},
		{"{attributes.nil: {present: false}}", PLATFORM(ATTRS), true},
		{"{attributes.list: {present: true}}", PLATFORM(ATTRS), true},
		{"{attributes.list: {regex: '.*'}}", PLATFORM(ATTRS), false},
		{"{attributes.list.x: 1}", PLATFORM(ATTRS), false},
		{"{attributes.request: {present: true}, attributes.request.method: GET}", PLATFORM(ATTRS),
			true},
		{"{attributes.request.size: {lt: -2499}}", PLATFORM(ATTRS), true},
		{"{attributes.request.size: '-2.5e3'}", PLATFORM(ATTRS), true},
		{"{attributes.method: {present: true}}", PLATFORM(ATTRS), false},
		{"{attributes.http.status: 404}", PLATFORM(ATTRS), true},
		{"{attributes.user_id: u9}", PLATFORM(ATTRS), true},
		{"{not: {attributes.code: 503}}", PLATFORM(ATTRS), false},
		{"{not: {attributes.none: 503}}", PLATFORM(ATTRS), true},
		/* unknown keys of the event's own object, properties, and what goes first */
		{"{attributes.zone: eu}", PLATFORM("\"zone\":\"eu\""), true},
		{"{attributes.a: x}", PLATFORM("\"\\u0061ttributes\":{\"a\":\"x\"}"), true},
		{"{attributes.a: x}",
			CUSTOM("\"properties\":{\"a\":\"y\"},\"attri\\u0062utes\":{\"a\":\"x\"}"), true},
		{"{attributes.z\xc3\xb6ne: eu}", PLATFORM("\"z\\u00f6ne\":\"eu\""), true},
		{"{attributes.zone.a.b: 7}", PLATFORM("\"zone\":{\"a\":{\"c\":1,\"b\":7}}"), true},
		{"{attributes.source: web}", PLATFORM("\"a\":1"), false},
		{"{attributes.page: /x}", PLATFORM("\"page\":\"/x\""), true},
		{"{attributes.page: /x}", CUSTOM("\"page\":\"/x\""), false},
		{"{attributes.type: custom}", CUSTOM("\"a\":1"), false},
		{"{attributes.plan: pro}", CUSTOM("\"properties\":{\"plan\":\"pro\"}"), true},
		{"{attributes.page: /y}", CUSTOM("\"page\":\"/x\",\"properties\":{\"page\":\"/y\"}"), true},
		{"{attributes.k: a}",
			PLATFORM("\"k\":\"t\",\"properties\":{\"k\":\"p\"},\"attributes\":{\"k\":\"a\"}"),
			true},
		{"{attributes.k: p}",
			PLATFORM("\"k\":\"t\",\"properties\":{\"k\":\"p\"},\"attributes\":{\"k\":null}"),
			true},
		{"{attributes.k: x}", PLATFORM("\"k\":\"x\",\"k\":\"y\""), true},
		{"{attributes.attributes: 5}", CUSTOM("\"attributes\":5"), true},
		/* not for other types */
		{"{type: custom, attributes.zone: eu}", PLATFORM("\"zone\":\"eu\""), false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof row / sizeof *row; i++)
		if (matches(row[i].when, row[i].json) != row[i].hit)
			fail_msg("%s on %s: expected %d", row[i].when, row[i].json, row[i].hit);
}

/* More values than one scan takes, long ones with escapes, and an object as deep as events may be. */
static void test_sizes(void **state)
{
	static char json[EVENT_ROOM];
	size_t n;

	(void)state;
	n = (size_t)snprintf(
		json, sizeof json, "{\"source\":\"web\",\"ts\":1763699990000,\"attributes\":{\"t\":\"");
	for (int i = 0; i < 500; i++)
		n += (size_t)snprintf(json + n, sizeof json - n, "\\u0041");
	snprintf(json + n, sizeof json - n, "needle\"}}");
	assert_true(matches("{attributes.t: {contains: Aneedle}}", json));
	assert_true(matches("{attributes.t: {regex: '^A{500}needle$'}}", json));
	n = (size_t)snprintf(json, sizeof json, "{\"source\":\"web\",\"ts\":1763699990000");
	for (int i = 0; i < EVENT_DEPTH_MAX - 1; i++)
		n += (size_t)snprintf(json + n, sizeof json - n, "%s\"a\":{", i ? "" : ",");
	for (int i = 0; i < EVENT_DEPTH_MAX; i++)
		json[n++] = '}';
	json[n] = 0;
	assert_true(matches("{attributes.a.a.a.a.a.a.a.a: {present: true}}", json));
	assert_false(matches("{attributes.a.a.a.b: {present: true}}", json));
}

/* ---- random events ---- */

struct node {
	char key[12];
	char kind;     /* t n w z(null) o a */
	char text[24]; /* decoded */
	struct node *child, *next;
};

static struct node pool[4096];
static uint32_t pool_used;
static uint64_t seed = 5;

static uint32_t dice(uint32_t sides)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)((seed >> 33) % sides);
}

static struct node *object_make(int depth);

static struct node *value_make(const char *key, int depth)
{
	static const char *const texts[] = {
		"", "a", "GET", "503", "caf\xc3\xa9", "x\"y", "needle", "two\nlines"};
	static const char *const numbers[] = {"0", "5", "-3", "2.5", "1e3", "503", "1e999"};
	struct node *n = &pool[pool_used++];

	assert_true(pool_used < 4000);
	memset(n, 0, sizeof *n);
	snprintf(n->key, sizeof n->key, "%s", key);
	switch (dice(depth < 4 ? 9 : 6)) {
	case 0:
	case 1:
		n->kind = 't';
		snprintf(n->text, sizeof n->text, "%s", texts[dice(8)]);
		break;
	case 2:
	case 3:
		n->kind = 'n';
		snprintf(n->text, sizeof n->text, "%s", numbers[dice(7)]);
		break;
	case 4:
		n->kind = 'w';
		snprintf(n->text, sizeof n->text, "%s", dice(2) ? "true" : "false");
		break;
	case 5:
		n->kind = dice(2) ? 'z' : 'a';
		break;
	default:
		n->kind = 'o';
		n->child = object_make(depth + 1);
	}
	return n;
}

static struct node *object_make(int depth)
{
	static const char *const keys[] = {
		"a", "b", "c", "a.b", "b.c", "k\xc3\xb6", "page", "user_id", "attributes"};
	struct node *head = NULL, **tail = &head;
	uint32_t from = dice(9), count = dice(6);

	for (uint32_t i = 0; i < count; i++) {
		const char *key = keys[(from + i) % 9];

		if (depth == 0 &&
			(!strcmp(key, "user_id") || !strcmp(key, "page") || !strcmp(key, "attributes")))
			continue; /* fields have rules of their own */
		*tail = value_make(key, depth);
		tail = &(*tail)->next;
	}
	return head;
}

static size_t text_write(char *out, const char *text)
{
	size_t n = 0;

	out[n++] = '"';
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c < 0x20 || c == '"' || c == '\\' || (c < 0x80 && !dice(8)))
			n += (size_t)snprintf(out + n, 7, "\\u%04x", c);
		else
			out[n++] = *text;
	}
	out[n++] = '"';
	return n;
}

static size_t object_write(char *out, const struct node *n);

static size_t value_write(char *out, const struct node *n)
{
	switch (n->kind) {
	case 't':
		return text_write(out, n->text);
	case 'z':
		memcpy(out, "null", 4);
		return 4;
	case 'a':
		memcpy(out, "[{\"a\":1},\"]\"]", 13);
		return 13;
	case 'o':
		return object_write(out, n->child);
	default:
		memcpy(out, n->text, strlen(n->text));
		return strlen(n->text);
	}
}

static size_t members_write(char *out, const struct node *n, bool comma)
{
	size_t used = 0;

	for (; n; n = n->next, comma = true) {
		if (comma)
			out[used++] = ',';
		used += text_write(out + used, n->key);
		out[used++] = ':';
		if (!dice(4))
			out[used++] = ' ';
		used += value_write(out + used, n);
	}
	return used;
}

static size_t object_write(char *out, const struct node *n)
{
	size_t used = 1;

	out[0] = '{';
	used += members_write(out + 1, n, false);
	out[used++] = '}';
	return used;
}

/* The first value under a path, in the order of the text; null is none. */
static const struct node *search(const struct node *n, const char *path)
{
	for (; n; n = n->next) {
		size_t bytes = strlen(n->key);

		if (!strcmp(n->key, path) && n->kind != 'z')
			return n;
		if (n->kind == 'o' && !strncmp(n->key, path, bytes) && path[bytes] == '.') {
			const struct node *found = search(n->child, path + bytes + 1);

			if (found)
				return found;
		}
	}
	return NULL;
}

struct doc {
	struct node *attributes, *properties, *top;
};

static const struct node *doc_search(const struct doc *d, const char *path)
{
	const struct node *found = search(d->attributes, path);

	found = found ? found : search(d->properties, path);
	return found ? found : search(d->top, path);
}

static void doc_write(struct doc *d, char *json)
{
	static const char *const heads[] = {"{\"source\":\"web\",\"ts\":1763699990000",
		"{\"type\":\"custom\",\"ts\":1763699990000",
		"{\"ts\":1763699990000,\"user_id\":\"u\",\"page\":\"/\"",
		"{\"type\":\"log\",\"source\":\"s\",\"message\":\"\",\"ts\":1763699990000"};
	size_t n = (size_t)snprintf(json, EVENT_ROOM, "%s", heads[dice(4)]);
	uint32_t order = dice(2);

	/* a platform event's own attributes are fields: metric and status are not among the random keys */
	d->attributes = object_make(1);
	d->properties = object_make(1);
	d->top = object_make(0);
	for (struct node *it = d->attributes; it; it = it->next)
		if (!strcmp(it->key, "user_id"))
			it->kind = 't', snprintf(it->text, sizeof it->text, "u1");
	for (uint32_t i = 0; i < 3; i++) {
		uint32_t part = (i + order) % 3;

		if (part == 2) {
			n += members_write(json + n, d->top, true);
			continue;
		}
		n += (size_t)snprintf(
			json + n, EVENT_ROOM - n, ",\"%s\":", part ? "properties" : "attributes");
		n += object_write(json + n, part ? d->properties : d->attributes);
	}
	json[n++] = '}';
	json[n] = 0;
}

static const char *const paths[] = {
	"a", "b", "a.b", "a.b.c", "b.c", "k\xc3\xb6", "c.a", "page", "user_id", "a.a.b.b"};
static const char *const tests[] = {"{present: true}", "GET", "{in: ['503', 'true']}", "{contains: eed}",
	"{regex: '^[a-z]+$'}", "{prefix: x}", "{suffix: é}", "{gt: 2}", "{le: 0}", "{regex: 'o\\nl'}"};

static bool expected(const struct node *n, uint32_t test)
{
	const char *t = n ? n->text : NULL;
	bool scalar = n && strchr("tnw", n->kind);
	double v = n && n->kind == 'n' ? strtod(t, NULL) : 0;
	bool number = n && n->kind == 'n' && __builtin_isfinite(v);
	size_t bytes = t ? strlen(t) : 0;

	switch (test) {
	case 0:
		return n != NULL;
	case 1:
		return scalar && !strcmp(t, "GET");
	case 2:
		return scalar && (!strcmp(t, "503") || !strcmp(t, "true"));
	case 3:
		return scalar && strstr(t, "eed");
	case 4:
		return scalar && bytes && strspn(t, "abcdefghijklmnopqrstuvwxyz") == bytes;
	case 5:
		return scalar && t[0] == 'x';
	case 6:
		return scalar && bytes >= 2 && !strcmp(t + bytes - 2, "\xc3\xa9");
	case 7:
		return number && v > 2;
	case 8:
		return number && v <= 0;
	default:
		return scalar && strstr(t, "o\nl");
	}
}

#define PATHS (sizeof paths / sizeof *paths)
#define TESTS (sizeof tests / sizeof *tests)

static struct ruleset *all_rules(void)
{
	char *yaml = NULL;
	size_t bytes;
	FILE *out = open_memstream(&yaml, &bytes);
	struct ruleset *rs;

	fputs("rules:\n", out);
	for (size_t p = 0; p < PATHS; p++)
		for (size_t t = 0; t < TESTS; t++)
			fprintf(out, "  - {id: r%zu, when: {'attributes.%s': %s}, then: tag}\n",
				p * TESTS + t, paths[p], tests[t]);
	fclose(out);
	rs = compiled(yaml);
	free(yaml);
	return rs;
}

static void check_event(const struct event *ev, const struct doc *d, const char *json, uint64_t *hits)
{
	uint32_t at = 0;

	for (uint32_t rule = 0; rule < PATHS * TESTS; rule++) {
		bool want = expected(doc_search(d, paths[rule / TESTS]), rule % TESTS);
		bool have = at < ev->hit_count && ev->hit[at] == rule;

		at += have;
		*hits += have;
		if (want != have)
			fail_msg("attributes.%s: %s: %s\n%s", paths[rule / TESTS], tests[rule % TESTS],
				want ? "should match" : "should not match", json);
	}
	assert_int_equal(at, ev->hit_count);
}

static void test_random(void **state)
{
	static struct parsed p[BURST];
	static struct doc d[BURST];
	static char json[BURST][EVENT_ROOM];
	struct event *burst[BURST];
	struct ruleset *rs = all_rules();
	struct matcher *m = matcher_of(rs);
	uint64_t hits = 0;

	(void)state;
	for (uint32_t round = 0; round < 3000; round++) {
		uint32_t n = 1 + dice(BURST);

		pool_used = 0;
		json_parser_reset(jp);
		for (uint32_t k = 0; k < n; k++) {
			doc_write(&d[k], json[k]);
			parse_into(&p[k], json[k]);
			burst[k] = &p[k].ev;
		}
		matcher_run(m, burst, n);
		for (uint32_t k = 0; k < n; k++)
			check_event(burst[k], &d[k], json[k], &hits);
	}
	assert_true(hits > 100000);
	matcher_free(m);
	ruleset_free(rs);
}

static void test_bounds(void **state)
{
	char *yaml = NULL;
	size_t bytes;
	FILE *out = open_memstream(&yaml, &bytes);
	struct rule_source source;
	struct ruleset *rs = NULL;
	struct err err = {0};

	(void)state;
	fputs("rules:\n", out);
	for (int i = 0; i < 65; i++)
		fprintf(out, "  - {id: r%d, when: {attributes.n%d: 1}, then: tag}\n", i, i);
	fclose(out);
	source = (struct rule_source){"t.yaml", yaml, strlen(yaml), false};
	assert_int_not_equal(ruleset_compile(&rs, &source, 1, 1000, &err), 0);
	assert_non_null(strstr(err.text, "rule r64: more than 64 attributes"));
	free(yaml);
}

int main(void)
{
	const struct CMUnitTest all[] = {cmocka_unit_test(test_reach), cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_random), cmocka_unit_test(test_bounds)};
	int failed;

	jp = json_parser_new(0);
	failed = cmocka_run_group_tests(all, NULL, NULL);
	json_parser_free(jp);
	return failed;
}
