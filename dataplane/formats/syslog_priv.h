/* What the two forms of syslog share. Not for other folders. */
#ifndef SLUICE_SYSLOG_PRIV_H
#define SLUICE_SYSLOG_PRIV_H

#include "log_out_priv.h"

/* A message's parts: bytes 0 = not there. */
struct syslog_parts {
	uint32_t pri; /* 0..191 */
	int64_t ts_ms;
	struct text host, app, procid, msgid, seq, message;
};

/* The event with its attributes so far; more members may follow, then log_end(). Returns where `attributes`
 * starts. */
size_t syslog_write(struct format_reader *r, struct bytes *out, const struct syslog_parts *parts);
/* The members of the JSON object that the whole message is, behind a CEE cookie or without one, if it is.
 * start: of `attributes`. */
void syslog_put_json(struct bytes *out, struct text message, size_t start);
/* RFC 3164, from behind PRI. Any bytes are a message. */
void syslog_bsd_write(struct format_reader *r, struct bytes *out, struct text rest, uint32_t pri);

#endif
