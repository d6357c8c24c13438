/* Events of type log as JSON. */
#include "log_out_priv.h"

#include "ip_text.h"
#include "json_out.h"
#include "json_scan.h"

#define SOURCE_MAX 128	    /* the field's limit */
#define MESSAGE_MAX 16384   /* the field's limit */
#define WRITTEN_MAX 30000   /* of a message with its escapes, so that attributes have room */
#define TAIL_BYTES_CUT 4096 /* of a source: more than any can need */

static const struct log_word severity_name[] = {LOG_WORD("emergency"), LOG_WORD("alert"),
	LOG_WORD("critical"), LOG_WORD("error"), LOG_WORD("warning"), LOG_WORD("notice"), LOG_WORD("info"),
	LOG_WORD("debug")};

/* Attributes that the formats write themselves. */
static const struct text own_name[] = {TEXT("cut"), TEXT("facility"), TEXT("host"), TEXT("procid"),
	TEXT("msgid"), TEXT("seq"), TEXT("short_message"), TEXT("level")};

static void put_source(struct format_reader *r, struct bytes *out, struct text source)
{
	char sender[IP_TEXT_BYTES];
	size_t start, bytes;

	if (source.bytes) {
		bytes = json_text_fit(source.p, source.bytes, SOURCE_MAX, TAIL_BYTES_CUT);
	} else {
		bytes = ip_to_text(sender, r->src_addr);
		source.p = (const uint8_t *)sender;
	}
	json_put_name(out, "source");
	start = out->bytes;
	json_put_string(out, source.p, bytes);
	written_text(r, out, FIELD_source, start, bytes);
}

static void put_level(struct format_reader *r, struct bytes *out, uint8_t severity)
{
	size_t start;

	json_put_name(out, "level");
	start = out->bytes;
	bytes_put(out, severity_name[severity].quoted, severity_name[severity].bytes);
	written_text(r, out, FIELD_level, start, severity_name[severity].bytes - 2);
}

size_t log_begin(struct format_reader *r, struct bytes *out, const struct log_event *ev)
{
	size_t start, fits = json_text_fit(ev->message.p, ev->message.bytes, MESSAGE_MAX, WRITTEN_MAX);

	written_begin(r, EVENT_TYPE_log, ev->ts_ms);
	bytes_put(out, "{\"type\":\"log\"", 13);
	put_source(r, out, ev->source);
	json_put_name(out, "ts");
	start = out->bytes;
	json_put_i64(out, ev->ts_ms);
	written_value(r, out, FIELD_ts, start);
	if (ev->severity < LOG_SEVERITY_NONE)
		put_level(r, out, ev->severity);
	json_put_name(out, "message");
	start = out->bytes;
	json_put_string(out, ev->message.p, fits);
	written_text(r, out, FIELD_message, start, fits);
	json_put_name(out, "attributes");
	start = out->bytes;
	bytes_put_u8(out, '{');
	if (fits < ev->message.bytes) {
		json_put_name(out, "cut");
		bytes_put(out, "true", 4);
	}
	return start;
}

void log_end(struct format_reader *r, struct bytes *out, size_t start)
{
	if (out->bytes + 1 - start > LOG_ATTRIBUTES_MAX)
		out->failed = true;
	bytes_put_u8(out, '}');
	written_value(r, out, FIELD_attributes, start);
	bytes_put_u8(out, '}');
}

static bool name_is_own(struct text name)
{
	for (size_t i = 0; i < sizeof own_name / sizeof *own_name; i++)
		if (text_same(name, own_name[i]))
			return true;
	return false;
}

static void put_comma(struct bytes *out)
{
	if (out->bytes && out->data[out->bytes - 1] != '{')
		bytes_put_u8(out, ',');
}

void log_put_name(struct bytes *out, struct text name)
{
	put_comma(out);
	if (name_is_own(name)) { /* needs no escapes */
		bytes_put(out, "\"_", 2);
		bytes_put(out, name.p, name.bytes);
		bytes_put_u8(out, '"');
	} else {
		json_put_string(out, name.p, name.bytes);
	}
	bytes_put_u8(out, ':');
}

void log_put_member(struct bytes *out, const struct object_member *m)
{
	struct text plain = m->name;
	uint8_t decoded[6 * 16];

	if (memchr(plain.p, '\\', plain.bytes) && plain.bytes <= sizeof decoded)
		plain = (struct text){decoded, text_decode(decoded, plain.p, plain.bytes)};
	put_comma(out);
	bytes_put_u8(out, '"');
	if (name_is_own(plain))
		bytes_put_u8(out, '_');
	bytes_put(out, m->name.p, m->name.bytes);
	bytes_put(out, "\":", 2);
	bytes_put(out, m->value.p, m->value.bytes);
}
