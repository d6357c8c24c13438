/* Group keys of a run's events, and where they stand in tables; see stage_priv.h. State thread of a
 * partition; in: records; out: picks with keys, slots and entries. */
#include "avx2.h"
#include "stage_priv.h"

/* A key that is one text: its length, then its bytes. */
static uint32_t key_of_text(
	const struct stage_window *w, const struct record *rec, struct stage_pick *p, uint8_t *to)
{
	uint32_t bytes;
	const uint8_t *text = record_field(rec, w->def->group[0], &bytes);
	uint16_t head = text ? (uint16_t)bytes : ROW_KEY_ABSENT;
	uint8_t *at = to + sizeof head;

	if (bytes > STAGE_TEXT_MAX) {
		p->other = true;
		return 0;
	}
	memset(to + (bytes + 1) / 8 * 8, 0, 8);
	memcpy(to, &head, sizeof head);
	if (text && bytes - 8 <= 8) {
		memcpy(at + bytes - 8, text + bytes - 8, 8);
		memcpy(at, text, 8);
	} else if (text) {
		memcpy(at, text, bytes);
	}
	p->tag = keytab_tag(head, text ? text : at, bytes);
	return bytes + (uint32_t)sizeof head;
}

/* Of fields of a record, before which 8 bytes are readable. Without a call, where there are few. */
static inline void text_copy(uint8_t *to, const uint8_t *text, uint32_t bytes)
{
	uint64_t word;

	if (bytes > 16) {
		memcpy(to, text, bytes);
		return;
	}
	if (!bytes)
		return;
	if (bytes > 8) {
		memcpy(to, text, 8);
		memcpy(to + bytes - 8, text + bytes - 8, 8);
		return;
	}
	word = hash_load(text + bytes - 8, 8) >> (8 * (8 - bytes));
	memcpy(to, &word, sizeof word); /* zero bytes behind the text: there is room */
}

/* A key of several texts: each one's length, then its bytes, as row_key_make() has them. 0: too long. */
static uint32_t key_of_texts(const struct stage_window *w, const struct record *rec, uint8_t *to)
{
	const uint8_t *payload = record_payload(rec);
	uint32_t used = 0;

	for (uint32_t i = 0; i < w->def->group_count; i++) {
		uint32_t bytes;
		const uint8_t *text = record_field_in(rec, payload, w->def->group[i], &bytes);
		const uint16_t head = text ? (uint16_t)bytes : ROW_KEY_ABSENT;

		if (WINDOW_KEY_BYTES_MAX - used < sizeof head + bytes)
			return 0;
		memcpy(to + used, &head, sizeof head);
		used += (uint32_t)sizeof head;
		text_copy(to + used, text, bytes);
		used += bytes;
	}
	return used;
}

void stage_key(const struct stage_window *w, struct stage_pick *p)
{
	const struct record *rec = w->st->run.rec[p->index];
	uint8_t *to = w->st->keys + (size_t)p->index * STAGE_KEY_ROOM;

	p->key = to;
	p->text = NULL;
	p->other = false;
	if (w->text_key) {
		p->key_bytes = key_of_text(w, rec, p, to);
		return;
	}
	p->key_bytes =
		w->text_keys ? key_of_texts(w, rec, to)
		: w->attrs   ? stage_key_of_attrs(w, p->index, to)
			   : row_key_make(to, WINDOW_KEY_BYTES_MAX, w->def->group, w->def->group_count, rec);
	p->other = !p->key_bytes && w->def->group_count;
	memset(to + p->key_bytes, 0, 8);
	p->tag = stage_tag(to, p->key_bytes);
}

/* What does not change is copied: it stays in registers, whatever is written. alike, span_at: of records that
 * have the same fields. */
AVX2_BODY void keys_look(const struct stage_window *w, const struct keytab *kt, struct stage_pick *pick,
	uint32_t count, bool alike, uint32_t span_at)
{
	const struct record *const *rec = w->st->run.rec;
	const uint8_t *const *payload = w->st->run.payload;
	const enum field_id field = w->def->group[0];
	const uint32_t bytes_max = w->text_key ? STAGE_TEXT_MAX : 0;
	const struct keytab keys = *kt;

	for (const struct stage_pick *end = pick + count; pick < end; pick++) {
		const uint32_t i = pick->index;
		uint32_t bytes, tag;
		const uint8_t *text = alike ? record_field_at(rec[i], payload[i], span_at, &bytes)
					    : record_field_in(rec[i], payload[i], field, &bytes);

		if (__builtin_expect(bytes - 1 < bytes_max, 1)) {
			tag = keytab_tag((uint16_t)bytes, text, bytes);
			pick->other = false;
			pick->tag = tag;
			pick->key_bytes = bytes + (uint32_t)sizeof(uint16_t);
			pick->text = text;
		} else {
			stage_key(w, pick);
			tag = pick->tag;
		}
		pick->slot = keytab_prefetch_slot(&keys, tag);
	}
}

AVX2_FN static void keys_look_avx2(const struct stage_window *w, const struct keytab *kt,
	struct stage_pick *pick, uint32_t count, uint32_t span_at)
{
	keys_look(w, kt, pick, count, true, span_at);
}

void stage_keys_look(
	const struct stage_window *w, const struct keytab *kt, struct stage_pick *pick, uint32_t count)
{
	const struct stage_run *run = &w->st->run;
	uint32_t at = run->fields_differ ? 0 : record_span_at(run->rec[0], w->def->group[0]);

	if (at && avx2_usable())
		keys_look_avx2(w, kt, pick, count, at);
	else
		keys_look(w, kt, pick, count, false, 0);
}

void stage_keys_guess(const struct keytab *kt, struct stage_pick *pick, uint32_t count)
{
	const struct keytab keys = *kt;

	for (const struct stage_pick *end = pick + count; pick < end; pick++)
		pick->entry = keytab_guess(&keys, pick->slot, pick->tag);
}
