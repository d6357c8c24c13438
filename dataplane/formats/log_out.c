/* Events of type log as JSON. */
#include "log_out_priv.h"

#include "ip_text.h"
#include "json_out.h"
#include "json_scan.h"

#define SOURCE_MAX 128	    /* the field's limit */
#define MESSAGE_MAX 16384   /* the field's limit */
#define WRITTEN_MAX 30000   /* of a message with its escapes, so that attributes have room */
#define TAIL_BYTES_CUT 4096 /* of a source: more than any can need */

static const char *const severity_name[] = {
	"emergency", "alert", "critical", "error", "warning", "notice", "info", "debug"};

/* Attributes that the formats write themselves. */
static const char *const own_name[] = {
	"cut", "facility", "host", "procid", "msgid", "seq", "short_message", "level"};

static void put_source(struct bytes *out, struct text source, const uint8_t src_addr[16])
{
	char sender[IP_TEXT_BYTES];

	json_put_name(out, "source");
	if (source.bytes) {
		json_put_string(
			out, source.p, json_text_fit(source.p, source.bytes, SOURCE_MAX, TAIL_BYTES_CUT));
		return;
	}
	json_put_string(out, sender, ip_to_text(sender, src_addr));
}

size_t log_begin(struct bytes *out, const struct log_event *ev, const uint8_t src_addr[16])
{
	size_t start, fits = json_text_fit(ev->message.p, ev->message.bytes, MESSAGE_MAX, WRITTEN_MAX);

	bytes_put(out, "{\"type\":\"log\"", 13);
	put_source(out, ev->source, src_addr);
	json_put_name(out, "ts");
	json_put_i64(out, ev->ts_ms);
	if (ev->severity < LOG_SEVERITY_NONE) {
		json_put_name(out, "level");
		json_put_string(out, severity_name[ev->severity], strlen(severity_name[ev->severity]));
	}
	json_put_name(out, "message");
	json_put_string(out, ev->message.p, fits);
	json_put_name(out, "attributes");
	start = out->bytes;
	bytes_put_u8(out, '{');
	if (fits < ev->message.bytes) {
		json_put_name(out, "cut");
		bytes_put(out, "true", 4);
	}
	return start;
}

void log_end(struct bytes *out, size_t start)
{
	if (out->bytes + 1 - start > LOG_ATTRIBUTES_MAX)
		out->failed = true;
	bytes_put(out, "}}", 2);
}

void log_put_text(struct bytes *out, const char *name, struct text text)
{
	if (!text.bytes)
		return;
	json_put_name(out, name);
	json_put_string(out, text.p, text.bytes);
}

static bool name_is_own(struct text name)
{
	for (size_t i = 0; i < sizeof own_name / sizeof *own_name; i++)
		if (text_is(name, own_name[i]))
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
