/* See rules_trail.h. */
#include "rules_trail.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define LINE_BYTES 512

bool rules_change_parse(struct rules_change *c, const char *line)
{
	int end = 0;

	memset(c, 0, sizeof *c);
	return sscanf(line,
		       "%23[0-9TZ:-] action=%23[a-z-] uid=%" SCNu32 " pid=%" SCNu32 " from=%" SCNu32
		       "/%19[0-9a-z] to=%" SCNu32 "/%19[0-9a-z]%n",
		       c->time, c->action, &c->uid, &c->pid, &c->from, c->from_version, &c->to, c->to_version,
		       &end) == 8 &&
	       end && (line[end] == '\n' || line[end] == 0);
}

int rules_trail_read(struct rules_trail *t, const char *data_dir, struct err *err)
{
	char path[320], line[LINE_BYTES];
	FILE *in;
	int rc = 0;

	*t = (struct rules_trail){0};
	snprintf(path, sizeof path, "%s/rules-audit.log", data_dir);
	in = fopen(path, "re");
	if (!in)
		return errno == ENOENT ? 0 : err_set(err, -errno, "%s: %s", path, strerror(errno));
	t->change = malloc(2 * RULES_TRAIL_MAX * sizeof *t->change);
	if (!t->change)
		rc = err_set(err, -ENOMEM, "rules: no memory");
	while (!rc && fgets(line, sizeof line, in)) {
		if (!rules_change_parse(&t->change[t->count], line))
			continue;
		if (++t->count < 2 * RULES_TRAIL_MAX)
			continue;
		t->count = RULES_TRAIL_MAX;
		memmove(t->change, t->change + RULES_TRAIL_MAX, RULES_TRAIL_MAX * sizeof *t->change);
	}
	if (!rc && ferror(in))
		rc = err_set(err, -EIO, "%s: cannot be read", path);
	fclose(in);
	if (rc)
		rules_trail_free(t);
	return rc;
}

void rules_trail_free(struct rules_trail *t)
{
	free(t->change);
	*t = (struct rules_trail){0};
}

/* A ruleset on the stack: what it says, and its generation. */
struct layer {
	const char *version;
	uint32_t generation;
	bool canary; /* it has one: gone with whatever comes next */
};

static void layer_put(struct layer *stack, uint32_t *count, const char *version, uint32_t generation)
{
	if (*count && !strcmp(stack[*count - 1].version, version))
		stack[*count - 1].generation = generation; /* the same again under a newer number */
	else
		stack[(*count)++] = (struct layer){version, generation, false};
}

static void layer_return(struct layer *stack, uint32_t *count, const char *version, uint32_t generation)
{
	uint32_t at = *count;

	while (at && strcmp(stack[at - 1].version, version) != 0)
		at--;
	if (at)
		*count = at - 1;
	stack[(*count)++] = (struct layer){version, generation, false};
}

static void layer_change(struct layer *stack, uint32_t *count, const struct rules_change *c)
{
	bool canary = !strcmp(c->action, "canary");

	if (c->from) /* a start may have put something else in force in between */
		layer_put(stack, count, c->from_version, c->from);
	if (canary && *count && !strcmp(c->from_version, c->to_version)) {
		stack[*count - 1].generation = c->to; /* the same canary again */
		return;
	}
	while (*count && stack[*count - 1].canary)
		--*count;
	if (!strcmp(c->action, "rollback") || !strcmp(c->action, "canary-stop") ||
		!strcmp(c->action, "start"))
		layer_return(stack, count, c->to_version, c->to);
	else
		layer_put(stack, count, c->to_version, c->to);
	stack[*count - 1].canary = canary;
}

/* A change that the next start took back: the process died between the trail's line and the file that a start
 * reads. What it led to was in force for a moment, and nobody means it by "before". */
static bool change_taken_back(const struct rules_change *c, const struct rules_change *next)
{
	return !strcmp(next->action, "start") && strcmp(c->action, "start") != 0 && c->from &&
	       !strcmp(next->to_version, c->from_version) && strcmp(c->to_version, c->from_version) != 0;
}

uint32_t rules_trail_below(
	const struct rules_trail *t, const char *version, uint32_t *generation, uint32_t max)
{
	struct layer *stack = malloc((2 * (size_t)t->count + 2) * sizeof *stack);
	uint32_t count = 0, n = 0;

	if (!stack)
		return 0;
	for (uint32_t i = 0; i < t->count; i++) {
		const struct rules_change *c = &t->change[i];

		if (i + 1 < t->count && change_taken_back(c, c + 1)) {
			layer_put(stack, &count, c->from_version, c[1].to);
			i++;
		} else {
			layer_change(stack, &count, c);
		}
	}
	if (count && !strcmp(stack[count - 1].version, version))
		count--;
	for (; count && n < max; count--)
		if (!stack[count - 1].canary)
			generation[n++] = stack[count - 1].generation;
	free(stack);
	return n;
}
