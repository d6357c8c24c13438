/* See state_rig.h. */
#include "state_rig.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "hash.h"
#include "hot.h"

static const char *const window_sets[] = {
	"windows:\n"
	"  - {name: pages, kind: tumbling, size: 5s, by: page, aggregates: \"count, sum(amount), "
	"distinct(user_id)\", "
	"lateness: 5s}\n"
	"  - {name: load, kind: hopping, size: 10s, slide: 2s, by: source, aggregates: \"count, avg(metric), "
	"quantiles(metric)\", anomaly: \"zscore(count,10,2)\"}\n"
	"  - {name: visits, kind: session, gap: 3s, by: user_id, aggregates: \"count, first(page), "
	"last(page)\"}\n",
	/* pages as before, load with another aggregate, no visits, a funnel */
	"windows:\n"
	"  - {name: pages, kind: tumbling, size: 5s, by: page, aggregates: \"count, sum(amount), "
	"distinct(user_id)\", "
	"lateness: 5s}\n"
	"  - {name: load, kind: hopping, size: 10s, slide: 2s, by: source, aggregates: \"count, "
	"max(metric)\"}\n"
	"  - {name: steps, kind: funnel, size: 10s, within: 20s, by: user_id, steps: \"view: type = "
	"page_view; buy: type = "
	"conversion\"}\n",
	"windows:\n"
	"  - {name: pages, kind: tumbling, size: 5s, by: page, aggregates: \"count, sum(amount), "
	"distinct(user_id)\", "
	"lateness: 5s}\n"
	"  - {name: all, kind: tumbling, size: 1s, aggregates: \"count, top(page,5)\"}\n",
};

void srig_init(struct srig *r, const char *dir, uint32_t partitions, int windows, uint64_t every_ms)
{
	const char *base = getenv("SLUICE_TEST_DIR");
	char text[4096];
	struct err err = {""};

	memset(r, 0, sizeof *r);
	if (dir) {
		snprintf(r->dir, sizeof r->dir, "%s", dir);
	} else {
		snprintf(r->dir, sizeof r->dir, "%.90s/sluice-state-XXXXXX", base ? base : "/tmp");
		assert_non_null(mkdtemp(r->dir));
	}
	snprintf(text, sizeof text, "node: {id: state-test}\n%s", window_sets[windows]);
	if (config_parse(&r->cfg, text, strlen(text), "rig", &err) != 0)
		fail_msg("config: %s", err.text);
	snprintf(r->cfg.node.data_dir, sizeof r->cfg.node.data_dir, "%s", r->dir);
	r->cfg.journal.partitions = partitions;
	r->cfg.time.out_of_orderness = 2000;
	r->cfg.state.enabled = true;
	r->cfg.state.checkpoint_every = every_ms;
	r->cfg.state.segment_bytes = 512 << 10;
	r->cfg.state.segments_max = 4;
	r->rig.event_bytes = 100;
	r->rig.params = (struct journal_params){
		.partitions = partitions,
		.block_bytes = 65536,
		.block_age_us = 1000,
		.segment_bytes = 1 << 20,
		.segments_max = 400,
		.inflight = 4,
		.cache_blocks = 8,
		.dedup_window_ms = 600000,
		.dedup_ids_max = 100000,
		.out_of_orderness_ms = 2000,
		.tick_ms = 100,
	};
	snprintf(r->rig.params.dir, sizeof r->rig.params.dir, "%.120s/journal", r->dir);
	snprintf(r->rig.params.node, sizeof r->rig.params.node, "state-test");
	r->archive = true;
	if (handoff_create(&r->rig.handoff, SRIG_WORKERS, partitions, 4, 16384, &err) != 0)
		fail_msg("handoff: %s", err.text);
}

int srig_open(struct srig *r, struct err *err)
{
	int rc = rig_open_rc(&r->rig, err);

	if (rc != 0)
		return rc;
	for (uint32_t p = 0; p < r->rig.params.partitions && r->archive; p++)
		journal_consumer_set(
			r->rig.journal, journal_consumer_add(r->rig.journal, p, "archive", err), 0);
	r->state = NULL;
	rc = state_open(&r->state, &r->cfg, r->rig.journal, err);
	if (rc != 0)
		rig_close(&r->rig);
	return rc;
}

void srig_start(struct srig *r)
{
	struct err err = {""};
	int64_t latest = clock_wall_ms();

	for (uint32_t p = 0; p < r->rig.params.partitions; p++) {
		struct journal_partition_stats s = rig_stats(&r->rig, p);

		if (s.receive_last_ms > latest)
			latest = s.receive_last_ms;
	}
	r->start_ms = latest + 1000;
	rig_start(&r->rig);
	if (state_start(r->state, &err) != 0)
		fail_msg("state_start: %s", err.text);
}

/* ---- events ---- */

struct made {
	struct event ev;
	uint8_t raw[160], tail[16];
};

static void made_text(struct made *m, enum field_id field, const char *text)
{
	uint32_t n = (uint32_t)strlen(text);

	memcpy(m->raw + m->ev.raw_bytes, text, n);
	m->ev.field[field] = (struct span){(uint16_t)m->ev.raw_bytes, (uint16_t)n};
	m->ev.field_mask |= 1ull << field;
	m->ev.raw_bytes += n;
}

static void made_word(struct made *m, enum field_id field, const void *word)
{
	memcpy(m->tail + m->ev.tail_bytes, word, 8);
	m->ev.field[field] = (struct span){(uint16_t)m->ev.tail_bytes, 8}; /* raw_bytes is added at the end */
	m->ev.field_mask |= 1ull << field;
	m->ev.tail_bytes += 8;
}

/* The id-th event: everything but its times follows from the id. */
static void event_make(struct made *m, uint64_t id, int64_t now_ms)
{
	static const uint8_t types[] = {EVENT_TYPE_page_view, EVENT_TYPE_page_view, EVENT_TYPE_conversion,
		EVENT_TYPE_telemetry, EVENT_TYPE_transaction};
	uint64_t mix = hash_u64(id);
	double metric = (double)(mix >> 40 & 1023) / 8;
	int64_t amount = (int64_t)(mix >> 20 & 65535) * 10000;
	char text[32];

	memset(m, 0, sizeof *m);
	m->ev.raw = m->raw;
	m->ev.tail = m->tail;
	m->ev.type = types[mix % 5];
	snprintf(text, sizeof text, "u%u", (unsigned)(mix >> 8 & 63));
	made_text(m, FIELD_user_id, text);
	snprintf(text, sizeof text, "/p%u", (unsigned)(mix >> 16 & 15));
	made_text(m, FIELD_page, text);
	if (mix >> 24 & 3) {
		snprintf(text, sizeof text, "s%u", (unsigned)(mix >> 26 & 3));
		made_text(m, FIELD_source, text);
	}
	made_word(m, FIELD_metric, &metric);
	if (m->ev.type == EVENT_TYPE_transaction)
		made_word(m, FIELD_amount, &amount);
	m->ev.field[FIELD_metric].offset = (uint16_t)m->ev.raw_bytes;
	m->ev.field[FIELD_amount].offset = (uint16_t)(m->ev.raw_bytes + 8);
	m->ev.field_mask |= FBIT(event_id);
	m->ev.field[FIELD_event_id] = (struct span){0, 2};
	rig_id(m->ev.event_id, id + 1);
	m->ev.dst_port = (uint16_t)(9000 + (mix >> 30 & 1));
	m->ev.event_time_ms = now_ms - (int64_t)(mix >> 44 & 1023); /* disorder within the bound */
	if (mix >> 54 == 0)					    /* and some beyond: revised, or late */
		m->ev.event_time_ms -= 4000;
	if (mix >> 59 == 1)
		m->ev.event_time_ms -= 30000;
}

void srig_feed(struct srig *r, uint32_t worker, uint64_t first, uint64_t count)
{
	uint32_t partitions = r->rig.params.partitions;
	struct batch *open[16] = {NULL};
	uint64_t sent = 0;

	for (uint64_t id = first; id < first + count; id++) {
		int64_t now_ms = r->start_ms + (int64_t)(id - first) * SRIG_EVENT_MS;
		uint32_t user, p;
		struct made m;
		struct batch *b;

		if (hash_u64(id) % SRIG_WORKERS != worker)
			continue;
		event_make(&m, id, now_ms);
		user = (uint32_t)(hash_u64(id) >> 8 & 63);
		p = user % partitions;
		if (open[p] && open[p]->capacity - open[p]->bytes < record_bytes_of(&m.ev)) {
			rig_seal(&r->rig, open[p]);
			open[p] = NULL;
		}
		b = open[p] ? open[p] : rig_batch(&r->rig, worker, p);
		open[p] = b;
		for (int twice = 0; twice <= (id % 101 == 0); twice++) { /* a duplicate now and then */
			if (b->capacity - b->bytes < record_bytes_of(&m.ev))
				break;
			b->bytes += record_write_event(b->data + b->bytes, &m.ev, hash_u64(user), now_ms, 0);
			b->record_count++;
		}
		b->receive_last_ms = now_ms;
		if (m.ev.event_time_ms > b->watermark_base_ms)
			b->watermark_base_ms = m.ev.event_time_ms;
		if (++sent % (1 + hash_u64(id) % 61) == 0) {
			rig_seal(&r->rig, b);
			open[p] = NULL;
		}
	}
	for (uint32_t p = 0; p < partitions; p++)
		if (open[p])
			rig_seal(&r->rig, open[p]);
}

/* ---- life ---- */

/* Nothing is left in the lanes into a partition, or between them and the disk. */
static bool partition_durable(const struct srig *r, uint32_t partition)
{
	struct journal_partition_stats s;

	for (uint32_t w = 0; w < r->rig.handoff.workers; w++) {
		const struct batch_lane *lane = handoff_lane(&r->rig.handoff, w, partition);

		if (batch_free_count(lane) < r->rig.handoff.batches)
			return false;
	}
	journal_stats(r->rig.journal, partition, &s);
	return s.assigned_offset == journal_durable_offset(r->rig.journal, partition);
}

bool srig_settle(struct srig *r)
{
	uint64_t end_ns = clock_mono_ns() + 60000000000ull;

	for (;;) {
		struct state_part_stats s;
		struct state_stats all;
		bool idle = true;

		state_stats(r->state, &all);
		for (uint32_t p = 0; p < r->rig.params.partitions; p++) {
			/* In the order of the flow: what is durable now is to be in the stage's numbers. */
			idle = idle && partition_durable(r, p);
			state_part_stats(r->state, p, &s);
			if (s.phase == STATE_FAILED || all.merge_phase == STATE_FAILED ||
				clock_mono_ns() > end_ns) {
				fprintf(stderr, "partition %u: %s %s; merge: %s\n", p,
					state_phase_name[s.phase], s.error, all.merge_error);
				return false;
			}
			idle = idle && s.phase == STATE_RUNNING &&
			       s.stage.input_offset == journal_durable_offset(r->rig.journal, p) &&
			       s.output_offset == journal_durable_offset(state_output(r->state), p);
		}
		if (idle)
			return true;
		nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
	}
}

void srig_stop(struct srig *r, uint64_t drain_ms)
{
	rig_stop(&r->rig);
	state_stop(r->state, clock_mono_ns() + drain_ms * 1000000);
}

void srig_close(struct srig *r)
{
	state_close(r->state);
	r->state = NULL;
	rig_close(&r->rig);
}

void srig_free(struct srig *r)
{
	char command[256];

	handoff_free(&r->rig.handoff);
	snprintf(command, sizeof command, "rm -rf '%s'", r->dir);
	assert_int_equal(system(command), 0);
}

/* ---- check ---- */

struct check {
	struct srig_check *out;
	struct journal_scanner *scanner[17];
	struct journal_scan_block block[17];
	const uint8_t *at[17];
	uint64_t offset[17]; /* of the next record of the log */
	bool ended[17], begun[17];
};

/* The log's next record; NULL at its end. */
static const struct record *log_next(struct check *c, uint32_t p)
{
	struct journal_scan_block *b = &c->block[p];
	struct err err = {""};

	while (!c->ended[p] && (!c->at[p] || c->at[p] == b->block.data + b->block.bytes)) {
		c->at[p] = NULL;
		if (journal_scanner_next(c->scanner[p], b, &err) != 1 || !b->intact) {
			c->ended[p] = true;
			break;
		}
		if (c->begun[p] && b->block.first_offset != c->offset[p]) {
			snprintf(c->out->fault, sizeof c->out->fault,
				"log %u: offset %" PRIu64 " follows %" PRIu64, p, b->block.first_offset,
				c->offset[p]);
			c->out->differing++;
		}
		c->begun[p] = true;
		c->offset[p] = b->block.first_offset;
		c->at[p] = b->block.data;
	}
	return c->ended[p] ? NULL : (const struct record *)c->at[p];
}

static int check_each(void *arg, uint32_t p, uint64_t offset, const struct record *rec)
{
	struct check *c = arg;
	const struct record *log = log_next(c, p);

	c->out->replayed++;
	if (!log) {
		c->out->complete = false;
		c->out->missing[p]++;
		return 0;
	}
	if (offset < c->offset[p]) /* recycled */
		return 0;
	if (offset != c->offset[p] || log->bytes != rec->bytes || memcmp(log, rec, rec->bytes) != 0) {
		if (!c->out->differing++)
			snprintf(c->out->fault, sizeof c->out->fault,
				"log %u offset %" PRIu64 ": kind %u type %u bytes %u time %" PRId64
				"; replay %" PRIu64 ": kind %u type %u bytes %u time %" PRId64,
				p, c->offset[p], log->kind, log->type, log->bytes, log->event_time_ms, offset,
				rec->kind, rec->type, rec->bytes, rec->event_time_ms);
		return -EILSEQ;
	}
	c->out->compared++;
	c->out->rows += rec->kind == RECORD_ROW;
	c->out->late += rec->kind == RECORD_LATE;
	c->at[p] += log->bytes;
	c->offset[p]++;
	return 0;
}

int srig_replay(const char *dir, struct state_replay_params *params, struct state_replay_result *result,
	struct err *err)
{
	char journal_dir[200], state_dir[200], windows_dir[300], checkpoint_dir[300];
	int rc;

	snprintf(journal_dir, sizeof journal_dir, "%s/journal", dir);
	snprintf(state_dir, sizeof state_dir, "%s/state", dir);
	snprintf(windows_dir, sizeof windows_dir, "%s/windows", state_dir);
	snprintf(checkpoint_dir, sizeof checkpoint_dir, "%s/checkpoints", state_dir);
	params->journal_dir = journal_dir;
	params->state_dir = state_dir;
	params->checkpoint_dir = checkpoint_dir;
	params->from_ms = INT64_MIN;
	params->to_ms = INT64_MAX;
	params->partition = UINT32_MAX;
	params->source_idle_ms = 60000;
	rc = window_store_open(&params->windows, windows_dir, err);
	if (rc == 0)
		rc = state_replay(params, result, err);
	window_store_close(params->windows);
	return rc;
}

bool srig_check(const char *dir, cep_rules_get rules, void *rules_arg, struct srig_check *out)
{
	char output_dir[160];
	struct state_replay_params params = {.rules = rules, .rules_arg = rules_arg, .emit = check_each};
	struct state_replay_result result = {0};
	struct check c = {.out = out};
	struct err err = {""};
	int rc = 0;

	memset(out, 0, sizeof *out);
	out->complete = true;
	snprintf(output_dir, sizeof output_dir, "%s/output", dir);
	params.arg = &c;
	for (uint32_t p = 0; rc == 0 && p < 17; p++) {
		struct journal_meta meta;

		rc = journal_meta_read(output_dir, &meta, &err);
		if (rc == 0 && p < meta.partitions)
			rc = journal_scanner_open(&c.scanner[p], output_dir, p, &err);
	}
	if (rc == 0)
		rc = srig_replay(dir, &params, &result, &err);
	if (rc == -ENOENT && result.partitions) /* no note yet: nothing may be in the log */
		rc = 0;
	for (uint32_t p = 0; p < 17 && c.scanner[p]; p++) {
		while (rc == 0 && log_next(&c, p)) {
			out->longer++;
			c.at[p] += ((const struct record *)c.at[p])->bytes;
			c.offset[p]++;
		}
		out->log_end[p] = c.offset[p];
		journal_scanner_close(c.scanner[p]);
	}
	if (result.log)
		out->merged = result.log[result.partitions].emitted;
	if (rc != 0 && !out->fault[0])
		snprintf(out->fault, sizeof out->fault, "%.280s", err.text);
	free(result.log);
	return rc == 0 && !out->longer && !out->differing;
}
