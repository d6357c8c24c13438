/* Any text as a definition and as the tests of a filter: an error with a reason, or a definition whose text
 * is taken again and gives itself; and a filter that reads any record. */
#include <stdlib.h>
#include <string.h>

#include "window_priv.h"

/* The sources themselves, so that they are built for coverage. */
#include "window_canon.c"
#include "window_def.c"
#include "window_filter.c"
#include "window_group.c"
#include "window_text.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The text is its own event: pieces of it are the fields. */
static void match(const struct window_filter *f, const uint8_t *data, size_t size)
{
	static _Alignas(8) uint8_t out[8192];
	struct event ev = {.raw = data, .raw_bytes = (uint32_t)size, .type = (uint8_t)(1 + size % 9)};

	for (uint32_t i = 1; i < FIELD_ID_MAX && field_table[i].name; i++) {
		bool number = field_kind_is_number(field_table[i].kind);
		uint16_t bytes = number ? 8 : (uint16_t)(size * i % 7 % (size + 1));

		if (size < bytes || (number && size < 8))
			continue;
		ev.field_mask |= 1ull << i;
		ev.field[i] = (struct span){(uint16_t)(i * 5 % (size - bytes + 1)), bytes};
	}
	record_write_event(out, &ev, 0, 0, 0);
	if (!record_valid(out, sizeof out))
		abort();
	window_filter_match(f, (const struct record *)out);
}

/* The text as an event whose attributes the definition groups by: what is found lies in it. */
static void attributes(const struct window_def *def, const char *text)
{
	static uint8_t out[ATTR_ESCAPED_MAX + ATTR_DECODE_PAD];
	size_t size = strlen(text);
	uint8_t *raw = malloc(size ? size : 1); /* nothing behind it */
	struct attr_value value[WINDOW_GROUP_MAX];
	const char *path[WINDOW_GROUP_MAX];
	struct attr_tree tree = {0};
	uint32_t count = 0;
	uint64_t found;

	for (uint32_t i = 0; i < def->group_count; i++)
		if (def->attr[i])
			path[count++] = def->attr[i] + strlen(ATTR_PREFIX);
	tree.edge = calloc(attr_tree_edges(count), sizeof *tree.edge);
	attr_tree_make(&tree, path, count);
	memcpy(raw, text, size);
	found = attr_walk(&tree, raw, (uint32_t)size, EVENT_TYPE_click, value);
	free(tree.edge);
	if (found >> count)
		abort();
	for (uint32_t i = 0; i < count; i++) {
		if (!(found >> i & 1))
			continue;
		if (value[i].start + value[i].bytes > size)
			abort();
		if (value[i].escaped && attr_decode(out, raw + value[i].start, value[i].bytes) > sizeof out)
			abort();
	}
	free(raw);
}

static void definition(const char *text)
{
	struct window_def *def, *again;
	struct config_windows cw;
	struct err err = {""};
	char *printed;

	if (window_def_parse(&def, text, &err)) {
		if (def || !err.text[0])
			abort();
		return;
	}
	if (window_text_read(&cw, text, &err) || window_def_make(&again, &cw, &err))
		abort();
	printed = strdup(again->text);
	attributes(again, text);
	window_def_free(again);
	if (window_text_read(&cw, printed, &err) || window_def_make(&again, &cw, &err) ||
		strcmp(printed, again->text))
		abort();
	free(printed);
	window_def_free(again);
	window_def_free(def);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct window_canon canon = {0}, twice = {0};
	struct window_filter *f;
	struct window_def *def;
	struct err err = {""};
	char text[8192];

	if (size >= sizeof text)
		return 0;
	memcpy(text, data, size);
	text[size] = 0;
	definition(text);
	if (!window_def_parse(&def, "name=w by=attributes.a,attributes.a.b,attributes.b", &err))
		attributes(def, text);
	window_def_free(def);
	if (window_filter_parse(&f, WINDOW_TYPES_ALL, text, &canon, &err)) {
		if (f || !err.text[0])
			abort();
		return 0;
	}
	match(f, data, size);
	window_filter_free(f);
	if (canon.cut)
		return 0;
	if (window_filter_parse(&f, WINDOW_TYPES_ALL, canon.text, &twice, &err) ||
		strcmp(canon.text, twice.text))
		abort();
	window_filter_free(f);
	return 0;
}
