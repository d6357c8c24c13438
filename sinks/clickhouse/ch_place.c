/* Where a record goes in ClickHouse, for who asks. Any process. */
#include "ch_intent.h"
#include "ch_table.h"
#include "clickhouse.h"
#include "record.h"

void clickhouse_place_of(struct clickhouse_place *out, const char *data_dir, const struct record *rec,
	uint32_t partition, uint64_t offset)
{
	struct ch_intent_file file;
	struct err ignored;

	*out = (struct clickhouse_place){
		.table = ch_table_get(
			rec->kind == RECORD_REFUSED ? CH_TABLE_dead_letters : ch_table_of_type(rec->type))
				 ->name};
	if (ch_intent_peek(&file, data_dir, CH_INTENT_INPUT, partition, &ignored) || file.damaged ||
		!file.last.sequence)
		return;
	out->known = true;
	out->epoch = file.last.epoch;
	out->from = file.last.range.from;
	out->to = file.last.range.to;
	out->pending = file.last.pending;
	for (uint32_t i = 0; i < file.last.parked_count; i++)
		out->parked |= offset >= file.last.parked[i].from && offset < file.last.parked[i].to;
}
