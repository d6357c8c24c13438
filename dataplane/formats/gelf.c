/* GELF 1.1 over UDP: a JSON object, plain or compressed, in one datagram. */
#include "gelf_priv.h"

#include "format_priv.h"
#include "json_out.h"
#include "json_scan.h"
#include "log_out_priv.h"
#include "number.h"

#define TS_MS_MAX 253402300799999ull /* 9999-12-31T23:59:59.999Z */

/* Members that the format knows. The first of a name counts; value.p NULL: not there, or null. */
enum { SHORT, FULL, HOST, TIMESTAMP, LEVEL, VERSION, APP, CONTAINER, FACILITY, OLD_FACILITY, KNOWN_COUNT };

static const struct text known_name[KNOWN_COUNT] = {TEXT("short_message"), TEXT("full_message"), TEXT("host"),
	TEXT("timestamp"), TEXT("level"), TEXT("version"), TEXT("_app"), TEXT("_container_name"),
	TEXT("_facility"), TEXT("facility")};

#define MEMBERS_KEPT 32 /* more than most messages have: later ones are looked for again */

struct gelf {
	struct text value[KNOWN_COUNT]; /* as written */
	uint8_t *decoded;		/* takes their texts, each once */
	const uint8_t *rest;		/* behind the last member that is kept; NULL: all are */
	uint32_t member_count;
	uint8_t known[MEMBERS_KEPT]; /* of each one's name */
	struct object_member member[MEMBERS_KEPT];
};

/* Of a member's name; KNOWN_COUNT: none. */
static uint32_t name_find(struct text name)
{
	uint8_t plain[6 * 16];

	if (name.bytes <= sizeof plain && memchr(name.p, '\\', name.bytes))
		name = (struct text){plain, text_decode(plain, name.p, name.bytes)};
	for (uint32_t i = 0; i < KNOWN_COUNT; i++)
		if (text_same(name, known_name[i]))
			return i;
	return KNOWN_COUNT;
}

/* What is consumed as a field and does not come again among the attributes. */
static bool is_field(uint32_t known)
{
	return known <= VERSION;
}

/* A value's text; bytes 0 if it is none. */
static struct text value_text(struct gelf *g, struct text value)
{
	struct text t = {g->decoded, 0};

	if (!value.p || *value.p != '"')
		return t;
	t.bytes = text_decode(g->decoded, value.p + 1, value.bytes - 2);
	g->decoded += t.bytes;
	return t;
}

/* A number, or a text that is one. */
static bool value_number(struct text value, struct number *n)
{
	const uint8_t *p = value.p, *end = p + value.bytes;

	if (*p == '"') {
		p++;
		end--;
	}
	return number_walk(p, end, n) == end;
}

/* Seconds with a fraction to milliseconds, cut. */
static bool timestamp_read(struct text value, int64_t *ms)
{
	struct number n;
	int32_t exp10;

	if (!value_number(value, &n) || (n.negative && n.mantissa))
		return false;
	if (n.mantissa == 0) {
		*ms = 0;
		return true;
	}
	if (n.exp10 < -100 || n.exp10 > 20)
		return false;
	for (exp10 = n.exp10 + 3; exp10 < 0; exp10++)
		n.mantissa /= 10;
	for (; exp10 > 0; exp10--) {
		if (n.mantissa > TS_MS_MAX)
			return false;
		n.mantissa *= 10;
	}
	*ms = (int64_t)n.mantissa;
	return n.mantissa <= TS_MS_MAX;
}

/* LOG_SEVERITY_NONE: it is none of 0 to 7. */
static uint8_t level_read(struct text value)
{
	struct number n;

	if (!value.p || !value_number(value, &n) || !n.integer || n.negative || n.cut || n.exp10 ||
		n.mantissa > 7)
		return LOG_SEVERITY_NONE;
	return (uint8_t)n.mantissa;
}

static struct text source_find(struct gelf *g, struct text host)
{
	static const uint8_t order[] = {APP, CONTAINER, FACILITY, OLD_FACILITY};
	struct text t = {0};

	for (uint32_t i = 0; i < sizeof order && !t.bytes; i++)
		t = value_text(g, g->value[order[i]]);
	return t.bytes ? t : host;
}

static void members_read(struct gelf *g, struct text json)
{
	const uint8_t *at = json.p;
	struct object_member m;

	while (object_next(&at, json.p + json.bytes, &m)) {
		uint32_t known = name_find(m.name);

		if (known < KNOWN_COUNT && !g->value[known].p && *m.value.p != 'n')
			g->value[known] = m.value;
		if (g->member_count == MEMBERS_KEPT)
			continue;
		g->known[g->member_count] = (uint8_t)known;
		g->member[g->member_count++] = m;
		if (g->member_count == MEMBERS_KEPT)
			g->rest = at;
	}
}

static void other_put(struct bytes *out, struct object_member m, uint32_t known)
{
	if (is_field(known))
		return;
	if (m.name.bytes > 1 && *m.name.p == '_')
		m.name = text_to(m.name.p + 1, m.name.p + m.name.bytes);
	log_put_member(out, &m);
}

/* All members that are no field: `_name` as name. */
static void others_put(struct bytes *out, const struct gelf *g, struct text json)
{
	const uint8_t *at = g->rest;
	struct object_member m;

	for (uint32_t i = 0; i < g->member_count; i++)
		other_put(out, g->member[i], g->known[i]);
	while (at && object_next(&at, json.p + json.bytes, &m))
		other_put(out, m, name_find(m.name));
}

/* False: not GELF. */
static bool gelf_write(struct format_reader *r, struct bytes *out, struct text json)
{
	uint8_t decoded[EVENT_BYTES_MAX]; /* no text is longer than what it is written as */
	struct gelf g;
	struct log_event ev = {.ts_ms = r->receive_ms};
	struct text first, host;
	size_t start;

	if (!object_valid(out, json))
		return false;
	memset(&g, 0, offsetof(struct gelf, known)); /* members are counted */
	g.decoded = decoded;
	members_read(&g, json);
	if (g.value[TIMESTAMP].p && !timestamp_read(g.value[TIMESTAMP], &ev.ts_ms))
		return false;
	ev.severity = level_read(g.value[LEVEL]);
	host = value_text(&g, g.value[HOST]);
	ev.source = source_find(&g, host);
	first = value_text(&g, g.value[SHORT]);
	ev.message = value_text(&g, g.value[FULL]);
	if (!first.bytes && !ev.message.bytes)
		return false;
	if (!ev.message.bytes) {
		ev.message = first;
		first.bytes = 0;
	}
	start = log_begin(r, out, &ev);
	log_put_text(out, "host", host);
	log_put_text(out, "short_message", first);
	if (g.value[LEVEL].p && ev.severity == LOG_SEVERITY_NONE) {
		json_put_name(out, "level");
		bytes_put(out, g.value[LEVEL].p, g.value[LEVEL].bytes);
	}
	others_put(out, &g, json);
	log_end(r, out, start);
	return true;
}

static enum format_answer gelf_read(struct format_reader *r, struct bytes *out, struct text json)
{
	while (json.bytes && (json_is_space(*json.p) || json.p[json.bytes - 1] == 0)) {
		json.p += json_is_space(*json.p);
		json.bytes--;
	}
	return gelf_write(r, out, json) ? FORMAT_EVENT : FORMAT_REFUSED;
}

/* Apart, as it needs much stack. */
static __attribute__((noinline)) enum format_answer gelf_read_packed(
	struct format_reader *r, struct bytes *out)
{
	uint8_t plain[EVENT_BYTES_MAX];
	struct text json = {plain, 0};

	if (gelf_unpack(plain, &json.bytes, r->piece, r->piece_bytes, &out->failed))
		return gelf_read(r, out, json);
	return out->failed ? FORMAT_EVENT : FORMAT_REFUSED;
}

enum format_answer gelf_next(struct format_reader *r, struct bytes *out)
{
	if (r->at == r->end)
		return FORMAT_END;
	r->piece = r->at;
	r->piece_bytes = (uint32_t)(r->end - r->at);
	r->at = r->end;
	if (r->piece_bytes > EVENT_BYTES_MAX) {
		out->failed = true;
		return FORMAT_EVENT;
	}
	if (gelf_packing(r->piece, r->piece_bytes) != GELF_PLAIN)
		return gelf_read_packed(r, out);
	return gelf_read(r, out, (struct text){r->piece, r->piece_bytes});
}
