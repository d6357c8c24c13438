/* `schema clickhouse`: all that a configuration needs as SQL, or what a server lacks of it. */
#include <errno.h>
#include <string.h>

#include "ch_check.h"
#include "clickhouse.h"

struct schema {
	struct window_plan *plan;
	struct ch_catalog *catalog;
};

static int schema_open(struct schema *s, const struct config *cfg, struct err *err)
{
	int rc;

	*s = (struct schema){0};
	if (!cfg->clickhouse.database[0])
		return err_set(err, -EINVAL, "clickhouse.database: empty");
	for (const char *p = cfg->clickhouse.database; *p; p++)
		if ((unsigned char)*p < 0x20)
			return err_set(err, -EINVAL, "clickhouse.database: holds control characters");
	rc = cfg->state.enabled ? window_plan_make(&s->plan, cfg, err) : 0;
	return rc ? rc
		  : ch_catalog_make(
			    &s->catalog, cfg->state.enabled ? CH_LOG_BOTH : CH_LOG_INPUT, s->plan, err);
}

static void schema_close(struct schema *s)
{
	ch_catalog_free(s->catalog);
	window_plan_free(s->plan);
}

int clickhouse_schema_ddl(const struct config *cfg, FILE *out, struct err *err)
{
	struct schema s;
	int rc = schema_open(&s, cfg, err);

	for (uint32_t n = 0; rc == 0 && ch_catalog_statement(s.catalog, &cfg->clickhouse, n, out); n++)
		fputs(";\n\n", out);
	schema_close(&s);
	return rc;
}

/* One server of several has to be named: what one lacks another may have. */
static int server_use(
	struct ch_http *h, const struct config_clickhouse *cfg, const char *server, struct err *err)
{
	struct ch_endpoint list[CH_ENDPOINTS_MAX];
	uint32_t count;
	int rc = ch_endpoints_parse(list, &count, cfg->url, err);

	if (rc || (!server && count == 1))
		return rc;
	for (uint32_t i = 0; server && i < count; i++)
		if (strcmp(list[i].name, server) == 0) {
			ch_http_use(h, &list[i]);
			return 0;
		}
	return err_set(err, -EINVAL, "--server: %s; expected HOST:PORT of a server of clickhouse.url: %s",
		server ? server : "is missing, as there are several", cfg->url);
}

int clickhouse_schema_diff(const struct config *cfg, const char *server, FILE *out, struct err *err)
{
	struct ch_faults faults = {0};
	struct ch_http http;
	struct schema s;
	uint32_t undecided = 0;
	int rc = schema_open(&s, cfg, err);

	if (rc == 0) {
		rc = ch_http_open(&http, &cfg->clickhouse, NULL, NULL, err);
		if (rc == 0)
			rc = server_use(&http, &cfg->clickhouse, server, err);
		if (rc == 0)
			rc = ch_check_look(&http, &cfg->clickhouse, s.catalog, &faults, err);
		ch_http_close(&http);
	}
	if (rc == 0)
		undecided = ch_faults_print(&faults, out);
	if (undecided)
		rc = err_set(
			err, -EINVAL, "faults that need a decision: %u; the comments say which", undecided);
	ch_faults_free(&faults);
	schema_close(&s);
	return rc;
}
