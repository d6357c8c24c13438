/* Memory of an enricher. Control thread, before the worker starts and after it has ended. */
#include <stdlib.h>
#include <string.h>

#include "enrich_priv.h"

/* All values that an event can get. */
static uint32_t values_bytes_max(void)
{
	uint32_t sum = 0;

	for (int f = 1; f < FIELD_ID_MAX; f++)
		if (event_enriched_mask >> f & 1)
			sum += field_table[f].len_max;
	return sum;
}

struct enricher *enricher_new(uint32_t events_max, uint32_t tail_bytes, uint32_t record_bytes_max)
{
	struct enricher *en = calloc(1, sizeof *en);

	if (!en)
		return NULL;
	en->events_max = events_max;
	en->record_bytes_max = record_bytes_max;
	en->tail_bytes = tail_bytes + events_max * values_bytes_max();
	/* Readers of a tail may read beyond its end as of raw bytes. */
	en->tail = calloc(1, (size_t)en->tail_bytes + EVENT_PAD_BYTES);
	en->found = calloc(events_max, sizeof *en->found);
	en->hash = calloc(events_max, sizeof *en->hash);
	en->key = calloc(events_max, sizeof *en->key);
	en->addr = calloc(events_max, sizeof *en->addr);
	en->addr_ok = calloc(events_max, sizeof *en->addr_ok);
	en->at = calloc(events_max, sizeof *en->at);
	en->bit = calloc(events_max, sizeof *en->bit);
	en->active = calloc(events_max, sizeof *en->active);
	if (!en->at || !en->bit || !en->active || !en->tail || !en->found || !en->hash || !en->key ||
		!en->addr || !en->addr_ok) {
		enricher_free(en);
		return NULL;
	}
	return en;
}

void enricher_free(struct enricher *en)
{
	if (!en)
		return;
	free(en->tail);
	free(en->found);
	free(en->hash);
	free(en->key);
	free(en->addr);
	free(en->addr_ok);
	free(en->at);
	free(en->bit);
	free(en->active);
	free(en);
}
