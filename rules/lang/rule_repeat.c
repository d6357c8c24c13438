/* `{times: N, every: DURATION, each: EVENT}` in a sample's `send`: N events, alike but for their times and
 * their number, which stands for %n in texts. Set-up only. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "rule_read_priv.h"

#define EVERY_MS_MAX (30 * 86400000ull)
#define MARK "%n"

/* About what a copy of the event takes. Depth is bounded by the tree's parser. */
static uint64_t bytes_of(const struct ynode *n)
{
	uint64_t sum = sizeof *n + (n->key ? strlen(n->key) : 0);

	if (n->kind == YNODE_SCALAR)
		return sum + n->text_bytes;
	YNODE_EACH (it, n)
		sum += bytes_of(it);
	return sum;
}

int repeat_read(struct rule_reader *rd, const struct ynode *n, struct sample_repeat *out)
{
	static const char *const names[] = {"times", "every", "each", NULL};
	const struct ynode *times, *every;
	int rc;

	*out = (struct sample_repeat){.each = n, .times = 1};
	if (n->kind != YNODE_MAP || !ynode_get(n, "each"))
		return 0;
	rc = read_keys(rd, n, names);
	rc = rc ? rc : read_child(rd, n, "each", &out->each);
	out->repeated = true;
	rc = rc ? rc : read_child(rd, n, "times", &times);
	rc = rc ? rc : read_child(rd, n, "every", &every);
	rc = rc ? rc : read_uint(rd, times, 1, RULE_TEST_EVENTS_MAX, &out->times);
	rd->repeats += out->times;
	if (!rc && rd->repeats > RULE_REPEATS_MAX)
		rc = rule_err(
			rd, times, "times: more than %d events in all tests of a file", RULE_REPEATS_MAX);
	rd->repeat_bytes += rc ? 0 : out->times * bytes_of(out->each);
	if (!rc && rd->repeat_bytes > RULE_REPEAT_BYTES_MAX)
		rc = rule_err(rd, times, "times: the events of all tests of a file take more than %u bytes",
			RULE_REPEAT_BYTES_MAX);
	return rc ? rc : read_duration(rd, every, 0, EVERY_MS_MAX, &out->every_ms);
}

static bool is_time(const struct ynode *n)
{
	return n->key && (!strcmp(n->key, "ts") || !strcmp(n->key, "timestamp"));
}

static int text_set(struct rule_reader *rd, struct ynode *n, const char *text)
{
	n->text_bytes = strlen(text);
	n->text = rule_pool_text(rd->pool, text, n->text_bytes);
	return n->text ? 0 : rule_no_memory(rd);
}

static int text_number(struct rule_reader *rd, struct ynode *n, uint64_t number)
{
	const char *mark = strstr(n->text, MARK);
	char text[1024];

	if (!mark)
		return 0;
	if ((size_t)snprintf(text, sizeof text, "%.*s%" PRIu64 "%s", (int)(mark - n->text), n->text, number,
		    mark + strlen(MARK)) >= sizeof text)
		return rule_err(rd, n, "too long for a text with %s", MARK);
	return text_set(rd, n, text);
}

/* depth 0: the event; 1: its own keys. Depth is bounded by the tree's parser. */
static int copy(struct rule_reader *rd, const struct ynode *from, const struct sample_repeat *r,
	uint64_t number, uint32_t depth, struct ynode **out)
{
	struct ynode *n = rule_pool_get(rd->pool, 1, sizeof *n), **tail;
	char text[24];
	int64_t ms;
	int rc = 0;

	if (!n)
		return rule_no_memory(rd);
	*n = *from;
	*out = n;
	if (n->kind == YNODE_SCALAR && depth == 1 && is_time(n) && value_time(n, &ms)) {
		snprintf(text, sizeof text, "%" PRId64, ms + (int64_t)number * r->every_ms);
		return text_set(rd, n, text);
	}
	if (n->kind == YNODE_SCALAR)
		return text_number(rd, n, number);
	tail = &n->child;
	YNODE_EACH (it, from) {
		rc = copy(rd, it, r, number, depth + 1, tail);
		if (rc)
			break;
		tail = &(*tail)->next;
	}
	*tail = NULL;
	return rc;
}

int repeat_event(
	struct rule_reader *rd, const struct sample_repeat *r, uint64_t number, const struct ynode **out)
{
	struct ynode *made = NULL;
	int rc = 0;

	*out = r->each;
	if (!r->repeated)
		return 0;
	rc = copy(rd, r->each, r, number, 0, &made);
	*out = made;
	return rc;
}
