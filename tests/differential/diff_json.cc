// The grammar layer against simdjson's DOM parser: random JSON documents and mutations of them, from a fixed
// seed. Each must be accepted by both or refused by both; every text and number field must have the same
// value.
//
// Known differences, handled below and nowhere else: simdjson refuses numbers beyond 64 bits or beyond the
// largest double, which RFC 8259 allows (they are shortened before it sees them); it lets some half surrogate
// pairs through (only documents with an escaped surrogate may differ, and only in that direction).
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include <simdjson.h>

extern "C" {
#include "json.h"
#include "../unit/parse/type_samples.h"
}

namespace
{

uint64_t seed = 20251121;

uint32_t dice(uint32_t sides)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return static_cast<uint32_t>((seed >> 33) % sides);
}

template <size_t N> const char *pick(const char *const (&from)[N])
{
	return from[dice(N)];
}

std::string text_make()
{
	static const char *const parts[] = {"a", "user", "/", " ", "\\n", "\\u00e9", "\\\"", "\\\\",
		"\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\\ud83d\\ude00",
		"0123456789abcdef0123456789abcdef", "\\/", "{", "]", ",", ":", "\\u0000", "\x7f", "'"};
	std::string s = "\"";

	for (uint32_t i = dice(6); i > 0; i--)
		s += pick(parts);
	return s + "\"";
}

std::string number_make()
{
	static const char *const numbers[] = {"0", "-0", "1", "42.7", "1763699990000", "-1.5e3", "1E+2",
		"0.1e-7", "123456789012345", "9007199254740993", "3.141592653589793238", "1e-300",
		"1.7976931348623157e308", "2.2250738585072014e-308", "5e-324", "0.30000000000000004",
		"72057594037927945", "1e22", "1e23"};

	return pick(numbers);
}

std::string space()
{
	static const char *const spaces[] = {"", "", "", "", "", "", " ", "\n", "\t", "\r\n", "  "};

	return pick(spaces);
}

std::string value_make(int depth);

std::string object_make(int depth)
{
	static const char *const keys[] = {"\"event_id\"", "\"user_id\"", "\"us\\u0065r_id\"", "\"ts\"",
		"\"timestamp\"", "\"page\"", "\"referrer\"", "\"country\"", "\"device\"", "\"source\"",
		"\"attributes\"", "\"metric\"", "\"status\"", "\"type\"", "\"x\"", "\"\"", "\"properties\"",
		"\"value\"", "\"amount\"", "\"message\"", "\"ip\""};
	std::string s = "{" + space();

	for (uint32_t i = 0, n = dice(7); i < n; i++)
		s += (i ? "," + space() : "") + std::string(dice(8) ? pick(keys) : text_make()) + space() +
		     ":" + space() + value_make(depth + 1) + space();
	return s + "}";
}

std::string value_make(int depth)
{
	static const char *const words[] = {"true", "false", "null"};
	uint32_t kind = dice(depth > 5 ? 6 : 9);
	std::string s;

	if (kind < 3)
		return text_make();
	if (kind < 5)
		return number_make();
	if (kind == 5)
		return pick(words);
	if (kind < 8)
		return object_make(depth);
	s = "[" + space();
	for (uint32_t i = 0, n = dice(4); i < n; i++)
		s += (i ? "," + space() : "") + value_make(depth + 1) + space();
	return s + "]";
}

std::string document_make()
{
	static const char *const events[] = {type_sample[3], type_sample[4], type_sample[5], type_sample[6],
		type_sample[7], type_sample[8], type_sample[9],
		"{\"type\":\"transaction\",\"user_id\":\"\\u0075\",\"ts\":1763699990000,\"amount\":0.000001}",
		"{\"type\":\"telemetry\",\"device_id\":\"d\",\"ts\":1763699990000,\"name\":\"n\",\"value\":-"
		"1.5e3}",
		"{\"event_id\":\"0b8e5c7a-1f2e-4d3c-9a5b-0123456789ab\",\"user_id\":\"u1\",\"ts\":"
		"1763699990000,"
		"\"page\":\"/p\",\"referrer\":\"/\",\"country\":\"US\",\"device\":\"mobile\"}",
		"{\"event_id\":\"0b8e5c7a-1f2e-4d3c-9a5b-0123456789ab\",\"source\":\"web\",\"timestamp\":"
		"\"2025-11-21T04:00:00Z\",\"attributes\":{\"user_id\":\"u\",\"metric\":42.7,\"status\":"
		"\"ok\"}}",
		"{\"user_id\":\"u\\u0031\",\"ts\":\"2025-11-21T04:00:00Z\",\"page\":\"\xc3\xa9\"}"};

	if (dice(3) == 0) {
		int levels = 25 + static_cast<int>(dice(10));

		if (dice(12) == 0) /* around the limit of depth; the object is a level */
			return "{\"a\":" + std::string(static_cast<size_t>(levels), '[') +
			       std::string(static_cast<size_t>(levels), ']') + "}";
		return pick(events);
	}
	return dice(20) ? object_make(0) : value_make(0);
}

void mutate(std::string &s)
{
	static const char special[] =
		"\"\\{}[]:, \n\t\r0123456789aefnu-+.E\x01\x1f\x7f\x80\xbf\xc3\xe2\xed\xf0\xf4\xff/";

	for (uint32_t n = dice(4); n > 0 && !s.empty(); n--) {
		size_t at = dice(static_cast<uint32_t>(s.size()));
		char c = special[dice(sizeof special - 1)];

		switch (dice(7)) {
		case 0:
			s[at] = static_cast<char>(dice(256));
			break;
		case 1:
		case 2:
			s[at] = c;
			break;
		case 3:
			s.insert(at, 1, c);
			break;
		case 4:
			s.erase(at, 1);
			break;
		case 5:
			if (dice(4) == 0)
				s.resize(at);
			break;
		default:
			std::swap(s[at], s[dice(static_cast<uint32_t>(s.size()))]);
		}
	}
}

bool digit(char c)
{
	return c >= '0' && c <= '9';
}

// Cuts runs of digits to 15 and exponents to 2: what was a number stays one, what was none stays none, and
// the hex digits of a \u escape stay at least four.
std::string numbers_shorten(const std::string &s)
{
	std::string out;
	size_t run = 0, keep = 15;

	for (size_t i = 0; i < s.size(); i++) {
		if (!digit(s[i])) {
			bool sign = (s[i] == '+' || s[i] == '-') && i && (s[i - 1] | 0x20) == 'e';

			if (!sign)
				keep = (s[i] | 0x20) == 'e' && i && digit(s[i - 1]) ? 2 : 15;
			run = 0;
			out += s[i];
		} else if (run++ < keep) {
			out += s[i];
		}
	}
	return out;
}

bool has_surrogate(const std::string &s)
{
	for (size_t i = 0; i + 3 < s.size(); i++)
		if (s[i] == '\\' && s[i + 1] == 'u' && (s[i + 2] | 0x20) == 'd' &&
			strchr("89abcdefABCDEF", s[i + 3]))
			return true;
	return false;
}

struct differ {
	simdjson::dom::parser dom;
	struct json_parser *jp = json_parser_new(0);
	uint64_t accepted = 0, refused = 0, fields = 0;

	[[noreturn]] void fail(const std::string &s, const char *what, int ours, simdjson::error_code theirs)
	{
		printf("%s: ours %d (%s), simdjson: %s\n", what, ours,
			drop_table[ours].name ? drop_table[ours].name : "accepted",
			simdjson::error_message(theirs));
		fwrite(s.data(), 1, s.size(), stdout);
		printf("\n");
		exit(1);
	}

	void values_check(const std::string &s, const struct event &ev, simdjson::dom::element root)
	{
		for (int field = 1; field < FIELD_ID_MAX; field++) {
			if (!(ev.field_mask >> field & 1))
				continue;
			for (uint32_t k = 0; k < key_count; k++) {
				simdjson::dom::element at = root;
				std::string_view text;
				double number;
				uint32_t bytes;

				if (key_table[k].field != field)
					continue;
				if (key_table[k].scope == KEY_SCOPE_ATTR &&
					(!(ev.field_mask & FBIT(attributes)) || root["attributes"].get(at)))
					continue;
				if (at[key_table[k].key].get(at) || at.is_null())
					continue;
				const uint8_t *p =
					event_field(&ev, static_cast<enum field_id>(field), &bytes);
				if (field_table[field].kind == FIELD_KIND_NUMBER) {
					double ours = event_number(&ev, static_cast<enum field_id>(field));

					if (at.get(number) || memcmp(&number, &ours, sizeof ours))
						fail(s, "number", ev.refused, simdjson::SUCCESS);
				} else if (field_table[field].kind == FIELD_KIND_DECIMAL) {
					int64_t ours = event_decimal(&ev, static_cast<enum field_id>(field));

					/* exact below 2^53 millionths, which is all that is made here */
					if (at.get(number) || std::llround(number * 1e6) != ours)
						fail(s, "decimal", ev.refused, simdjson::SUCCESS);
				} else if (!at.get(text) &&
					   (text.size() != bytes || memcmp(text.data(), p, bytes))) {
					fail(s, "text", ev.refused, simdjson::SUCCESS);
				}
				fields++;
			}
		}
	}

	void check(const std::string &s)
	{
		static const struct parse_limits limits = {0, 300000};
		std::string copy = s + std::string(EVENT_PAD_BYTES, '"'), shorter = numbers_shorten(s);
		simdjson::dom::element root;
		struct event ev;

		memset(&ev, 0, sizeof ev);
		json_parser_reset(jp);
		json_parse_event(jp, reinterpret_cast<const uint8_t *>(copy.data()),
			static_cast<uint32_t>(s.size()), EVENT_TYPE_NONE, 1763700000000, &limits, &ev);
		bool ours = ev.refused != DROP_bad_json && ev.refused != DROP_bad_utf8 &&
			    ev.refused != DROP_too_deep;
		simdjson::error_code code = dom.parse(shorter).get(root);
		bool theirs = !code && root.is_object();

		if (ours != theirs && !(theirs && ev.refused == DROP_bad_utf8 && has_surrogate(s)))
			fail(s, "verdict", ev.refused, code);
		(ours ? accepted : refused)++;
		if (!ev.refused && shorter == s)
			values_check(s, ev, root);
	}
};

} // namespace

int main(int argc, char **argv)
{
	uint32_t count = argc > 1 ? static_cast<uint32_t>(strtoul(argv[1], nullptr, 10)) : 300000;
	static struct differ d;

	if (argc > 2)
		seed = strtoull(argv[2], nullptr, 10);
	if (!d.jp || d.dom.allocate(1 << 20, EVENT_DEPTH_MAX))
		return 1;
	for (uint32_t i = 0; i < count; i++) {
		std::string s = document_make();

		if (dice(8))
			mutate(s);
		d.check(s);
	}
	printf("%u documents: %lu accepted, %lu refused by both; %lu values compared; by shapes %lu\n", count,
		static_cast<unsigned long>(d.accepted), static_cast<unsigned long>(d.refused),
		static_cast<unsigned long>(d.fields),
		static_cast<unsigned long>(json_parser_stats(d.jp)->fast));
	json_parser_free(d.jp);
	return d.accepted > count / 10 && d.refused > count / 10 && d.fields > count / 10 ? 0 : 1;
}
