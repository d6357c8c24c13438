/* Where a part goes on: fence, read the positions, refuse what would lose or send twice.
 *
 * The two lanes of a partition begin together: one transaction of the main lane's producer writes the first
 * position of both ("the split"). It is due when there is none yet, or when that of the main lane is of
 * version 1: such a lane has sent alerts, too, so that alerts go on exactly where it stood. Only who has
 * fenced the main lane's id knows where that is; hence whichever lane comes first does it under that id, and
 * the other waits: were both to do it at once, each would fence the other. Afterwards the lanes have nothing
 * to do with each other. The part's sink thread. */
#include <errno.h>
#include <inttypes.h>
#include <time.h>

#include "kafka_priv.h"
#include "kafka_split.h"
#include "log.h"
#include "position.h"

static int split_begin(struct kafka_part *kp, struct kafka_split *split, struct err *err)
{
	*split = (struct kafka_split){.epoch = kp->at.epoch, .partition = kp->at.partition};
	while (!kafka_split_begin(split)) {
		if (sink_gives_up())
			return err_set(err, -ECANCELED, "stopped before the first position was written");
		nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
	}
	return 0;
}

/* What to write by hand, for a refusal that only the operator can resolve. */
static int resume_refuse(struct kafka_part *kp, const char *why, uint64_t from, struct err *err)
{
	char text[POSITION_TEXT_BYTES];
	const char *topic = kafka_config(kp)->topic_positions;

	position_text(text, from);
	return err_set(err, -EINVAL,
		"no committed position in topic %s under key %s, but %s. To go on from offset %" PRIu64
		": echo '%s|%s' | kcat -P -b BROKERS -t %s -p 0 -K '|'",
		topic, kp->position_key, why, from, kp->position_key, text, topic);
}

static int position_missing(
	struct kafka_part *kp, const struct kafka_position *other, uint64_t *position, struct err *err)
{
	uint64_t oldest = journal_consumer_oldest(kp->part->journal, kp->part->consumer);

	if (kp->floor)
		return resume_refuse(kp,
			"this offset was delivered before: the topic has lost it, and to begin again would "
			"send twice",
			kp->floor, err);
	if (other->found && other->version > 1)
		return resume_refuse(kp,
			"the partition's other positions are there: the topic has lost it, and what was "
			"delivered is "
			"unknown",
			oldest, err);
	if (oldest)
		return resume_refuse(kp,
			"the journal begins there, with the oldest record that is left: what was delivered "
			"is unknown",
			oldest, err);
	*position = 0; /* nothing of this journal has ever been delivered */
	return 0;
}

/* A position that was seen committed, by this process or by the floor beside the journal, is gone: the topic
 * was deleted, or its brokers have lost records. Nobody knows what else they lost, and to go on from the
 * older one would send again what is there. */
static int position_lost(struct kafka_part *kp, uint64_t position, struct err *err)
{
	uint64_t before = kp->floor;

	if (kp->part->opened && atomic_load(&kp->part->stats.position) > before)
		before = atomic_load(&kp->part->stats.position);
	if (position >= before)
		return 0;
	return err_set(err, -EINVAL,
		"committed position %" PRIu64 " (topic %s, key %s) is older than %" PRIu64
		", which was committed before: the topic has lost records. To go on from a position of your "
		"choice, "
		"write it there, remove %s/%s-p%u.floor and restart; what it lets out or sends twice is "
		"yours to know",
		position, kafka_config(kp)->topic_positions, kp->position_key, before,
		journal_dir(kp->part->journal), kafka_lane_name[kp->lane], kp->at.partition);
}

/* The position must lie in what the journal has: anything else is a lost or foreign journal, never a skip. */
static int position_check(struct kafka_part *kp, uint64_t position, struct err *err)
{
	uint64_t end = journal_durable_offset(kp->part->journal, kp->at.partition);
	uint64_t oldest = journal_consumer_oldest(kp->part->journal, kp->part->consumer);

	if (position > end)
		return err_set(err, -EINVAL,
			"committed position %" PRIu64
			" (topic %s, key %s) lies beyond the journal's durable end %" PRIu64
			": the journal has lost data or is an older copy; restore it, or begin a new journal",
			position, kafka_config(kp)->topic_positions, kp->position_key, end);
	if (position < oldest)
		return err_set(err, -EINVAL,
			"committed position %" PRIu64
			" (topic %s, key %s) lies before the journal's oldest record %" PRIu64
			": records between were removed undelivered",
			position, kafka_config(kp)->topic_positions, kp->position_key, oldest);
	return 0;
}

/* kp's own position, of those that were found. */
static int resume_judge(struct kafka_part *kp, const struct kafka_position found[KAFKA_LANE_COUNT],
	uint64_t *position, struct err *err)
{
	const struct kafka_position *own = &found[kp->lane];
	int rc;

	*position = own->next;
	rc = own->found ? position_check(kp, own->next, err)
			: position_missing(kp,
				  &found[kp->lane == KAFKA_LANE_MAIN ? KAFKA_LANE_ALERTS : KAFKA_LANE_MAIN],
				  position, err);
	return rc ? rc : position_lost(kp, *position, err);
}

/* The split is due: see above. A position of alerts beside one of version 1 is from before a step back to
 * that version.
 */
static bool split_due(const struct kafka_position found[KAFKA_LANE_COUNT])
{
	const struct kafka_position *first = &found[KAFKA_LANE_MAIN];

	return first->found ? first->version == 1 : !found[KAFKA_LANE_ALERTS].found;
}

/* By the main lane, which has found where it goes on. */
static int split_write(struct kafka_part *kp, uint64_t position, struct err *err)
{
	char alerts[ADDRESS_TEXT_BYTES];
	int rc = kafka_tx_begin(kp, err);

	kafka_position_key(kp, KAFKA_LANE_ALERTS, alerts);
	if (rc == 0)
		rc = kafka_tx_position(kp, alerts, position, err);
	kafka_crash_point(kp, "split");
	if (rc == 0)
		rc = kafka_tx_position(kp, kp->position_key, position, err);
	if (rc == 0)
		rc = kafka_tx_commit(&kp->tx, err);
	kafka_crash_point(kp, "split_done");
	if (rc == 0)
		log_info("kafka", "partition=%u alerts have a position of their own from=%" PRIu64,
			kp->at.partition, position);
	return rc == -EAGAIN ? -EIO : rc;
}

static void part_name(struct kafka_part *kp, enum kafka_lane lane)
{
	kp->lane = lane;
	kp->tx.kp = kp;
	kafka_position_key(kp, lane, kp->position_key);
	kp->floor = kafka_floor_read(kp);
}

static int lane_fence(struct kafka_part *kp, struct err *err)
{
	int rc = kafka_producer_new(kp, err);

	return rc ? rc : kafka_tx_init(kp, err);
}

int kafka_fence(struct kafka_part *kp, struct err *err)
{
	part_name(kp, kp->lane);
	return lane_fence(kp, err);
}

/* Fence, read, judge, and the split if it is due. */
static int resume_main(struct kafka_part *kp, uint64_t *position, struct err *err)
{
	struct kafka_position found[KAFKA_LANE_COUNT];
	int rc = lane_fence(kp, err);

	if (rc == 0)
		rc = kafka_position_find(kp, found, err);
	if (rc == 0)
		rc = resume_judge(kp, found, position, err);
	if (rc == 0 && split_due(found))
		rc = split_write(kp, *position, err);
	return rc;
}

/* For the lane of alerts, under the id of the main one, which is not open: it would have done it. */
static int split_for_alerts(struct kafka_part *kp, uint64_t *position, struct err *err)
{
	struct kafka_part first = {.part = kp->part, .at = kp->at};
	int rc;

	part_name(&first, KAFKA_LANE_MAIN);
	rc = resume_main(&first, position, err);
	kafka_producer_free(&first);
	return rc;
}

static int resume_alerts(struct kafka_part *kp, uint64_t *position, struct err *err)
{
	struct kafka_position found[KAFKA_LANE_COUNT];
	struct kafka_split split;
	int rc = lane_fence(kp, err);

	if (rc == 0)
		rc = kafka_position_find(kp, found, err);
	if (rc == 0 && split_due(found) && (found[KAFKA_LANE_MAIN].found || !kp->floor)) {
		rc = split_begin(kp, &split, err);
		if (rc)
			return rc;
		rc = kafka_position_find(kp, found, err); /* perhaps the main lane was doing it */
		if (rc == 0 && split_due(found)) {
			rc = split_for_alerts(kp, position, err);
			if (rc == 0)
				rc = kafka_position_find(kp, found, err);
		}
		kafka_split_end(&split);
	}
	return rc ? rc : resume_judge(kp, found, position, err);
}

int kafka_resume(struct kafka_part *kp, uint64_t *position, struct err *err)
{
	struct kafka_split split;
	int rc;

	part_name(kp, kp->lane);
	if (kp->lane == KAFKA_LANE_ALERTS)
		return resume_alerts(kp, position, err);
	rc = split_begin(kp, &split, err);
	if (rc)
		return rc;
	rc = resume_main(kp, position, err);
	kafka_split_end(&split);
	return rc;
}
