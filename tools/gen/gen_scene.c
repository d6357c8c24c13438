/* Actors and what they do; see gen_scene.h. */
#include "gen_scene.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define STEPS_MAX 8
#define TEXT_BYTES 200

struct scene_step {
	uint8_t type;	/* enum event_type; EVENT_TYPE_NONE: waits */
	uint16_t count; /* events */
	uint32_t gap_ms;
	const char *fields;
};

#define ALERT true
#define NONE false
#define STEP(type_, count_, gap_, fields_)                                                                   \
	{                                                                                                    \
		EVENT_TYPE_##type_, count_, gap_, fields_                                                    \
	}
#define WAIT(ms_)                                                                                            \
	{                                                                                                    \
		EVENT_TYPE_NONE, 1, ms_, NULL                                                                \
	}
#define SCENE(rule_, expect_, align_, key_, ...) {rule_, expect_, align_, key_, {__VA_ARGS__}},
static const struct scene_row {
	const char *rule;
	bool alert;
	uint32_t align_ms;
	const char *key;
	struct scene_step step[STEPS_MAX];
} scene_rows[] = {
#include "gen_scene.def"
};
#undef SCENE
#undef WAIT
#undef STEP
#undef NONE
#undef ALERT
#define SCENE_ROWS (uint32_t)(sizeof scene_rows / sizeof *scene_rows)

struct scene_event {
	int64_t ts_ms, send_ms;
	uint16_t step, n;
};

struct actor {
	const struct scene_row *row;
	uint32_t number;
	struct scene_event *event; /* in the order of sending; owned, like the ids */
	uint32_t count, next;
	int64_t first_ms, last_ms, done_ms;
	char (*id)[37];
};

struct gen_scenes {
	struct gen_rng rng;
	uint32_t disorder_ms, run; /* run: 16 bits that tell this seed's names from those of others */
	uint32_t actors, begun;
	struct actor *actor;
	int64_t due_ms; /* nothing happens before it */
	uint32_t last;	/* actor of the event in hand */
	uint64_t done;
	FILE *truth;
	bool failed;
};

uint32_t gen_scene_rows(void)
{
	return SCENE_ROWS;
}

const char *gen_scene_rule(uint32_t row, bool *alert)
{
	*alert = scene_rows[row].alert;
	return scene_rows[row].rule;
}

int gen_scenes_new(struct gen_scenes **out, const struct gen_opts *o, struct err *err)
{
	struct gen_scenes *s = calloc(1, sizeof *s);

	if (s)
		s->actor = calloc(o->scenarios, sizeof *s->actor);
	if (!s || !s->actor) {
		free(s);
		return err_set(err, -ENOMEM, "out of memory");
	}
	gen_rng_seed(&s->rng, o->seed ^ 0x7363656e65ull);
	s->run = (uint32_t)(gen_rng_next(&s->rng) >> 48) | 1;
	s->disorder_ms = o->disorder_ms;
	s->actors = o->scenarios;
	s->due_ms = INT64_MIN;
	*out = s;
	return 0;
}

static void actor_clear(struct actor *a)
{
	free(a->event);
	free(a->id);
	*a = (struct actor){0};
}

void gen_scenes_free(struct gen_scenes *s)
{
	if (!s)
		return;
	for (uint32_t i = 0; i < s->actors; i++)
		actor_clear(&s->actor[i]);
	free(s->actor);
	free(s);
}

void gen_scenes_truth(struct gen_scenes *s, FILE *truth)
{
	s->truth = truth;
}

uint64_t gen_scenes_done(const struct gen_scenes *s)
{
	return s->done;
}

/* ---- texts ---- */

static int placeholder(
	char *out, size_t room, const struct gen_scenes *s, const struct actor *a, uint32_t n, char c)
{
	switch (c) {
	case 'i':
		return snprintf(out, room, "2001:db8:%x::%x:%x", s->run, a->number >> 16, a->number & 0xffff);
	case 'n':
		return snprintf(out, room, "%u", n);
	case 'm':
		return snprintf(out, room, "%u", n % 10);
	default:
		return snprintf(out, room, "x%c%x-%u", c, s->run, a->number);
	}
}

/* The text up to `end`, with what its placeholders stand for. */
static void expand(char out[TEXT_BYTES], const struct gen_scenes *s, const struct actor *a, uint32_t n,
	const char *text, const char *end)
{
	size_t at = 0;

	while (text < end) {
		if (*text == '%') {
			at += (size_t)placeholder(out + at, TEXT_BYTES - at, s, a, n, text[1]);
			text += 2;
		} else {
			out[at++] = *text++;
		}
		assert(at < TEXT_BYTES); /* of this file's own constants */
	}
	out[at] = 0;
}

static bool is_number(const char *key)
{
	enum field_id field = field_by_name(key, strlen(key));

	return field && field_kind_is_number(field_table[field].kind);
}

static void field_put(struct gen_draft *d, bool attribute, const char *key, const char *value)
{
	struct gen_field *f = attribute ? &d->attr[d->attr_count++] : &d->top[d->top_count++];

	if (is_number(key))
		gen_field_raw(f, key, value);
	else
		gen_field_text(f, key, value);
}

/* Drafts keep keys by pointer: those of the schema last. */
static const char *key_of(const char *text, size_t bytes)
{
	enum field_id field = field_by_name(text, bytes);

	assert(field);
	return field_table[field].name;
}

static void draft(
	const struct gen_scenes *s, const struct actor *a, const struct scene_event *ev, struct gen_draft *d)
{
	const struct scene_step *step = &a->row->step[ev->step];
	bool platform = step->type == EVENT_TYPE_platform;
	char value[TEXT_BYTES];

	for (const char *at = step->fields; *at;) {
		const char *eq = strchr(at, '='), *end = strchrnul(at, '|'),
			   *key = key_of(at, (size_t)(eq - at));

		expand(value, s, a, ev->n, eq + 1, end);
		field_put(d, platform && strcmp(key, "source") != 0, key, value);
		at = *end ? end + 1 : end;
	}
	if (platform) /* an empty value stands for the members */
		gen_field_raw(&d->top[d->top_count++], "attributes", "");
	gen_field_number(&d->top[d->top_count++], platform ? "timestamp" : "ts", ev->ts_ms);
}

/* ---- actors ---- */

static int by_sending(const void *a, const void *b)
{
	const struct scene_event *x = a, *y = b;

	if (x->send_ms != y->send_ms)
		return x->send_ms < y->send_ms ? -1 : 1;
	return x->ts_ms < y->ts_ms ? -1 : x->ts_ms > y->ts_ms;
}

static uint32_t events_of(const struct scene_row *row)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < STEPS_MAX; i++)
		count += row->step[i].type ? row->step[i].count : 0;
	return count;
}

static void actor_begin(struct gen_scenes *s, struct actor *a, int64_t clock_ms)
{
	const struct scene_row *row = &scene_rows[s->begun % SCENE_ROWS];
	int64_t align = row->align_ms, t = clock_ms + gen_rng_below(&s->rng, 3000);
	uint32_t count = events_of(row);

	actor_clear(a);
	a->event = calloc(count, sizeof *a->event);
	a->id = calloc(count, sizeof *a->id);
	if (!a->event || !a->id) {
		fprintf(stderr, "sluice-gen: out of memory\n");
		abort();
	}
	if (align)
		t += align - t % align + 500;
	a->row = row;
	a->number = ++s->begun;
	for (uint16_t i = 0; i < STEPS_MAX && row->step[i].count; i++)
		for (uint16_t n = 0; n < row->step[i].count; n++) {
			t += a->count || !row->step[i].type ? row->step[i].gap_ms : 0;
			if (!row->step[i].type)
				continue;
			a->first_ms = a->count ? a->first_ms : t;
			a->last_ms = t;
			a->event[a->count++] =
				(struct scene_event){t, t + gen_rng_below(&s->rng, s->disorder_ms + 1), i, n};
		}
	a->done_ms = t + s->disorder_ms + GEN_SCENE_SETTLE_MS;
	qsort(a->event, a->count, sizeof *a->event, by_sending);
}

/* No text in it needs escapes. */
static void actor_write(struct gen_scenes *s, const struct actor *a, const char *expect)
{
	char key[TEXT_BYTES];

	if (!s->truth)
		return;
	expand(key, s, a, 0, a->row->key, a->row->key + strlen(a->row->key));
	fprintf(s->truth,
		"{\"rule\":\"%s\",\"expect\":\"%s\",\"key\":\"%s\",\"first_ms\":%" PRId64
		",\"last_ms\":%" PRId64 ",\"ids\":[",
		a->row->rule, expect, key, a->first_ms, a->last_ms);
	for (uint32_t i = 0; i < a->next; i++)
		fprintf(s->truth, "%s\"%s\"", i ? "," : "", a->id[i]);
	fprintf(s->truth, "]}\n");
	s->failed |= ferror(s->truth) != 0;
}

static int64_t actor_due(const struct actor *a)
{
	return a->next < a->count ? a->event[a->next].send_ms : a->done_ms;
}

bool gen_scenes_next(struct gen_scenes *s, int64_t clock_ms, enum event_type *type, struct gen_draft *d)
{
	if (clock_ms < s->due_ms)
		return false;
	s->due_ms = INT64_MAX;
	for (uint32_t i = 0; i < s->actors; i++) {
		struct actor *a = &s->actor[i];

		if (!a->row) {
			actor_begin(s, a, clock_ms);
		} else if (a->next == a->count && a->done_ms <= clock_ms) {
			actor_write(s, a, a->row->alert ? "alert" : "none");
			s->done++;
			actor_begin(s, a, clock_ms);
		}
		if (a->next < a->count && a->event[a->next].send_ms <= clock_ms) {
			*type = (enum event_type)a->row->step[a->event[a->next].step].type;
			draft(s, a, &a->event[a->next], d);
			s->last = i;
			s->due_ms = INT64_MIN; /* the others have not been looked at */
			return true;
		}
		if (actor_due(a) < s->due_ms)
			s->due_ms = actor_due(a);
	}
	return false;
}

void gen_scenes_sent(struct gen_scenes *s, const char id[37])
{
	struct actor *a = &s->actor[s->last];

	memcpy(a->id[a->next++], id, sizeof *a->id);
}

int gen_scenes_end(struct gen_scenes *s)
{
	for (uint32_t i = 0; i < s->actors; i++) {
		if (s->actor[i].row && s->actor[i].next)
			actor_write(s, &s->actor[i], "cut");
		actor_clear(&s->actor[i]);
	}
	return s->failed || (s->truth && fflush(s->truth)) ? -EIO : 0;
}
