/* Stateful rules in the stage: records to them, their alerts out, notes about generations. State thread of a
 * partition. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "stage_priv.h"

int stage_rules_emit(void *arg, uint64_t offset, const struct record *rec)
{
	struct stage *st = arg;

	/* Of a step: all that was taken before is out, and there may be any number of them. */
	if (offset == UINT64_MAX && st->alerts_at == st->alerts.bytes) {
		st->stats.alerts++;
		return st->emit(st->arg, rec);
	}
	bytes_put_u64(&st->alerts, offset);
	bytes_put(&st->alerts, rec, rec->bytes);
	must(!st->alerts.failed);
	return 0;
}

/* Alerts come in the order of their offsets. */
int stage_rules_alerts(struct stage *st, uint64_t offset_last)
{
	uint64_t offset;
	int rc = cep_flush(st->rules);

	if (rc)
		return rc;
	for (; st->alerts_at < st->alerts.bytes;) {
		const struct record *rec =
			(const struct record *)(st->alerts.data + st->alerts_at + sizeof offset);

		memcpy(&offset, st->alerts.data + st->alerts_at, sizeof offset);
		if (offset > offset_last)
			return 0;
		st->alerts_at += sizeof offset + rec->bytes;
		st->stats.alerts++;
		rc = st->emit(st->arg, rec);
		if (rc)
			return rc;
	}
	bytes_reset(&st->alerts);
	st->alerts_at = 0;
	return 0;
}

int stage_rules_reach(struct stage *st, int64_t step_ms)
{
	int rc = cep_reach(st->rules, step_ms, st->receive_ms);

	return rc ? rc : stage_rules_alerts(st, UINT64_MAX);
}

int stage_rules_take(struct stage *st, const struct record *rec, uint64_t offset, int64_t watermark_ms)
{
	return cep_take(st->rules, &st->place, rec, offset, watermark_ms, &st->rules_err);
}

/* 1: such a note. -1: it would be one, but cannot be read. */
static int note_read(const struct journal_block *block, uint32_t *generation)
{
	static const char head[] = "event=rules generation=";
	const struct record *rec = (const struct record *)block->data;
	const uint8_t *text;
	uint64_t n = 0;
	uint32_t at = sizeof head - 1;

	if (block->record_count != 1 || rec->kind != RECORD_CONTROL || rec->payload_bytes < at ||
		memcmp(record_payload(rec), head, at) != 0)
		return 0;
	text = record_payload(rec);
	for (; at < rec->payload_bytes && text[at] >= '0' && text[at] <= '9' && n <= UINT32_MAX; at++)
		n = n * 10 + (uint64_t)(text[at] - '0');
	*generation = (uint32_t)n;
	return at > sizeof head - 1 && n && n <= UINT32_MAX && (at == rec->payload_bytes || text[at] == ' ')
		       ? 1
		       : -1;
}

int stage_rules_note(struct stage *st, const struct journal_block *block, struct err *err)
{
	uint32_t generation;
	int note = note_read(block, &generation);

	if (note < 0)
		return err_set(err, -EBADMSG,
			"partition %u, offset %llu: a note about rules that cannot be read", block->partition,
			(unsigned long long)block->first_offset);
	return note && generation != cep_generation(st->rules) ? cep_switch(st->rules, generation, err) : 0;
}

struct cep *stage_rules(const struct stage *st)
{
	return st->rules;
}
