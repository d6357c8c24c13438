/* See state_terms.h. */
#include "state_terms.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void state_terms_make(struct state_terms *t, const struct config *cfg, const struct window_plan *plan)
{
	memset(t, 0, sizeof *t);
	t->step_ms = plan->step_ms;
	t->out_of_orderness_ms = cfg->time.out_of_orderness;
	t->memory_bytes = cfg->state.memory;
	t->window_count = plan->count;
	for (uint32_t i = 0; i < plan->count; i++)
		t->window_uid[i] = plan->def[i]->uid;
}

bool state_terms_equal(const struct state_terms *a, const struct state_terms *b)
{
	return a->step_ms == b->step_ms && a->out_of_orderness_ms == b->out_of_orderness_ms &&
	       a->memory_bytes == b->memory_bytes && a->window_count == b->window_count &&
	       memcmp(a->window_uid, b->window_uid, a->window_count * sizeof *a->window_uid) == 0;
}

void state_terms_print(const struct state_terms *t, char out[JOURNAL_NOTE_MAX + 1])
{
	size_t cap = JOURNAL_NOTE_MAX + 1;
	int n = snprintf(out, cap,
		"event=windows step_ms=%" PRId64 " out_of_orderness_ms=%" PRIu64 " memory=%" PRIu64
		" marks=1 uids=",
		t->step_ms, t->out_of_orderness_ms, t->memory_bytes);

	_Static_assert(WINDOWS_MAX * 17 + 160 <= JOURNAL_NOTE_MAX, "the note of all windows fits");
	for (uint32_t i = 0; i < t->window_count; i++)
		n += snprintf(out + n, cap - (size_t)n, "%s%016" PRIx64, i ? "," : "", t->window_uid[i]);
}

/* Takes "name" and a number of at most 18 digits at *p. */
static bool take_number(const char **p, const char *name, uint64_t *out)
{
	size_t n = strlen(name);
	int digits = 0;

	if (strncmp(*p, name, n) != 0)
		return false;
	*p += n;
	for (*out = 0; **p >= '0' && **p <= '9' && digits < 18; digits++)
		*out = *out * 10 + (uint64_t)(*(*p)++ - '0');
	return digits > 0;
}

static bool take_uid(const char **p, uint64_t *out)
{
	*out = 0;
	for (int i = 0; i < 16; i++) {
		char c = *(*p)++;

		if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
			return false;
		*out = *out << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
	}
	return true;
}

static bool terms_parse(struct state_terms *t, const char *p)
{
	static const char marks[] = " marks=1";
	uint64_t step_ms;

	memset(t, 0, sizeof *t);
	if (!take_number(&p, "event=windows step_ms=", &step_ms) || step_ms == 0 ||
		!take_number(&p, " out_of_orderness_ms=", &t->out_of_orderness_ms) ||
		!take_number(&p, " memory=", &t->memory_bytes))
		return false;
	t->marks = strncmp(p, marks, sizeof marks - 1) == 0;
	p += t->marks ? sizeof marks - 1 : 0;
	if (strncmp(p, " uids=", 6) != 0)
		return false;
	t->step_ms = (int64_t)step_ms;
	for (p += 6; *p; p += *p == ',') {
		uint32_t i = t->window_count;

		if (i == WINDOWS_MAX || !take_uid(&p, &t->window_uid[i]) || (*p && *p != ',') ||
			(i && t->window_uid[i] <= t->window_uid[i - 1]))
			return false;
		t->window_count++;
	}
	return true;
}

int state_terms_of_block(const struct journal_block *block, struct state_terms *t, struct err *err)
{
	static const char head[] = "event=windows ";
	const struct record *rec = (const struct record *)block->data;
	char text[JOURNAL_NOTE_MAX + 1];

	if (block->record_count != 1 || rec->kind != RECORD_CONTROL || rec->payload_bytes < sizeof head - 1 ||
		memcmp(record_payload(rec), head, sizeof head - 1) != 0)
		return 0;
	if (rec->payload_bytes > JOURNAL_NOTE_MAX)
		return err_set(err, -EBADMSG, "partition %u, offset %" PRIu64 ": a note that is too long",
			block->partition, block->first_offset);
	memcpy(text, record_payload(rec), rec->payload_bytes);
	text[rec->payload_bytes] = 0;
	if (!terms_parse(t, text))
		return err_set(err, -EBADMSG,
			"partition %u, offset %" PRIu64 ": a note that cannot be read: %.200s",
			block->partition, block->first_offset, text);
	return 1;
}

int state_terms_stage(const struct state_terms *t, struct window_store *store, uint32_t partition,
	uint64_t source_idle_ms, cep_rules_get rules, void *rules_arg, stage_emit emit, void *arg,
	struct window_plan **plan, struct stage **stage, struct err *err)
{
	struct stage_params params = {.partition = partition,
		.out_of_orderness_ms = t->out_of_orderness_ms,
		.source_idle_ms = source_idle_ms,
		.memory_bytes = t->memory_bytes,
		.rules = rules,
		.rules_arg = rules_arg};
	int rc = window_store_plan(plan, store, t->window_uid, t->window_count, t->step_ms, err);

	if (rc != 0)
		return rc;
	params.plan = *plan;
	rc = stage_new(stage, &params, emit, arg, err);
	if (rc != 0) {
		window_plan_free(*plan);
		*plan = NULL;
	}
	return rc;
}
