/* Drafts of all event types.
 *
 * Visits: a user (skewed) lands on a page, goes on from page to page down a funnel (category, product, cart,
 * checkout), is given a session, and at last buys or leaves; so page_view, session and conversion of one
 * visit come in this order. Devices: each measures one thing, whose value drifts around a level; now and then
 * one is stuck and gives the same value many times, or says that it is at fault. Services: now and then one
 * has a burst of errors, in which it is slow as well. Payments: many small amounts and a few large ones; a
 * user keeps card, country and address.
 *
 * Beside scenarios all is calm: users take their time between events of a kind (GEN_CALM_*), now and then
 * mistype their password once and log in, give back a few things at most; devices work, services fail at an
 * even rate. */
#include "gen_world.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VISITS 1024 /* at one time; beside scenarios one for each VISIT_PAUSE_S of events */
#define VISIT_PAUSE_S 4
#define VISITS_MAX 1048576
#define PICKS_MAX 64  /* users looked at until one is free; with half of them free there always is one */
#define REFUNDS_MAX 3 /* of a user */
#define MISTYPE_EVERY_MS 600000
#define SERVICES 5
#define MERCHANTS 500

/* A visit of a user. views = 0: the place is free. */
struct visit {
	uint32_t user, number;
	uint16_t views;
	bool announced; /* its session event was made */
};

struct device {
	int32_t drift;	 /* thousandths, from its level */
	uint32_t stuck;	 /* readings that will still give the same value */
	uint32_t faulty; /* readings that will still say so */
};

enum calm_kind { CALM_WEB, CALM_CUSTOM, CALM_PAY, CALM_KINDS };

/* Of each user, beside scenarios. Times in milliseconds, counted from calm_from_ms; 0: never. */
struct calm_user {
	uint64_t last[CALM_KINDS], mistyped;
	uint32_t refunds;
};

struct gen_world {
	const struct gen_opts *o;
	struct gen_rng *rng;
	struct gen_zipf users, pages;
	struct visit *visit;
	uint32_t visit_room;
	uint32_t visits;	/* begun so far */
	struct calm_user *calm; /* NULL: it is not calm */
	int64_t calm_from_ms;
	struct gen_time time; /* of the event in hand */
	struct device *device;
	uint32_t burst[SERVICES]; /* events of an error burst that are still to come */
};

static const char *const services[SERVICES] = {"web", "device", "checkout", "search", "payments"};
static const char *const countries[] = {"US", "DE", "IN", "BR", "GB", "FR", "JP", "NG"};
static const char *const currencies[] = {"USD", "EUR", "INR", "BRL", "GBP", "EUR", "JPY", "NGN"};
static const char *const devices[] = {"mobile", "desktop", "tablet"};
static const char *const referrers[] = {"/home", "/search", "https://www.example.com/", ""};

int gen_world_new(struct gen_world **out, const struct gen_opts *o, struct gen_rng *rng, struct err *err)
{
	struct gen_world *w = calloc(1, sizeof *w);

	if (!w)
		return err_set(err, -ENOMEM, "out of memory");
	w->o = o;
	w->rng = rng;
	w->device = calloc(o->devices, sizeof *w->device);
	w->visit_room = VISITS;
	w->calm_from_ms = INT64_MIN;
	if (o->scenarios) {
		uint64_t room = gen_opts_rate(o) * VISIT_PAUSE_S;

		w->visit_room = room < VISITS ? VISITS : room > VISITS_MAX ? VISITS_MAX : (uint32_t)room;
		w->calm = calloc(o->users, sizeof *w->calm);
	}
	w->visit = calloc(w->visit_room, sizeof *w->visit);
	if (!w->device || !w->visit || (o->scenarios && !w->calm) ||
		gen_zipf_make(&w->users, o->users, o->zipf) || gen_zipf_make(&w->pages, o->pages, o->zipf)) {
		gen_world_free(w);
		return err_set(err, -ENOMEM, "out of memory for %u users, %u pages and %u devices", o->users,
			o->pages, o->devices);
	}
	*out = w;
	return 0;
}

void gen_world_free(struct gen_world *w)
{
	if (!w)
		return;
	gen_zipf_free(&w->users);
	gen_zipf_free(&w->pages);
	free(w->device);
	free(w->visit);
	free(w->calm);
	free(w);
}

/* ---- users ---- */

static uint64_t calm_now(const struct gen_world *w)
{
	return (uint64_t)(w->time.clock_ms - w->calm_from_ms) + GEN_CALM_PAY_MS;
}

/* True if this user may do something of the kind now; then that is what was done last. */
static bool calm_take(struct gen_world *w, uint32_t user, enum calm_kind kind)
{
	static const uint64_t pause_ms[] = {GEN_CALM_WEB_MS, GEN_CALM_CUSTOM_MS, GEN_CALM_PAY_MS};
	uint64_t *last, now;

	if (!w->calm)
		return true;
	last = &w->calm[user].last[kind];
	now = calm_now(w);
	if (*last && now - *last < pause_ms[kind])
		return false;
	*last = now;
	return true;
}

/* A user who may. */
static uint32_t user_draw(struct gen_world *w, enum calm_kind kind)
{
	uint32_t user = gen_zipf_draw(&w->users, w->rng);

	for (int i = 0; i < PICKS_MAX && !calm_take(w, user, kind); i++)
		user = gen_rng_below(w->rng, w->o->users);
	return user;
}

/* ---- texts ---- */

static const char *const utf8_words[] = {"caf\xc3\xa9", "\xd1\x82\xd0\xbe\xd0\xb2\xd0\xb0\xd1\x80",
	"\xe5\x95\x86\xe5\x93\x81", "\xf0\x9f\x9b\x92",
	"stra\xc3\x9f"
	"e"};
static const char *const escaped_words[] = {
	"caf\\u00e9", "a\\/b", "q=\\\"x\\\"", "\\ud83d\\uded2", "tab\\there", "back\\\\slash"};

static struct gen_field *top(struct gen_draft *d)
{
	return &d->top[d->top_count++]; /* gen_draft_write() asserts what the constants here must keep to */
}

/* A word of the event's style, behind a blank; or nothing. */
static const char *styled(struct gen_world *w, const struct gen_style *st)
{
	return st->escape ? escaped_words[gen_rng_below(w->rng, 6)]
	       : st->utf8 ? utf8_words[gen_rng_below(w->rng, 5)]
			  : "";
}

static void put_user(struct gen_field *f, uint32_t user, const struct gen_style *st)
{
	char text[32];

	/* the escaped form decodes to the same user, and so to the same partition */
	snprintf(text, sizeof text, "%s%06u", st->escape ? "\\u0075" : "u", user);
	gen_field_text(f, "user_id", text);
}

/* Each user has one. */
static void put_address(struct gen_field *f, uint32_t user)
{
	char text[48];

	if (user % 4 && user < 65536)
		snprintf(text, sizeof text, "198.51.%u.%u", user / 256, user % 256);
	else
		snprintf(text, sizeof text, "2001:db8:%x::%x", user / 65536, user % 65536);
	gen_field_text(f, "ip", text);
}

static void put_page(struct gen_world *w, struct gen_field *f, const char *kind, const struct gen_style *st)
{
	static const char *const kinds[] = {"/product", "/category", "/article", "/search", "/help"};
	uint32_t page = gen_zipf_draw(&w->pages, w->rng);
	const char *word = styled(w, st);
	char text[160];

	snprintf(text, sizeof text, "%s%s%u%s%s", kind ? kind : kinds[page % 5], st->escape ? "\\/" : "/",
		page, *word ? "/" : "", word);
	gen_field_text(f, "page", text);
}

/* ---- clicks, platform events ---- */

static void draft_click(struct gen_world *w, struct gen_draft *d, const struct gen_style *st, int64_t ts)
{
	uint32_t user = user_draw(w, CALM_WEB), country = gen_rng_below(w->rng, 8);

	put_user(top(d), user, st);
	gen_field_number(top(d), "ts", ts);
	put_page(w, top(d), NULL, st);
	gen_field_text(top(d), "referrer", referrers[gen_rng_below(w->rng, 4)]);
	gen_field_text(top(d), "country", countries[w->calm ? user % 8 : country]);
	gen_field_text(top(d), "device", devices[gen_rng_below(w->rng, 3)]);
}

/* Draws a service; true if this event of it is an error. */
static bool service_draw(struct gen_world *w, uint32_t *service)
{
	*service = gen_rng_below(w->rng, SERVICES);
	if (w->burst[*service]) {
		w->burst[*service]--;
		return gen_rng_below(w->rng, 10) < 6;
	}
	if (!w->calm && !gen_rng_below(w->rng, 5000))
		w->burst[*service] = 200 + gen_rng_below(w->rng, 800);
	return !gen_rng_below(w->rng, 50);
}

static void draft_platform(struct gen_world *w, struct gen_draft *d, const struct gen_style *st, int64_t ts)
{
	uint32_t service;
	bool error = service_draw(w, &service);
	char text[32];

	gen_field_text(top(d), "source", services[service]);
	if (gen_rng_below(w->rng, 4))
		gen_field_time(top(d), "timestamp", ts);
	else
		gen_field_number(top(d), "timestamp", ts);
	gen_field_raw(top(d), "attributes", "");
	put_user(&d->attr[d->attr_count++], gen_zipf_draw(&w->users, w->rng), st);
	if (w->calm)
		snprintf(text, sizeof text, "%u.%u", 40 + gen_rng_below(w->rng, 20),
			gen_rng_below(w->rng, 10));
	else
		snprintf(text, sizeof text, "%u.%u",
			gen_rng_below(w->rng, 1000) * (w->burst[service] ? 5 : 1), gen_rng_below(w->rng, 10));
	gen_field_raw(&d->attr[d->attr_count++], "metric", text);
	gen_field_text(&d->attr[d->attr_count++], "status", error ? "error" : "ok");
}

/* ---- visits ---- */

static const char *const funnel[] = {"/home", "/category", "/product", "/product", "/cart", "/checkout"};
#define FUNNEL_STEPS (sizeof funnel / sizeof *funnel)

static struct visit *visit_begin(struct gen_world *w, struct visit *v)
{
	*v = (struct visit){.user = user_draw(w, CALM_WEB), .number = ++w->visits, .views = 1};
	return v;
}

/* The visit that this event belongs to: of a few drawn ones the first that may have it, else a new one. */
static struct visit *visit_for(struct gen_world *w, enum event_type type)
{
	struct visit *v = NULL;

	for (int tries = 0; tries < 32; tries++) {
		v = &w->visit[gen_rng_below(w->rng, w->visit_room)];
		switch (type) {
		case EVENT_TYPE_session:
			if (v->views && !v->announced)
				return v;
			break;
		case EVENT_TYPE_conversion:
			if (v->announced && v->views >= FUNNEL_STEPS)
				return v;
			break;
		default:
			if (!v->views)
				return visit_begin(w, v);
			if (!calm_take(w, v->user, CALM_WEB))
				break;
			v->views++;
			return v;
		}
	}
	return visit_begin(w, v);
}

static void draft_visit(struct gen_world *w, struct gen_draft *d, enum event_type type,
	const struct gen_style *st, int64_t ts)
{
	struct visit *v = visit_for(w, type);
	uint32_t step = v->views - 1u < FUNNEL_STEPS ? v->views - 1u : FUNNEL_STEPS - 1, home = v->user % 8;
	char text[64];

	put_user(top(d), v->user, st);
	snprintf(text, sizeof text, "s%06u-%u", v->user, v->number);
	gen_field_text(top(d), "session_id", text);
	gen_field_number(top(d), "ts", ts);
	put_page(w, top(d), funnel[step], st);
	if (type == EVENT_TYPE_page_view)
		gen_field_text(top(d), "referrer",
			v->views == 1 ? referrers[gen_rng_below(w->rng, 4)] : funnel[step / 2]);
	gen_field_text(top(d), "country", countries[home]);
	gen_field_text(top(d), "device", devices[v->user % 3]);
	if (type == EVENT_TYPE_conversion) {
		snprintf(text, sizeof text, "%u.%02u", 5 + gen_rng_below(w->rng, 200),
			gen_rng_below(w->rng, 100));
		gen_field_raw(top(d), "value", text);
		gen_field_text(top(d), "currency", currencies[home]);
	}
	snprintf(text, sizeof text, "{\"step\":%u,\"plan\":\"%s\"}", v->views, v->user % 10 ? "free" : "pro");
	gen_field_raw(top(d), "properties", text);
	if (type == EVENT_TYPE_session)
		v->announced = true;
	else if (type == EVENT_TYPE_conversion || !gen_rng_below(w->rng, 9)) /* bought, or left */
		v->views = 0;
}

/* What a user does. Beside scenarios, also log in, now and then at the second try. */
static const char *custom_name(struct gen_world *w, uint32_t user)
{
	static const char *const names[] = {"signup", "feature_used", "invite_sent", "export", "search"};
	struct calm_user *calm = w->calm ? &w->calm[user] : NULL;
	uint32_t name = gen_rng_below(w->rng, calm ? 7 : 5);

	if (name < 5)
		return names[name];
	if (gen_rng_below(w->rng, 8) || (calm->mistyped && calm_now(w) - calm->mistyped < MISTYPE_EVERY_MS))
		return "login_succeeded";
	calm->mistyped = calm_now(w);
	return "login_failed";
}

static void draft_custom(struct gen_world *w, struct gen_draft *d, const struct gen_style *st, int64_t ts)
{
	uint32_t user = user_draw(w, CALM_CUSTOM);
	char text[120];

	gen_field_text(top(d), "name", custom_name(w, user));
	if (w->calm) {
		put_address(top(d), user);
		gen_field_text(top(d), "country", countries[user % 8]);
	}
	put_user(top(d), user, st);
	gen_field_number(top(d), "ts", ts);
	gen_field_number(top(d), "value", gen_rng_below(w->rng, 1000));
	snprintf(text, sizeof text,
		"{\"tenant\":\"t%u\",\"ui\":{\"theme\":\"%s\",\"beta\":%s},\"note\":\"%s\"}", user % 97,
		user % 2 ? "dark" : "light", user % 5 ? "false" : "true", styled(w, st));
	gen_field_raw(top(d), "properties", text);
}

/* ---- payments ---- */

/* fate: 0 ... 99. */
static const char *pay_status(struct gen_world *w, uint32_t user, uint32_t fate)
{
	if (w->calm && fate == 99 && w->calm[user].refunds < REFUNDS_MAX) {
		w->calm[user].refunds++;
		return "refunded";
	}
	return fate < 95 ? "approved" : fate < 99 ? "declined" : "pending";
}

static void draft_transaction(
	struct gen_world *w, struct gen_draft *d, const struct gen_style *st, int64_t ts)
{
	static const char *const agents[] = {"Mozilla/5.0 (Windows NT 10.0; Win64; x64) Firefox/128.0",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X)", "ShopApp/4.2 (Android 14)"};
	uint32_t user = user_draw(w, CALM_PAY), home = user % 8, fate = gen_rng_below(w->rng, 100);
	uint32_t doublings = (uint32_t)__builtin_ctzll(gen_rng_next(w->rng) | 1ull << (w->calm ? 5 : 14));
	uint64_t cents =
		99 + gen_rng_below(w->rng, 5000) + ((uint64_t)gen_rng_below(w->rng, 1000) << doublings);
	char text[64];

	put_user(top(d), user, st);
	gen_field_number(top(d), "ts", ts);
	/* some senders write fractions of a cent, some leave the cents out */
	if (user % 11 == 0)
		snprintf(text, sizeof text, "%lu.%02lu%04u", cents / 100, cents % 100,
			gen_rng_below(w->rng, 10000));
	else if (user % 13 == 0)
		snprintf(text, sizeof text, "%lu", cents / 100);
	else
		snprintf(text, sizeof text, "%lu.%02lu", cents / 100, cents % 100);
	gen_field_raw(top(d), "amount", text);
	gen_field_text(top(d), "currency", currencies[home]);
	snprintf(text, sizeof text, "tok_%08x", user * 2654435761u);
	gen_field_text(top(d), "card", text);
	snprintf(text, sizeof text, "m%u", gen_zipf_draw(&w->pages, w->rng) % MERCHANTS);
	gen_field_text(top(d), "merchant", text);
	gen_field_text(top(d), "country", countries[home]);
	put_address(top(d), user);
	gen_field_text(top(d), "user_agent", agents[user % 3]);
	gen_field_text(top(d), "status", pay_status(w, user, fate));
}

/* ---- devices ---- */

static void draft_telemetry(struct gen_world *w, struct gen_draft *d, int64_t ts)
{
	static const struct {
		const char *name;
		int32_t level, span; /* thousandths: of devices' levels, and of their steps */
	} measure[] = {{"temp_c", 21500, 120}, {"humidity_pct", 45000, 300}, {"vibration_mm_s", 1800, 90},
		{"battery_v", 3700, 4}};
	uint32_t number = gen_rng_below(w->rng, w->o->devices);
	struct device *device = &w->device[number];
	int32_t level = measure[number % 4].level, span = measure[number % 4].span, value;
	char text[32];

	if (device->stuck)
		device->stuck--;
	else /* a random walk that is drawn back to the level */
		device->drift +=
			(int32_t)gen_rng_below(w->rng, 2 * (uint32_t)span + 1) - span - device->drift / 64;
	if (!w->calm && !gen_rng_below(w->rng, 4000))
		device->stuck = 50 + gen_rng_below(w->rng, 200);
	if (device->faulty)
		device->faulty--;
	else if (!w->calm && !gen_rng_below(w->rng, 20000))
		device->faulty = 1 + gen_rng_below(w->rng, 20);
	value = level + (int32_t)(number % 100) * level / 1000 + device->drift;
	snprintf(text, sizeof text, "d%u", number);
	gen_field_text(top(d), "device_id", text);
	gen_field_number(top(d), "ts", ts);
	gen_field_text(top(d), "name", measure[number % 4].name);
	snprintf(text, sizeof text, "%s%d.%03d", value < 0 ? "-" : "", abs(value) / 1000, abs(value) % 1000);
	gen_field_raw(top(d), "value", text);
	gen_field_text(top(d), "status", device->faulty ? "fault" : "ok");
}

/* ---- logs ---- */

static void draft_log(struct gen_world *w, struct gen_draft *d, const struct gen_style *st, int64_t ts)
{
	static const char *const calm[] = {"info", "info", "info", "debug", "warn"};
	static const char *const faults[] = {
		"upstream timed out", "connection pool is empty", "deadlock found, retrying"};
	const char *word = styled(w, st);
	uint32_t service, ms;
	bool error = service_draw(w, &service);
	char text[200];

	ms = (1 + gen_rng_below(w->rng, 90)) * (error ? 30 : 1);
	gen_field_text(top(d), "source", services[service]);
	gen_field_number(top(d), "ts", ts);
	gen_field_text(top(d), "level", error ? "error" : calm[gen_rng_below(w->rng, 5)]);
	snprintf(text, sizeof text, "%s /api/v1/items/%u took %u ms%s%s%s%s",
		gen_rng_below(w->rng, 3) ? "GET" : "POST", gen_zipf_draw(&w->pages, w->rng), ms,
		error ? ": " : "", error ? faults[gen_rng_below(w->rng, 3)] : "", *word ? " " : "", word);
	gen_field_text(top(d), "message", text);
	snprintf(text, sizeof text, "{\"http.status_code\":%u,\"request\":{\"ms\":%u,\"pod\":\"%s-%u\"}}",
		error ? 500 + gen_rng_below(w->rng, 4) : 200, ms, services[service],
		gen_rng_below(w->rng, 4));
	gen_field_raw(top(d), "attributes", text);
}

void gen_world_draft(struct gen_world *w, struct gen_draft *d, enum event_type type,
	const struct gen_style *st, struct gen_time time)
{
	int64_t ts = time.ts_ms;

	w->time = time;
	if (w->calm_from_ms == INT64_MIN)
		w->calm_from_ms = time.clock_ms;
	switch (type) {
	case EVENT_TYPE_platform:
		draft_platform(w, d, st, ts);
		break;
	case EVENT_TYPE_page_view:
	case EVENT_TYPE_session:
	case EVENT_TYPE_conversion:
		draft_visit(w, d, type, st, ts);
		break;
	case EVENT_TYPE_custom:
		draft_custom(w, d, st, ts);
		break;
	case EVENT_TYPE_transaction:
		draft_transaction(w, d, st, ts);
		break;
	case EVENT_TYPE_telemetry:
		draft_telemetry(w, d, ts);
		break;
	case EVENT_TYPE_log:
		draft_log(w, d, st, ts);
		break;
	default:
		draft_click(w, d, st, ts);
	}
}
