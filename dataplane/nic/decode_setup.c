/* Memory of a decoder. Control thread, before the worker starts and after it has ended. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "decode_fragment.h"

struct fragment_table *fragment_table_new(uint32_t packets, uint64_t timeout_ns)
{
	struct fragment_table *t = calloc(1, sizeof *t);
	uint32_t buckets = 16;

	if (!t)
		return NULL;
	while (buckets < packets * 2)
		buckets *= 2;
	*t = (struct fragment_table){.mask = buckets - 1,
		.timeout_ns = timeout_ns,
		.oldest = FRAGMENT_NONE,
		.newest = FRAGMENT_NONE,
		.lent = FRAGMENT_NONE,
		.bucket = malloc(buckets * sizeof *t->bucket),
		.packet = calloc(packets, sizeof *t->packet),
		.data = malloc((size_t)packets * FRAGMENT_DATA_BYTES)};
	if (!t->bucket || !t->packet || !t->data) {
		fragment_table_free(t);
		return NULL;
	}
	memset(t->bucket, 0xff, buckets * sizeof *t->bucket);
	memset(t->data, 0, (size_t)packets * FRAGMENT_DATA_BYTES); /* there before the worker writes to it */
	for (uint32_t i = 0; i < packets; i++) {
		t->packet[i].data = t->data + (size_t)i * FRAGMENT_DATA_BYTES;
		t->packet[i].chain = i + 1 < packets ? i + 1 : FRAGMENT_NONE;
	}
	return t;
}

void fragment_table_free(struct fragment_table *t)
{
	if (!t)
		return;
	free(t->bucket);
	free(t->packet);
	free(t->data);
	free(t);
}

int decoder_setup(struct decoder *d, const struct decoder_wish *wish)
{
	*d = (struct decoder){.ports = wish->ports, .drops = wish->drops, .stats = wish->stats};
	d->scratch = calloc(1, DECODE_FRAME_MAX + DECODE_TAIL_BYTES);
	if (wish->fragments_max)
		d->fragments = fragment_table_new(wish->fragments_max, wish->fragment_timeout_ns);
	if (!d->scratch || (wish->fragments_max && !d->fragments)) {
		decoder_free(d);
		return -ENOMEM;
	}
	return 0;
}

void decoder_free(struct decoder *d)
{
	free(d->scratch);
	fragment_table_free(d->fragments);
	*d = (struct decoder){0};
}
