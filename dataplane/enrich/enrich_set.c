/* Loading and describing sets of tables. Control threads. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "enrich_priv.h"
#include "hash.h"

static const char *const geo_name[GEOIP_KINDS] = {"geoip_city", "geoip_asn"};

static const char *geo_path(const struct config *cfg, enum geoip_kind kind)
{
	return kind == GEOIP_CITY ? cfg->enrich.geoip_city : cfg->enrich.geoip_asn;
}

bool enrich_configured(const struct config *cfg)
{
	return cfg->enrich.geoip_city[0] || cfg->enrich.geoip_asn[0] || cfg->lookups_count;
}

static int geo_load(struct enrich_set *set, const struct config *cfg, enum geoip_kind kind, struct err *err)
{
	struct enrich_geo *geo = &set->geo[kind];
	const char *path = geo_path(cfg, kind);
	int rc;

	if (!path[0])
		return 0;
	rc = geoip_load(&geo->table, kind, path, cfg->enrich.file_bytes_max, err);
	if (rc) {
		err_prefix(err, "enrich.%s", geo_name[kind]);
		return rc;
	}
	geo->on = true;
	geo->info = (struct enrich_table_info){.name = geo_name[kind],
		.file = path,
		.rows = geo->table.networks,
		.bytes = geo->table.nodes * sizeof *geo->table.link +
			 (geo->table.first6 ? 2 : 1) * 65536 * sizeof *geo->table.first4 +
			 geo->table.results * sizeof *geo->table.result + geo->table.text_bytes,
		.version = geo->table.version,
		.left_out = geo->table.left_out};
	return 0;
}

static int field_find(enum field_id *out, const char *name, bool enriched, const char *key, struct err *err)
{
	*out = field_by_name(name, strlen(name));
	if (*out == FIELD_NONE)
		return err_set(
			err, -EINVAL, "%s: '%s' is no field; docs/events-fields.md lists all", key, name);
	if (enriched && !(event_enriched_mask >> *out & 1))
		return err_set(err, -EINVAL,
			"%s: '%s' comes from the sender: expected a field that enrichment fills", key, name);
	if (field_table[*out].kind != FIELD_KIND_TEXT)
		return err_set(err, -EINVAL, "%s: '%s' is no text", key, name);
	return 0;
}

static int lookup_make(struct enrich_set *set, const struct config *cfg, uint32_t k, struct err *err)
{
	const struct config_lookups *row = &cfg->lookups[k];
	struct enrich_lookup *lk = &set->lookup[k];
	struct lookup_want want = {.file = row->file,
		.key_column = row->key_column,
		.value_column = row->value_column,
		.file_bytes_max = cfg->enrich.file_bytes_max};
	int rc = field_find(&lk->key, row->key, false, "key", err);

	if (rc == 0)
		rc = field_find(&lk->to, row->to, true, "to", err);
	if (rc == 0) {
		want.key_bytes_max = field_table[lk->key].len_max;
		want.value_bytes_max =
			field_table[lk->to].len_max < UINT8_MAX ? field_table[lk->to].len_max : UINT8_MAX;
		lk->prefix = row->key_prefix;
		lk->prefix_bytes = (uint32_t)strlen(row->key_prefix);
		rc = lookup_load(&lk->table, &want, err);
	}
	if (rc) {
		err_prefix(err, "lookups: %s", row->name);
		return rc;
	}
	set->lookup_count = k + 1;
	lk->info = (struct enrich_table_info){.name = row->name,
		.file = row->file,
		.rows = lk->table.rows,
		.bytes = ((uint64_t)lk->table.mask + 1) * sizeof *lk->table.slot + lk->table.text_bytes,
		.version = lk->table.version};
	return 0;
}

/* Of what the files hold and of which table holds it. */
static uint64_t version_make(const struct enrich_set *set)
{
	uint64_t version[ENRICH_TABLES_MAX] = {0};

	for (int k = 0; k < GEOIP_KINDS; k++)
		version[k] = set->geo[k].info.version;
	for (uint32_t k = 0; k < set->lookup_count; k++)
		version[ENRICH_LOOKUPS + k] = set->lookup[k].info.version;
	return hash_bytes(version, sizeof version, 0);
}

int enrich_set_load(struct enrich_set **out, const struct config *cfg, struct err *err)
{
	struct enrich_set *set = calloc(1, sizeof *set);
	int rc = 0;

	_Static_assert(
		sizeof cfg->lookups / sizeof *cfg->lookups == ENRICH_LOOKUPS_MAX, "a counter for each table");
	*out = NULL;
	if (!set)
		return err_set(err, -ENOMEM, "enrichment: no memory");
	set->geo_from = (enum enrich_geo_from)cfg->enrich.geo_from;
	set->ip = field_by_name("ip", 2);
	for (int k = 0; k < GEOIP_KINDS && rc == 0; k++)
		rc = geo_load(set, cfg, (enum geoip_kind)k, err);
	for (uint32_t k = 0; k < cfg->lookups_count && rc == 0; k++)
		rc = lookup_make(set, cfg, k, err);
	if (rc) {
		enrich_set_free(set);
		return rc;
	}
	set->version = version_make(set);
	set->loaded_ms = clock_wall_ms();
	*out = set;
	return 0;
}

void enrich_set_free(struct enrich_set *set)
{
	if (!set)
		return;
	for (int k = 0; k < GEOIP_KINDS; k++)
		geoip_free(&set->geo[k].table);
	for (uint32_t k = 0; k < set->lookup_count; k++)
		lookup_free(&set->lookup[k].table);
	free(set);
}

uint64_t enrich_set_version(const struct enrich_set *set)
{
	return set->version;
}

int64_t enrich_set_loaded_ms(const struct enrich_set *set)
{
	return set->loaded_ms;
}

void enrich_set_info(const struct enrich_set *set, uint32_t table, struct enrich_table_info *out)
{
	*out = (struct enrich_table_info){0};
	if (table < ENRICH_LOOKUPS)
		*out = set->geo[table].info;
	else if (table - ENRICH_LOOKUPS < set->lookup_count)
		*out = set->lookup[table - ENRICH_LOOKUPS].info;
}
