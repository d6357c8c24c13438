/* The walk of json_members.h: one pass over the object's bytes. */
#include "json_members.h"

#include "json_scan.h"

bool json_members_start(struct json_members *w, const void *object, size_t bytes)
{
	w->end = (const uint8_t *)object + bytes;
	w->at = json_skip_space(object, w->end);
	if (w->at == w->end || *w->at != '{')
		w->at = NULL;
	return w->at != NULL;
}

bool json_members_next(struct json_members *w, struct json_member *out)
{
	const uint8_t *p = w->at, *end = w->end;

	w->at = NULL;
	if (!p)
		return false;
	out->text = json_skip_space(p + 1, end);
	out->key = out->text + 1;
	p = json_skip_text(out->text, end);
	if (!p)
		return false;
	out->key_bytes = (size_t)(p - out->key) - 1;
	p = json_skip_space(p, end);
	if (p == end || *p != ':')
		return false;
	p = json_skip_value(json_skip_space(p + 1, end), end);
	if (!p)
		return false;
	out->bytes = (size_t)(p - out->text);
	p = json_skip_space(p, end);
	if (p == end)
		return false;
	w->at = *p == ',' ? p : NULL;
	return true;
}
