/* Enriched events as JSON. Sink threads. */
#include "enriched_json.h"

#include <errno.h>
#include <string.h>

#include "json_members.h"
#include "json_scan.h"

#define NAME_BYTES_MAX 11 /* of the reserved names below */

static const char *const reserved[] = {"_enrichment", "_tags", "_address"};

/* Whether a key, decoded, is one that only we may write. */
static bool key_reserved(const uint8_t *key, size_t bytes)
{
	uint8_t text[6 * NAME_BYTES_MAX];
	uint32_t n = (uint32_t)bytes;

	if (!bytes || bytes > sizeof text || (*key != '_' && *key != '\\'))
		return false;
	memcpy(text, key, bytes);
	if (memchr(key, '\\', bytes)) {
		uint8_t padded[6 * NAME_BYTES_MAX + 1 + 16] = {0};
		enum drop_reason reason;
		bool escaped;

		/* text_decode() takes only what text_walk() has accepted, and a journal may hold anything. */
		memcpy(padded, key, bytes);
		padded[bytes] = '"';
		if (text_walk(padded, padded + bytes + 1, &escaped, &reason) != padded + bytes)
			return false;
		n = text_decode(text, padded, (uint32_t)bytes);
	}
	for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
		if (strlen(reserved[i]) == n && memcmp(text, reserved[i], n) == 0)
			return true;
	return false;
}

static void put_members(struct bytes *out, const struct record *rec)
{
	struct json_members w;
	struct json_member m;

	if (!json_members_start(&w, record_payload(rec), rec->raw_bytes))
		return;
	while (json_members_next(&w, &m)) {
		if (key_reserved(m.key, m.key_bytes))
			continue;
		bytes_put(out, m.text, m.bytes);
		bytes_put(out, ",", 1);
	}
}

static void put_enrichment(struct bytes *out, const struct record *rec)
{
	const char *comma = "";

	bytes_put(out, "\"_enrichment\":{", 15);
	for (uint64_t left = rec->field_mask & event_enriched_mask; left; left &= left - 1) {
		enum field_id field = (enum field_id)__builtin_ctzll(left);
		uint32_t bytes;
		const uint8_t *text = record_field(rec, field, &bytes);

		bytes_put(out, comma, strlen(comma));
		json_put_string(out, field_table[field].name, strlen(field_table[field].name));
		bytes_put(out, ":", 1);
		json_put_string(out, text, bytes);
		comma = ",";
	}
	bytes_put(out, "}", 1);
}

static int put_tags(struct bytes *out, const struct record *rec, const struct ruleset *rs, struct err *err)
{
	const uint16_t *hit = record_hits(rec);
	const char *comma = "";

	bytes_put(out, ",\"_tags\":[", 10);
	for (uint32_t i = 0; i < rec->hit_count; i++) {
		const struct rule_info *rule;

		if (!rs || hit[i] >= ruleset_match_count(rs))
			return err_set(err, -EINVAL,
				"hit of rule %u, which the block's ruleset does not have", hit[i]);
		if (hit[i] >= ruleset_rule_count(rs)) /* steps of rules with state */
			break;
		rule = ruleset_rule(rs, hit[i]);
		if (!rule_tags(rule))
			continue;
		bytes_put(out, comma, strlen(comma));
		json_put_string(out, rule->id, strlen(rule->id));
		comma = ",";
	}
	bytes_put(out, "]", 1);
	return 0;
}

int enriched_json_put(struct bytes *out, const struct record *rec, const struct address *at,
	const struct ruleset *rs, struct err *err)
{
	char address[ADDRESS_TEXT_BYTES];
	size_t bytes = address_text(address, at);
	int rc;

	bytes_put(out, "{", 1);
	put_members(out, rec);
	put_enrichment(out, rec);
	rc = put_tags(out, rec, rs, err);
	bytes_put(out, ",\"_address\":", 12);
	json_put_string(out, address, bytes);
	bytes_put(out, "}", 1);
	if (rc)
		err_prefix(err, "record %s", address);
	return rc;
}
