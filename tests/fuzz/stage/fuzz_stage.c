/* Saved states of any bytes into the stage, and events of any times in any order: what cannot be is refused,
 * what comes out is well-formed and in order, every event is counted once, and a save loads again as it was.
 *
 * Input: the first byte picks the bound. If it is odd the rest is a saved state, and a fixed stream follows.
 * Else instructions of four bytes: an event (user, page, time), the end of a block, a save and load. */
#include <stdlib.h>
#include <string.h>

#include "row.h"
#include "stage.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define WINDOWS 5
#define TIME_MS 1700000000000ll
#define BLOCK_RECORDS 64u

static const char *const text[WINDOWS] = {
	"name=t kind=tumbling size=2s by=user_id lateness=3s aggregates='count, last(page), distinct(page)'",
	"name=h kind=hopping size=5s slide=1s by=user_id,page keys_max=20 aggregates='quantiles(metric)'",
	"name=l kind=hopping size=3s slide=1s lateness=2s aggregates='count, top(page,2)'",
	"name=s kind=session gap=2s by=user_id aggregates='count, first(page), avg(metric)'",
	"name=f kind=funnel size=4s within=3s by=user_id steps='a: page = a; b: page = b; c: page = c'"};

struct life {
	struct stage *st;
	size_t memory;
	uint64_t offset;
	int64_t step_ms;
	bool loaded; /* counters may be anything */
	uint32_t count, bytes;
	_Alignas(8) uint8_t record[BLOCK_RECORDS * 256];
};

static struct window_plan plan = {.step_ms = 1000};

static void fail_unless(bool ok)
{
	if (!ok)
		abort();
}

static int emit(void *arg, const struct record *rec)
{
	struct life *life = arg;

	fail_unless(record_valid(rec, rec->bytes) && row_valid(rec));
	if (rec->kind == RECORD_MARK) {
		fail_unless(rec->event_time_ms > life->step_ms);
		life->step_ms = rec->event_time_ms;
	}
	if (rec->kind == RECORD_ROW) {
		struct row_walk walk;

		row_walk_first(&walk, rec);
		fail_unless(walk.row.step_ms > life->step_ms);
	}
	return 0;
}

static void setup(void)
{
	struct err err;

	for (uint32_t i = 0; i < WINDOWS; i++) {
		struct window_def *def;
		uint32_t at = i;

		fail_unless(!window_def_parse(&def, text[i], &err));
		for (; at && plan.def[at - 1]->uid > def->uid; at--)
			plan.def[at] = plan.def[at - 1];
		plan.def[at] = def;
	}
	plan.count = WINDOWS;
}

static struct stage *stage_fresh(struct life *life)
{
	struct stage_params params = {.plan = &plan, .partition = 1, .out_of_orderness_ms = 500};
	struct stage *st;
	struct err err;

	params.memory_bytes = life->memory;
	fail_unless(!stage_new(&st, &params, emit, life, &err));
	return st;
}

static void save_check(struct life *life)
{
	struct stage *fresh = stage_fresh(life);
	struct bytes saved = {0}, again = {0};
	uint32_t dropped;
	struct err err;

	stage_save(life->st, &saved);
	fail_unless(!stage_load(fresh, saved.data, saved.bytes, &dropped, &err) && !dropped);
	stage_save(fresh, &again);
	fail_unless(saved.bytes == again.bytes && !memcmp(saved.data, again.data, saved.bytes));
	bytes_free(&saved);
	bytes_free(&again);
	stage_free(life->st);
	life->st = fresh;
}

static void block_end(struct life *life, int64_t watermark_ms)
{
	const struct stage_stats *s = stage_stats(life->st);
	struct journal_block block = {.partition = 1,
		.first_offset = life->offset,
		.record_count = life->count,
		.bytes = life->bytes,
		.receive_last_ms = TIME_MS,
		.watermark_ms = watermark_ms,
		.data = life->record};
	struct err err;

	fail_unless(!stage_block(life->st, &block, life->offset, &err));
	life->offset += life->count;
	life->count = life->bytes = 0;
	for (uint32_t i = 0; i < s->window_count && !life->loaded; i++)
		fail_unless(s->window[i].events + s->window[i].filtered + s->window[i].late == s->events);
}

static void event_put(struct life *life, uint8_t who, uint8_t page, int64_t t)
{
	uint8_t raw[2] = {(uint8_t)('0' + who % 16), (uint8_t)('a' + page % 4)};
	double metric = (double)t;
	struct event ev = {.raw = raw,
		.raw_bytes = sizeof raw,
		.tail = (const uint8_t *)&metric,
		.tail_bytes = sizeof metric,
		.type = EVENT_TYPE_click,
		.event_time_ms = t};

	if (who & 128)
		ev.field_mask |= FBIT(metric);
	if (who & 64)
		ev.field_mask |= FBIT(user_id);
	if (page & 64)
		ev.field_mask |= FBIT(page);
	ev.field[FIELD_metric] = (struct span){2, 8};
	ev.field[FIELD_user_id] = (struct span){0, 1};
	ev.field[FIELD_page] = (struct span){1, 1};
	life->bytes += record_write_event(life->record + life->bytes, &ev, 7,
		who & 32 ? INT64_MAX / 4096 : TIME_MS + 60000, page & 32 ? RECORD_F_SUPPRESSED : 0);
	if (page & 16)
		((struct record *)(life->record + life->bytes - record_bytes_of(&ev)))->kind = RECORD_TICK;
	if (++life->count == BLOCK_RECORDS)
		block_end(life, INT64_MIN);
}

static void instruction(struct life *life, const uint8_t *p)
{
	int64_t t = TIME_MS + (p[2] | p[3] << 8) * 2;

	if (p[0] == 0xff)
		block_end(life, TIME_MS + p[1] * 500);
	else if (p[0] == 0xfe)
		t = (int64_t)((uint64_t)(p[1] | p[2] << 8) << (p[3] & 63));
	if (p[0] == 0xfd) {
		block_end(life, INT64_MIN);
		save_check(life);
	}
	if (p[0] < 0xfd || p[0] == 0xfe)
		event_put(life, p[0], p[1], t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct life life;
	uint32_t dropped;
	struct err err;

	if (!plan.count)
		setup();
	if (!size)
		return 0;
	life = (struct life){
		.memory = data[0] & 2 ? 5000 : SIZE_MAX, .step_ms = INT64_MIN, .loaded = data[0] & 1};
	life.st = stage_fresh(&life);
	if (!life.loaded) {
		for (size_t i = 1; i + 4 <= size; i += 4)
			instruction(&life, data + i);
	} else {
		if (stage_load(life.st, data + 1, size - 1, &dropped, &err))
			goto end; /* good for freeing only */
		life.offset = stage_stats(life.st)->input_offset;
		life.step_ms = stage_stats(life.st)->step_ms;
		if (life.offset > UINT64_MAX - 10000)
			goto end;
		for (uint32_t i = 0; i < 200; i++)
			event_put(&life, (uint8_t)(i * 7), (uint8_t)(i * 13), TIME_MS + (i * 37) % 100 * 200);
		save_check(&life);
	}
	block_end(&life, TIME_MS + 200000);
	save_check(&life);
end:
	stage_free(life.st);
	return 0;
}
