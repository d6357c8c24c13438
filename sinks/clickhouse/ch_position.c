/* Setting a partition's position by hand. sluicectl, while no daemon runs. */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "ch_intent.h"
#include "clickhouse.h"
#include "journal.h"

static int position_write(const char *data_dir, bool output, const struct journal_meta *meta,
	uint32_t partition, uint64_t offset, struct err *err)
{
	struct ch_intent next = {
		.epoch = meta->epoch, .range = {.from = offset, .to = offset}, .partition = partition};
	struct ch_intent_file file;
	int rc = ch_intent_open(&file, data_dir, output ? CH_INTENT_OUTPUT : CH_INTENT_INPUT, partition, err);

	if (rc)
		return rc;
	snprintf(next.node, sizeof next.node, "%s", meta->node);
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

int clickhouse_position_set(
	const char *data_dir, bool output, uint32_t partition, uint64_t offset, struct err *err)
{
	struct journal_meta meta;
	char dir[512];
	int lock, rc;

	snprintf(dir, sizeof dir, "%s/%s", data_dir, output ? "output" : "journal");
	rc = journal_meta_read(dir, &meta, err);
	if (rc)
		return rc;
	if (partition >= meta.partitions)
		return err_set(err, -EINVAL, "%s has %u partitions: there is no %u", dir, meta.partitions,
			partition);
	lock = journal_lock(dir, err);
	if (lock < 0)
		return lock;
	rc = position_check(dir, partition, offset, err);
	if (rc == 0)
		rc = position_write(data_dir, output, &meta, partition, offset, err);
	close(lock);
	return rc;
}
