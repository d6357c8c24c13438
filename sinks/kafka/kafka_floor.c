/* A lower bound of what has been committed, beside the journal: DIR/<lane>-p<k>.floor. The position itself
 * lives in Kafka, in the transactions; the floor only tells a topic that has lost it from a journal that was
 * never delivered. It may lag behind, so it is written now and then, and a file that cannot be read says
 * nothing. Whichever thread of the lane commits. */
#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "kafka_priv.h"
#include "log.h"
#include "sink_mark.h"

#define FLOOR_EVERY_NS 1000000000ull

static void floor_path(const struct kafka_part *kp, char *path, size_t bytes)
{
	snprintf(path, bytes, "%s/%s-p%u.floor", journal_dir(kp->part->journal), kafka_lane_name[kp->lane],
		kp->at.partition);
}

uint64_t kafka_floor_read(const struct kafka_part *kp)
{
	uint64_t position;
	char path[512];
	int rc;

	floor_path(kp, path, sizeof path);
	rc = sink_mark_read(path, kp->at.epoch, &position);
	if (rc < 0)
		log_warn("kafka", "partition=%u %s is damaged and says nothing", kp->at.partition, path);
	return rc == 1 ? position : 0;
}

void kafka_floor_write(struct kafka_part *kp, uint64_t committed, bool now)
{
	uint64_t time_ns = clock_mono_ns();
	char path[512];
	int rc;

	if (committed == kp->floor || (!now && kp->floor && time_ns - kp->floor_ns < FLOOR_EVERY_NS))
		return;
	floor_path(kp, path, sizeof path);
	rc = sink_mark_write(path, kp->at.epoch, committed);
	if (rc)
		log_warn("kafka", "partition=%u %s: %s", kp->at.partition, path, strerror(-rc));
	kp->floor_ns = time_ns;
	if (rc == 0)
		kp->floor = committed;
}
