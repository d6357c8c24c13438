/* See ch_statement.h. */
#include "ch_statement.h"

#include <errno.h>
#include <stdlib.h>

static int no_memory(struct err *err)
{
	return err_set(err, -ENOMEM, "clickhouse: no memory for a statement");
}

int ch_statement_open(struct ch_statement *s, struct err *err)
{
	*s = (struct ch_statement){0};
	s->out = open_memstream(&s->text, &s->bytes);
	return s->out ? 0 : no_memory(err);
}

int ch_statement_end(struct ch_statement *s, struct err *err)
{
	if (fclose(s->out) == 0)
		return 0;
	free(s->text);
	s->text = NULL;
	return no_memory(err);
}

int ch_statement_run(
	struct ch_statement *s, struct ch_http *h, const char *token, uint64_t timeout_ms, struct err *err)
{
	int rc = ch_statement_end(s, err);

	if (rc)
		return rc;
	rc = ch_http_query_marked(h, s->text, token, timeout_ms, err);
	free(s->text);
	return rc;
}

void ch_statement_drop(struct ch_statement *s)
{
	fclose(s->out);
	free(s->text);
}
