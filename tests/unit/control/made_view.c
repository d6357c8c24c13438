/* The made-up daemon: two workers, one listener, one port, two partitions, one sink, two rules. */
#include "made_view.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void made_config(struct config *cfg)
{
	static const char text[] = "node: {id: box-1}\n"
				   "ports:\n  - {name: p0, device: net_null0}\n"
				   "listeners:\n  - {name: web, udp_port: 9000}\n";

	if (config_parse(cfg, text, sizeof text - 1, "made", NULL))
		abort();
}

static void made_workers(struct view *v)
{
	v->workers = 2;
	v->worker = aligned_alloc(64, 2 * sizeof *v->worker);
	memset(v->worker, 0, 2 * sizeof *v->worker);
	for (int w = 0; w < 2; w++) {
		struct worker_stats *s = &v->worker[w];

		s->frames = 117;
		s->frame_bytes = 11000;
		s->polls = 500;
		s->busy_cycles = 3000;
		s->idle_cycles = 9000;
		s->drops[DROP_not_ip] = 1;
		s->decode.fragments_joined = 4;
		s->decode.fragments_held = 2;
		s->neighbour.answered = 6;
		s->neighbour.unsent = 1;
		s->drops[DROP_no_listener] = 3;
		s->drops[DROP_bad_json] = 4; /* event unit: not in the frame equation */
		s->drops[DROP_rule_drop] = 5;
		s->drops[DROP_rate_limited] = 2;
		s->listener[0].datagrams = 100;
		s->listener[0].datagrams_read = 98;
		s->listener[0].bytes = 9000;
		s->listener[0].events = 200;
		s->listener[0].accepted = 191;
		s->listener[0].refused_kept = 3;
		s->listener[0].refused[DROP_bad_json] = 4;
		s->listener[0].dropped[DROP_rate_limited] = 2;
		s->listener[0].dropped[DROP_rule_drop] = 5;
		s->listener[0].dropped[DROP_dead_letter_quota] = 1;
	}
	v->ports = 1;
	v->port = calloc(1, sizeof *v->port);
	snprintf(v->port->name, sizeof v->port->name, "p0");
	snprintf(v->port->device, sizeof v->port->device, "net_null0");
	snprintf(v->port->driver, sizeof v->port->driver, "net_null");
	v->port->link_up = true;
	v->port->rx_packets = 234;
	v->port->rx_bytes = 22000;
	v->port->kernel_drops = PORT_COUNTER_UNKNOWN;
}

static void made_partitions(struct view *v)
{
	v->partitions = 2;
	v->partition = calloc(2, sizeof *v->partition);
	v->base = calloc(2, sizeof *v->base);
	for (int p = 0; p < 2; p++) {
		struct journal_partition_stats *s = &v->partition[p], *base = &v->base[p];

		base->records[RECORD_EVENT] = 1000;
		base->records[RECORD_CONTROL] = 1;
		base->durable_offset = 1001;
		base->drops[DROP_duplicate] = 6;
		s->records[RECORD_EVENT] = 1180;
		s->records[RECORD_REFUSED] = 3;
		s->records[RECORD_CONTROL] = 1;
		s->durable_offset = 1184;
		s->durable_bytes = 118400;
		s->batch_records = 194;
		s->events_batched = 191;
		s->duplicates = 11;
		s->drops[DROP_duplicate] = 17;
		s->segments_used = 1;
		s->segments_max = 16;
		s->receive_last_ms = 1700000005000;
	}
}

static void made_sink(struct view *v)
{
	v->sinks = 1;
	v->sink[0] = (struct view_sink){
		SINK_kafka, SINK_LOG_INPUT, "kafka", 2, calloc(2, sizeof *v->sink[0].part), false};
	for (uint32_t p = 0; p < 2; p++) {
		struct view_part *part = &v->sink[0].part[p];

		part->partition = p;
		part->opened = true;
		part->state = SINK_RUNNING;
		part->start = 1001;
		part->position = 1174;
		part->events = 170;
		part->dead = 3;
		part->lag_events = 10;
		part->lag_bytes = 1000;
		part->lag_ms = 1500;
	}
	v->sink[0].part[1].state = SINK_BACKOFF;
	snprintf(v->sink[0].part[1].error, sizeof v->sink[0].part[1].error, "%s", "broker \x1b[31maway\n");
}

void made_view(struct view *v, struct config *cfg)
{
	memset(v, 0, sizeof *v);
	made_config(cfg);
	v->cfg = cfg;
	v->node = cfg->node.id;
	v->journal_dir = "/var/lib/sluice/journal";
	v->epoch = 0x1234;
	v->phase = PHASE_RUNNING;
	v->started_ms = 1700000000000;
	v->now_ms = 1700000010000;
	v->uptime_seconds = 10;
	v->blind = (struct view_blind){1699999998000, 1700000000500};
	made_workers(v);
	made_partitions(v);
	made_sink(v);
	v->rules = 2;
	v->rule = calloc(2, sizeof *v->rule);
	v->rule[0] = (struct view_rule){{.id = "bots",
						.title = "Scripted clients",
						.severity = SEVERITY_HIGH,
						.actions = RULE_ACTION_TAG | RULE_ACTION_ALERT,
						.file = "bots.yaml",
						.line = 3},
		42, {{7, 2, 1}}, {{1, 0, 0}}};
	v->rule[1] = (struct view_rule){{.id = "noise",
						.title = "Health checks",
						.severity = SEVERITY_INFO,
						.actions = RULE_ACTION_DROP,
						.file = "noise.yaml",
						.line = 1},
		10, {{0}}, {{0}}};
	v->enrich_tables = 2;
	v->enrich[0] = (struct view_enrich){
		{"geoip_city", "/etc/sluice/city.mmdb", 1000, 65536, 0xabcd, 2}, 150, 20};
	v->enrich[1] =
		(struct view_enrich){{"segments", "/etc/sluice/segments.csv", 50, 4096, 0xef01, 0}, 90, 10};
	v->enrich_version = 0x1122334455667788;
	v->enrich_loaded_ms = 1700000001000;
	v->enrich_too_long = 1;
	v->generation = 3;
	snprintf(v->version, sizeof v->version, "00112233aabbccdd");
}

void made_output(struct view *v)
{
	struct view_part *part = calloc(3, sizeof *part);

	v->outputs = 3;
	v->output = calloc(3, sizeof *v->output);
	v->sink[v->sinks++] = (struct view_sink){
		SINK_LOG_OUTPUT * SINK_ID_MAX + SINK_kafka, SINK_LOG_OUTPUT, "kafka-output", 3, part, false};
	for (uint32_t p = 0; p < 3; p++) {
		struct journal_partition_stats *s = &v->output[p];

		s->records[p == 2 ? RECORD_ROW : RECORD_MARK] = 90;
		s->records[RECORD_LATE] = 10;
		s->durable_offset = 100;
		part[p] = (struct view_part){.partition = p,
			.opened = true,
			.state = SINK_RUNNING,
			.start = 40,
			.position = 95,
			.rows = p == 2 ? 30 : 0,
			.alerts = p == 2 ? 11 : 0,
			.suppressed = p == 2 ? 6 : 0,
			.late = 4,
			.other = p == 2 ? 4 : 51,
			.lag_events = 5};
	}
}

void made_state(struct view *v)
{
	static struct window_def def = {.uid = 7, .name = "pages", .kind = WINDOW_TUMBLING};
	static const struct window_plan plan = {.count = 1, .def = {&def}, .step_ms = 1000};

	v->plan = &plan;
	v->rule_totals = (struct cep_totals){1, 20, 3, 4};
	v->closings_damaged = 2;
	v->rule_states = 1;
	v->rule_state = calloc(1, sizeof *v->rule_state);
	v->rule_state[0] = (struct view_rule_state){.id = "bots",
		.partitions = 2,
		.sum = {.uid = 9,
			.hits = 41,
			.alerts = 6,
			.suppressed = 3,
			.keys = 12,
			.memory_bytes = 4096}};
	v->state_parts = 2;
	v->state_part = calloc(2, sizeof *v->state_part);
	v->output_base = calloc(3, sizeof *v->output_base);
	for (uint32_t p = 0; p < 2; p++) {
		struct state_part_stats *s = &v->state_part[p];

		s->phase = STATE_RUNNING;
		s->replay_from = 900;
		s->replay_to = 1001;
		s->stage.input_offset = 1184;
		s->stage.events = 1180;
		s->stage.watermark_ms = 1700000004000;
		s->stage.window_count = 1;
		s->stage.window[0] = (struct stage_window_stats){.uid = 7,
			.events = 900,
			.filtered = 270,
			.late = 10,
			.rows = 40,
			.keys = 5,
			.closed_ms = 1700000003000 + p * 1000};
		s->stage.source_count = 1;
		s->stage.source[0] = (struct stage_source){.port = 9000, .idle = p == 1, .events = 1180};
		s->replay = (struct state_counts){.records = 101, .events = 100};
		s->run = (struct state_counts){.records = 284, .events = 280, .late = 10, .marks = 90};
		s->output_offset = s->appended = 100;
		s->checkpoint_seq = 4;
		s->checkpoint_ms = 1700000007000;
	}
	v->state.partitions = 2;
	v->state.merge_phase = STATE_RUNNING;
	v->state.merge.rows_out = 90;
	v->state.merge.held_by = 1;
	v->state.merge.step_ms = 1700000003000;
}
