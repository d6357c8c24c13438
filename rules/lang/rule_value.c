/* Values and names in rule files: numbers, times, UUIDs, errors that say what would be right. Set-up only. */
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config_table.h"
#include "date.h"
#include "nearest.h"
#include "rule_read_priv.h"

static int err_at(const struct rule_reader *rd, uint32_t line, uint32_t column, const char *fmt, va_list ap)
{
	char text[400];

	vsnprintf(text, sizeof text, fmt, ap);
	if (rd->rule_id)
		return err_set(rd->err, -EINVAL, "%s:%u:%u: rule %s: %s", rd->tree->name, line, column,
			rd->rule_id, text);
	return err_set(rd->err, -EINVAL, "%s:%u:%u: %s", rd->tree->name, line, column, text);
}

int rule_err(const struct rule_reader *rd, const struct ynode *at, const char *fmt, ...)
{
	va_list ap;
	int rc;

	va_start(ap, fmt);
	rc = err_at(rd, at->line, at->column, fmt, ap);
	va_end(ap);
	return rc;
}

int rule_err_key(const struct rule_reader *rd, const struct ynode *at, const char *fmt, ...)
{
	va_list ap;
	int rc;

	va_start(ap, fmt);
	rc = err_at(rd, at->key ? at->key_line : at->line, at->key ? at->key_column : at->column, fmt, ap);
	va_end(ap);
	return rc;
}

int rule_no_memory(const struct rule_reader *rd)
{
	return err_set(rd->err, -ENOMEM, "%s: out of memory", rd->tree->name);
}

int rule_err_unknown(const struct rule_reader *rd, const struct ynode *at, bool is_key, const char *what,
	const char *const *names, uint32_t name_count)
{
	const char *word = is_key ? at->key : at->text;
	struct nearest near = nearest_to(word);
	char known[256] = "";
	size_t used = 0;

	for (uint32_t i = 0; i < name_count; i++) {
		nearest_offer(&near, names[i]);
		if (used < sizeof known)
			used += (size_t)snprintf(
				known + used, sizeof known - used, "%s%s", i ? ", " : "", names[i]);
	}
	if (near.name)
		snprintf(known, sizeof known, "did you mean %s?", near.name);
	return (is_key ? rule_err_key : rule_err)(
		rd, at, "unknown %s %.80s; %s%s", what, word, near.name ? "" : "known: ", known);
}

uint32_t rule_field_names(const char **names, uint32_t room)
{
	uint32_t n = 0;

	for (uint32_t i = 1; i < FIELD_ID_MAX && n < room; i++)
		if (field_table[i].name)
			names[n++] = field_table[i].name;
	return n;
}

uint32_t rule_type_names(const char **names, uint32_t room)
{
	uint32_t n = 0;

	for (uint32_t i = 1; i < EVENT_TYPE_MAX && n < room; i++)
		if (type_table[i].name)
			names[n++] = type_table[i].name;
	return n;
}

bool value_is_null(const struct ynode *n)
{
	return n->kind == YNODE_SCALAR && !n->quoted &&
	       (!n->text_bytes || !strcmp(n->text, "~") || !strcmp(n->text, "null"));
}

bool value_number(const struct ynode *n, double *out)
{
	char *end;

	if (n->kind != YNODE_SCALAR || n->quoted || !n->text_bytes ||
		strspn(n->text, "0123456789+-.eE") != n->text_bytes)
		return false;
	*out = strtod(n->text, &end);
	return !*end && isfinite(*out);
}

bool value_bool(const struct ynode *n, bool *out)
{
	if (n->kind != YNODE_SCALAR || n->quoted)
		return false;
	*out = !strcmp(n->text, "true");
	return *out || !strcmp(n->text, "false");
}

static bool digits(const char **p, int count, int *out)
{
	*out = 0;
	for (int i = 0; i < count; i++, (*p)++) {
		if (**p < '0' || **p > '9')
			return false;
		*out = *out * 10 + (**p - '0');
	}
	return true;
}

static bool one_of(const char **p, const char *set)
{
	return **p && strchr(set, **p) && (*p)++;
}

static bool time_rfc3339(const char *p, int64_t *out)
{
	int y, mo, d, h, mi, s, ms = 0, oh = 0, om = 0, sign = 1;

	if (!digits(&p, 4, &y) || !one_of(&p, "-") || !digits(&p, 2, &mo) || !one_of(&p, "-") ||
		!digits(&p, 2, &d) || !one_of(&p, "Tt") || !digits(&p, 2, &h) || !one_of(&p, ":") ||
		!digits(&p, 2, &mi) || !one_of(&p, ":") || !digits(&p, 2, &s))
		return false;
	if (!date_valid((uint32_t)y, (uint32_t)mo, (uint32_t)d) || h > 23 || mi > 59 || s > 59)
		return false;
	if (one_of(&p, ".")) {
		if (*p < '0' || *p > '9')
			return false;
		for (int scale = 100; *p >= '0' && *p <= '9'; p++, scale /= 10)
			ms += (*p - '0') * scale;
	}
	if (!one_of(&p, "Zz")) {
		sign = *p == '-' ? -1 : 1;
		if (!one_of(&p, "+-") || !digits(&p, 2, &oh) || !one_of(&p, ":") || !digits(&p, 2, &om) ||
			oh > 23 || om > 59)
			return false;
	}
	*out = ((date_days((uint32_t)y, (uint32_t)mo, (uint32_t)d) * 24 + h) * 60 + mi -
		       sign * (oh * 60 + om)) *
		       60000 +
	       s * 1000 + ms;
	return !*p;
}

bool value_time(const struct ynode *n, int64_t *out)
{
	double number;

	if (n->kind != YNODE_SCALAR)
		return false;
	if (value_number(n, &number)) {
		*out = (int64_t)number;
		return fabs(number) < 1e15 && (double)*out == number;
	}
	return time_rfc3339(n->text, out);
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool value_uuid(const char *text, size_t bytes, uint8_t out[16])
{
	uint32_t n = 0;

	if (bytes != 36)
		return false;
	for (uint32_t i = 0; i < 36; i++) {
		int d = hex_digit(text[i]);

		if (i == 8 || i == 13 || i == 18 || i == 23) {
			if (text[i] != '-')
				return false;
			continue;
		}
		if (d < 0)
			return false;
		out[n / 2] = (uint8_t)(n & 1 ? out[n / 2] | d : d << 4);
		n++;
	}
	return true;
}

bool value_uint(const struct ynode *n, uint64_t *out)
{
	uint64_t v = 0;

	if (n->kind != YNODE_SCALAR || n->quoted || !n->text_bytes || n->text_bytes > 19)
		return false;
	for (const char *p = n->text; *p; p++) {
		if (*p < '0' || *p > '9')
			return false;
		v = v * 10 + (uint64_t)(*p - '0');
	}
	*out = v;
	return true;
}

bool value_date(const struct ynode *n, int64_t *out)
{
	char text[40];

	if (n->kind != YNODE_SCALAR || n->text_bytes >= sizeof text)
		return false;
	snprintf(text, sizeof text, n->text_bytes == 10 ? "%sT00:00:00Z" : "%s", n->text);
	return time_rfc3339(text, out);
}

int read_duration(
	const struct rule_reader *rd, const struct ynode *n, uint64_t min_ms, uint64_t max_ms, int64_t *out)
{
	uint64_t ms;

	if (n->kind != YNODE_SCALAR || !config_duration(n->text, &ms))
		return rule_err(rd, n, "%s: expected a duration, as in 60s, 5m, 1h or 1d", n->key);
	if (ms < min_ms || ms > max_ms)
		return rule_err(rd, n, "%s: expected a duration from %llums to %llud", n->key,
			(unsigned long long)min_ms, (unsigned long long)(max_ms / 86400000u));
	*out = (int64_t)ms;
	return 0;
}

int read_uint(const struct rule_reader *rd, const struct ynode *n, uint64_t min, uint64_t max, uint64_t *out)
{
	if (!value_uint(n, out) || *out < min || *out > max)
		return rule_err(rd, n, "%s: expected a whole number from %llu to %llu", n->key,
			(unsigned long long)min, (unsigned long long)max);
	return 0;
}

int read_double(const struct rule_reader *rd, const struct ynode *n, double min, double max, double *out)
{
	if (!value_number(n, out) || *out < min || *out > max)
		return rule_err(rd, n, "%s: expected a number from %g to %g", n->key, min, max);
	return 0;
}

int read_keys(const struct rule_reader *rd, const struct ynode *n, const char *const *names)
{
	char what[80];
	uint32_t count = 0;

	while (names[count])
		count++;
	if (n->kind != YNODE_MAP)
		return rule_err(rd, n, "%s: expected a mapping with %s%s", n->key ? n->key : "here", names[0],
			count > 1 ? " and others" : "");
	snprintf(what, sizeof what, "key of %.60s", n->key ? n->key : "this");
	YNODE_EACH (it, n) {
		uint32_t i = 0;

		while (i < count && strcmp(names[i], it->key))
			i++;
		if (i == count)
			return rule_err_unknown(rd, it, true, what, names, count);
	}
	return 0;
}

int read_child(
	const struct rule_reader *rd, const struct ynode *n, const char *name, const struct ynode **out)
{
	*out = ynode_get(n, name);
	return *out ? 0 : rule_err(rd, n, "%s: %s is missing", n->key ? n->key : "here", name);
}
