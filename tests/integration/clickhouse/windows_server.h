/* A real engine (SLUICE_CH_URL) with the tables of some windows in database w, for tests of one file each. */
#ifndef SLUICE_WINDOWS_SERVER_H
#define SLUICE_WINDOWS_SERVER_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "ch_check.h"
#include "ch_http.h"

static struct window_plan plan;
static struct config_clickhouse cfg;
static struct ch_http http;

static int check(struct err *err)
{
	struct ch_catalog *catalog = NULL;
	bool misfit;
	int rc = ch_catalog_make(&catalog, CH_LOG_OUTPUT, &plan, err);

	if (!rc)
		rc = ch_check_tables(&http, &cfg, catalog, &misfit, err);
	ch_catalog_free(catalog);
	return rc;
}

static void run(const char *sql)
{
	struct err err;

	if (ch_http_query(&http, sql, 30000, &err))
		fail_msg("%s: %s", sql, err.text);
}

static void server_open(const char *const *window_text, size_t windows)
{
	struct err err;

	cfg = (struct config_clickhouse){.create = true, .dedup_window = 1000, .timeout = 30000};
	snprintf(cfg.url, sizeof cfg.url, "%s", getenv("SLUICE_CH_URL"));
	snprintf(cfg.database, sizeof cfg.database, "w");
	snprintf(cfg.user, sizeof cfg.user, "default");
	for (size_t i = 0; i < windows; i++)
		if (window_def_parse(&plan.def[plan.count++], window_text[i], &err))
			fail_msg("%s", err.text);
	if (ch_http_open(&http, &cfg, NULL, NULL, &err))
		fail_msg("%s", err.text);
	run("DROP DATABASE IF EXISTS w SYNC");
	if (check(&err))
		fail_msg("%s", err.text);
}

static void server_close(void)
{
	ch_http_close(&http);
	for (uint32_t i = 0; i < plan.count; i++)
		window_def_free(plan.def[i]);
}

#endif
