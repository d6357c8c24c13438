/* Records of the state stage's output log: rows to their window's topic, late events. Partial rows and marks
 * are the merge stage's business, alerts the other lane's: passed over. The part's sink thread. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "kafka_priv.h"
#include "row_json.h"

/* Makes the topic of a window that prepare() did not know: one that is no longer in force. */
static int window_open(struct kafka_part *kp, struct kafka_window *w, struct err *err)
{
	const struct window_plan *plan = kp->part->env->plan;
	config_str name;
	int rc = 0;

	if (!w->def->to_kafka)
		return 0;
	if (!plan || !window_plan_find(plan, w->uid))
		rc = kafka_topic_make(kafka_config(kp), w->def, err);
	if (rc)
		return rc;
	kafka_window_topic(name, sizeof name, kafka_config(kp), w->def);
	w->topic = kafka_topic_open(&kp->tx, name, err);
	return w->topic ? 0 : -EINVAL;
}

static int window_get(struct kafka_part *kp, uint64_t uid, struct kafka_window **out, struct err *err)
{
	struct kafka_window made = {.uid = uid}, *list;
	int rc;

	for (uint32_t i = 0; i < kp->window_count; i++)
		if (kp->window[i].uid == uid) {
			*out = &kp->window[i];
			return 0;
		}
	made.def = sink_window_get(kp->part->env, uid, err);
	if (!made.def) {
		char at[ADDRESS_TEXT_BYTES];

		address_text(at, &kp->at);
		err_prefix(err, "record %s names window %016" PRIx64, at, uid);
		return -EINVAL;
	}
	list = realloc(kp->window, (kp->window_count + 1) * sizeof *list);
	if (!list)
		return err_set(err, -ENOMEM, "no memory");
	kp->window = list;
	rc = window_open(kp, &made, err);
	if (rc)
		return rc;
	list[kp->window_count] = made;
	*out = &list[kp->window_count++];
	return 0;
}

void kafka_windows_free(struct kafka_part *kp)
{
	for (uint32_t i = 0; i < kp->window_count; i++)
		if (kp->window[i].topic)
			rd_kafka_topic_destroy(kp->window[i].topic);
	free(kp->window);
	kp->window = NULL;
	kp->window_count = 0;
}

static int row_produce(struct kafka_part *kp, const struct record *rec, struct err *err)
{
	struct kafka_window *w = NULL;
	int rc = window_get(kp, row_of(rec)->window_uid, &w, err);

	if (rc)
		return rc;
	if (!w->topic) {
		kp->tally.suppressed++;
		return 0;
	}
	bytes_reset(&kp->json);
	rc = row_put_json(&kp->json, rec, w->def, kp->at.node, err);
	if (rc)
		return rc;
	if (kp->json.failed)
		return err_set(err, -EIO, "no memory for a row");
	kafka_message_row(&kp->msg, rec, w->def, &kp->at, &kp->json);
	kp->topic_named = w->topic;
	kp->tally.rows++;
	return kafka_tx_produce(kp, &kp->msg, err);
}

/* A late event matters more than the name of its window. */
static int late_produce(struct kafka_part *kp, const struct record *rec, struct err *err)
{
	struct record_key key;

	record_key_of(&key, rec);
	kafka_message_late(&kp->msg, rec, &key, sink_window_get(kp->part->env, row_late_window(rec), err),
		&kp->at, &kp->input);
	kp->tally.late++;
	return kafka_tx_produce(kp, &kp->msg, err);
}

int kafka_rows_record(struct kafka_part *kp, const struct record *rec, struct err *err)
{
	uint32_t before = kp->tx.messages;
	int rc;

	kp->msg.value_bytes = 0;
	if (!sink_row_good(rec, &kp->at, err))
		return -EINVAL;
	if (rec->kind == RECORD_LATE) {
		rc = late_produce(kp, rec, err);
	} else if (rec->kind == RECORD_ROW && !row_is_alert(rec) && !row_partial(rec)) {
		rc = row_produce(kp, rec, err);
	} else {
		kp->tally.other++;
		return 0;
	}
	if (kp->tx.messages != before)
		kp->tally.bytes += kp->msg.value_bytes;
	return rc;
}
