/* Another number of partitions: streams are cut at a common step, the saved states gathered by as many stages
 * as there shall be, and the rest of the streams goes on by the same rule as events do. What the merges put
 * out before and after is what one merge of an uninterrupted run puts out. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hash.h"
#include "merge.h"
#include "stage_rig.h"

#define OLD 4
#define NEW_MAX 6
#define ROUNDS 60
#define DISORDER_MS 1500
#define OUT_OF_ORDERNESS_MS 2000

struct shard { /* one partition of one run */
	struct rig_stream in;
	struct stage *st;
	struct bytes log;
};

static int64_t floor_to(int64_t t, int64_t unit)
{
	return t - t % unit;
}

static struct window_plan *plan_make(uint64_t *seed)
{
	long step = 100 * (1 + stage_below(seed, 10)), slide = step * (1 + stage_below(seed, 6));
	char text[6][300];
	const char *list[6] = {text[0], text[1], text[2], text[3], text[4], text[5]};

	snprintf(text[0], sizeof text[0],
		"name=t kind=tumbling size=%ldms by=page lateness=%ums aggregates='count, sum(amount), "
		"distinct(user_id), quantiles(metric)' anomaly='zscore(count,5,2)'",
		slide, stage_below(seed, 10000));
	snprintf(text[1], sizeof text[1],
		"name=h kind=hopping size=%ldms slide=%ldms by=page aggregates='count, min(metric), "
		"distinct(user_id)'",
		slide * (2 + (long)stage_below(seed, 8)), slide);
	snprintf(text[2], sizeof text[2],
		"name=g kind=hopping size=%ldms slide=%ldms by=page,user_id aggregates='count, max(metric)'",
		slide * (2 + (long)stage_below(seed, 40)), slide);
	snprintf(text[3], sizeof text[3],
		"name=s kind=session gap=%ums by=user_id aggregates='count, sum(amount)'",
		200 + stage_below(seed, 6000));
	snprintf(text[4], sizeof text[4],
		"name=f kind=funnel size=%ldms within=%ums by=user_id types=click "
		"steps='first: page = /p0; second: page = /p1; third: page = /p0'",
		slide * 5, 500 + stage_below(seed, 20000));
	snprintf(text[5], sizeof text[5],
		"name=p kind=hopping size=%ldms slide=%ldms by=page,user_id lateness=3s "
		"aggregates='avg(amount), count(page=/p1) as ones'",
		slide * (2 + (long)stage_below(seed, 40)), slide);
	return rig_plan(step, 6, list);
}

/* As events go: by the user, or by something else. */
static uint32_t partition_of(const struct rig_event *ev, uint32_t i, uint32_t partitions)
{
	char text[16];
	uint64_t hash = hash_bytes(&i, sizeof i, 0);

	if (ev->user != RIG_NONE) {
		rig_user_name(text, ev->user);
		hash = hash_bytes(text, strlen(text), 0);
	}
	return (uint32_t)(((__uint128_t)hash * partitions) >> 64);
}

static struct rig_event *events_make(uint32_t count, int64_t *now, uint64_t *seed)
{
	struct rig_event *list = calloc(count, sizeof *list);
	uint32_t users = 1 + stage_below(seed, 30), pages = 2 + stage_below(seed, 4);
	uint32_t pace = 1 + stage_below(seed, 60);

	for (uint32_t i = 0; i < count; i++) {
		struct rig_event *ev = &list[i];

		*now += stage_below(seed, pace);
		*ev = (struct rig_event){.kind = RECORD_EVENT,
			.type = EVENT_TYPE_click,
			.time_ms = floor_to(
				*now - stage_below(seed, DISORDER_MS), 1 + stage_below(seed, 2) * 49),
			.receive_ms = *now,
			.user = stage_below(seed, 20) ? stage_below(seed, users) : RIG_NONE,
			.page = stage_below(seed, pages),
			.amount = stage_below(seed, 3) ? (int64_t)stage_below(seed, 2000000) - 1000000
						       : INT64_MIN,
			.metric = (double)stage_below(seed, 100000) / 7,
			.has_metric = stage_below(seed, 3),
			.port = 4000};
	}
	return list;
}

static void shards_start(struct shard *shard, uint32_t count, const struct window_plan *plan)
{
	struct err err;

	memset(shard, 0, count * sizeof *shard);
	for (uint32_t p = 0; p < count; p++) {
		struct stage_params params = {.plan = plan,
			.partition = p,
			.out_of_orderness_ms = OUT_OF_ORDERNESS_MS,
			.source_idle_ms = 1000,
			.memory_bytes = SIZE_MAX};

		assert_int_equal(stage_new(&shard[p].st, &params, rig_collect_rows, &shard[p].log, &err), 0);
	}
}

/* The events, and behind them a tick in every partition: `spread` apart, at most. */
static void shards_run(struct shard *shard, uint32_t count, const struct rig_event *ev, uint32_t from,
	uint32_t to, int64_t tick_ms, uint32_t spread, uint64_t *seed)
{
	struct err err;

	for (uint32_t p = 0; p < count; p++) {
		uint32_t first = shard[p].in.blocks;
		struct rig_event tick = {.kind = RECORD_TICK,
			.type = EVENT_TYPE_click,
			.user = RIG_NONE,
			.page = RIG_NONE,
			.amount = INT64_MIN,
			.time_ms = tick_ms + (spread ? stage_below(seed, spread) : 0),
			.receive_ms = tick_ms};

		for (uint32_t i = from; i < to; i++)
			if (partition_of(&ev[i], i, count) == p)
				rig_stream_put(&shard[p].in, &ev[i]);
		rig_stream_put(&shard[p].in, &tick);
		rig_block_end(&shard[p].in, INT64_MIN);
		for (; first < shard[p].in.blocks; first++) {
			struct journal_block b = rig_block(&shard[p].in, first);

			b.partition = p;
			if (stage_block(shard[p].st, &b, b.first_offset, &err))
				fail_msg("%s", err.text);
		}
		assert_int_equal(stage_stats(shard[p].st)->late, 0);
	}
}

static void shards_stop(struct shard *shard, uint32_t count)
{
	for (uint32_t p = 0; p < count; p++) {
		rig_stream_free(&shard[p].in);
		stage_free(shard[p].st);
		bytes_free(&shard[p].log);
	}
}

static const struct window_def *find(void *plan, uint64_t uid)
{
	return window_plan_find(plan, uid);
}

/* Appends the merged rows of these shards' logs. from: the merge goes on from a save of other partitions;
 * save: it is saved at the end. NULL: neither. */
static void shards_merge(const struct shard *shard, uint32_t count, const struct window_plan *plan,
	const struct bytes *from, struct bytes *save, struct bytes *out)
{
	struct merge_params params = {.window = find,
		.window_arg = (void *)(uintptr_t)plan,
		.partitions = count,
		.step_ms = plan->step_ms,
		.memory_bytes = (size_t)256 << 20};
	size_t at[NEW_MAX] = {0};
	uint64_t offset[NEW_MAX] = {0};
	struct merge *m;
	struct err err;
	bool more = true;

	assert_int_equal(merge_new(&m, &params, rig_collect, out, &err), 0);
	if (from && merge_gather(m, from->data, from->bytes, &err))
		fail_msg("%s", err.text);
	while (more) {
		more = false;
		for (uint32_t p = 0; p < count; p++) {
			while (at[p] < shard[p].log.bytes) {
				size_t before = at[p];
				int rc = merge_feed(m, p, rig_next(&shard[p].log, &at[p]), offset[p], &err);

				if (rc == -EAGAIN) {
					at[p] = before;
					break;
				}
				if (rc)
					fail_msg("%s", err.text);
				offset[p]++;
				more = true;
			}
		}
		assert_int_equal(merge_run(m, &err), 0);
	}
	for (uint32_t p = 0; p < count; p++)
		assert_int_equal(at[p], shard[p].log.bytes);
	if (save)
		merge_save(m, save);
	merge_free(m);
}

static const struct record *row_next(const struct bytes *out, size_t *at)
{
	const struct record *rec;

	while ((rec = rig_next(out, at)) && rec->kind != RECORD_ROW)
		;
	return rec;
}

static uint64_t rows_equal(const struct bytes *a, const struct bytes *b, uint64_t *alerts)
{
	size_t at_a = 0, at_b = 0;
	uint64_t count = 0;

	for (;; count++) {
		const struct record *x = row_next(a, &at_a), *y = row_next(b, &at_b);
		const struct row *r, *q;

		assert_true(!x == !y);
		if (!x)
			return count;
		assert_int_equal(x->type, y->type);
		if (x->type == ROW_ALERT) {
			assert_int_equal(x->payload_bytes, y->payload_bytes);
			assert_memory_equal(record_payload(x), record_payload(y), x->payload_bytes);
			(*alerts)++;
			continue;
		}
		r = row_of(x);
		q = row_of(y);
		assert_int_equal(r->window_uid, q->window_uid);
		assert_int_equal(r->step_ms, q->step_ms);
		assert_int_equal(r->start_ms, q->start_ms);
		assert_int_equal(r->end_ms, q->end_ms);
		assert_int_equal(r->revision, q->revision);
		assert_int_equal(r->flags, q->flags);
		assert_int_equal(row_key_compare(r, q), 0);
		assert_int_equal(r->agg_bytes, q->agg_bytes);
		assert_memory_equal(row_agg(r), row_agg(q), r->agg_bytes);
	}
}

/* Fresh shards with the states of the old ones; these are saved and loaded once more. */
static void shards_gather(struct shard *to, uint32_t count, const struct shard *from, uint32_t old,
	const struct window_plan *plan)
{
	struct bytes saved[NEW_MAX] = {0};
	struct stage_saved list[NEW_MAX];
	struct shard again[NEW_MAX];
	uint64_t events = 0;
	uint32_t dropped;
	struct err err;

	for (uint32_t p = 0; p < old; p++) {
		stage_save(from[p].st, &saved[p]);
		list[p] = (struct stage_saved){saved[p].data, saved[p].bytes};
		events += stage_stats(from[p].st)->events;
	}
	shards_start(to, count, plan);
	shards_start(again, count, plan);
	for (uint32_t p = 0; p < count; p++) {
		struct bytes first = {0}, second = {0};

		if (stage_gather(to[p].st, list, old, count, &err))
			fail_msg("%s", err.text);
		events -= stage_stats(to[p].st)->events;
		stage_save(to[p].st, &first);
		if (stage_load(again[p].st, first.data, first.bytes, &dropped, &err))
			fail_msg("%s", err.text);
		stage_save(again[p].st, &second);
		assert_int_equal(first.bytes, second.bytes);
		assert_memory_equal(first.data, second.data, first.bytes);
		bytes_free(&first);
		bytes_free(&second);
	}
	assert_int_equal(events, 0);
	shards_stop(again, count);
	for (uint32_t p = 0; p < old; p++)
		bytes_free(&saved[p]);
}

static void gathered_goes_on(void **state)
{
	static const uint32_t counts[] = {3, 6, 1, 4};
	uint64_t seed = 5, rows = 0, alerts = 0;

	(void)state;
	for (int round = 0; round < ROUNDS; round++) {
		struct window_plan *plan = plan_make(&seed);
		uint32_t n = counts[round % 4], total = 300 + stage_below(&seed, 1500);
		uint32_t cut = stage_below(&seed, total);
		int64_t now = RIG_TIME + stage_below(&seed, 100000), cut_ms, end_ms;
		struct rig_event *ev = events_make(total, &now, &seed);
		struct shard whole[OLD], before[OLD], after[NEW_MAX];
		struct bytes expected = {0}, got = {0}, merged = {0};

		/* below what may still come, and at one step in all partitions */
		cut_ms = floor_to(
			(cut ? ev[cut - 1].receive_ms : ev[0].receive_ms) - DISORDER_MS - 50, plan->step_ms);
		end_ms = floor_to(now + 3600000, plan->step_ms);
		shards_start(whole, OLD, plan);
		shards_run(whole, OLD, ev, 0, total, end_ms, 0, &seed);
		shards_merge(whole, OLD, plan, NULL, NULL, &expected);
		shards_start(before, OLD, plan);
		shards_run(before, OLD, ev, 0, cut, cut_ms, 50, &seed);
		shards_merge(before, OLD, plan, NULL, &merged, &got);
		shards_gather(after, n, before, OLD, plan);
		shards_run(after, n, ev, cut, total, end_ms, 0, &seed);
		shards_merge(after, n, plan, &merged, NULL, &got);
		rows += rows_equal(&expected, &got, &alerts);
		shards_stop(whole, OLD);
		shards_stop(before, OLD);
		shards_stop(after, n);
		bytes_free(&expected);
		bytes_free(&got);
		bytes_free(&merged);
		free(ev);
		window_plan_free(plan);
	}
	assert_true(rows > 10000 && alerts > 50);
}

static int count_take(void *arg, const struct agg_value *v)
{
	*(uint64_t *)arg += v->u64;
	return 1;
}

/* Sessions of the key `other` in one partition do not overlap: those that met have become one. */
static uint64_t others_apart(const struct window_plan *plan, const struct bytes *log)
{
	const struct row *list[1000];
	uint32_t count = 0;

	for (size_t at = 0; at < log->bytes;) {
		const struct record *rec = rig_next(log, &at);
		const struct row *r = row_of(rec);

		if (rec->kind != RECORD_ROW || !(r->flags & ROW_F_OTHER) ||
			window_plan_find(plan, r->window_uid)->kind != WINDOW_SESSION)
			continue;
		for (uint32_t i = 0; i < count; i++)
			assert_false(list[i]->start_ms < r->end_ms && r->start_ms < list[i]->end_ms);
		assert_true(count < 1000);
		list[count++] = r;
	}
	return count;
}

/* Where keys went to `other` rows differ from those of an uninterrupted run, but no event is lost. */
static void other_loses_nothing(void **state)
{
	static const char *const text[] = {
		"name=t kind=tumbling size=1s by=page aggregates='count' keys_max=1",
		"name=h kind=hopping size=4s slide=1s by=page aggregates='count' keys_max=1",
		"name=s kind=session gap=900ms by=user_id aggregates='count' keys_max=1"};
	struct window_plan *plan = rig_plan(500, 3, text);
	uint64_t seed = 9, joined = 0, apart = 0;

	(void)state;
	for (int round = 0; round < ROUNDS; round++) {
		int64_t now = RIG_TIME + stage_below(&seed, 100000), cut_ms;
		uint32_t total = 600, cut = stage_below(&seed, total), n = 1 + stage_below(&seed, NEW_MAX);
		struct rig_event *ev = events_make(total, &now, &seed);
		struct shard before[OLD], after[NEW_MAX];
		uint64_t rows = 0, events = 0, keys = 0, others = 0;
		struct bytes got = {0}, merged = {0};

		cut_ms = floor_to(ev[cut ? cut - 1 : 0].receive_ms - DISORDER_MS - 50, plan->step_ms);
		shards_start(before, OLD, plan);
		shards_run(before, OLD, ev, 0, cut, cut_ms, 50, &seed);
		shards_merge(before, OLD, plan, NULL, &merged, &got);
		shards_gather(after, n, before, OLD, plan);
		for (uint32_t p = 0; p < OLD; p++)
			keys += before[p].st ? stage_stats(before[p].st)->window[0].other : 0;
		shards_run(after, n, ev, cut, total, now + 3600000, 0, &seed);
		shards_merge(after, n, plan, &merged, NULL, &got);
		for (uint32_t p = 0; p < n; p++) {
			const struct stage_stats *st = stage_stats(after[p].st);

			apart += others_apart(plan, &after[p].log);

			for (uint32_t w = 0; w < st->window_count; w++) {
				events +=
					st->window[w].events * (plan->def[w]->kind == WINDOW_HOPPING ? 4 : 1);
				others += st->window[w].other;
				assert_int_equal(st->window[w].keys, 0);
				assert_int_equal(st->window[w].memory_bytes, 0);
			}
		}
		for (size_t at = 0; at < got.bytes;) {
			const struct record *rec = rig_next(&got, &at);

			if (rec->kind == RECORD_ROW)
				(void)agg_values(window_plan_find(plan, row_of(rec)->window_uid)->aggs,
					row_agg(row_of(rec)), row_of(rec)->agg_bytes, count_take, &rows);
		}
		assert_int_equal(rows, events);
		joined += others > keys;
		shards_stop(before, OLD);
		shards_stop(after, n);
		bytes_free(&got);
		bytes_free(&merged);
		free(ev);
	}
	assert_true(joined > ROUNDS / 2 && apart > 100);
	window_plan_free(plan);
}

/* Steps that differ, a definition's damage, any length and any changed byte: refused or taken, never worse.
 */
static void bad_states_are_refused(void **state)
{
	uint64_t seed = 3, refused = 0;
	struct window_plan *plan = plan_make(&seed);
	int64_t now = RIG_TIME;
	struct rig_event *ev = events_make(200, &now, &seed);
	struct shard old[2], fresh[1];
	struct bytes saved[2] = {0};
	struct stage_saved list[2];
	struct err err;

	(void)state;
	shards_start(old, 2, plan);
	shards_run(old, 2, ev, 0, 200, now - DISORDER_MS - 50, 0, &seed);
	for (uint32_t p = 0; p < 2; p++) {
		stage_save(old[p].st, &saved[p]);
		list[p] = (struct stage_saved){saved[p].data, saved[p].bytes};
	}
	for (uint32_t i = 0; i < 2400; i++) {
		uint8_t *copy = malloc(saved[1].bytes);
		size_t bytes = i % 2 ? stage_below(&seed, saved[1].bytes) : saved[1].bytes;

		memcpy(copy, saved[1].data, saved[1].bytes);
		if (bytes == saved[1].bytes)
			copy[stage_below(&seed, bytes)] ^= (uint8_t)(1 + stage_below(&seed, 255));
		list[1] = (struct stage_saved){copy, bytes};
		shards_start(fresh, 1, plan);
		refused += stage_gather(fresh[0].st, list, 2, 1, &err) == -EINVAL;
		shards_stop(fresh, 1);
		free(copy);
	}
	assert_true(refused >= 1200);
	bytes_reset(&saved[1]);
	shards_run(old, 2, ev, 200, 200, now + 60000, 0, &seed);
	stage_save(old[1].st, &saved[1]);
	list[1] = (struct stage_saved){saved[1].data, saved[1].bytes};
	shards_start(fresh, 1, plan);
	assert_int_equal(stage_gather(fresh[0].st, list, 2, 1, &err), -EINVAL);
	assert_non_null(strstr(err.text, "different steps"));
	shards_stop(fresh, 1);
	shards_stop(old, 2);
	bytes_free(&saved[0]);
	bytes_free(&saved[1]);
	free(ev);
	window_plan_free(plan);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(gathered_goes_on),
		cmocka_unit_test(other_loses_nothing), cmocka_unit_test(bad_states_are_refused)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
