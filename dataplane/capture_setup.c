/* Memory of a capture. Control thread. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "capture.h"
#include "clock.h"

int capture_create(
	struct capture **out, const struct capture_filter *filter, uint32_t workers, struct err *err)
{
	struct capture *c = calloc(1, sizeof *c);
	size_t bytes = workers * sizeof *c->ring;
	struct timespec wall;

	if (c)
		c->ring = aligned_alloc(_Alignof(struct capture_ring), bytes);
	if (!c || !c->ring) {
		capture_free(c);
		return err_set(err, -ENOMEM, "capture: no memory for %u rings of %u bytes", workers,
			CAPTURE_RING_BYTES);
	}
	memset(c->ring, 0, bytes);
	c->filter = *filter;
	c->workers = workers;
	clock_gettime(CLOCK_REALTIME, &wall);
	c->wall_minus_mono_ns = wall.tv_sec * 1000000000 + wall.tv_nsec - (int64_t)clock_mono_ns();
	*out = c;
	return 0;
}

void capture_free(struct capture *c)
{
	if (!c)
		return;
	free(c->ring);
	free(c);
}
