/* The maker: draws which event comes next (gen_world.c fills it), when it happened, with which quirk or
 * defect, and writes it as JSON. */
#include "gen_event.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gen_scene.h"
#include "gen_world.h"

#define KEPT 4096	    /* events that may be sent again */
#define VIRTUAL_RATE 100000 /* events a second of event time when neither --rate nor the clock gives it */

struct kept {
	uint32_t bytes;
	uint8_t type;
	const char *rule;
	char id[37];
	char raw[GEN_EVENT_BYTES_MAX];
};

struct gen_maker {
	const struct gen_opts *o;
	struct gen_rng rng;
	struct gen_world *world;
	struct gen_scenes *scenes; /* NULL: none */
	uint32_t mix_sum;
	uint32_t late_below; /* of 2^32: what is drawn below it is late */
	uint64_t made;
	struct kept *kept;
	uint32_t kept_count, kept_next;
	struct gen_draft draft;
	struct gen_event ev;
};

int gen_maker_new(struct gen_maker **out, const struct gen_opts *o, struct err *err)
{
	struct gen_maker *m = calloc(1, sizeof *m);
	int rc;

	if (!m)
		return err_set(err, -ENOMEM, "out of memory");
	m->o = o;
	m->late_below = (uint32_t)(o->late * 4294967295.0);
	gen_rng_seed(&m->rng, o->seed);
	m->kept = calloc(KEPT, sizeof *m->kept);
	rc = m->kept ? gen_world_new(&m->world, o, &m->rng, err) : err_set(err, -ENOMEM, "out of memory");
	if (!rc && o->scenarios)
		rc = gen_scenes_new(&m->scenes, o, err);
	if (rc) {
		gen_maker_free(m);
		return rc;
	}
	for (int type = 0; type < EVENT_TYPE_MAX; type++)
		m->mix_sum += o->mix[type];
	*out = m;
	return 0;
}

void gen_maker_free(struct gen_maker *m)
{
	if (!m)
		return;
	gen_world_free(m->world);
	gen_scenes_free(m->scenes);
	free(m->kept);
	free(m);
}

struct gen_scenes *gen_maker_scenes(struct gen_maker *m)
{
	return m->scenes;
}

/* Event time without disorder. */
static int64_t clock_ms(const struct gen_maker *m, int64_t now_ms)
{
	uint64_t rate = gen_opts_rate(m->o) ? gen_opts_rate(m->o) : VIRTUAL_RATE;

	if (m->o->start_ts_ms == GEN_START_CLOCK)
		return now_ms;
	return m->o->start_ts_ms + (int64_t)(m->made / rate * 1000 + m->made % rate * 1000 / rate);
}

static int64_t event_time(struct gen_maker *m, int64_t ts)
{
	if (m->o->disorder_ms)
		ts -= gen_rng_below(&m->rng, m->o->disorder_ms + 1);
	if (m->late_below && (uint32_t)gen_rng_next(&m->rng) < m->late_below)
		ts -= m->o->late_by_ms;
	return ts;
}

static void draft_extra(struct gen_maker *m, struct gen_draft *d)
{
	static const char *const values[] = {"17", "[1,2,{\"a\":null}]", "{\"b\":[true,false],\"c\":{}}",
		"-0.5e-3", "\"\"", "\"\\u003cb\\u003e\""};

	gen_field_raw(&d->top[d->top_count++], "x_trace", values[gen_rng_below(&m->rng, 6)]);
	d->spaced = gen_rng_below(&m->rng, 2);
	if (gen_rng_below(&m->rng, 2)) { /* another order of keys; the id stays where truncation keeps it */
		struct gen_field last = d->top[d->top_count - 1];

		memmove(&d->top[2], &d->top[1], (d->top_count - 2) * sizeof *d->top);
		d->top[1] = last;
	}
}

static enum event_type type_draw(struct gen_maker *m)
{
	uint32_t at = gen_rng_below(&m->rng, m->mix_sum);
	int type = 0;

	while (at >= m->o->mix[type])
		at -= m->o->mix[type++];
	return (enum event_type)type;
}

static enum gen_bad_kind bad_kind(struct gen_maker *m, uint32_t type_mask)
{
	uint32_t pick[GEN_BAD_COUNT], picks = 0;

	for (uint32_t k = 0; k < GEN_BAD_COUNT; k++)
		if (m->o->bad_kinds >> k & 1 && gen_bad_table[k].types & type_mask)
			pick[picks++] = k;
	return picks ? (enum gen_bad_kind)pick[gen_rng_below(&m->rng, picks)] : GEN_BAD_COUNT;
}

static void keep(struct gen_maker *m)
{
	struct kept *k = &m->kept[m->kept_next];

	m->kept_next = (m->kept_next + 1) % KEPT;
	if (m->kept_count < KEPT)
		m->kept_count++;
	k->bytes = m->ev.bytes;
	k->type = m->ev.type;
	k->rule = m->ev.rule;
	memcpy(k->id, m->ev.id, sizeof k->id);
	memcpy(k->raw, m->ev.raw, m->ev.bytes);
}

static void send_again(struct gen_maker *m)
{
	const struct kept *k = &m->kept[gen_rng_below(&m->rng, m->kept_count)];

	m->ev.bytes = k->bytes;
	m->ev.type = k->type;
	m->ev.rule = k->rule;
	m->ev.has_id = true;
	m->ev.reason = DROP_duplicate;
	memcpy(m->ev.id, k->id, sizeof k->id);
	memcpy(m->ev.raw, k->raw, k->bytes);
}

static void draft_head(struct gen_maker *m, enum event_type type)
{
	struct gen_draft *d = &m->draft;
	struct gen_event *ev = &m->ev;

	d->top_count = d->attr_count = 0;
	d->spaced = false;
	ev->type = (uint8_t)type;
	gen_uuid(&m->rng, ev->id);
	if (ev->has_id)
		gen_field_text(&d->top[d->top_count++], "event_id", ev->id);
	if (type > EVENT_TYPE_platform) /* those two are told by their other keys */
		gen_field_text(&d->top[d->top_count++], "type", type_table[type].name);
}

/* An event of a scenario, if one is due. */
static bool make_scene(struct gen_maker *m, int64_t clock)
{
	struct gen_draft fields = {.top_count = 0};
	struct gen_event *ev = &m->ev;
	enum event_type type;

	if (!m->scenes || !gen_scenes_next(m->scenes, clock, &type, &fields))
		return false;
	ev->has_id = true;
	ev->reason = DROP_NONE;
	ev->rule = NULL;
	draft_head(m, type);
	memcpy(&m->draft.top[m->draft.top_count], fields.top, fields.top_count * sizeof *fields.top);
	m->draft.top_count += fields.top_count;
	memcpy(m->draft.attr, fields.attr, fields.attr_count * sizeof *fields.attr);
	m->draft.attr_count = fields.attr_count;
	ev->bytes = gen_draft_write(&m->draft, ev->raw, sizeof ev->raw);
	gen_scenes_sent(m->scenes, ev->id);
	keep(m);
	return true;
}

static void make_new(struct gen_maker *m, int64_t clock)
{
	const struct gen_opts *o = m->o;
	struct gen_rng *rng = &m->rng;
	struct gen_draft *d = &m->draft;
	struct gen_event *ev = &m->ev;
	enum event_type type = type_draw(m);
	bool bad = gen_rng_permille(rng, o->bad_permille),
	     fraud = !bad && gen_rng_permille(rng, o->fraud_permille);
	enum gen_bad_kind kind = bad ? bad_kind(m, 1u << type) : GEN_BAD_COUNT;
	struct gen_style st = {.escape = !bad && gen_rng_permille(rng, o->escape_permille),
		.utf8 = !bad && gen_rng_permille(rng, o->utf8_permille)};
	bool extra = !bad && gen_rng_permille(rng, o->extra_permille);
	int64_t ts = event_time(m, clock);

	ev->has_id = !gen_rng_permille(rng, o->noid_permille);
	ev->reason = kind < GEN_BAD_COUNT ? (uint8_t)gen_bad_table[kind].reason : DROP_NONE;
	draft_head(m, type);
	gen_world_draft(m->world, d, type, &st, (struct gen_time){clock, ts});
	ev->rule = fraud ? gen_fraud_draft(d, ev->type, rng) : NULL;
	if (extra)
		draft_extra(m, d);
	if (kind < GEN_BAD_COUNT)
		gen_bad_draft(kind, d, rng, ts);
	ev->bytes = gen_draft_write(d, ev->raw, sizeof ev->raw);
	if (kind < GEN_BAD_COUNT)
		gen_bad_text(kind, ev, rng);
	if (kind == GEN_BAD_bad_id)
		ev->has_id = false;
	if (!ev->has_id)
		memcpy(ev->id, "-", 2);
	if (ev->reason == DROP_NONE && ev->has_id)
		keep(m);
}

const struct gen_event *gen_maker_next(struct gen_maker *m, int64_t now_ms)
{
	int64_t clock = clock_ms(m, now_ms);

	if (m->kept_count && gen_rng_permille(&m->rng, m->o->dup_permille))
		send_again(m);
	else if (!make_scene(m, clock))
		make_new(m, clock);
	m->made++;
	return &m->ev;
}
