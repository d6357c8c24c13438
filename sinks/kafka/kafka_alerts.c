/* The lane of alerts. The part's sink thread. */
#include <errno.h>

#include "kafka_priv.h"

static int alert_produce(void *arg, const struct sink_alert *a, struct err *err)
{
	struct kafka_part *kp = arg;

	bytes_reset(&kp->json);
	sink_alert_put_json(&kp->json, a);
	if (kp->json.failed)
		return err_set(err, -EIO, "no memory for an alert");
	if (a->hit)
		kafka_message_alert(&kp->msg, a->hit, &kp->json);
	else
		kafka_message_row_alert(&kp->msg, a->rec, a->at, &kp->json);
	kp->tally.alerts++;
	kp->tally.bytes += kp->msg.value_bytes;
	return kafka_tx_produce(kp, &kp->msg, err);
}

int kafka_alerts_record(struct kafka_part *kp, const struct record *rec, uint32_t generation, struct err *err)
{
	uint64_t before = kp->tally.alerts;
	int rc = sink_alerts_each(kp->part, &kp->rules, rec, generation, &kp->at, alert_produce, kp, err);

	/* Of the input an alert is beside its event. */
	if (kp->part->log == SINK_LOG_INPUT || kp->tally.alerts == before)
		kp->tally.other++;
	return rc;
}
