/* JSON objects that a log line holds. Depth is a number, kinds are a bit each: no recursion. */
#include "json_scan.h"
#include "log_out_priv.h"
#include "number.h"
#include "utf8.h"

#define READ_BEYOND 16			/* text_walk() may */
#define DEPTH_MAX (EVENT_DEPTH_MAX - 1) /* `attributes` stands in the event's own object */

/* Over "name" : and spaces; NULL: not such. */
static const uint8_t *name_walk(const uint8_t *p, const uint8_t *end)
{
	enum drop_reason reason;
	bool escaped;

	if (p == end || *p != '"')
		return NULL;
	p = text_walk(p + 1, end, &escaped, &reason);
	if (!p)
		return NULL;
	p = json_skip_space(p + 1, end);
	return p < end && *p == ':' ? json_skip_space(p + 1, end) : NULL;
}

static const uint8_t *word_walk(const uint8_t *p, const uint8_t *end, const char *word)
{
	size_t bytes = strlen(word);

	return (size_t)(end - p) >= bytes && !memcmp(p, word, bytes) ? p + bytes : NULL;
}

/* Over a value that is no container. */
static const uint8_t *scalar_walk(const uint8_t *p, const uint8_t *end)
{
	enum drop_reason reason;
	struct number n;
	bool escaped;

	if (p == end)
		return NULL;
	switch (*p) {
	case '"':
		p = text_walk(p + 1, end, &escaped, &reason);
		return p ? p + 1 : NULL;
	case 't':
		return word_walk(p, end, "true");
	case 'f':
		return word_walk(p, end, "false");
	case 'n':
		return word_walk(p, end, "null");
	default:
		return number_walk(p, end, &n);
	}
}

struct object_walk {
	const uint8_t *p, *end;
	uint64_t objects; /* bit d: the container at depth d is an object */
	uint32_t depth;
};

static uint8_t closer(const struct object_walk *w)
{
	return w->objects >> w->depth & 1 ? '}' : ']';
}

/* At a value: over it, or into it, then to the next value or a closing bracket. NULL: wrong. */
static const uint8_t *value_walk(struct object_walk *w)
{
	const uint8_t *p = w->p;
	bool object = p < w->end && *p == '{';

	if (p == w->end || (!object && *p != '['))
		return scalar_walk(p, w->end);
	if (w->depth == DEPTH_MAX)
		return NULL;
	w->depth++;
	w->objects = (w->objects & ~(1ull << w->depth)) | (uint64_t)object << w->depth;
	return json_skip_space(p + 1, w->end);
}

static bool object_walk(const uint8_t *p, const uint8_t *end)
{
	struct object_walk w = {p, end, 0, 0};

	if (p == end || *p != '{')
		return false;
	while (p && p < end) {
		uint32_t depth = w.depth;

		w.p = p;
		p = value_walk(&w);
		if (!p || p == end)
			return false;
		if (w.depth > depth && *p != closer(&w)) { /* into one that is not empty */
			p = closer(&w) == '}' ? name_walk(p, end) : p;
			continue;
		}
		while (w.depth) {
			p = json_skip_space(p, end);
			if (p == end)
				return false;
			if (*p == ',')
				break;
			if (*p++ != closer(&w))
				return false;
			w.depth--;
		}
		if (!w.depth)
			return json_skip_space(p, end) == end;
		p = json_skip_space(p + 1, end);
		if (closer(&w) == '}')
			p = name_walk(p, end);
	}
	return false;
}

bool object_valid(struct bytes *out, struct text text)
{
	uint8_t *copy;

	if (out->failed || text.bytes < 2 || *text.p != '{' ||
		out->capacity - out->bytes < (size_t)text.bytes + READ_BEYOND)
		return false;
	copy = out->data + out->bytes;
	memcpy(copy, text.p, text.bytes);
	memset(copy + text.bytes, 0, READ_BEYOND);
	return utf8_valid(copy, text.bytes) && object_walk(copy, copy + text.bytes);
}

bool object_next(const uint8_t **at, const uint8_t *end, struct object_member *m)
{
	const uint8_t *p = json_skip_space(*at + 1, end), *stop;

	if (p == end || *p != '"')
		return false;
	stop = json_skip_text(p, end);
	if (!stop)
		return false;
	m->name = text_to(p + 1, stop - 1);
	p = json_skip_space(stop, end);
	if (p == end)
		return false;
	p = json_skip_space(p + 1, end);
	stop = json_skip_value(p, end);
	if (!stop)
		return false;
	m->value = text_to(p, stop);
	*at = json_skip_space(stop, end); /* comma or brace */
	return *at < end;
}

void log_put_object(struct bytes *out, struct text text, size_t start)
{
	size_t before = out->bytes;
	struct object_member m;
	const uint8_t *at = text.p;

	if (!object_valid(out, text))
		return;
	while (object_next(&at, text.p + text.bytes, &m))
		log_put_member(out, &m);
	if (!out->failed && out->bytes + 1 - start <= LOG_ATTRIBUTES_MAX && out->capacity - out->bytes >= 2)
		return;
	out->bytes = before;
	out->failed = false;
}
