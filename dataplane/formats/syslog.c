/* syslog, one message a datagram (RFC 5426): PRI, then RFC 5424 if a version 1 follows, else RFC 3164. */
#include "format_priv.h"
#include "json_out.h"
#include "json_scan.h"
#include "log_out_priv.h"
#include "syslog_priv.h"

#define PRI_MAX 191

static const struct log_word facility_name[] = {LOG_WORD("kern"), LOG_WORD("user"), LOG_WORD("mail"),
	LOG_WORD("daemon"), LOG_WORD("auth"), LOG_WORD("syslog"), LOG_WORD("lpr"), LOG_WORD("news"),
	LOG_WORD("uucp"), LOG_WORD("cron"), LOG_WORD("authpriv"), LOG_WORD("ftp"), LOG_WORD("ntp"),
	LOG_WORD("audit"), LOG_WORD("alert"), LOG_WORD("clock"), LOG_WORD("local0"), LOG_WORD("local1"),
	LOG_WORD("local2"), LOG_WORD("local3"), LOG_WORD("local4"), LOG_WORD("local5"), LOG_WORD("local6"),
	LOG_WORD("local7")};

/* "<PRI>"; false if there is none. */
static bool pri_read(const uint8_t **p, const uint8_t *end, uint32_t *pri)
{
	const uint8_t *at = *p;

	*pri = 0;
	if (at == end || *at++ != '<')
		return false;
	for (; at < end && at - *p <= 3 && (uint8_t)(*at - '0') <= 9; at++)
		*pri = *pri * 10 + (uint32_t)(*at - '0');
	if (at == end || *at != '>' || at - *p < 2 || *pri > PRI_MAX)
		return false;
	*p = at + 1;
	return true;
}

/* A field of the header and the space behind it; a lone dash is no value. */
static bool field_read(const uint8_t **p, const uint8_t *end, struct text *field)
{
	const uint8_t *space = memchr(*p, ' ', (size_t)(end - *p));

	if (!space || space == *p)
		return false;
	*field = text_to(*p, space);
	if (text_is(*field, "-"))
		*field = (struct text){0};
	*p = space + 1;
	return true;
}

/* SD-ID or PARAM-NAME. */
static bool sd_name_read(const uint8_t **p, const uint8_t *end, struct text *name)
{
	const uint8_t *start = *p;

	while (*p<end &&* * p> ' ' && **p < 0x7f && **p != '=' && **p != ']' && **p != '"')
		++*p;
	*name = text_to(start, *p);
	return name->bytes != 0;
}

/* Behind the closing quote of a value whose opening one stands at p, or NULL. */
static const uint8_t *sd_value_end(const uint8_t *p, const uint8_t *end)
{
	if (p == end || *p != '"')
		return NULL;
	for (p++; p < end && *p != '"'; p++)
		if (*p == '\\' && end - p > 1)
			p++;
	return p < end ? p + 1 : NULL;
}

/* A value as a JSON string. `plain` takes what its escapes stand for. */
static bool sd_value_copy(const uint8_t **p, const uint8_t *end, uint8_t *plain, struct bytes *out)
{
	const uint8_t *stop = sd_value_end(*p, end);
	uint32_t count = 0;

	if (!stop)
		return false;
	for (const uint8_t *at = *p + 1; at < stop - 1; at++) {
		/* a backslash before anything else is itself */
		if (*at == '\\' && (at[1] == '"' || at[1] == '\\' || at[1] == ']'))
			at++;
		plain[count++] = *at;
	}
	*p = stop;
	json_put_string(out, plain, count);
	return true;
}

/* Whether behind the value at p a parameter of the same name comes. */
static bool sd_name_repeats(const uint8_t *p, const uint8_t *end, struct text name)
{
	p = sd_value_end(p, end);
	return p && (size_t)(end - p) > name.bytes + 1u && *p == ' ' && !memcmp(p + 1, name.p, name.bytes) &&
	       p[1 + name.bytes] == '=';
}

/* One element from behind its bracket to behind the other one, as an object. A name that is there several
 * times in a row has an array. */
static bool sd_element_copy(const uint8_t **p, const uint8_t *end, uint8_t *plain, struct bytes *out)
{
	struct text id, name, before = {0};
	bool array = false;

	if (!sd_name_read(p, end, &id))
		return false;
	log_put_name(out, id);
	bytes_put_u8(out, '{');
	while (*p < end && **p == ' ') {
		++*p;
		if (!sd_name_read(p, end, &name) || *p == end || *(*p)++ != '=')
			return false;
		if (before.p && before.bytes == name.bytes && !memcmp(before.p, name.p, name.bytes)) {
			bytes_put_u8(out, ',');
		} else {
			if (array)
				bytes_put_u8(out, ']');
			if (before.p)
				bytes_put_u8(out, ',');
			json_put_string(out, name.p, name.bytes);
			bytes_put_u8(out, ':');
			array = sd_name_repeats(*p, end, name);
			if (array)
				bytes_put_u8(out, '[');
		}
		before = name;
		if (!sd_value_copy(p, end, plain, out))
			return false;
	}
	if (array)
		bytes_put_u8(out, ']');
	bytes_put_u8(out, '}');
	return *p < end && *(*p)++ == ']';
}

/* All elements. Apart, as it needs much stack. */
static __attribute__((noinline)) bool sd_elements_copy(
	const uint8_t **p, const uint8_t *end, struct bytes *out)
{
	uint8_t plain[EVENT_BYTES_MAX];

	while (*p < end && **p == '[') {
		++*p;
		if (!sd_element_copy(p, end, plain, out))
			return false;
	}
	return true;
}

/* STRUCTURED-DATA: a dash, or elements as members of `attributes`. */
static bool sd_copy(const uint8_t **p, const uint8_t *end, struct bytes *out)
{
	if (*p == end)
		return false;
	if (**p == '-')
		++*p;
	else if (**p != '[' || !sd_elements_copy(p, end, out))
		return false;
	return *p == end || **p == ' ';
}

/* From behind the version up to the structured data. */
static bool header_read(const uint8_t **p, const uint8_t *end, int64_t receive_ms, struct syslog_parts *h)
{
	h->ts_ms = receive_ms;
	if (*p < end && **p == '-')
		++*p;
	else if (!time_from_rfc3339(p, end, &h->ts_ms))
		return false;
	if (*p == end || *(*p)++ != ' ')
		return false;
	return field_read(p, end, &h->host) && field_read(p, end, &h->app) &&
	       field_read(p, end, &h->procid) && field_read(p, end, &h->msgid);
}

size_t syslog_write(struct format_reader *r, struct bytes *out, const struct syslog_parts *parts)
{
	struct log_event ev = {.ts_ms = parts->ts_ms, .severity = parts->pri % 8, .message = parts->message};
	size_t start;

	ev.source = parts->app.bytes ? parts->app : parts->host;
	start = log_begin(r, out, &ev);
	json_put_name(out, "facility");
	bytes_put(out, facility_name[parts->pri / 8].quoted, facility_name[parts->pri / 8].bytes);
	log_put_text(out, "host", parts->host);
	log_put_text(out, "procid", parts->procid);
	log_put_text(out, "msgid", parts->msgid);
	log_put_text(out, "seq", parts->seq);
	return start;
}

void syslog_put_json(struct bytes *out, struct text message, size_t start)
{
	const uint8_t *p = message.p, *end = p + message.bytes;

	p = json_skip_space(p, end);
	if (end - p > 5 && !memcmp(p, "@cee:", 5))
		p = json_skip_space(p + 5, end);
	if (p < end && *p == '{')
		log_put_object(out, text_to(p, end), start);
}

/* From behind "1 ". */
static bool rfc5424_write(
	struct format_reader *r, struct bytes *out, const uint8_t *p, const uint8_t *end, uint32_t pri)
{
	struct syslog_parts parts = {.pri = pri};
	const uint8_t *sd;
	size_t start;

	if (!header_read(&p, end, r->receive_ms, &parts))
		return false;
	sd = p;
	/* Once to know that all is right and where the message is, and again behind the message. */
	if (!sd_copy(&p, end, out))
		return false;
	bytes_reset(out);
	if (p < end)
		p++;
	if (end - p >= 3 && !memcmp(p, "\xef\xbb\xbf", 3))
		p += 3;
	else if (p < end && *p == ' ') /* rsyslog sends what stood behind a tag, its space included */
		p++;
	parts.message = text_to(p, end);
	start = syslog_write(r, out, &parts);
	sd_copy(&sd, end, out);
	syslog_put_json(out, parts.message, start);
	log_end(r, out, start);
	return true;
}

enum format_answer syslog_next(struct format_reader *r, struct bytes *out)
{
	const uint8_t *p = r->at, *end = r->end;
	uint32_t pri;

	if (p == end)
		return FORMAT_END;
	r->piece = p;
	r->piece_bytes = (uint32_t)(end - p);
	r->at = end;
	if (r->piece_bytes > EVENT_BYTES_MAX) {
		out->failed = true;
		return FORMAT_EVENT;
	}
	while (end > p && (end[-1] == '\n' || end[-1] == '\r' || end[-1] == 0))
		end--;
	if (!pri_read(&p, end, &pri))
		return FORMAT_REFUSED;
	if (end - p >= 2 && p[0] == '1' && p[1] == ' ')
		return rfc5424_write(r, out, p + 2, end, pri) ? FORMAT_EVENT : FORMAT_REFUSED;
	syslog_bsd_write(r, out, text_to(p, end), pri);
	return FORMAT_EVENT;
}
