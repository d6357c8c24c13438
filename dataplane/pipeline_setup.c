/* Memory of a pipeline. Control thread, before the worker starts and after it has ended. */
#include "pipeline.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "event_config.h"
#include "random.h"

#define TAIL_BYTES (256u << 10)
#define WRITTEN_BYTES (256u << 10)

static void *zeroed(size_t bytes)
{
	void *p = NULL;

	if (posix_memalign(&p, 64, (bytes + 63) & ~(size_t)63))
		return NULL;
	memset(p, 0, (bytes + 63) & ~(size_t)63);
	return p;
}

/* A quarter of a lane's batches is for what is above low, and half of that for what is above normal: as far
 * as there are such listeners. */
static void priorities_set_up(struct pipeline *pl, const struct config *cfg, uint32_t batches)
{
	uint64_t highest = CONFIG_PRIORITY_LOW;

	for (uint32_t i = 0; i < cfg->listeners_count; i++)
		if (cfg->listeners[i].priority > highest)
			highest = cfg->listeners[i].priority;
	for (uint32_t i = 0; i < cfg->listeners_count; i++) {
		bool low = cfg->listeners[i].priority == CONFIG_PRIORITY_LOW;
		uint32_t kept = batches / (low ? 4 : 8), least = low ? 2 : 1;

		pl->shed[i] = low ? DROP_shed_low : DROP_shed_normal;
		if (cfg->listeners[i].priority < highest)
			pl->kept_batches[i] = kept < least ? least : kept;
		if (pl->kept_batches[i] > pl->kept_batches_max)
			pl->kept_batches_max = pl->kept_batches[i];
	}
}

static bool admission_set_up(struct pipeline *pl, const struct config *cfg)
{
	admit_set_up(&pl->admit, cfg, &pl->stats->sources_forgotten);
	pl->admit.source = zeroed(admit_table_bytes(&pl->admit));
	for (uint32_t i = 0; i < cfg->listeners_count; i++)
		pl->plain |= (uint64_t) !(pl->chunked[i] || pl->framed[i] || cfg->listeners[i].rate) << i;
	return pl->admit.source;
}

/* False: no memory. Without a listener of GELF there is no table, and no need of one. */
static bool chunks_set_up(struct pipeline *pl, const struct config *cfg)
{
	struct gelf_chunks *c = &pl->chunks;

	c->drops = pl->stats->drops;
	for (uint32_t i = 0; i < cfg->listeners_count; i++) {
		struct listener_stats *ls = &pl->stats->listener[i];

		pl->chunked[i] = cfg->listeners[i].format == CONFIG_FORMAT_GELF;
		c->counts[i] = (struct gelf_counts){&ls->datagrams_waiting, &ls->datagrams_read, ls->dropped};
		if (pl->chunked[i])
			c->sets = 1;
	}
	if (!c->sets)
		return true;
	while ((uint64_t)c->sets * GELF_WAYS < cfg->worker.gelf_messages)
		c->sets *= 2;
	c->message = zeroed((uint64_t)c->sets * GELF_WAYS * sizeof *c->message);
	c->data = zeroed((uint64_t)c->sets * GELF_WAYS * EVENT_BYTES_MAX);
	return c->message && c->data;
}

static int listeners_set_up(struct pipeline *pl, const struct config *cfg, struct err *err)
{
	bool any_framed = false;

	pl->keys = zeroed(cfg->listeners_count * sizeof *pl->keys);
	if (!pl->keys)
		return err_set(err, -ENOMEM, "worker %u: no memory for listeners", pl->worker);
	for (uint32_t i = 0; i < cfg->listeners_count; i++) {
		const struct config_listeners *listener = &cfg->listeners[i];

		if (frame_keys_load(&pl->keys[i], listener->key_file, "listeners.key_file", err))
			return -EINVAL;
		pl->framed[i] = listener->format == CONFIG_FORMAT_SLUICE;
		pl->acks[i] = pl->framed[i] && listener->ack && pl->handoff->acks;
		any_framed |= pl->framed[i];
		pl->hint[i] = event_config_listener_type(listener);
		pl->format[i] = &format_table[listener->format];
		pl->line_split[i] = listener->format == CONFIG_FORMAT_NDJSON;
	}
	if (any_framed && producers_init(&pl->producers, (uint32_t)cfg->worker.producers_max))
		return err_set(err, -ENOMEM, "worker %u: no memory for worker.producers_max", pl->worker);
	return 0;
}

int pipeline_live_make(struct pipeline_live **out, const struct config *cfg, struct err *err)
{
	struct pipeline_live *live = zeroed(sizeof *live + cfg->listeners_count * sizeof *live->allow);
	int rc = live ? 0 : err_set(err, -ENOMEM, "workers: no memory");

	for (uint32_t i = 0; rc == 0 && i < cfg->listeners_count; i++)
		rc = ip_list_from_text(&live->allow[i], cfg->listeners[i].allow, err);
	if (rc) {
		free(live);
		return rc;
	}
	live->limits.past_max_ms = (int64_t)cfg->time.past_max;
	live->limits.future_max_ms = (int64_t)cfg->time.future_max;
	live->dead_rate = cfg->journal.dead_letter_rate;
	for (uint32_t i = 0; i < cfg->listeners_count; i++)
		live->from_all |= (uint64_t)!live->allow[i].count << i;
	*out = live;
	return 0;
}

int pipeline_setup(struct pipeline *pl, const struct config *cfg, const struct pipeline_live *live,
	const struct decode_ports *ports, const struct handoff *handoff, uint32_t worker,
	struct worker_stats *stats, struct err *err)
{
	const struct decoder_wish decode = {ports, stats->drops, &stats->decode,
		(uint32_t)cfg->worker.fragments_max, cfg->worker.fragment_timeout * 1000000u};
	int rc;

	memset(pl, 0, sizeof *pl);
	/* Not of node and worker: their ids must not come again behind a restart, or in a restored copy. */
	rc = random_draw(pl->id_seed, sizeof pl->id_seed, err);
	if (rc != 0)
		return rc;
	pl->cfg = cfg;
	pl->live = live;
	pl->handoff = handoff;
	pl->worker = worker;
	pl->stats = stats;
	pl->partitions = handoff->partitions;
	pl->dead_letter_bytes = (uint32_t)cfg->journal.dead_letter_bytes;
	pl->dead_tokens = live->dead_rate;
	pl->batch_age_ns = cfg->worker.batch_age * 1000u;
	rc = listeners_set_up(pl, cfg, err);
	if (rc) {
		pipeline_free(pl);
		return rc;
	}
	priorities_set_up(pl, cfg, handoff->batches);
	pl->parser = json_parser_new(TAIL_BYTES);
	/* Without the room for rule hits, which are not known yet. */
	if (enrich_configured(cfg))
		pl->enricher = enricher_new(PIPELINE_EVENTS, TAIL_BYTES,
			handoff->batch_bytes - MATCH_HITS_MAX * (uint32_t)sizeof(uint16_t));
	rc = protect_configured(cfg) ? protector_new(&pl->protector, cfg, err) : 0;
	if (rc) {
		pipeline_free(pl);
		return rc;
	}
	pl->event = zeroed(PIPELINE_EVENTS * sizeof *pl->event);
	pl->event_listener = zeroed(PIPELINE_EVENTS);
	pl->accepted = zeroed(PIPELINE_EVENTS * sizeof *pl->accepted);
	pl->all = zeroed(PIPELINE_EVENTS * sizeof *pl->all);
	for (uint32_t i = 0; pl->all && i < PIPELINE_EVENTS; i++)
		pl->all[i] = pl->event + i;
	pl->scratch = zeroed(65536 + EVENT_PAD_BYTES);
	pl->written = (struct bytes){zeroed(WRITTEN_BYTES), 0, WRITTEN_BYTES, false, true};
	pl->open = zeroed(pl->partitions * sizeof *pl->open);
	if (decoder_setup(&pl->decoder, &decode) || (enrich_configured(cfg) && !pl->enricher) ||
		!pl->parser || !pl->event || !pl->event_listener || !pl->accepted || !pl->all ||
		!pl->scratch || !pl->open || !pl->written.data || !chunks_set_up(pl, cfg) ||
		!admission_set_up(pl, cfg)) {
		pipeline_free(pl);
		return err_set(err, -ENOMEM, "worker %u: no memory", worker);
	}
	return 0;
}

void pipeline_free(struct pipeline *pl)
{
	if (pl->parser)
		json_parser_free(pl->parser);
	enricher_free(pl->enricher);
	decoder_free(&pl->decoder);
	protector_free(pl->protector);
	free(pl->event);
	free(pl->event_listener);
	free(pl->accepted);
	free(pl->all);
	free(pl->scratch);
	free(pl->written.data);
	if (pl->keys)
		explicit_bzero(pl->keys, pl->cfg->listeners_count * sizeof *pl->keys);
	free(pl->keys);
	producers_free(&pl->producers);
	free(pl->admit.source);
	free(pl->chunks.message);
	free(pl->chunks.data);
	free(pl->open);
	memset(pl, 0, sizeof *pl);
}
