/* The maker: draws who did what, when, with which quirk, and writes it as JSON. */
#include "gen_event.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
	struct gen_zipf users, pages;
	uint64_t made;
	struct kept *kept;
	uint32_t kept_count, kept_next;
	struct gen_draft draft;
	struct gen_event ev;
};

int gen_maker_new(struct gen_maker **out, const struct gen_opts *o, struct err *err)
{
	struct gen_maker *m = calloc(1, sizeof *m);

	if (!m)
		return err_set(err, -ENOMEM, "out of memory");
	m->o = o;
	gen_rng_seed(&m->rng, o->seed);
	m->kept = calloc(KEPT, sizeof *m->kept);
	if (!m->kept || gen_zipf_make(&m->users, o->users, o->zipf) ||
		gen_zipf_make(&m->pages, o->pages, o->zipf)) {
		gen_maker_free(m);
		return err_set(err, -ENOMEM, "out of memory for %u users and %u pages", o->users, o->pages);
	}
	*out = m;
	return 0;
}

void gen_maker_free(struct gen_maker *m)
{
	if (!m)
		return;
	gen_zipf_free(&m->users);
	gen_zipf_free(&m->pages);
	free(m->kept);
	free(m);
}

static int64_t event_time(struct gen_maker *m, int64_t now_ms)
{
	uint64_t rate = m->o->rate ? m->o->rate : VIRTUAL_RATE;
	int64_t ts =
		m->o->start_ts_ms == GEN_START_CLOCK
			? now_ms
			: m->o->start_ts_ms + (int64_t)(m->made / rate * 1000 + m->made % rate * 1000 / rate);

	return m->o->disorder_ms ? ts - gen_rng_below(&m->rng, m->o->disorder_ms + 1) : ts;
}

struct style {
	bool escape, utf8, extra;
};

static const char *const utf8_words[] = {"caf\xc3\xa9", "\xd1\x82\xd0\xbe\xd0\xb2\xd0\xb0\xd1\x80",
	"\xe5\x95\x86\xe5\x93\x81", "\xf0\x9f\x9b\x92",
	("stra\xc3\x9f"
	 "e")};
static const char *const escaped_words[] = {
	"caf\\u00e9", "a\\/b", "q=\\\"x\\\"", "\\ud83d\\uded2", "tab\\there", "back\\\\slash"};

static void user_text(struct gen_maker *m, const struct style *st, char *out, size_t bytes)
{
	/* the escaped form decodes to the same user, and so to the same partition */
	snprintf(out, bytes, "%s%06u", st->escape ? "\\u0075" : "u", gen_zipf_draw(&m->users, &m->rng));
}

static void page_text(struct gen_maker *m, const struct style *st, char *out, size_t bytes)
{
	static const char *const kinds[] = {"/product", "/category", "/article", "/search", "/help"};
	uint32_t page = gen_zipf_draw(&m->pages, &m->rng);

	if (st->escape)
		snprintf(out, bytes, "%s\\/%u/%s", kinds[page % 5], page,
			escaped_words[gen_rng_below(&m->rng, 6)]);
	else if (st->utf8)
		snprintf(
			out, bytes, "%s/%u/%s", kinds[page % 5], page, utf8_words[gen_rng_below(&m->rng, 5)]);
	else
		snprintf(out, bytes, "%s/%u", kinds[page % 5], page);
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

static void draft_click(struct gen_maker *m, const struct style *st, int64_t ts)
{
	static const char *const countries[] = {"US", "DE", "IN", "BR", "GB", "FR", "JP", "NG"};
	static const char *const devices[] = {"mobile", "desktop", "tablet"};
	static const char *const referrers[] = {"/home", "/search", "https://www.example.com/", ""};
	struct gen_draft *d = &m->draft;
	char text[160];

	user_text(m, st, text, sizeof text);
	gen_field_text(&d->top[d->top_count++], "user_id", text);
	gen_field_number(&d->top[d->top_count++], "ts", ts);
	page_text(m, st, text, sizeof text);
	gen_field_text(&d->top[d->top_count++], "page", text);
	gen_field_text(&d->top[d->top_count++], "referrer", referrers[gen_rng_below(&m->rng, 4)]);
	gen_field_text(&d->top[d->top_count++], "country", countries[gen_rng_below(&m->rng, 8)]);
	gen_field_text(&d->top[d->top_count++], "device", devices[gen_rng_below(&m->rng, 3)]);
}

static void draft_platform(struct gen_maker *m, const struct style *st, int64_t ts)
{
	static const char *const sources[] = {"web", "device", "checkout", "search", "payments"};
	struct gen_draft *d = &m->draft;
	char text[160];

	gen_field_text(&d->top[d->top_count++], "source", sources[gen_rng_below(&m->rng, 5)]);
	if (gen_rng_below(&m->rng, 4))
		gen_field_time(&d->top[d->top_count++], "timestamp", ts);
	else
		gen_field_number(&d->top[d->top_count++], "timestamp", ts);
	gen_field_raw(&d->top[d->top_count++], "attributes", "");
	user_text(m, st, text, sizeof text);
	gen_field_text(&d->attr[d->attr_count++], "user_id", text);
	snprintf(text, sizeof text, "%u.%u", gen_rng_below(&m->rng, 1000), gen_rng_below(&m->rng, 10));
	gen_field_raw(&d->attr[d->attr_count++], "metric", text);
	gen_field_text(&d->attr[d->attr_count++], "status", gen_rng_below(&m->rng, 20) ? "ok" : "error");
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

static void make_new(struct gen_maker *m, int64_t now_ms)
{
	const struct gen_opts *o = m->o;
	struct gen_rng *rng = &m->rng;
	struct gen_draft *d = &m->draft;
	struct gen_event *ev = &m->ev;
	bool click = gen_rng_below(rng, o->mix_click + o->mix_platform) < o->mix_click;
	bool bad = gen_rng_permille(rng, o->bad_permille),
	     fraud = !bad && gen_rng_permille(rng, o->fraud_permille);
	enum gen_bad_kind kind = bad ? bad_kind(m, click ? GEN_CLICK : GEN_PLATFORM) : GEN_BAD_COUNT;
	struct style st = {.escape = !bad && gen_rng_permille(rng, o->escape_permille),
		.utf8 = !bad && gen_rng_permille(rng, o->utf8_permille),
		.extra = !bad && gen_rng_permille(rng, o->extra_permille)};
	int64_t ts = event_time(m, now_ms);

	d->top_count = d->attr_count = 0;
	d->spaced = false;
	ev->type = click ? EVENT_TYPE_click : EVENT_TYPE_platform;
	ev->has_id = !gen_rng_permille(rng, o->noid_permille);
	ev->reason = kind < GEN_BAD_COUNT ? (uint8_t)gen_bad_table[kind].reason : DROP_NONE;
	gen_uuid(rng, ev->id);
	if (ev->has_id)
		gen_field_text(&d->top[d->top_count++], "event_id", ev->id);
	if (click)
		draft_click(m, &st, ts);
	else
		draft_platform(m, &st, ts);
	ev->rule = fraud ? gen_fraud_draft(d, ev->type, rng) : NULL;
	if (st.extra)
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
	if (m->kept_count && gen_rng_permille(&m->rng, m->o->dup_permille))
		send_again(m);
	else
		make_new(m, now_ms);
	m->made++;
	return &m->ev;
}
