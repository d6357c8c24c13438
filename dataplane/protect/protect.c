/* Writes events anew. One walk over JSON that the parser has accepted: what is not protected is copied, in
 * pieces as long as possible. Worker thread. */
#include "protect.h"

#include <sodium.h>

#include "cards.h"
#include "json_scan.h"
#include "protect_priv.h"

static const char hex[] = "0123456789abcdef";

struct walk {
	struct protector *pt;
	struct protect_stats *stats;
	const struct event *ev;
	const uint8_t *end;
	const uint8_t *copied; /* up to here the event is in out */
	uint64_t moved;	       /* fields with their new place in span */
	uint64_t gone;	       /* fields that were dropped */
	bool refused;
	struct span span[FIELD_ID_MAX];
};

static void copy_to(struct walk *w, const uint8_t *to)
{
	bytes_put(&w->pt->out, w->copied, (size_t)(to - w->copied));
	w->copied = to;
}

/* Copies up to `to`; from `from` on it is text, or a number, to look for cards in. */
static void copy_scanned(struct walk *w, const uint8_t *from, const uint8_t *to, enum cards_text kind)
{
	struct bytes *out = &w->pt->out;

	copy_to(w, to);
	if (!out->failed)
		w->stats->cards += cards_find(out->data + out->bytes - (to - from), (uint32_t)(to - from),
			kind, w->pt->cards == CARDS_MASK);
}

/* A value of any kind in which every text and number is looked at. */
static void value_scan(struct walk *w, const uint8_t *p, const uint8_t *end)
{
	while (p < end) {
		const uint8_t *start = p;

		if (*p == '"') {
			p = json_skip_text(p, end);
			if (!p)
				return;
			copy_scanned(w, start + 1, p - 1, CARDS_JSON);
		} else if (*p >= '0' && *p <= '9') {
			/* Not its fraction: what makes a number long there is chance. */
			while (p < end && *p >= '0' && *p <= '9')
				p++;
			copy_scanned(w, start, p, CARDS_NUMBER);
			while (p < end && ((*p >= '0' && *p <= '9') || *p == '.' || *p == '+' || *p == '-' ||
						  (*p | 0x20) == 'e'))
				p++;
		} else {
			p++;
		}
	}
}

/* The slot of a name between quotes; a free one if nothing is known of it. */
static const struct slot *key_slot(struct walk *w, const uint8_t *name, uint32_t bytes, enum scope scope)
{
	if (memchr(name, '\\', bytes)) {
		bytes = text_decode(w->pt->decoded, name, bytes);
		name = w->pt->decoded;
	}
	return slot_find(w->pt, name, bytes, scope);
}

/* True if the key gives the event its field. */
static bool key_is_used(const struct walk *w, const struct slot *key)
{
	const struct type_info *type = &type_table[w->ev->type];

	return key->bytes && key->field && type->uses >> key->field & 1 &&
	       (key->scope == SCOPE_TOP || (key->scope == SCOPE_ATTRIBUTES && type->uses & FBIT(attributes)));
}

static void span_set(struct walk *w, enum field_id field, size_t at, size_t bytes)
{
	w->moved |= 1ull << field;
	w->span[field] = (struct span){(uint16_t)at, (uint16_t)bytes};
}

static void pseudonym_put(struct walk *w, const struct row *row, const uint8_t *v, const uint8_t *end)
{
	uint8_t digest[PSEUDONYM_BYTES], text[2 * PSEUDONYM_BYTES];
	uint32_t bytes = (uint32_t)(end - v);

	if (*v == '"') {
		bytes = text_decode(w->pt->decoded, v + 1, bytes - 2);
		v = w->pt->decoded;
	}
	(void)crypto_generichash(digest, sizeof digest, v, bytes, row->key, row->key_bytes);
	for (uint32_t i = 0; i < sizeof digest; i++) {
		text[2 * i] = (uint8_t)hex[digest[i] >> 4];
		text[2 * i + 1] = (uint8_t)hex[digest[i] & 15];
	}
	bytes_put(&w->pt->out, text, sizeof text);
}

static void value_replace(
	struct walk *w, const struct row *row, const struct slot *key, const uint8_t *v, const uint8_t *end)
{
	struct bytes *out = &w->pt->out;
	size_t at;

	if (*v == 'n') /* null: it is not there */
		return;
	copy_to(w, v);
	w->copied = end;
	if (row->action == ACTION_DROP) {
		bytes_put(out, "null", 4);
		w->stats->dropped++;
		if (key_is_used(w, key))
			w->gone |= 1ull << key->field;
		return;
	}
	bytes_put_u8(out, '"');
	at = out->bytes;
	if (row->action == ACTION_HASH) {
		pseudonym_put(w, row, v, end);
		w->stats->hashed++;
	} else {
		bytes_put(out, "***", 3);
		w->stats->masked++;
	}
	if (key_is_used(w, key))
		span_set(w, key->field, at, out->bytes - at);
	bytes_put_u8(out, '"');
}

static bool object_walk(struct walk *w, const uint8_t **at, enum scope scope);

/* A value that no row is for. Its place is noted if a field has it there. */
static bool value_walk(
	struct walk *w, const struct slot *key, enum scope scope, const uint8_t *v, const uint8_t **at)
{
	enum field_id field = key->bytes ? key->field : FIELD_NONE;
	bool inner =
		*v == '{' && scope == SCOPE_TOP && (field == FIELD_attributes || field == FIELD_properties);
	bool used = key_is_used(w, key), text = *v == '"';
	const uint8_t *end = v;
	size_t start;

	if (inner || used)
		copy_to(w, v);
	start = w->pt->out.bytes;
	if (inner) {
		if (!object_walk(w, &end, field == FIELD_attributes ? SCOPE_ATTRIBUTES : SCOPE_PROPERTIES))
			return false;
	} else {
		end = json_skip_value(v, w->end);
		if (!end)
			return false;
		if (w->pt->cards && (!used || w->pt->text_fields >> field & 1))
			value_scan(w, v, end);
	}
	*at = end;
	if (used && w->ev->field_mask >> field & 1 && *v != 'n' &&
		w->ev->field[field].offset < w->ev->raw_bytes) {
		copy_to(w, end);
		span_set(w, field, start + text, w->pt->out.bytes - start - 2 * text);
	}
	return true;
}

/* "name": value; *at behind it. */
static bool member_walk(struct walk *w, const uint8_t **at, enum scope scope)
{
	const uint8_t *name = *at, *end = json_skip_text(name, w->end), *v;
	const struct slot *key;
	uint8_t row;

	if (!end)
		return false;
	key = key_slot(w, name + 1, (uint32_t)(end - name - 2), scope);
	if (w->pt->cards && !key->bytes)
		copy_scanned(w, name + 1, end - 1, CARDS_JSON);
	v = json_skip_space(end, w->end);
	if (v == w->end || *v != ':')
		return false;
	v = json_skip_space(v + 1, w->end);
	if (v == w->end)
		return false;
	row = !key->bytes ? ROW_NONE : w->refused ? key->row_any : key->row[w->ev->type];
	if (row == ROW_NONE)
		return value_walk(w, key, scope, v, at);
	end = json_skip_value(v, w->end);
	if (!end)
		return false;
	value_replace(w, &w->pt->row[row], key, v, end);
	*at = end;
	return true;
}

/* *at: at the brace; behind the object's end afterwards. Objects within members that no key stands for are
 * skipped as values, so this calls itself once at most. */
static bool object_walk(struct walk *w, const uint8_t **at, enum scope scope)
{
	const uint8_t *p = json_skip_space(*at + 1, w->end);

	if (p < w->end && *p == '}') {
		*at = p + 1;
		return true;
	}
	for (;;) {
		if (p == w->end || !member_walk(w, &p, scope))
			return false;
		p = json_skip_space(p, w->end);
		if (p == w->end || (*p != ',' && *p != '}'))
			return false;
		if (*p++ == '}')
			break;
		p = json_skip_space(p, w->end);
	}
	*at = p;
	return true;
}

/* The whole text into out. False: it does not fit, or is not what it was said to be. */
static bool text_walk_all(struct walk *w)
{
	const uint8_t *p = json_skip_space(w->ev->raw, w->end);

	bytes_reset(&w->pt->out);
	w->copied = w->ev->raw;
	if (p == w->end || *p != '{' || !object_walk(w, &p, SCOPE_TOP) ||
		json_skip_space(p, w->end) != w->end)
		return false;
	copy_to(w, w->end);
	return !w->pt->out.failed;
}

/* The fields whose values are in the tail, behind the new text. What they no longer need is not copied. */
static bool tail_write(struct walk *w, struct event *ev, uint32_t raw_bytes)
{
	struct bytes *out = &w->pt->out;

	for (uint64_t left = ev->field_mask & ~w->moved & ~w->gone; left; left &= left - 1) {
		enum field_id field = (enum field_id)__builtin_ctzll(left);
		struct span s = ev->field[field];
		size_t at = out->bytes;

		if (s.offset < ev->raw_bytes)
			return false; /* the walk has met every key: cannot be */
		bytes_put(out, ev->tail + (s.offset - ev->raw_bytes), s.bytes);
		if (out->failed || out->bytes > EVENT_BYTES_MAX)
			return false;
		if (w->pt->cards == CARDS_MASK && w->pt->text_fields >> field & 1)
			cards_find(out->data + at, s.bytes, CARDS_PLAIN, true);
		span_set(w, field, at, s.bytes);
	}
	for (uint64_t left = w->moved & ev->field_mask; left; left &= left - 1)
		ev->field[__builtin_ctzll(left)] = w->span[__builtin_ctzll(left)];
	ev->field_mask &= ~w->gone;
	ev->raw = out->data;
	ev->tail = out->data + raw_bytes;
	ev->raw_bytes = raw_bytes;
	ev->tail_bytes = (uint32_t)out->bytes - raw_bytes;
	return true;
}

bool protect_event(struct protector *pt, struct event *ev, struct protect_stats *stats)
{
	struct walk w = {.pt = pt, .stats = stats, .ev = ev, .end = ev->raw + ev->raw_bytes};

	if (!text_walk_all(&w) || pt->out.bytes > EVENT_BYTES_MAX)
		return false;
	return tail_write(&w, ev, (uint32_t)pt->out.bytes);
}

bool protect_refused(
	struct protector *pt, struct event *ev, enum protect_text text, struct protect_stats *stats)
{
	struct walk w = {.pt = pt, .stats = stats, .ev = ev, .end = ev->raw + ev->raw_bytes, .refused = true};
	bool kept = false;

	if (text == PROTECT_JSON) {
		kept = text_walk_all(&w);
	} else if (pt->row_count == 0 && (text == PROTECT_TEXT || pt->cards != CARDS_MASK)) {
		bytes_reset(&pt->out);
		w.copied = ev->raw;
		copy_scanned(&w, ev->raw, w.end, CARDS_JSON);
		kept = !pt->out.failed;
	}
	if (!kept) {
		stats->withheld++;
		return false;
	}
	ev->raw = ev->tail = pt->out.data;
	ev->raw_bytes = (uint32_t)pt->out.bytes;
	return true;
}
