/* Walks the members of the top level of a JSON object that the parser has accepted, as they stand; everything
 * is bounds-checked all the same, since a journal may hold anything. Pure; any thread. */
#ifndef SLUICE_JSON_MEMBERS_H
#define SLUICE_JSON_MEMBERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json_members {
	const uint8_t *at, *end; /* at: the brace or comma before the next member; NULL: no more */
};

/* Borrowed from the object. */
struct json_member {
	const uint8_t *text; /* from the key's opening quote to the value's last byte */
	size_t bytes;
	const uint8_t *key; /* between the quotes, escapes as they stand */
	size_t key_bytes;
};

/* False: no object, and nothing to walk. */
bool json_members_start(struct json_members *w, const void *object, size_t bytes);
/* False: no more. A member of an object that does not end is not given: it may be cut. */
bool json_members_next(struct json_members *w, struct json_member *out);

#endif
