/* Read commands over a made-up view: the ledger's equations, metrics text, tables for people. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli.h"
#include "ledger.h"
#include "made_view.h"
#include "metrics.h"
#include "views.h"

static struct config cfg;

static int64_t balance_of(const json_t *ledger, const char *place)
{
	int64_t sum = 0;
	size_t i, found = 0;
	json_t *eq;

	json_array_foreach(json_object_get(ledger, "equations"), i, eq)
	{
		if (strcmp(json_string_value(json_object_get(eq, "place")), place) != 0)
			continue;
		sum += json_integer_value(json_object_get(eq, "balance"));
		found++;
	}
	if (!found)
		fail_msg("no equation of %s", place);
	return sum;
}

static void test_ledger_balanced(void **state)
{
	struct view v;
	json_t *ledger;

	(void)state;
	made_view(&v, &cfg);
	ledger = ledger_json(&v);
	assert_true(json_is_true(json_object_get(ledger, "balanced")));
	/* ports, 2 workers, 1 listener, handoff, 2 partitions, 2 sink parts */
	assert_int_equal(json_array_size(json_object_get(ledger, "equations")), 10);
	json_decref(ledger);
	view_free(&v);
}

/* What is delivered and what is passed over make up the output log; alerts are records of their own there. */
static void test_ledger_output(void **state)
{
	struct view v;
	json_t *ledger;

	(void)state;
	for (int what = 0; what < 6; what++) {
		static const int expect[] = {0, 1, 1, 1, 1, 1};
		struct view_part *part;

		made_view(&v, &cfg);
		made_output(&v);
		part = &v.sink[1].part[2];
		part->rows -= what == 1;
		part->alerts -= what == 2;
		part->late -= what == 3;
		part->suppressed -= what == 4;
		part->other -= what == 5;
		ledger = ledger_json(&v);
		assert_int_equal(balance_of(ledger, "sink kafka-output, partition 2"), expect[what]);
		assert_int_equal(balance_of(ledger, "sink kafka-output, partition 0"), 0);
		assert_int_equal(json_integer_value(json_object_get(ledger, "balance")), expect[what]);
		assert_int_equal(json_array_size(json_object_get(ledger, "life")), 5);
		json_decref(ledger);
		view_free(&v);
	}
}

/* What the state stage took, counted and emitted: each lost record shows at its place. */
static void test_ledger_state(void **state)
{
	(void)state;
	for (int what = 0; what < 9; what++) {
		static const int expect[] = {0, 1, 1, 2, 3, 1, 1, 1, 1};
		struct state_part_stats *s;
		struct view v;
		json_t *ledger;

		made_view(&v, &cfg);
		made_output(&v);
		made_state(&v);
		s = &v.state_part[what == 1 || what == 6];
		s->run.records -= what == 1;
		s->stage.window[0].events -= what == 2;
		s->stage.window[0].filtered += what == 3 ? 2 : 0;
		s->stage.window[0].late -= what == 4 ? 3 : 0;
		s->run.marks += what == 5; /* emitted, but not in the log */
		s->appended += what == 6 ? 1 : 0;
		s->run.late += what == 6 ? 1 : 0;
		v.output[0].records[RECORD_LATE] += what == 7;
		s->run.events += what == 8; /* one that was never journaled */
		ledger = ledger_json(&v);
		assert_int_equal(json_integer_value(json_object_get(ledger, "balance")), expect[what]);
		json_decref(ledger);
		view_free(&v);
	}
}

/* While it recovers it has no equations, and says so. */
static void test_ledger_state_recovering(void **state)
{
	struct view v;
	json_t *ledger, *status;

	(void)state;
	made_view(&v, &cfg);
	made_output(&v);
	made_state(&v);
	v.state_part[0].phase = STATE_RECOVERING;
	v.state_part[0].stage.input_offset = 950;
	v.state_part[0].run.records = 12345;
	ledger = ledger_json(&v);
	assert_true(json_is_true(json_object_get(ledger, "balanced")));
	assert_int_equal(json_array_size(json_object_get(ledger, "unknown")), 1);
	json_decref(ledger);
	status = view_state_json(&v);
	assert_string_equal(json_string_value(json_object_get(status, "phase")), "recovering");
	/* 50 of 101, and all of 101 */
	assert_true(json_real_value(json_object_get(status, "recovered_percent")) == 74.8);
	json_decref(status);
	v.state_part[1].phase = STATE_FAILED;
	snprintf(v.state_part[1].error, sizeof v.state_part[1].error, "REPLAY DIFFERS");
	status = view_state_json(&v);
	assert_string_equal(json_string_value(json_object_get(status, "phase")), "failed");
	assert_string_equal(json_string_value(json_object_get(status, "error")), "REPLAY DIFFERS");
	json_decref(status);
	view_free(&v);
}

static void test_windows(void **state)
{
	const json_t *window;
	struct err err = {""};
	struct view v;
	json_t *windows;

	(void)state;
	made_view(&v, &cfg);
	assert_null(view_windows(&v, NULL, &err));
	assert_non_null(strstr(err.text, "state.enabled"));
	made_output(&v);
	made_state(&v);
	windows = view_windows(&v, NULL, &err);
	window = json_array_get(json_object_get(windows, "windows"), 0);
	assert_string_equal(json_string_value(json_object_get(window, "window")), "pages");
	assert_int_equal(json_integer_value(json_object_get(window, "events")), 1800);
	assert_string_equal(json_string_value(json_object_get(window, "closed_up_to")),
		"2023-11-14T22:13:23.000Z"); /* lowest */
	assert_string_equal(
		json_string_value(json_object_get(json_object_get(windows, "merge"), "held_back_by")),
		"partition 1; idle: web");
	assert_int_equal(json_array_size(json_object_get(windows, "sources")), 2);
	json_decref(windows);
	view_free(&v);
}

/* One more or less of anything shows at its place and nowhere else. */
static void test_ledger_finds_each_loss(void **state)
{
	struct view v;
	json_t *ledger;

	(void)state;
	for (int what = 0; what < 10; what++) {
		static const char *const place[] = {"worker 1", "listener web", "partition 0",
			"sink kafka, partition 1", "ports", "worker 0", "listener web", "listener web",
			"partition 1", "worker 0"};
		static const int expect[] = {1, 1, 1, 2, 5, -1, 3, 2, -4, 1};

		made_view(&v, &cfg);
		switch (what) {
		case 0:
			v.worker[1].drops[DROP_not_ip]--;
			break;
		case 1:
			v.worker[0].listener[0].dropped[DROP_rule_drop]--;
			break;
		case 2:
			v.partition[0].records[RECORD_EVENT]--;
			break;
		case 3:
			v.sink[0].part[1].events -= 2;
			break;
		case 4:
			v.port[0].rx_packets += 5;
			break;
		case 5:
			v.worker[0].drops[DROP_vlan]++;
			break;
		case 6:
			v.worker[1].listener[0].datagrams_read -= 3;
			break;
		case 7:
			v.worker[1].listener[0].dropped[DROP_rate_limited] -= 2;
			break;
		case 8:
			v.partition[1].refused_lost += 4;
			break;
		default:
			v.worker[0].neighbour.unsent--;
		}
		ledger = ledger_json(&v);
		assert_false(json_is_true(json_object_get(ledger, "balanced")));
		assert_int_equal(balance_of(ledger, place[what]), expect[what]);
		assert_int_equal(json_integer_value(json_object_get(ledger, "balance")), abs(expect[what]));
		json_decref(ledger);
		view_free(&v);
	}
}

static void test_ledger_unknown(void **state)
{
	struct view v;
	json_t *ledger;

	(void)state;
	made_view(&v, &cfg);
	v.port[0].rx_packets = PORT_COUNTER_UNKNOWN;
	v.sink[0].part[0].opened = false;
	ledger = ledger_json(&v);
	assert_int_equal(json_array_size(json_object_get(ledger, "equations")), 8);
	assert_int_equal(json_array_size(json_object_get(ledger, "unknown")), 2);
	json_decref(ledger);
	view_free(&v);
}

static char *metrics_text(const struct view *v)
{
	char *text;
	size_t bytes;
	FILE *out = open_memstream(&text, &bytes);

	metrics_print(v, out);
	fclose(out);
	return text;
}

static void expect_line(const char *text, const char *line)
{
	char whole[300];

	snprintf(whole, sizeof whole, "\n%s\n", line);
	if (!strstr(text, whole))
		fail_msg("missing: %s\nin:\n%s", line, text);
}

static void test_a_clock_that_was_set_back(void **state)
{
	struct view v;
	char *text;

	(void)state;
	made_view(&v, &cfg);
	made_output(&v);
	made_state(&v);
	v.now_ms = v.started_ms - 3600000;
	text = metrics_text(&v);
	expect_line(text, "sluice_uptime_seconds 10");
	expect_line(text, "sluice_state_checkpoint_age_seconds{partition=\"1\"} 0");
	free(text);
	view_free(&v);
}

static void test_metrics(void **state)
{
	struct view v;
	char *text;

	(void)state;
	made_view(&v, &cfg);
	made_output(&v);
	made_state(&v);
	v.rule[0].info.id = "a\"b\\c";
	text = metrics_text(&v);
	expect_line(text, "sluice_uptime_seconds 10");
	expect_line(text, "sluice_blind_seconds 2.500000");
	expect_line(text, "sluice_worker_frames_total{worker=\"1\"} 117");
	expect_line(text, "sluice_listener_events_total{listener=\"web\"} 400");
	expect_line(text, "sluice_listener_datagrams_read_total{listener=\"web\"} 196");
	expect_line(text,
		"sluice_listener_drops_total{listener=\"web\",reason=\"rate_limited\",unit=\"datagram\"} 4");
	expect_line(
		text, "sluice_listener_drops_total{listener=\"web\",reason=\"rule_drop\",unit=\"event\"} 10");
	expect_line(
		text, "sluice_listener_refused_total{listener=\"web\",reason=\"bad_json\",unit=\"event\"} 8");
	assert_null(strstr(text, "sluice_listener_drops_total{listener=\"web\",reason=\"bad_json\""));
	expect_line(text, "sluice_worker_neighbour_answered_total{worker=\"1\"} 6");
	expect_line(text, "sluice_port_rx_packets_total{port=\"p0\"} 234");
	expect_line(text, "sluice_sink_lag_seconds{sink=\"kafka\",partition=\"0\"} 1.500000");
	expect_line(text, "sluice_sink_up{sink=\"kafka\",partition=\"1\"} 0");
	expect_line(text, "sluice_sink_rows_total{sink=\"kafka-output\",partition=\"2\"} 30");
	expect_line(text, "sluice_sink_late_total{sink=\"kafka-output\",partition=\"0\"} 4");
	expect_line(text, "sluice_drops_total{reason=\"not_ip\",unit=\"frame\"} 2");
	expect_line(text, "sluice_drops_total{reason=\"duplicate\",unit=\"event\"} 22"); /* of this process */
	expect_line(text, "sluice_rule_hits_total{rule=\"a\\\"b\\\\c\"} 42");
	expect_line(text, "sluice_rule_state_alerts_total{rule=\"bots\"} 6");
	expect_line(text, "sluice_rule_closed_true_total{rule=\"a\\\"b\\\\c\"} 7");
	expect_line(text, "sluice_rule_closed_false_total{rule=\"a\\\"b\\\\c\"} 2");
	expect_line(text, "sluice_rules_not_in_force_total 3");
	expect_line(text, "sluice_rules_keys_dropped_total 20");
	expect_line(text, "sluice_alerts_closed_damaged_lines 2");
	expect_line(text, "sluice_rule_state_memory_bytes{rule=\"bots\"} 4096");
	expect_line(text, "# TYPE sluice_drops_total counter");
	expect_line(text, "sluice_window_events_total{window=\"pages\"} 1800");
	expect_line(text, "sluice_window_closed_seconds{window=\"pages\"} 1700000003");
	expect_line(text, "sluice_state_up{partition=\"merge\"} 1");
	expect_line(text, "sluice_state_checkpoint_age_seconds{partition=\"1\"} 3");
	expect_line(text, "sluice_merge_rows_total 90");
	/* A counter that the port does not have is not there, not 0. */
	assert_null(strstr(text, "sluice_port_kernel_drops_total"));
	free(text);
	view_free(&v);
}

static void test_metric_names(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < metric_count; i++) {
		const char *name = metric_table[i].name;
		bool total = strlen(name) > 6 && !strcmp(name + strlen(name) - 6, "_total");

		assert_int_equal(strncmp(name, "sluice_", 7), 0);
		assert_int_equal(total, !strcmp(metric_table[i].type, "counter"));
		assert_true(total || !strcmp(metric_table[i].type, "gauge"));
		for (uint32_t k = 0; k < i; k++)
			assert_string_not_equal(name, metric_table[k].name);
	}
}

/* promtool, where it is installed, finds nothing to say. */
static void test_promtool(void **state)
{
	struct view v;
	char *text;
	FILE *tool;

	(void)state;
	if (system("command -v promtool >/dev/null 2>&1"))
		skip();
	made_view(&v, &cfg);
	text = metrics_text(&v);
	tool = popen("promtool check metrics", "w");
	assert_non_null(tool);
	fputs(text, tool);
	assert_int_equal(pclose(tool), 0);
	free(text);
	view_free(&v);
}

/* Runs a view command, and renders its result as sluicectl does. */
static char *rendered(const struct view *v,
	json_t *(*fn)(const struct view *, const struct request *, struct err *), const struct request *rq)
{
	struct err err = {0};
	json_t *result = fn(v, rq, &err);
	char *text;
	size_t bytes;
	FILE *out = open_memstream(&text, &bytes);

	if (result)
		render_result(out, result);
	else
		fprintf(out, "error: %s\n", err.text);
	fclose(out);
	json_decref(result);
	return text;
}

static void expect_text(char *text, const char *expected)
{
	if (strcmp(text, expected) != 0)
		fail_msg("got:\n%s\nexpected:\n%s", text, expected);
	free(text);
}

static void test_tables(void **state)
{
	struct request rq = {.args = json_pack("{s:s}", "id", "noise")},
		       none = {.args = json_pack("{s:s}", "id", "x")};
	struct view v;

	(void)state;
	made_view(&v, &cfg);
	expect_text(rendered(&v, view_ports, &rq),
		"ports:\n"
		"  port  device     driver    link  rx_packets  rx_bytes  "
		"rx_missed  rx_no_mbuf  rx_errors  kernel_drops  numa_node  addresses\n"
		"  p0    net_null0  net_null  up           234     22000  "
		"        0           0          0  unknown               0  "
		"none: mirror, or static neighbour entries\n");
	expect_text(rendered(&v, view_rules_list, &rq),
		"version     00112233aabbccdd\n"
		"generation  3\n"
		"count       2\n"
		"canaries    0\n"
		"patterns    0\n"
		"rules:\n"
		"  id     mode      severity  actions     hits  by_pcre2  title\n"
		"  bots   in force  high      alert, tag    42         0  Scripted clients\n"
		"  noise  in force  info      drop          10         0  Health checks\n");
	expect_text(rendered(&v, view_rules_show, &rq),
		"id                     noise\n"
		"mode                   in force\n"
		"severity               info\n"
		"actions                drop\n"
		"hits                   10\n"
		"by_pcre2               0\n"
		"title                  Health checks\n"
		"file                   noise.yaml\n"
		"line                   1\n"
		"index                  1\n"
		"generation             3\n"
		"open                   -\n"
		"closed                 true=0 false=0 unsure=0 precision=-\n"
		"closed_other_versions  true=0 false=0 unsure=0 precision=-\n");
	expect_text(rendered(&v, view_rules_show, &none),
		"error: no rule 'x' in force; `rules list` shows all\n");
	expect_text(rendered(&v, view_enrich_show, &rq),
		"version   1122334455667788\n"
		"loaded    2023-11-14T22:13:21.000Z\n"
		"too_long  1\n"
		"tables:\n"
		"  table       rows  bytes  version           hits  misses  left_out  file\n"
		"  geoip_city  1000  65536  000000000000abcd   150      20         2  /etc/sluice/city.mmdb\n"
		"  segments      50   4096  000000000000ef01    90      10         0  "
		"/etc/sluice/segments.csv\n");
	json_decref(rq.args);
	json_decref(none.args);
	view_free(&v);
}

/* The canary of a rule, and a rule that would go. */
static void test_canary(void **state)
{
	struct request rq = {.args = json_pack("{s:s}", "id", "bots")};
	struct view v;
	char *text;

	(void)state;
	made_view(&v, &cfg);
	v.rule = realloc(v.rule, 3 * sizeof *v.rule);
	v.rule[2] = v.rule[0];
	v.rule[0].info.change = v.rule[2].info.change = RULE_CHANGED;
	v.rule[0].info.other = 2;
	v.rule[1].info.change = RULE_GONE;
	v.rule[2].info.canary = true;
	v.rule[2].hits = 57;
	v.rules = 3;
	v.canaries = 1;
	expect_text(rendered(&v, view_rules_list, &rq),
		"version     00112233aabbccdd\n"
		"generation  3\n"
		"count       2\n"
		"canaries    1\n"
		"patterns    0\n"
		"rules:\n"
		"  id     mode      severity  actions     hits  by_pcre2  title\n"
		"  bots   in force  high      alert, tag    42         0  Scripted clients\n"
		"  noise  in force  info      drop          10         0  Health checks\n"
		"  bots   canary    high      alert, tag    57         0  Scripted clients\n");
	text = rendered(&v, view_rules_stats, &rq);
	expect_line(text, "canary:");
	expect_line(text, "  id     change   would_alert  alerted_in_force  would_drop  hits  hits_in_force  "
			  "suppressed  keys  memory");
	expect_line(text, "  noise  gone               0                 0           0     0             10  "
			  "         0     0       0");
	expect_line(text, "  bots   changed           57                42           0    57             42  "
			  "         0     0       0");
	free(text);
	text = rendered(&v, view_rules_show, &rq);
	expect_line(text, "hits                   42");
	expect_line(text, "canary                 id=bots change=changed would_alert=57 alerted_in_force=42 "
			  "would_drop=0 "
			  "hits=57 hits_in_force=42 suppressed=0 keys=0 memory=0");
	free(text);
	text = rendered(&v, view_metrics, &rq);
	expect_line(text, "sluice_canary_rules 1");
	expect_line(text, "sluice_rules 2");
	expect_line(text, "sluice_rule_hits_total{rule=\"bots\"} 42");
	expect_line(text, "sluice_canary_hits_total{rule=\"bots\"} 57");
	expect_line(text, "sluice_canary_alerts_total{rule=\"bots\"} 57");
	expect_line(text, "sluice_canary_in_force_alerts_total{rule=\"bots\"} 42");
	free(text);
	json_decref(rq.args);
	view_free(&v);
}

static void test_status(void **state)
{
	struct request rq = {.args = json_object()};
	struct view v;
	char *text;

	(void)state;
	made_view(&v, &cfg);
	text = rendered(&v, view_status, &rq);
	expect_line(text, "phase           running");
	expect_line(text, "started         2023-11-14T22:13:20.000Z");
	expect_line(text, "ledger          balanced=yes balance=0");
	expect_line(text, "  port p0: kernel_drops is unknown");
	expect_line(text, "  2.5 s between the last durable block and the first frame after the restart");
	/* The worst part's state and error, without the terminal codes that came with it. */
	assert_non_null(strstr(text, "backoff"));
	assert_non_null(strstr(text, "broker ?[31maway?"));
	assert_null(strchr(text, 0x1b));
	free(text);
	/* A part that has nothing to say yet, as it waits for its turn, does not hide what another has. */
	v.sink[0].part[0].state = SINK_BACKOFF;
	snprintf(v.sink[0].part[0].error, sizeof v.sink[0].part[0].error, "%s", "no answer");
	v.sink[0].part[1].state = SINK_CONNECTING;
	v.sink[0].part[1].error[0] = 0;
	text = rendered(&v, view_status, &rq);
	assert_non_null(strstr(text, "no answer"));
	assert_non_null(strstr(text, "backoff"));
	free(text);
	json_decref(rq.args);
	view_free(&v);
}

/* Every view command answers on a full view and on an empty one. */
static void test_all_views(void **state)
{
#define ROW_view(id) {view_##id},
#define ROW_fast(id)
#define ROW_slow(id)
#define ROW_local(id)
	static const struct {
		json_t *(*fn)(const struct view *, const struct request *, struct err *);
	} row[] = {
#define COMMAND(id, words, access, where, help) ROW_##where(id)
#define ARG(command, name, kind, form, help)
#include "commands.def"
#undef COMMAND
#undef ARG
	};
	struct request rq = {.args = json_pack("{s:s}", "id", "bots")};

	(void)state;
	for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
		struct view v, empty = {.cfg = &cfg, .node = "n", .journal_dir = "d"};
		struct err err = {.text = ""};
		json_t *result;

		made_view(&v, &cfg);
		result = row[i].fn(&v, &rq, &err);
		/* Without a state stage there are no rows to show: an answer with a reason. */
		assert_true(result || err.text[0]);
		json_decref(result);
		view_free(&v);
		json_decref(row[i].fn(&empty, &rq, &err));
	}
	json_decref(rq.args);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_ledger_balanced),
		cmocka_unit_test(test_ledger_output), cmocka_unit_test(test_ledger_state),
		cmocka_unit_test(test_ledger_state_recovering), cmocka_unit_test(test_windows),
		cmocka_unit_test(test_ledger_finds_each_loss), cmocka_unit_test(test_ledger_unknown),
		cmocka_unit_test(test_metrics), cmocka_unit_test(test_metric_names),
		cmocka_unit_test(test_a_clock_that_was_set_back), cmocka_unit_test(test_promtool),
		cmocka_unit_test(test_tables), cmocka_unit_test(test_canary), cmocka_unit_test(test_status),
		cmocka_unit_test(test_all_views)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
