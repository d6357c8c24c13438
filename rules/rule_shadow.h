/* Where an event's state lives: the hash of its key under a keyring, whether its own record lies there, and
 * the shadow records that go to the other places. One rule for workers, which write them, and the state
 * stage, which reads them:
 *
 * - A keyring is home to an event if it has one field, and that field is the one that the event's partition
 * key is taken from (event_fields.def: PART_KEY). Then the event's own record is what the stage looks at.
 * - Else the event needs a shadow record (RECORD_SHADOW) in the partition of the key's hash, if one of its
 * hits belongs to a rule with that keyring. It is needed there even if that happens to be the event's own
 * partition.
 * - An event that lacks a field of the key has no state under it, and no shadow.
 *
 * Hence the stage takes an event record for the home keyring only, and a shadow record for the keyring of its
 * hits, which all belong to one. Pure; any thread, workers too. */
#ifndef SLUICE_RULE_SHADOW_H
#define SLUICE_RULE_SHADOW_H

#include "record.h"
#include "ruleset.h"

/* The hash of the key; false: a field of it is missing. A key of one field has the hash that a partition key
 * of the same value has. A number's -0 is 0. */
bool rule_key_of_event(const struct rule_keyring *kr, const struct event *ev, uint64_t *hash);
bool rule_key_of_record(const struct rule_keyring *kr, const struct record *rec, uint64_t *hash);

/* Fields that an event of this type must not have if a keyring is to be home to it that has this field alone;
 * all, if it never is. */
uint64_t rule_keyring_not_home(const struct rule_keyring *kr, uint8_t type);
/* Of an event of this type with these fields. */
bool rule_keyring_is_home(const struct rule_keyring *kr, uint8_t type, uint64_t field_mask);

/* A shadow record that an event needs. */
struct rule_shadow {
	uint64_t key_hash;
	uint32_t bytes; /* of the record; never more than the event's own has */
	uint8_t keyring;
};

/* The shadows that a matched event needs, by keyring; returns how many. Only for an event with
 * RULE_ACTION_STATE. */
uint32_t rule_shadows(
	const struct ruleset *rs, const struct event *ev, struct rule_shadow out[RULE_KEYRINGS_MAX]);

/* Writes one to out, which has shadow->bytes and is 8-byte aligned. */
void rule_shadow_write(uint8_t *out, const struct ruleset *rs, const struct event *ev,
	const struct rule_shadow *shadow, int64_t receive_time_ms, uint16_t flags);

#endif
