/* syslog of RFC 3164, which says what was seen and not what must be sent: time, host and tag are taken where
 * they stand, and everything else is the message. */
#include "syslog_priv.h"

#define TAG_MAX 128

static bool is_digit(uint8_t c)
{
	return (uint8_t)(c - '0') <= 9;
}

static bool is_letter(uint8_t c)
{
	return (uint8_t)((c | 0x20) - 'a') < 26;
}

static const uint8_t *spaces_skip(const uint8_t *p, const uint8_t *end)
{
	while (p < end && *p == ' ')
		p++;
	return p;
}

/* The time at p, in any of its forms; what follows must be a space, a colon or the end. */
static bool time_read(const uint8_t **p, const uint8_t *end, int64_t now_ms, int64_t *ms)
{
	const uint8_t *at = *p;
	int64_t t;

	if (at < end && (*at == '*' || *at == '.')) /* the clock of a router is not set */
		at++;
	if (at < end && is_digit(*at) ? !time_from_rfc3339(&at, end, &t)
				      : !time_from_bsd(&at, end, now_ms, &t))
		return false;
	if (at < end && *at != ' ' && *at != ':')
		return false;
	*p = at;
	*ms = t;
	return true;
}

/* Behind the colon that routers send behind the time, or behind " UTC:"; p if there is none. */
static const uint8_t *time_colon(const uint8_t *p, const uint8_t *end)
{
	const uint8_t *at = p;

	if (at < end && *at == ' ')
		for (at++; at < end && at - p < 6 && (uint8_t)(*at - 'A') < 26;)
			at++;
	if (at == end || *at != ':' || at - p == 1)
		return p;
	/* A tag in capitals looks like a zone. */
	return at == p || (end - at > 2 && at[1] == ' ' && at[2] == '%') ? at + 1 : p;
}

/* "word" up to a space, a colon before a space, or a bracket. */
static const uint8_t *tag_end(const uint8_t *p, const uint8_t *end)
{
	const uint8_t *start = p;

	while (p < end && p - start<TAG_MAX && * p> ' ' && *p < 0x7f && *p != ':' && *p != '[' && *p != '{' &&
		*p != '"' && *p != '<')
		p++;
	return p;
}

/* "tag: ", "tag[pid]: ", "tag[pid] "; parts stay as they are if there is none. */
static void tag_read(const uint8_t **p, const uint8_t *end, struct syslog_parts *parts)
{
	const uint8_t *at = tag_end(*p, end), *close;
	struct text tag = text_to(*p, at), pid = {0};

	if (!tag.bytes || at == end)
		return;
	if (*at == '[') {
		close = memchr(at, ']', (size_t)(end - at < TAG_MAX ? end - at : TAG_MAX));
		if (!close || close == at + 1)
			return;
		pid = text_to(at + 1, close);
		at = close + 1;
	}
	if (at < end && *at == ':')
		at++;
	else if (!pid.bytes)
		return;
	if (at < end && *at != ' ' && *at != '{')
		return;
	if (*tag.p == '%' && tag.bytes > 1) /* "%LINK-3-UPDOWN:" names the message and not who sent it */
		parts->msgid = text_to(tag.p + 1, tag.p + tag.bytes);
	else
		parts->app = tag;
	parts->procid = pid;
	*p = at < end && *at == ' ' ? at + 1 : at;
}

/* A word that is no tag and that more follows; a colon in it is an address's. */
static void host_read(const uint8_t **p, const uint8_t *end, struct syslog_parts *parts)
{
	const uint8_t *at = *p, *space = memchr(at, ' ', (size_t)(end - at));

	if (!space || space == at || space[-1] == ':' || space - at > 255)
		return;
	for (; at < space; at++)
		if (!is_letter(*at) && !is_digit(*at) && *at != '.' && *at != '-' && *at != '_' &&
			*at != ':' && *at != '%')
			return;
	if (!text_is(text_to(*p, space), "-"))
		parts->host = text_to(*p, space);
	*p = spaces_skip(space, end);
}

/* "29: ", "router1: " before the time, as routers send it. */
static void router_read(const uint8_t **p, const uint8_t *end, int64_t now_ms, struct syslog_parts *parts)
{
	const uint8_t *at = *p, *stop, *after;
	struct text seq = {0}, host = {0};
	int64_t ts_ms;

	for (int i = 0; i < 2; i++) {
		bool number = true;

		stop = tag_end(at, end);
		if (stop == at || end - stop < 2 || stop[0] != ':' || stop[1] != ' ')
			break;
		for (const uint8_t *c = at; c < stop; c++)
			number = number && is_digit(*c);
		if (number ? seq.bytes : host.bytes)
			break;
		*(number ? &seq : &host) = text_to(at, stop);
		at = spaces_skip(stop + 1, end);
	}
	after = at;
	if (at == *p || !time_read(&after, end, now_ms, &ts_ms) || time_colon(after, end) == after)
		return;
	parts->ts_ms = ts_ms;
	parts->seq = seq;
	parts->host = host;
	*p = at;
}

void syslog_bsd_write(struct format_reader *r, struct bytes *out, struct text rest, uint32_t pri)
{
	const uint8_t *p = rest.p, *end = p + rest.bytes;
	struct syslog_parts parts = {.pri = pri, .ts_ms = r->receive_ms};
	const uint8_t *colon;
	bool routed;
	size_t start;

	router_read(&p, end, r->receive_ms, &parts);
	if (time_read(&p, end, r->receive_ms, &parts.ts_ms)) {
		colon = time_colon(p, end);
		routed = colon != p;
		p = spaces_skip(colon, end);
		if (!parts.host.p && !routed)
			host_read(&p, end, &parts);
	} else {
		p = spaces_skip(p, end);
	}
	tag_read(&p, end, &parts);
	parts.message = text_to(p, end);
	start = syslog_write(r, out, &parts);
	syslog_put_json(out, parts.message, start);
	log_end(r, out, start);
}
