/* Rules with state of a partition under `rules try`, of one side: a queue of what the partition's records
 * mean to them, in journal order, and the shadows that were made of other partitions' events, which go where
 * the journal has theirs, or by time. One thread. In: rules_try.c. Out: alerts to rules_try_pair.c. */
#include <errno.h>
#include <string.h>

#include "hash.h"
#include "must.h"
#include "rules_try_priv.h"
#include "state_rules.h"

/* How long a shadow waits for the one in the journal that says where it belongs, in receive time. Workers and
 * writers hand records on within a small part of it. */
#define MARK_WAIT_MS 10000
#define BUCKETS_MIN 1024u
#define DONE_KEPT 1024u
#define OPS 4096u /* run at a time */

enum item_kind { ITEM_TAKE, ITEM_STEP, ITEM_MARK };

struct try_item {
	uint32_t bytes; /* with the record behind it; multiple of 8 */
	uint32_t kind;
	int64_t receive_ms;
	int64_t watermark_ms; /* before the record; ITEM_STEP: the step */
	uint64_t word;	      /* ITEM_TAKE: place; ITEM_MARK: mark */
};

struct try_shadow {
	struct try_shadow *next; /* in its bucket */
	int64_t due_ms;		 /* its place by time; with a mark: not looked for any longer */
	int64_t receive_ms;
	uint64_t place, mark;
	uint32_t bytes;
	bool done;
	_Alignas(8) uint8_t rec[];
};

/* ---- the state ---- */
static int lane_rules(void *arg, uint32_t generation, struct cep_rules *out, struct err *err)
{
	const struct try_side *side = arg;

	(void)generation;
	(void)err;
	state_rules_fill(out, side->rs);
	return 0;
}

static int lane_emit(void *arg, uint64_t offset, const struct record *rec)
{
	struct try_lane *lane = arg;

	(void)offset;
	if (lane->counting)
		bytes_put(&lane->alerts, rec, rec->bytes);
	must(!lane->alerts.failed);
	return 0;
}

void try_lane_init(struct try_lane *lane, struct try_side *side, uint32_t partition)
{
	const struct cep_params params = {.partition = partition,
		.rules = lane_rules,
		.rules_arg = side,
		.emit = lane_emit,
		.arg = lane};
	struct err ignored;

	lane->side = side;
	lane->watermark_ms = lane->receive_ms = TRY_NO_TIME;
	lane->cep = cep_new(&params);
	must(cep_switch(lane->cep, 1, &ignored) == 0);
	lane->buckets = BUCKETS_MIN;
	lane->bucket = must_calloc(lane->buckets, sizeof(struct try_shadow *));
}

static void shadows_free(struct try_lane *lane)
{
	while (lane->gone) {
		struct try_shadow *next = lane->gone->next;

		free(lane->gone);
		lane->gone = next;
	}
}

void try_lane_free(struct try_lane *lane)
{
	for (size_t i = 0; i < lane->count; i++)
		free(lane->heap[i]);
	shadows_free(lane);
	free(lane->heap);
	free(lane->bucket);
	free(lane->op);
	bytes_free(&lane->queue);
	bytes_free(&lane->alerts);
	cep_free(lane->cep);
}

/* ---- queue ---- */
static struct try_item *item_add(struct try_lane *lane, enum item_kind kind, uint32_t bytes)
{
	struct try_item *item = (struct try_item *)bytes_room(&lane->queue, sizeof *item + bytes);

	must(item != NULL);
	*item = (struct try_item){.bytes = (uint32_t)sizeof *item + bytes, .kind = kind};
	lane->bytes += item->bytes;
	return item;
}

struct record *try_lane_take(
	struct try_lane *lane, int64_t receive_ms, int64_t watermark_ms, uint64_t place, uint32_t bytes)
{
	struct try_item *item = item_add(lane, ITEM_TAKE, bytes);

	item->receive_ms = receive_ms;
	item->watermark_ms = watermark_ms;
	item->word = place;
	return (struct record *)(item + 1);
}

void try_lane_step(struct try_lane *lane, int64_t receive_ms, int64_t step_ms)
{
	struct try_item *item = item_add(lane, ITEM_STEP, 0);

	item->receive_ms = receive_ms;
	item->watermark_ms = step_ms;
}

void try_lane_mark(struct try_lane *lane, int64_t receive_ms, int64_t watermark_ms, uint64_t mark)
{
	struct try_item *item = item_add(lane, ITEM_MARK, 0);

	item->receive_ms = receive_ms;
	item->watermark_ms = watermark_ms;
	item->word = mark;
}

/* ---- shadows ---- */
uint64_t try_mark_of(const struct record *rec)
{
	uint64_t h = hash_bytes(rec->event_id, sizeof rec->event_id, rec->key_hash);

	h = hash_bytes(&rec->event_time_ms, sizeof rec->event_time_ms, h ^ rec->reason_field);
	return h ? h : 1;
}

static bool shadow_before(const struct try_shadow *a, const struct try_shadow *b)
{
	return a->due_ms != b->due_ms ? a->due_ms < b->due_ms : a->place < b->place;
}

static void heap_up(struct try_shadow **heap, size_t i)
{
	struct try_shadow *s = heap[i];

	for (; i && shadow_before(s, heap[(i - 1) / 2]); i = (i - 1) / 2)
		heap[i] = heap[(i - 1) / 2];
	heap[i] = s;
}

static void heap_down(struct try_shadow **heap, size_t count, size_t i)
{
	struct try_shadow *s = heap[i];
	size_t child;

	for (; (child = 2 * i + 1) < count; i = child) {
		child += child + 1 < count && shadow_before(heap[child + 1], heap[child]);
		if (!shadow_before(heap[child], s))
			break;
		heap[i] = heap[child];
	}
	heap[i] = s;
}

/* Chains are in the order of arrival: equal marks (shadows without an id) meet the journal's in order. */
static void bucket_put(struct try_lane *lane, struct try_shadow *s)
{
	struct try_shadow **at = &lane->bucket[s->mark & (lane->buckets - 1)];

	while (*at)
		at = &(*at)->next;
	s->next = NULL;
	*at = s;
}

static void buckets_grow(struct try_lane *lane)
{
	struct try_shadow **old = lane->bucket;
	size_t count = lane->buckets;

	lane->buckets *= 4;
	lane->bucket = must_calloc(lane->buckets, sizeof(struct try_shadow *));
	for (size_t i = 0; i < count; i++)
		for (struct try_shadow *s = old[i], *next; s; s = next) {
			next = s->next;
			bucket_put(lane, s);
		}
	free(old);
}

/* NULL: none is waiting. */
static struct try_shadow *bucket_take(struct try_lane *lane, uint64_t mark, const struct try_shadow *this)
{
	struct try_shadow **at = &lane->bucket[mark & (lane->buckets - 1)], *s;

	while (*at && ((*at)->mark != mark || (this && *at != this)))
		at = &(*at)->next;
	s = *at;
	if (s)
		*at = s->next;
	return s;
}

/* Those that have found their place wait for nothing any more. */
static void heap_tidy(struct try_lane *lane)
{
	size_t kept = 0;

	for (size_t i = 0; i < lane->count; i++) {
		if (lane->heap[i]->done)
			free(lane->heap[i]);
		else
			lane->heap[kept++] = lane->heap[i];
	}
	lane->count = kept;
	lane->done = 0;
	for (size_t i = kept / 2; i-- > 0;)
		heap_down(lane->heap, kept, i);
}

struct record *try_lane_shadow(
	struct try_lane *lane, int64_t receive_ms, uint64_t place, uint64_t mark, uint32_t bytes)
{
	struct try_shadow *s = must_realloc(NULL, 1, sizeof *s + bytes);

	*s = (struct try_shadow){.due_ms = mark ? receive_ms + MARK_WAIT_MS : receive_ms,
		.receive_ms = receive_ms,
		.place = place,
		.mark = mark,
		.bytes = bytes};
	if (lane->count == lane->room) {
		lane->room = lane->room * 2 + 64;
		lane->heap = must_realloc(lane->heap, lane->room, sizeof *lane->heap);
	}
	lane->heap[lane->count++] = s;
	heap_up(lane->heap, lane->count - 1);
	if (mark) {
		if (lane->count > 2 * lane->buckets)
			buckets_grow(lane);
		bucket_put(lane, s);
	}
	lane->bytes += sizeof *s + bytes;
	return (struct record *)s->rec;
}

/* ---- running ---- */

/* What is in order is run by itself, so that its time is that of the rules alone; then its alerts are looked
 * at, and the shadows that were taken out meanwhile are freed. */
static int ops_run(struct try_lane *lane, struct err *err)
{
	const struct try_side *side = lane->side;
	uint64_t start = try_cpu_ns();
	int rc = 0;

	for (size_t i = 0; i < lane->op_count && !rc; i++) {
		const struct try_op *op = &lane->op[i];
		const struct cep_place at = {1, op->receive_ms};

		if (!lane->counting && op->receive_ms >= side->t->params->from_ms) {
			/* alerts of what was received before the range are out before it begins */
			rc = cep_flush(lane->cep);
			lane->counting = true;
		}
		if (!rc)
			rc = op->rec ? cep_take(lane->cep, &at, op->rec, op->place, op->watermark_ms, err)
				     : cep_reach(lane->cep, op->watermark_ms, op->receive_ms);
	}
	rc = rc ? rc : cep_flush(lane->cep);
	side->t->out->state_ns[side->index] += try_cpu_ns() - start;
	lane->op_count = 0;
	for (size_t at = 0; at < lane->alerts.bytes;) {
		const struct record *rec = (const struct record *)(lane->alerts.data + at);

		try_alert(side->t, side->index, rec);
		at += rec->bytes;
	}
	bytes_reset(&lane->alerts);
	shadows_free(lane);
	return rc;
}

/* rec NULL: a step of the watermark. */
static int op_add(struct try_lane *lane, const struct record *rec, uint64_t place, int64_t receive_ms,
	int64_t watermark_ms, struct err *err)
{
	if (receive_ms > lane->receive_ms)
		lane->receive_ms = receive_ms;
	if (!lane->op)
		lane->op = must_calloc(OPS, sizeof *lane->op);
	lane->op[lane->op_count++] = (struct try_op){rec, place, watermark_ms, lane->receive_ms};
	return lane->op_count == OPS ? ops_run(lane, err) : 0;
}

static int shadow_feed(struct try_lane *lane, struct try_shadow *s, int64_t receive_ms, struct err *err)
{
	lane->bytes -= sizeof *s + s->bytes;
	s->done = true;
	return op_add(lane, (const struct record *)s->rec, s->place, receive_ms, lane->watermark_ms, err);
}

/* Shadows whose place by time lies before due_ms. */
static int shadows_run(struct try_lane *lane, int64_t due_ms, struct err *err)
{
	struct rules_try_result *out = lane->side->t->out;
	int rc = 0;

	while (!rc && lane->count && lane->heap[0]->due_ms < due_ms) {
		struct try_shadow *s = lane->heap[0];
		bool done = s->done;

		lane->heap[0] = lane->heap[--lane->count];
		if (lane->count)
			heap_down(lane->heap, lane->count, 0);
		if (done) {
			lane->done--;
		} else if (s->mark) {
			(void)bucket_take(lane, s->mark, s);
			out->missed[lane->side->index]++;
		} else {
			out->timed[lane->side->index]++;
		}
		s->next = lane->gone;
		lane->gone = s;
		if (!done)
			rc = shadow_feed(lane, s, s->receive_ms, err);
	}
	return rc;
}

static int mark_run(struct try_lane *lane, const struct try_item *item, struct err *err)
{
	struct try_shadow *s = bucket_take(lane, item->word, NULL);

	if (!s)
		return 0;
	lane->done++;
	lane->side->t->out->placed[lane->side->index]++;
	return shadow_feed(lane, s, item->receive_ms, err);
}

static int item_run(struct try_lane *lane, const struct try_item *item, struct err *err)
{
	if (item->watermark_ms > lane->watermark_ms)
		lane->watermark_ms = item->watermark_ms;
	switch ((enum item_kind)item->kind) {
	case ITEM_TAKE:
		return op_add(lane, (const struct record *)(item + 1), item->word, item->receive_ms,
			lane->watermark_ms, err);
	case ITEM_STEP:
		return op_add(lane, NULL, 0, item->receive_ms, item->watermark_ms, err);
	case ITEM_MARK:
		return mark_run(lane, item, err);
	}
	return 0;
}

int try_lane_drain(struct try_lane *lane, int64_t horizon_ms, struct err *err)
{
	int rc = 0;

	while (!rc && lane->at < lane->queue.bytes) {
		const struct try_item *item = (const struct try_item *)(lane->queue.data + lane->at);

		if (item->receive_ms >= horizon_ms)
			break;
		rc = shadows_run(lane, item->receive_ms, err);
		rc = rc ? rc : item_run(lane, item, err);
		lane->at += item->bytes;
		lane->bytes -= item->bytes;
	}
	rc = rc ? rc : shadows_run(lane, horizon_ms, err);
	rc = rc ? rc : ops_run(lane, err);
	if (lane->at && (lane->at == lane->queue.bytes || lane->at > lane->queue.bytes / 2)) {
		lane->queue.bytes -= lane->at;
		memmove(lane->queue.data, lane->queue.data + lane->at, lane->queue.bytes);
		lane->at = 0;
	}
	if (lane->done > lane->count / 2 + DONE_KEPT)
		heap_tidy(lane);
	return rc;
}
