/* The open batches of a pipeline: where they come from, and when they go. Worker thread; batches go through
 * the lanes. */
#include "pipeline_priv.h"

#include <string.h>

void batch_seal(struct pipeline *pl, uint32_t partition)
{
	struct batch *b = pl->open[partition];

	memcpy(b->drop_delta, pl->drop_delta, sizeof b->drop_delta);
	memset(pl->drop_delta, 0, sizeof pl->drop_delta);
	pl->drop_pending = false;
	pl->open[partition] = NULL;
	pl->open_count--;
	pl->stats->batches_sealed++;
	batch_hand_over(pl->handoff, b);
}

struct batch *batch_fresh(struct pipeline *pl, uint32_t partition)
{
	struct batch *b = batch_take_empty(handoff_lane(pl->handoff, pl->worker, partition));

	if (!b)
		return NULL;
	b->bytes = 0;
	b->record_count = 0;
	b->generation = pl->generation;
	b->receive_first_ms = pl->now.wall_ms;
	b->receive_last_ms = pl->now.wall_ms;
	b->opened_ns = pl->now.mono_ns - pl->waited_ns;
	b->watermark_base_ms = INT64_MIN;
	pl->open[partition] = b;
	pl->open_count++;
	return b;
}

/* Moves what was counted in this burst to the delta that the next sealed batch carries. */
void drops_collect(struct pipeline *pl)
{
	if (!memcmp(pl->stats->drops, pl->drops_seen, sizeof pl->drops_seen))
		return;
	for (uint32_t i = 1; i < DROP_ID_MAX; i++) {
		uint64_t fresh = pl->stats->drops[i] - pl->drops_seen[i];

		/* What does not fit goes with a later batch: behind a disk that hangs this may count long. */
		if (fresh > UINT32_MAX - pl->drop_delta[i])
			fresh = UINT32_MAX - pl->drop_delta[i];
		if (!fresh)
			continue;
		pl->drops_seen[i] += fresh;
		pl->drop_delta[i] += (uint32_t)fresh;
		pl->drop_pending = true;
	}
}

uint64_t pipeline_due_ns(const struct pipeline *pl)
{
	uint64_t opened_ns = UINT64_MAX;

	for (uint32_t p = 0; pl->open_count && p < pl->partitions; p++)
		if (pl->open[p] && pl->open[p]->opened_ns < opened_ns)
			opened_ns = pl->open[p]->opened_ns;
	return opened_ns == UINT64_MAX ? UINT64_MAX : opened_ns + pl->batch_age_ns;
}

/* An old batch goes to the writer, unless half of the lane's batches are under way already: then it would not
 * be written any sooner, and the lane would run out of batches that hold a few records each. It is filled
 * instead, so that a writer that stands still for a while costs no events as long as there are bytes to put
 * them in. */
static bool batch_is_due(const struct pipeline *pl, uint32_t partition, uint64_t age_ns)
{
	const struct handoff *h = pl->handoff;

	return pl->now.mono_ns - pl->open[partition]->opened_ns >= age_ns &&
	       batch_free_count(handoff_lane(h, pl->worker, partition)) >= h->batches / 2;
}

void pipeline_seal(struct pipeline *pl, struct burst_time now, bool all)
{
	pl->now = now;
	if (decode_waits(&pl->decoder) || pl->chunks.messages) {
		decode_tick(&pl->decoder, now.mono_ns);
		if (now.mono_ns >= pl->chunks.check_ns)
			gelf_chunks_expire(&pl->chunks, now.mono_ns, false);
		drops_collect(pl);
	}
	/* Drop counts must reach the journal even if no event does: an empty batch carries them. */
	if (pl->drop_pending && pl->open_count == 0)
		batch_open(pl, pl->worker % pl->partitions);
	if (pl->open_count == 0)
		return;
	if (!all && now.mono_ns < pipeline_due_ns(pl))
		return;
	/* With one that is due those go that will be soon: from then on all are due at once, and who sleeps
	 * in between wakes once for all of them. */
	for (uint32_t p = 0; p < pl->partitions; p++)
		if (pl->open[p] && (all || batch_is_due(pl, p, pl->batch_age_ns / 2)))
			batch_seal(pl, p);
}
