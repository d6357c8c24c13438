/* See ch_faults.h. */
#include "ch_faults.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

int ch_faults_open(struct ch_faults *f, struct err *err)
{
	*f = (struct ch_faults){0};
	return ch_statement_open(&f->sql, err);
}

void ch_faults_free(struct ch_faults *f)
{
	if (f->sql.out)
		fclose(f->sql.out);
	free(f->sql.text);
	free(f->fault);
	*f = (struct ch_faults){0};
}

static struct ch_fault *fault_add(struct ch_faults *f)
{
	if (f->count == f->max) {
		uint32_t max = f->max ? 2 * f->max : 16;
		struct ch_fault *more = realloc(f->fault, max * sizeof *more);

		if (!more)
			return NULL;
		f->fault = more;
		f->max = max;
	}
	return &f->fault[f->count++];
}

static void last_end(struct ch_faults *f)
{
	if (f->count)
		f->fault[f->count - 1].to = (size_t)ftell(f->sql.out);
}

void ch_fault_note(struct ch_faults *f, enum ch_fault_kind kind, const char *fmt, ...)
{
	struct ch_fault *fault;
	va_list args;

	last_end(f);
	fault = fault_add(f);
	if (!fault) {
		f->no_memory = true;
		return;
	}
	*fault = (struct ch_fault){.kind = kind, .from = (size_t)ftell(f->sql.out)};
	va_start(args, fmt);
	vsnprintf(fault->why.text, sizeof fault->why.text, fmt, args);
	va_end(args);
}

static bool has_sql(const struct ch_fault *fault)
{
	return fault->to > fault->from;
}

/* Whether it can stand in a line. */
static bool is_line(const struct ch_faults *f, const struct ch_fault *fault)
{
	return has_sql(fault) && !memchr(f->sql.text + fault->from, '\n', fault->to - fault->from);
}

static bool same_sql(const struct ch_faults *f, const struct ch_fault *a, const struct ch_fault *b)
{
	return a->to - a->from == b->to - b->from &&
	       memcmp(f->sql.text + a->from, f->sql.text + b->from, a->to - a->from) == 0;
}

static bool stands_before(const struct ch_faults *f, uint32_t kept, const struct ch_fault *fault)
{
	for (uint32_t i = 0; has_sql(fault) && i < kept; i++)
		if (same_sql(f, &f->fault[i], fault))
			return true;
	return false;
}

int ch_faults_end(struct ch_faults *f, struct err *err)
{
	uint32_t kept = 0;
	int rc;

	last_end(f);
	rc = ch_statement_end(&f->sql, err);
	f->sql.out = NULL;
	if (rc == 0 && f->no_memory)
		rc = err_set(err, -ENOMEM, "clickhouse: no memory for what does not fit");
	for (uint32_t i = 0; rc == 0 && i < f->count; i++)
		if (!stands_before(f, kept, &f->fault[i]))
			f->fault[kept++] = f->fault[i];
	f->count = kept;
	return rc;
}

bool ch_faults_missing(const struct ch_faults *f)
{
	for (uint32_t i = 0; i < f->count; i++)
		if (f->fault[i].kind == CH_FAULT_MISSING)
			return true;
	return false;
}

/* ---- as one text ---- */

static bool is_fault(const struct ch_fault *fault, bool create)
{
	return fault->kind == CH_FAULT_WRONG || (fault->kind == CH_FAULT_MISSING && !create);
}

/* All statements, with semicolons between; false: no room, or there is a fault that none mends. */
static bool statements_join(const struct ch_faults *f, bool create, char *out, size_t room)
{
	size_t n = 0;

	for (uint32_t i = 0; i < f->count; i++) {
		const struct ch_fault *fault = &f->fault[i];

		if (fault->kind != CH_FAULT_WRONG && create)
			continue;
		if (!is_line(f, fault))
			return false;
		n += (size_t)snprintf(out + n, room - n, "%s%.*s", n ? "; " : "",
			(int)(fault->to - fault->from), f->sql.text + fault->from);
		if (n >= room)
			return false;
	}
	return true;
}

/* The first fault with as much as has room of its statement, how many more there are, and where. */
static int first_text(const struct ch_faults *f, const struct ch_fault *first, uint32_t more,
	const char *where, struct err *err)
{
	char rest[200] = "", sql[sizeof err->text] = "";
	int n = 0;

	if (more)
		n = snprintf(rest, sizeof rest, ", and %u more", more);
	if (where && (more || has_sql(first)))
		snprintf(rest + n, sizeof rest - (size_t)n, ": %s", where);
	if (is_line(f, first))
		snprintf(sql, sizeof sql, "; run: %.*s", (int)(first->to - first->from),
			f->sql.text + first->from);
	if (strlen(first->why.text) + strlen(sql) + strlen(rest) + sizeof "clickhouse: " > sizeof err->text ||
		first->to - first->from >= sizeof sql)
		sql[0] = 0;
	return err_set(err, -EINVAL, "clickhouse: %.*s%s%s",
		(int)(sizeof err->text - sizeof "clickhouse: " - strlen(rest)), first->why.text, sql, rest);
}

int ch_faults_text(const struct ch_faults *f, bool create, const char *where, struct err *err)
{
	const struct ch_fault *first = NULL;
	char joined[sizeof err->text], more[40] = "";
	uint32_t count = 0;

	for (uint32_t i = 0; i < f->count; i++) {
		if (!is_fault(&f->fault[i], create))
			continue;
		if (!count++)
			first = &f->fault[i];
	}
	if (!count)
		return 0;
	if (count > 1)
		snprintf(more, sizeof more, ", and %u more", count - 1);
	if (statements_join(f, create, joined, sizeof joined) &&
		sizeof "clickhouse: ; run: " + strlen(first->why.text) + strlen(more) + strlen(joined) <=
			sizeof err->text)
		return err_set(err, -EINVAL, "clickhouse: %s%s; run: %s", first->why.text, more, joined);
	return first_text(f, first, count - 1, where, err);
}

/* ---- as SQL ---- */

/* Names come from events and from the server: none may end the comment. */
static void comment_put(FILE *out, const char *text)
{
	fputs("-- ", out);
	for (; *text; text++)
		fputc((unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text, out);
	fputc('\n', out);
}

uint32_t ch_faults_print(const struct ch_faults *f, FILE *out)
{
	uint32_t undecided = 0;

	for (uint32_t i = 0; i < f->count; i++) {
		const struct ch_fault *fault = &f->fault[i];

		if (fault->why.text[0])
			comment_put(out, fault->why.text);
		if (has_sql(fault)) {
			fwrite(f->sql.text + fault->from, 1, fault->to - fault->from, out);
			fputs(";\n", out);
		} else {
			undecided++;
			comment_put(out, "no statement mends this without a decision");
		}
		fputc('\n', out);
	}
	return undecided;
}
