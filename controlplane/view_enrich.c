/* `enrich show`. Server thread; pure. */
#include "views.h"

static json_t *table_row(const struct view_enrich *t)
{
	return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "table", t->info.name, "rows",
		json_u64(t->info.rows), "bytes", json_u64(t->info.bytes), "version",
		json_version(t->info.version), "hits", json_u64(t->hits), "misses", json_u64(t->misses),
		"left_out", json_u64(t->info.left_out), "file", json_text(t->info.file));
}

json_t *view_enrich_show(const struct view *v, const struct request *rq, struct err *err)
{
	json_t *list = json_array();

	(void)rq;
	(void)err;
	for (uint32_t i = 0; i < v->enrich_tables; i++)
		json_array_append_new(list, table_row(&v->enrich[i]));
	return json_pack("{s:o, s:o, s:o, s:o}", "version",
		v->enrich_tables ? json_version(v->enrich_version) : json_string("none"), "loaded",
		json_time(v->enrich_loaded_ms), "too_long", json_u64(v->enrich_too_long), "tables", list);
}
