/* The embedded ClickHouse: the engine as a library, run by its launcher as a process of its own. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sup_server.h"

static bool clickhouse_ready(const struct sup_child *c)
{
	return sup_answers((uint16_t)strtoul(c->ready_arg, NULL, 10),
		"GET /ping HTTP/1.0\r\nHost: localhost\r\n\r\n", "Ok.");
}

int sup_clickhouse_prepare(
	struct sup_child *c, const struct sup_opts *o, const struct sup_ports *p, struct err *err)
{
	char dir[256];
	int rc;

	if (access(o->chdb, R_OK))
		return err_set(err, -ENOENT,
			"%s: the ClickHouse engine is not there; './run deps' fetches it", o->chdb);
	if (access(o->chembed, X_OK))
		return err_set(
			err, -ENOENT, "%s: the launcher is not there; './run build' makes it", o->chembed);
	snprintf(dir, sizeof dir, "%s/clickhouse", o->data);
	rc = sup_make_dir(dir, err);
	if (rc)
		return rc;
	c->name = "clickhouse";
	c->restart = true;
	c->ready = clickhouse_ready;
	snprintf(c->ready_arg, sizeof c->ready_arg, "%u", p->clickhouse_http);
	snprintf(c->log_path, sizeof c->log_path, "%s/clickhouse.log", o->data);
	sup_child_arg(c, "%s", o->chembed);
	sup_child_arg(c, "%s", o->chdb);
	sup_child_arg(c, "%s", dir);
	sup_child_arg(c, "%u", p->clickhouse_http);
	sup_child_arg(c, "%u", p->clickhouse_native);
	return 0;
}
