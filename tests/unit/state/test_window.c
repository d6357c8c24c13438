/* Definitions: what is refused and how it is said, canonical texts, random configurations there and back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <stdio.h>

#include "config_table.h"
#include "attr.h"
#include "hash.h"
#include "state_sample.h"
#include "window_priv.h"

static struct config cfg;

static void plan_of(struct window_plan **plan, const char *windows, struct err *err, int want)
{
	char text[4096];

	snprintf(text, sizeof text, "state: {step: 1s}\nwindows:\n%s", windows);
	err->text[0] = 0;
	if (config_parse(&cfg, text, strlen(text), "test", err))
		fail_msg("%s: %s", windows, err->text);
	assert_int_equal(cfg.from.windows[0], 3);
	if (window_plan_make(plan, &cfg, err) != want)
		fail_msg("%s: %s", windows, err->text);
}

/* The entry is refused with a text that has every one of the words. */
static void refuse(const char *entry, const char *words)
{
	char windows[1024], list[256], *save = NULL;
	struct window_plan *plan;
	struct err err;

	snprintf(windows, sizeof windows, "  - {name: w, %s}\n", entry);
	plan_of(&plan, windows, &err, -22);
	assert_null(plan);
	snprintf(list, sizeof list, "%s", words);
	if (strncmp(err.text, "test:3: window w: ", 18) != 0)
		fail_msg("%s", err.text);
	for (char *word = strtok_r(list, "|", &save); word; word = strtok_r(NULL, "|", &save))
		if (!strstr(err.text, word))
			fail_msg("'%s' is not in: %s", word, err.text);
}

static void test_refused_keys(void **state)
{
	(void)state;
	refuse("size: 0", "size: |more than 0");
	refuse("size: 1500ms", "size: |1500 ms|state.step, 1000 ms");
	refuse("kind: hopping, size: 10s", "slide: |needs it");
	refuse("kind: hopping, size: 10s, slide: 3s", "slide: 3s does not divide size, 10s");
	refuse("kind: hopping, size: 10s, slide: 500ms", "slide: |500 ms|state.step");
	refuse("kind: hopping, size: 10s, slide: 10s", "slide: |tumbling");
	refuse("kind: hopping, size: 4097s, slide: 1s", "slide: |4097 panes|at most 4096");
	refuse("kind: tumbling, slide: 10s", "slide: '10s': a tumbling window has no slide");
	refuse("kind: session, by: user_id", "gap: |needs it");
	refuse("kind: session, gap: 1m", "by: |exactly one");
	refuse("kind: session, gap: 1m, by: user_id, lateness: 1s",
		"lateness: '1s': a session window has no lateness");
	refuse("kind: session, gap: 1m, by: user_id, size: 2m", "size: '2m'");
	refuse("kind: session, gap: 1m, by: 'user_id, device_id'", "by: |exactly one");
	refuse("kind: session, gap: 1m, by: session_id, types: page_view",
		"by: session_id: page_view events are partitioned by user_id|expected user_id");
	refuse("kind: session, gap: 1m, by: device_id, types: 'telemetry, custom'",
		"by: device_id: custom events");
	refuse("kind: session, gap: 1m, by: device_id", "by: device_id: custom events");
	refuse("kind: session, gap: 1m, by: user_id, types: telemetry", "by: user_id: none of");
	refuse("kind: session, gap: 1m, by: user_id, rollup: 1h", "rollup: ");
	refuse("kind: funnel, size: 1h, by: user_id, steps: 'a: type = click; b: type = session'",
		"within: |needs it");
	refuse("kind: funnel, size: 1h, within: 1h, by: user_id", "steps: |needs it");
	refuse("kind: funnel, size: 1h, within: 1h, by: user_id, steps: 'a: type = click'",
		"steps: |two steps");
	refuse("kind: funnel, size: 1h, within: 1h, by: user_id, steps: 'a: type = click; a: type = session'",
		"steps: |two steps are named a");
	refuse("kind: funnel, size: 1h, within: 1h, by: user_id, steps: 'a: type = click; b:'",
		"steps: b: no tests");
	refuse("kind: funnel, size: 1h, within: 1h, by: user_id, steps: 'a: type = click; b type = click'",
		"steps: |NAME: TESTS");
	refuse("kind: funnel, size: 1h, within: 1h, by: user_id, steps: 'a: type = click; b: type = klick'",
		"steps: b: |did you mean click?");
	refuse("kind: funnel, size: 1h, within: 1h, by: user_id, aggregates: sum(value), steps: 'a: type = "
	       "click; b: type = "
	       "session'",
		"aggregates: |a funnel has count and conversion_rate only");
	refuse("kind: tumbling, size: 1h, aggregates: 'count, conversion_rate'",
		"aggregates: |only a funnel has attempts");
	refuse("types: pageview", "types: 'pageview': unknown event type; did you mean page_view?");
	refuse("types: 'click, click'", "types: 'click' is named twice");
	refuse("types: 'click platform'", "types: |comma");
	refuse("aggregates: nonsense", "aggregates: |nonsense");
	refuse("aggregates: distnct(user_id)", "aggregates: |did you mean distinct?");
	refuse("aggregates: sum(ammount)", "aggregates: sum(ammount): |did you mean amount?");
	refuse("aggregates: sum(page)", "aggregates: |sum(page)");
	refuse("anomaly: 'zscore(count,30)'", "anomaly: |zscore(count,30)");
	refuse("anomaly: 'zscore(avg_metric,30,3)'", "anomaly: |avg_metric|it has count");
	refuse("anomaly: 'seasonal(count,90s,3)'", "anomaly: |seasonal(count,90s,3)|a period is a multiple");
	refuse("kind: session, gap: 1m, by: user_id, anomaly: 'zscore(count,30,3)'",
		"anomaly: |a session window has no");
	refuse("rollup: 90s", "rollup: '90s': |multiple");
	refuse("rollup: '1h,1h'", "rollup: '1h': |multiple");
	refuse("rollup: 'x'", "rollup: 'x'");
	refuse("rollup: '2m,4m,8m,16m,32m'", "rollup: more than 4");
	refuse("kind: hopping, size: 10s, slide: 5s, rollup: 1h",
		"rollup: '1h': a hopping window has no rollup");
}

#define N50 "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"

static void test_refused_by(void **state)
{
	(void)state;
	refuse("by: contry", "by: 'contry': unknown field; did you mean country?");
	refuse("by: 'page, page'", "by: 'page' is named twice");
	refuse("by: 'page country'", "by: |comma");
	refuse("by: attributes", "by: 'attributes': an object");
	refuse("by: 'page,country,device,source,status'", "by: more than 4");
	refuse("by: 'page,country,device,source,attributes.plan'", "by: more than 4");
	refuse("by: 'attributes.a,attributes.b,attributes.c,attributes.d,attributes.e'", "by: more than 4");
	refuse("by: 'attributes.plan, page, \"attributes.plan\"'", "by: 'attributes.plan' is named twice");
	refuse("by: attributes.", "by: 'attributes.': expected names joined by dots");
	refuse("by: attributes.a..b", "by: 'attributes.a..b': expected names joined by dots");
	refuse("by: attributes..a", "by: 'attributes..a': expected names joined by dots");
	refuse("by: attributes.a.", "by: 'attributes.a.': expected names joined by dots");
	refuse("by: attributes.a.b.c.d.e.f.g.h.i", "by: 'attributes.a.b|at most 8 names and 200 bytes");
	refuse("by: attributes." N50 N50 N50 N50 "n", "by: 'attributes.nnn|at most 8 names and 200 bytes");
	refuse("by: \"'attributes.a\"", "by: a text in ' has no end");
	refuse("by: '\"attributes.a\"b'", "by: 'b': expected a comma");
	refuse("by: 'attributes.a b'", "by: 'b': expected a comma");
	refuse("by: '\"attributes.a\\q\"'", "by: in quotes a backslash stands before");
	refuse("by: '\"attributes.a\\'", "by: a text in \" has no end");
	refuse("by: 'attributes.\"a.b\"'", "by: 'attributes.\"a.b\"': a name with quotes");
	refuse("by: \"country, attributes.it's\"", "by: 'attributes.it's': a name with quotes");
	refuse("by: plan", "by: 'plan': unknown field|attributes.NAME");
	refuse("by: attribute.plan", "by: 'attribute.plan': unknown field");
	refuse("by: '\"contry\"'", "by: 'contry': unknown field; did you mean country?");
	refuse("kind: session, gap: 1m, by: attributes.user", "by: attributes.user: |session|as user_id");
	refuse("kind: funnel, size: 1h, within: 1h, by: attributes.user_id, steps: 'a: type = click; b: type "
	       "= "
	       "session'",
		"by: attributes.user_id: |funnel|as user_id");
}

static void test_refused_where(void **state)
{
	(void)state;
	refuse("where: 'type = click', types: platform", "where: no event type passes");
	refuse("where: 'attributes.plan = x'", "where: 'attributes.plan': attributes stand in `by` alone");
	refuse("aggregates: 'distinct(attributes.plan)'", "attributes stand in `by` alone");
	refuse("where: 'user = x'", "where: 'user': unknown field");
	refuse("where: 'usr_id = x'", "where: 'usr_id': unknown field; did you mean user_id?");
	refuse("where: 'page > x'", "where: page >: not a number field");
	refuse("where: 'attributes = x'", "where: attributes =: |exists");
	refuse("where: 'event_id = x'", "where: event_id =: |exists");
	refuse("where: 'type > click'", "where: type >: ");
	refuse("where: 'type exists'", "where: type exists: ");
	refuse("where: 'page'", "where: the text ends: expected =");
	refuse("where: 'page is x'", "where: 'is': expected =");
	refuse("where: 'page == x'", "where: '==': expected =");
	refuse("where: 'page ='", "where: the text ends: expected a value");
	refuse("where: 'page = a b'", "where: 'b': expected and");
	refuse("where: 'page = a and'", "where: the text ends: expected a field");
	refuse("where: 'page in a'", "where: 'a': expected (");
	refuse("where: 'page in (a'", "where: the text ends: expected a comma or )");
	refuse("where: 'page in ()'", "where: ')': expected a value");
	refuse("where: 'page = \"a'", "where: |no end");
	refuse("where: 'page = \"\\n\"'", "where: |backslash");
	refuse("where: 'metric = abc'", "where: 'abc': expected a number");
	refuse("where: 'metric = 0x10'", "where: '0x10': expected a number");
	refuse("where: 'metric = nan'", "where: 'nan': expected a number");
	refuse("where: 'metric = 1e999'", "where: '1e999': expected a number");
	refuse("where: 'amount = 1.1234567'", "where: |six decimals");
	refuse("where: 'amount = 1.'", "where: |six decimals");
	refuse("where: 'amount = 99999999999999999999'", "where: |six decimals");
	refuse("where: 'ts > yesterday'", "where: |milliseconds");
	refuse("where: 'country = 123456789'", "where: |9 bytes|at most 8");
}

static void test_names(void **state)
{
	static const char *const bad[] = {"1m", "_x", "a-b", "a.b", "a b", "\xc3\xa4"};
	struct window_plan *plan;
	struct err err;
	char windows[256];

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		snprintf(windows, sizeof windows, "  - {name: '%s'}\n", bad[i]);
		plan_of(&plan, windows, &err, -22);
		assert_non_null(strstr(err.text, "name: expected a letter"));
	}
	plan_of(&plan, "  - {name: a, size: 1m}\n  - {name: b}\n  - {name: a, size: 2m}\n", &err, -22);
	assert_non_null(strstr(err.text, "window a: name: two windows have it"));
}

static void test_plan(void **state)
{
	struct window_plan *plan;
	const struct window_def *def;
	struct err err;

	(void)state;
	plan_of(&plan,
		"  - {name: hop, kind: hopping, size: 1m, slide: 5s, by: 'page , country', types: "
		"'page_view,click', "
		"lateness: 30s, where: 'country in (DE,\"FR\") and page != \"/a b\"', keys_max: 500, kafka: "
		"false}\n"
		"  - {name: buy, kind: funnel, size: 1h, within: 30m, by: user_id,"
		" steps: 'view: type = page_view ; buy: type = conversion and value >= 5.0'}\n",
		&err, 0);
	assert_int_equal(plan->count, 2);
	assert_int_equal(plan->step_ms, 1000);
	assert_true(plan->def[0]->uid < plan->def[1]->uid);
	def = plan->def[strcmp(plan->def[0]->name, "hop") != 0];
	assert_ptr_equal(window_plan_find(plan, def->uid), def);
	assert_null(window_plan_find(plan, def->uid + 1));
	assert_int_equal(def->kind, WINDOW_HOPPING);
	assert_int_equal(def->size_ms, 60000);
	assert_int_equal(def->slide_ms, 5000);
	assert_int_equal(def->lateness_ms, 30000);
	assert_int_equal(def->group_count, 2);
	assert_int_equal(def->group[0], FIELD_page);
	assert_int_equal(def->group[1], FIELD_country);
	assert_int_equal(def->keys_max, 500);
	assert_false(def->to_kafka);
	assert_true(def->to_clickhouse);
	assert_string_equal(def->text,
		"name=\"hop\" kind=hopping size=1m slide=5s by=\"page,country\" types=\"click,page_view\" "
		"where=\"country in (DE,FR) and page!=\\\"/a b\\\"\" aggregates=\"count\" lateness=30s "
		"keys_max=500 "
		"kafka=false clickhouse=true");
	assert_true(def->uid == hash_bytes(def->text, strlen(def->text), 0));
	def = plan->def[strcmp(plan->def[0]->name, "buy") != 0];
	assert_int_equal(def->step_count, 2);
	assert_string_equal(def->step_name[0], "view");
	assert_string_equal(def->step_name[1], "buy");
	assert_int_equal(window_filter_types(def->step[0]), 1u << EVENT_TYPE_page_view);
	assert_int_equal(window_filter_types(def->step[1]), 1u << EVENT_TYPE_conversion);
	assert_int_equal(def->within_ms, 1800000);
	assert_string_equal(def->text,
		"name=\"buy\" kind=funnel size=1h within=30m by=\"user_id\" "
		"steps=\"view:type=page_view;buy:type=conversion and value>=5\" keys_max=1000000 kafka=true "
		"clickhouse=true");
	window_plan_free(plan);
}

/* What a definition says of attributes. */
static void test_attributes(void **state)
{
	struct window_plan *plan;
	const struct window_def *def;
	struct err err;

	(void)state;
	plan_of(&plan, "  - {name: plans, by: 'country , \"attributes.my plan\",attributes.a.b, ts'}\n", &err,
		0);
	def = plan->def[0];
	assert_int_equal(def->group_count, 4);
	assert_string_equal(window_group_name(def, 0), "country");
	assert_string_equal(window_group_name(def, 1), "attributes.my plan");
	assert_string_equal(window_group_name(def, 2), "attributes.a.b");
	assert_string_equal(window_group_name(def, 3), "ts");
	assert_int_equal(def->group[1], FIELD_NONE);
	assert_true(!def->attr[0] && def->attr[1] && def->attr[2] && !def->attr[3]);
	assert_string_equal(def->text,
		"name=\"plans\" kind=tumbling size=1m by=\"country,\\\"attributes.my "
		"plan\\\",attributes.a.b,ts\" aggregates=\"count\" lateness=0ms keys_max=1000000 kafka=true "
		"clickhouse=true");
	window_plan_free(plan);
}

/* Blanks and quotes make no other definition; a value does. */
static void test_canonical(void **state)
{
	static const struct {
		const char *a, *b;
		bool same;
	} row[] = {
		{"where: 'page = x and value>=5.0'", "where: '  page=\"x\"  and  value >= 5e0 '", true},
		{"where: 'amount = 5.10'", "where: 'amount=5.1'", true},
		{"aggregates: 'count, distinct(user_id)'", "aggregates: ' count ,distinct (user_id) '", true},
		{"aggregates: 'count as  c'", "aggregates: 'count  as c'", true},
		{"aggregates: 'count as c'", "aggregates: 'count as d'", false},
		{"aggregates: 'count(page=a b)'", "aggregates: 'count(page=a  b)'", false},
		{"aggregates: 'count(page=\"),\"), count'", "aggregates: 'count(page=\"),\") ,  count'",
			true},
		{"types: 'click,page_view'", "types: 'page_view , click'", true},
		{"by: 'page, country'", "by: 'page,country'", true},
		{"by: 'page,country'", "by: 'country,page'", false},
		{"by: 'page,country'", "by: '\"page\" , country'", true},
		{"by: 'page,attributes.plan'", "by: ' page , \"attributes.plan\"'", true},
		{"by: attributes.plan", "by: attributes.plam", false},
		{"by: attributes.user_id", "by: user_id", false},
		{"by: '\"attributes.a b\"'", "by: \"'attributes.a b'\"", true},
		{"by: 'attributes.a\\b'", "by: '\"attributes.a\\\\b\"'", true},
		{"rollup: '60m, 24h'", "rollup: '1h,1d'", true},
		{"size: 60s", "size: 1m", true},
		{"where: 'page = x'", "where: 'page = X'", false},
		{"lateness: 1s", "lateness: 2s", false},
		{"anomaly: 'zscore(count,30,3) ; ewma(count,0.1,3)'",
			"anomaly: 'zscore(count,30,3);ewma(count,0.1,3)'", true},
	};
	struct window_plan *a, *b;
	char text[512];
	struct err err;

	(void)state;
	for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
		snprintf(text, sizeof text, "  - {name: w, %s}\n", row[i].a);
		plan_of(&a, text, &err, 0);
		snprintf(text, sizeof text, "  - {name: w, %s}\n", row[i].b);
		plan_of(&b, text, &err, 0);
		if ((a->def[0]->uid == b->def[0]->uid) != row[i].same)
			fail_msg("%s\n%s", a->def[0]->text, b->def[0]->text);
		window_plan_free(a);
		window_plan_free(b);
	}
}

static void test_shipped(void **state)
{
	static const char *const name[] = {
		"page_minute", "source_5s", "source_1m", "telemetry_1m", "payments_1m", "sessions", "funnel"};
	struct window_plan *plan;
	struct err err;

	(void)state;
	config_defaults(&cfg);
	assert_int_equal(window_plan_make(&plan, &cfg, &err), 0);
	assert_int_equal(plan->count, sizeof name / sizeof *name);
	for (size_t i = 0; i < sizeof name / sizeof *name; i++) {
		bool found = false;

		for (uint32_t k = 0; k < plan->count; k++)
			found |= !strcmp(plan->def[k]->name, name[i]);
		assert_true(found);
	}
	window_plan_free(plan);
	cfg.state.defaults = false;
	assert_int_equal(window_plan_make(&plan, &cfg, &err), 0);
	assert_int_equal(plan->count, 0);
	window_plan_free(plan);
}

static void test_parse_refused(void **state)
{
	static const char *const bad[] = {"", "name", "name=", "=x", "name=\"w", "name=w name=w",
		"name=w sizes=1m", "name=w size=x", "name=w kind=round", "name=\"w\"kind=tumbling",
		"kind=tumbling", "name=w size=1m slide=1s", "name=w size=1m \x01=2",
		"name=w by=attributes.a\x01", "name=w by='attributes.a\x7f'"};
	struct window_def *def;
	struct err err;

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		err.text[0] = 0;
		assert_int_equal(window_def_parse(&def, bad[i], &err), -22);
		assert_null(def);
		assert_true(err.text[0]);
	}
	assert_int_equal(window_def_parse(&def, "name=w sizes=1m", &err), -22);
	assert_non_null(strstr(err.text, "did you mean size?"));
}

/* ---- random configurations ---- */

static uint64_t seed;

static uint32_t roll(uint32_t n)
{
	seed = hash_u64(seed + 0x9e37);
	return (uint32_t)(seed >> 33) % n;
}

static const char *any(const char *const *list, uint32_t count)
{
	return list[roll(count)];
}
#define ANY(...)                                                                                             \
	any((const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static void add(config_str to, const char *text)
{
	size_t n = strlen(to);

	if (n + strlen(text) < sizeof(config_str))
		memcpy(to + n, text, strlen(text) + 1);
}

/* A text value in any of the ways to write it. */
static void add_value(config_str to)
{
	char quote = roll(2) ? '"' : '\'', word[40];
	size_t n = 0;
	uint32_t count = roll(8);

	if (roll(3) == 0) {
		add(to, ANY("x", "/buy", "DE", "a\\b", "\xc3\xa4", "and", "in", "a*b%", "1.5", "-"));
		return;
	}
	word[n++] = quote;
	for (uint32_t i = 0; i < count; i++) {
		char ch = "ab ,;=<>!()'\"\\:/"[roll(16)];

		if (ch == quote || ch == '\\' || (roll(8) == 0 && (ch == '"' || ch == '\'')))
			word[n++] = '\\';
		word[n++] = ch;
	}
	word[n++] = quote;
	word[n] = 0;
	add(to, word);
}

static void add_tests(config_str to, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		if (i)
			add(to, ANY(" and ", "  and "));
		switch (roll(5)) {
		case 0:
			add(to, ANY("metric", "value"));
			add(to, ANY("<", " <= ", ">", " >=", "=", " !="));
			add(to, ANY("5", "-0", "1e3", "0.1", "1e-7", "+4", "12345678901234567890", ".5",
					"5."));
			break;
		case 1:
			add(to, "amount ");
			add(to, ANY("<", "<= ", "> ", ">=", "=", "!= "));
			add(to, ANY("5", "-0", "0.100", "12.345678", "-3", "9200000000000"));
			break;
		case 2:
			add(to, ANY("page exists", "attributes  exists", "event_id exists", "ts >= 5",
					"ts != 1715200123456"));
			break;
		case 3:
			add(to, ANY("page in (", "user_id  in( "));
			add_value(to);
			add(to, ANY(",", " , "));
			add_value(to);
			add(to, ANY(")", " ) "));
			break;
		default:
			add(to, ANY("page", "referrer "));
			add(to, ANY("=", " = ", "!=", " != "));
			add_value(to);
		}
	}
}

static void cut_blank(config_str text) /* a cut test would not parse */
{
	if (strlen(text) > 220)
		text[0] = 0;
}

static void random_window(struct config_windows *cw)
{
	struct err err;

	assert_int_equal(window_text_read(cw, "name=x", &err), 0);
	snprintf(cw->name, sizeof cw->name, "%s%u", ANY("w", "Page_minute", "a_"), roll(1000));
	cw->kind = roll(4);
	cw->keys_max = 1 + roll(100000);
	cw->kafka = roll(2);
	cw->clickhouse = roll(2);
	snprintf(cw->types, sizeof cw->types, "%s",
		ANY("", "click", " page_view,click ", "session , conversion,page_view"));
	add_tests(cw->where, roll(4));
	cut_blank(cw->where);
	if (cw->kind <= WINDOW_HOPPING) {
		snprintf(cw->by, sizeof cw->by, "%s",
			ANY("", "page", " page , country ", "source,amount,ts,event_id", "attributes.plan ",
				"page,attributes.a.b,attributes.a , ts", "'attributes.a, \"b\\\\' , country",
				"attributes.x\\y,\"attributes.it's\",attributes.(\xc3\xa9)"));
		cw->lateness = roll(2) * roll(100000);
		cw->size = 1000ull * (1 + roll(5000));
		snprintf(cw->anomaly, sizeof cw->anomaly, "%s",
			ANY("", "zscore(count,60,3)", " zscore(count,60,3) ;  ewma( count , 0.1 ,3) "));
	} else {
		snprintf(cw->by, sizeof cw->by, "%s", ANY("user_id", " user_id "));
	}
	if (cw->kind == WINDOW_TUMBLING && roll(2))
		snprintf(cw->rollup, sizeof cw->rollup, "%us , %ums", (uint32_t)(cw->size / 1000) * 2,
			(uint32_t)cw->size * 4);
	if (cw->kind == WINDOW_HOPPING) {
		cw->slide = cw->size;
		cw->size *= 2 + roll(4000);
	}
	if (cw->kind == WINDOW_SESSION)
		cw->gap = 1 + roll(86400000);
	if (cw->kind != WINDOW_FUNNEL) {
		snprintf(cw->aggregates, sizeof cw->aggregates, "%s",
			ANY("count", " count , sum( amount ) ", "count(page= a  b ) as  c,avg (metric)",
				"count(page=\"x,y)\") as z"));
		return;
	}
	cw->size = 3600000;
	cw->within = 1 + roll(1000000);
	for (uint32_t i = 0; i < 2; i++) {
		char head[16];

		snprintf(head, sizeof head, "%ss%u-x :", i ? ";" : "", i);
		add(cw->steps, head);
		add_tests(cw->steps, 1);
	}
}

/* Any configuration: its canonical text gives the same definition again, and itself. */
static void test_round_trip(void **state)
{
	uint32_t made[4] = {0};

	(void)state;
	for (uint32_t i = 0; i < 100000; i++) {
		struct config_windows cw, again;
		struct window_def *a, *b, *c;
		struct err err;

		seed = i;
		random_window(&cw);
		if (window_def_make(&a, &cw, &err))
			fail_msg("%u: %s (%s | %s)", i, err.text, cw.where, cw.steps);
		made[a->kind]++;
		if (window_def_parse(&b, a->text, &err))
			fail_msg("%u: %s: %s", i, a->text, err.text);
		assert_string_equal(a->text, b->text);
		assert_int_equal(window_text_read(&again, a->text, &err), 0);
		assert_int_equal(window_def_make(&c, &again, &err), 0);
		if (strcmp(a->text, c->text) != 0)
			fail_msg("%u:\n%s\n%s", i, a->text, c->text);
		assert_true(a->uid == b->uid && a->uid == c->uid);
		assert_true(a->size_ms == b->size_ms && a->slide_ms == b->slide_ms && a->gap_ms == b->gap_ms);
		assert_true(a->within_ms == b->within_ms && a->lateness_ms == b->lateness_ms);
		assert_true(a->keys_max == b->keys_max && a->to_kafka == b->to_kafka);
		assert_true(a->group_count == b->group_count && a->step_count == b->step_count);
		assert_memory_equal(a->group, b->group, sizeof a->group);
		for (uint32_t k = 0; k < a->group_count; k++) {
			assert_string_equal(window_group_name(a, k), window_group_name(b, k));
			assert_int_equal(
				a->attr[k] != NULL, !strncmp(window_group_name(a, k), "attributes.", 11));
		}
		assert_memory_equal(a->step_name, b->step_name, sizeof a->step_name);
		assert_string_equal(a->anomaly, b->anomaly);
		assert_string_equal(a->rollup, b->rollup);
		window_def_free(a);
		window_def_free(b);
		window_def_free(c);
	}
	for (int k = 0; k < 4; k++)
		assert_in_range(made[k], 20000, 30000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused_keys),
		cmocka_unit_test(test_refused_by),
		cmocka_unit_test(test_refused_where),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_plan),
		cmocka_unit_test(test_attributes),
		cmocka_unit_test(test_canonical),
		cmocka_unit_test(test_shipped),
		cmocka_unit_test(test_parse_refused),
		cmocka_unit_test(test_round_trip),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
