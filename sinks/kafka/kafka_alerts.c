/* The lane of alerts: of rule hits in the journal, of the state stage in its output log. The part's sink
 * thread. */
#include <errno.h>

#include "kafka_priv.h"
#include "row_json.h"

int kafka_ruleset(struct kafka_part *kp, uint32_t generation, struct err *err)
{
	char at[ADDRESS_TEXT_BYTES];

	if (kp->rs && kp->rs_generation == generation)
		return 0;
	kp->rs = ruleset_store_get(kp->part->env->rules, generation, err);
	kp->rs_generation = generation;
	if (kp->rs)
		return 0;
	address_text(at, &kp->at);
	err_prefix(err, "record %s has hits of ruleset generation %u", at, generation);
	return -EINVAL;
}

/* Of the rules that an event hit. */
static int alerts_of_event(
	struct kafka_part *kp, const struct record *rec, uint32_t generation, struct err *err)
{
	struct record_key key;
	struct alert alert;
	int rc = kafka_ruleset(kp, generation, err);

	record_key_of(&key, rec);
	for (uint32_t i = 0; rc == 0 && i < rec->hit_count; i++) {
		rc = alert_of_hit(&alert, rec, i, &key, &kp->at, kp->rs, generation, err);
		if (rc <= 0)
			continue;
		bytes_reset(&kp->json);
		alert_put_json(&kp->json, &alert);
		if (kp->json.failed)
			return err_set(err, -EIO, "no memory for an alert");
		kafka_message_alert(&kp->msg, &alert, &kp->json);
		rc = kafka_tx_produce(kp, &kp->msg, err);
		kp->tally.alerts++;
		kp->tally.bytes += kp->msg.value_bytes;
	}
	return rc;
}

/* Of the state stage. */
static int alert_of_row(struct kafka_part *kp, const struct record *rec, struct err *err)
{
	uint64_t uid = row_alert_of(rec)->window_uid;
	const struct window_def *def = uid ? kafka_window_def(kp, uid, err) : NULL;

	if (uid && !def)
		return -EINVAL;
	bytes_reset(&kp->json);
	row_alert_put_json(&kp->json, rec, def ? def->name : "", kp->at.node, kp->input.epoch);
	if (kp->json.failed)
		return err_set(err, -EIO, "no memory for an alert");
	kafka_message_row_alert(&kp->msg, rec, &kp->at, &kp->json);
	kp->tally.alerts++;
	kp->tally.bytes += kp->msg.value_bytes;
	return kafka_tx_produce(kp, &kp->msg, err);
}

int kafka_alerts_record(struct kafka_part *kp, const struct record *rec, uint32_t generation, struct err *err)
{
	if (kp->part->log == SINK_LOG_INPUT) {
		kp->tally.other++; /* its alerts are beside it */
		return rec->kind == RECORD_EVENT && rec->hit_count ? alerts_of_event(kp, rec, generation, err)
								   : 0;
	}
	if (!kafka_row_good(kp, rec, err))
		return -EINVAL;
	if (row_is_alert(rec))
		return alert_of_row(kp, rec, err);
	kp->tally.other++;
	return 0;
}
