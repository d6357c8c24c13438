/* Setting a partition's position by hand. sluicectl, while no daemon runs. */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "ch_intent.h"
#include "clickhouse.h"
#include "journal.h"

/* What is parked lies before the position and is at no server for sure: with the file's old step nobody would
 * know of it. */
static int parked_check(const struct ch_intent_file *file, uint32_t partition, struct err *err)
{
	const struct ch_intent *last = &file->last;
	uint64_t records = 0;

	for (uint32_t i = 0; i < last->parked_count; i++)
		records += last->parked[i].to - last->parked[i].from;
	if (!last->parked_count)
		return 0;
	return err_set(err, -EINVAL,
		"partition %u: %u ranges with %lu records wait for servers that are away, the first %lu-%lu "
		"for %s: start the daemon with those servers, or name one that is gone for good in "
		"clickhouse.lost; --drop-parked gives the records up",
		partition, last->parked_count, records, last->parked[0].from, last->parked[0].to,
		last->parked[0].endpoint);
}

/* dir: of the log. */
static int position_write(const char *data_dir, const char *dir, const struct ch_position *to,
	const struct journal_meta *meta, struct err *err)
{
	uint64_t offset = to->offset;
	uint32_t partition = to->partition;
	bool output = to->output;
	struct ch_intent next = {
		.epoch = meta->epoch, .range = {.from = offset, .to = offset}, .partition = partition};
	struct ch_intent_file file;
	int rc = ch_intent_open(&file, data_dir, output ? CH_INTENT_OUTPUT : CH_INTENT_INPUT, partition, err);

	if (rc)
		return rc;
	snprintf(next.node, sizeof next.node, "%s", meta->node);
	rc = to->drop_parked ? 0 : parked_check(&file, partition, err);
	if (rc == 0)
		rc = journal_stood_forget(dir, partition, err);
	if (rc == 0)
		rc = ch_intent_write(&file, &next, err);
	if (rc == 0) /* both slots: a damaged one must not be asked about again */
		rc = ch_intent_write(&file, &next, err);
	ch_intent_close(&file);
	return rc;
}

static int block_end(void *arg, const struct journal_scan_block *b)
{
	if (b->intact)
		*(uint64_t *)arg = b->block.first_offset + b->block.record_count;
	return 0;
}

/* Beyond the journal's end there is nothing that could have been delivered. */
static int position_check(const char *dir, uint32_t partition, uint64_t offset, struct err *err)
{
	uint64_t end = 0;
	int rc = journal_scan(dir, partition, block_end, &end, err);

	if (rc == 0 && offset > end)
		return err_set(err, -EINVAL, "partition %u ends at offset %lu: %lu lies beyond it", partition,
			end, offset);
	return rc;
}

int clickhouse_position_set(const char *data_dir, const struct ch_position *to, struct err *err)
{
	uint32_t partition = to->partition;
	struct journal_meta meta;
	char dir[512];
	int lock, rc;

	snprintf(dir, sizeof dir, "%s/%s", data_dir, to->output ? "output" : "journal");
	rc = journal_meta_read(dir, &meta, err);
	if (rc)
		return rc;
	if (partition >= meta.partitions)
		return err_set(err, -EINVAL, "%s has %u partitions: there is no %u", dir, meta.partitions,
			partition);
	lock = journal_lock(dir, err);
	if (lock < 0)
		return lock;
	rc = position_check(dir, partition, to->offset, err);
	if (rc == 0)
		rc = position_write(data_dir, dir, to, &meta, err);
	close(lock);
	return rc;
}
