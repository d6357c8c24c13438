/* Events of rules in order of event time, until the watermark's step has passed them. State thread. They lie
 * in the order of their arrival, so that sorting them by time, stably, gives the order (event time, offset).
 */
#include "cep_priv.h"
#include "timesort.h"

static bool wait_lives(const struct cep_machine *m, const struct cep_wait *w)
{
	const struct keytab_entry *e = keytab_at(&m->keys, w->key);

	return !(e->flags & KEYTAB_F_DEAD) && ((struct cep_key *)keytab_value(e))->serial == w->serial;
}

static bool wait_wanted(const void *m, const void *w)
{
	return wait_lives(m, w);
}

void cep_wait_add(struct cep_machine *m, struct cep_key *key, const struct cep_event *ev)
{
	struct cep_wait *w;

	/* Events of keys that are gone. */
	if (timewait_full(&m->waits) && m->waits.count > 2 * m->waiting + 64)
		timewait_filter(&m->waits, sizeof *w, wait_wanted, m);
	w = timewait_add(&m->waits, sizeof *w, ev->time_ms);
	*w = (struct cep_wait){.time_ms = ev->time_ms,
		.offset = ev->offset,
		.value = ev->value,
		.key = key->ref,
		.serial = key->serial,
		.steps = ev->steps};
	memcpy(w->id, ev->id, sizeof w->id);
	key->waiting++;
	m->waiting++;
}

static void ready_room(struct cep *cep, size_t count)
{
	if (count <= cep->ready_room)
		return;
	cep->ready_room = count + count / 2;
	for (int i = 0; i < 2; i++) {
		free(cep->ready[i]);
		cep->ready[i] = must_realloc(NULL, cep->ready_room, sizeof *cep->ready[i]);
	}
}

int cep_wait_reach(struct cep_machine *m, int64_t step_ms)
{
	struct cep *cep = m->cep;
	const struct cep_wait *ready;
	struct timewait_taken taken;
	size_t count;
	int rc = 0;

	ready_room(cep, timewait_most(&m->waits, step_ms) + 1);
	taken = timewait_take(&m->waits, sizeof *ready, step_ms, cep->ready[0]);
	count = taken.count;
	ready = cep->ready[0];
	if (!taken.sorted)
		ready = timesort(
			cep->ready[0], cep->ready[1], count, sizeof *ready, taken.least_ms, taken.most_ms);
	cep_judging(m, true);
	for (size_t i = 0; i < count; i++) {
		const struct cep_wait *w = &ready[i];
		struct cep_event ev = {w->time_ms, w->offset, w->id, w->steps, w->value};
		struct cep_key *key;

		if (i + 12 < count) {
			const uint8_t *e = (const uint8_t *)keytab_at(&m->keys, ready[i + 12].key);

			__builtin_prefetch(e);
			__builtin_prefetch(e + 64);
		}
		if (i + 6 < count)
			cep_key_prefetch(m, cep_key_at(m, ready[i + 6].key));
		if (rc || !wait_lives(m, w))
			continue;
		key = cep_key_at(m, w->key);
		key->waiting--;
		m->waiting--;
		rc = cep_judge(m, key, &ev);
		cep_memory(m);
	}
	if (rc) /* those not judged stand nowhere any more: this state cannot be saved, as tidying does */
		m->untidy = false;
	cep_judging(m, false);
	return rc;
}
