/* Rows that the journal promises, read offline. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "hash.h"
#include "journal.h"
#include "record.h"
#include "ruleset.h"
#include "ver_read.h"

struct scan {
	struct ver_journal *j;
	struct ruleset_store *rules;
	struct ruleset_stand ruleset;
	struct err *err;
	bool seen;
	const char *fault;
};

static int add_alerts(struct scan *s, const struct record *rec, struct ver_row row, uint32_t generation)
{
	const struct ruleset *rs;

	if (!rec->hit_count || !s->rules)
		return 0;
	rs = ruleset_stand_at(&s->ruleset, s->rules, generation, s->err);
	if (!rs) {
		err_prefix(s->err, "ruleset generation %u", generation);
		return -EINVAL;
	}
	for (uint32_t i = 0; i < rec->hit_count; i++) {
		uint32_t index = record_hits(rec)[i];
		const struct rule_info *rule =
			index < ruleset_rule_count(rs) ? ruleset_rule(rs, index) : NULL;
		int rc;

		if (index >= ruleset_match_count(rs))
			return err_set(s->err, -EINVAL,
				"a record names rule %u, which generation %u does not have", index,
				generation);
		if (!rule || !rule_alerts(rule))
			continue;
		row.extra = hash_bytes(rule->id, strlen(rule->id), 0);
		row.digest = 0;
		rc = ver_set_add(&s->j->set[VER_ALERT], &row, s->err);
		if (rc)
			return rc;
	}
	return 0;
}

static int add_record(struct scan *s, const struct record *rec, struct ver_row row, uint32_t generation)
{
	struct ver_journal *j = s->j;
	const char *raw = (const char *)record_payload(rec), *reason;

	row.digest = hash_bytes(raw, rec->raw_bytes, 0);
	switch (rec->kind) {
	case RECORD_EVENT:
		ver_uuid_bytes(&row, rec->event_id);
		row.flags = (rec->flags & RECORD_F_ID_MADE ? VER_F_MADE : 0) | (uint32_t)rec->type
										       << VER_F_TYPE;
		if (add_alerts(s, rec, row, generation))
			return -EINVAL;
		if (rec->flags & RECORD_F_SUPPRESSED)
			return ver_set_add(&j->suppressed, &row, s->err);
		if (rec->type == EVENT_TYPE_click)
			return ver_set_add(&j->set[VER_CLICK], &row, s->err);
		return ver_set_add(&j->set[VER_PLATFORM], &row, s->err);
	case RECORD_REFUSED:
		reason = rec->reason < DROP_ID_MAX ? drop_table[rec->reason].name : NULL;
		reason = reason ? reason : "unknown";
		row.extra = hash_bytes(reason, strlen(reason), 0);
		row.flags = rec->reason;
		ver_uuid_find(&row, raw, rec->raw_bytes);
		if (rec->reason < DROP_ID_MAX)
			j->refused[rec->reason]++;
		return ver_set_add(&j->set[VER_DEAD], &row, s->err);
	default:
		j->other_records++;
		return 0;
	}
}

static int each_block(void *arg, const struct journal_scan_block *sb)
{
	struct scan *s = arg;
	const struct journal_block *b = &sb->block;
	const uint8_t *at = b->data;
	struct ver_row row = {.partition = b->partition & 0xffff};

	if (!sb->intact) {
		s->fault = sb->fault ? sb->fault : "damaged block";
		return 0;
	}
	if (!s->seen)
		s->j->oldest[b->partition] = b->first_offset;
	s->seen = true;
	for (uint32_t i = 0; i < b->record_count; i++) {
		const struct record *rec = (const struct record *)at;
		int rc;

		row.offset = (b->first_offset + i) & ((1ull << 48) - 1);
		rc = add_record(s, rec, row, b->generation);
		if (rc)
			return rc;
		at += rec->bytes;
	}
	s->j->end[b->partition] = b->first_offset + b->record_count;
	return 0;
}

int ver_journal_read(struct ver_journal *j, const char *dir, const char *rules_dir, struct err *err)
{
	struct scan s = {.j = j, .err = err};
	struct journal_meta meta;
	int rc = journal_meta_read(dir, &meta, err);

	if (rc)
		return rc;
	if (meta.partitions > VER_PARTITIONS_MAX)
		return err_set(err, -EINVAL, "%s: %u partitions", dir, meta.partitions);
	memcpy(j->node, meta.node, sizeof j->node);
	j->epoch = meta.epoch;
	j->partitions = meta.partitions;
	if (rules_dir && !ruleset_store_there(rules_dir))
		return err_set(err, -errno,
			"%s/rulesets: no ruleset generations: %m (--rules is node.data_dir)", rules_dir);
	if (rules_dir && (rc = ruleset_store_open(&s.rules, rules_dir, err)))
		return rc;
	for (uint32_t p = 0; !rc && p < meta.partitions; p++) {
		s.seen = false;
		s.fault = NULL;
		rc = journal_scan(dir, p, each_block, &s, err);
		if (s.fault) {
			j->damaged++;
			printf("journal partition %u: stops after offset %" PRIu64 ": %s\n", p, j->end[p],
				s.fault);
		}
	}
	if (s.rules)
		ruleset_store_close(s.rules);
	for (int k = 0; k < VER_KINDS; k++) {
		j->set[k].looked = true;
		ver_set_sort(&j->set[k]);
	}
	j->set[VER_ALERT].looked = rules_dir != NULL;
	return rc;
}
