/* StatsD. */
#include "format_priv.h"

enum format_answer statsd_next(struct format_reader *r, struct bytes *out)
{
	(void)out;
	return format_line(r) ? FORMAT_REFUSED : FORMAT_END;
}
