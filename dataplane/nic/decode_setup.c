/* Memory of a decoder. Control thread, before the worker starts and after it has ended. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "decode.h"

int decoder_setup(struct decoder *d, const struct decode_ports *ports, uint64_t *drops)
{
	*d = (struct decoder){.ports = ports, .drops = drops};
	d->scratch = calloc(1, DECODE_FRAME_MAX + DECODE_TAIL_BYTES);
	return d->scratch ? 0 : -ENOMEM;
}

void decoder_free(struct decoder *d)
{
	free(d->scratch);
	*d = (struct decoder){0};
}
