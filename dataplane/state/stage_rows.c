/* Rows of the stage: many of one window and step in a record; marks. State thread of a partition; out:
 * records by the stage's emit. */
#include "stage_priv.h"

int stage_rows_end(struct stage *st)
{
	if (!st->rows.bytes)
		return 0;
	row_many_end(&st->rows, st->receive_ms);
	must(!st->rows.failed);
	st->rows.bytes = 0;
	st->stats.row_records++;
	return st->emit(st->arg, (const struct record *)st->rows.data);
}

int stage_rows_begin(struct stage_window *w, const struct row *row, int64_t step_ms)
{
	struct stage *st = w->st;
	const struct row_many *open = NULL;
	struct row all = {.window_uid = w->def->uid,
		.start_ms = row->start_ms,
		.end_ms = row->end_ms,
		.step_ms = step_ms,
		.revision = row->revision};
	int rc = 0;

	if (st->rows.bytes) {
		open = (const struct row_many *)(st->rows.data + sizeof(struct record));
		if (st->rows.bytes < ROW_MANY_BYTES && open->window_uid == all.window_uid &&
			open->start_ms == all.start_ms && open->end_ms == all.end_ms &&
			open->step_ms == all.step_ms && open->revision == all.revision)
			return 0;
		rc = stage_rows_end(st);
	}
	row_many_begin(&st->rows, &all);
	return rc;
}

int stage_row(struct stage_window *w, const struct row *row, int64_t step_ms, const void *key,
	uint32_t key_bytes, const void *cell, const struct agg_arena *arena)
{
	struct stage *st = w->st;
	int rc = stage_rows_begin(w, row, step_ms);
	size_t before = st->rows.bytes, from, end;

	(void)row_many_room(&st->rows, key_bytes, 0);
	must(!st->rows.failed);
	from = st->rows.bytes += sizeof(struct row_many_item) + key_bytes;
	agg_cell_pack(w->def->aggs, cell, arena, &st->rows);
	end = st->rows.bytes;
	st->rows.bytes = before;
	(void)row_many_room(&st->rows, key_bytes, (uint32_t)(end - from));
	must(!st->rows.failed);
	row_many_put(&st->rows, key, key_bytes, row->flags, st->rows.data + from, st->rows.data + end);
	st->stats.rows++;
	if (row->revision)
		w->stats->revisions++;
	else
		w->stats->rows++;
	return rc;
}

int stage_mark(struct stage *st, int64_t step_ms)
{
	int rc = stage_rows_end(st);

	if (rc)
		return rc;
	bytes_reset(&st->out);
	row_put_mark(&st->out, step_ms, st->receive_ms);
	must(!st->out.failed);
	st->stats.marks++;
	return st->emit(st->arg, (const struct record *)st->out.data);
}

/* No event that this partition counted elsewhere, or not at all, is of a later time. STAGE_NO_TIME: there was
 * none. */
static int64_t latest_event(const struct stage *st, const struct journal_block *note)
{
	int64_t mark_ms = st->watermark_ms, latest_ms = STAGE_NO_TIME;

	if (stage_time_usable(note->watermark_ms) && note->watermark_ms > mark_ms)
		mark_ms = note->watermark_ms;
	if (mark_ms != STAGE_NO_TIME)
		latest_ms = mark_ms + (int64_t)st->params.out_of_orderness_ms;
	for (uint32_t i = 0; i < st->stats.source_count; i++) { /* of clocks that are ahead */
		int64_t t = st->stats.source[i].event_time_max_ms;

		latest_ms = stage_time_usable(t) && t > latest_ms ? t : latest_ms;
	}
	return latest_ms;
}

int stage_definitions(struct stage *st, const struct journal_block *note)
{
	int64_t latest_ms = note ? latest_event(st, note) : STAGE_NO_TIME;
	struct row_definition list[WINDOWS_MAX];

	for (uint32_t i = 0; i < st->stats.window_count; i++) {
		struct stage_window *w = st->window[i];
		int64_t gap_ms = w->def->kind == WINDOW_SESSION ? w->def->gap_ms : 0;

		list[i] = (struct row_definition){w->def->uid, INT64_MIN};
		if ((w->begins || !st->begun) && latest_ms != STAGE_NO_TIME)
			list[i].from_ms = latest_ms + 1 + gap_ms;
		w->begins = false;
	}
	st->begun = true;
	if (!note)
		return 0;
	bytes_reset(&st->out);
	row_put_definitions(&st->out, st->step_ms, note->receive_last_ms, list, st->stats.window_count);
	must(!st->out.failed);
	st->stats.marks++;
	return st->emit(st->arg, (const struct record *)st->out.data);
}

int stage_late_emit(struct stage *st, uint32_t i)
{
	const struct stage_run *run = &st->run;
	int rc = st->rules ? stage_rules_alerts(st, run->offset[i]) : 0;

	if (rc)
		return rc;
	bytes_reset(&st->out);
	row_put_late(&st->out, run->rec[i], run->late_uid[i], run->offset[i]);
	must(!st->out.failed);
	st->stats.late++;
	return st->emit(st->arg, (const struct record *)st->out.data);
}
