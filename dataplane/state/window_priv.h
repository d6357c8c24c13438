/* What the files of window definitions share: the language of `where`, the text of a definition, its checks.
 * Set-up only, but for window_filter_match(). */
#ifndef SLUICE_WINDOW_PRIV_H
#define SLUICE_WINDOW_PRIV_H

#include "window.h"

#define WINDOW_TYPES_ALL 0xffffffffu

/* ---- window_canon.c: texts in the one form that stands in definitions ---- */

/* A text that must fit a configuration value: the longest kind here, others where they are taken. */
struct window_canon {
	config_text text;
	size_t bytes;
	bool cut;
};
void window_canon_put(struct window_canon *c, const char *text, size_t bytes);
/* As it is if it can stand bare, else in the quotes that need fewer escapes. */
void window_canon_value(struct window_canon *c, const char *text, size_t bytes);
/* True for bytes that a bare word of `where` may hold. */
bool window_canon_bare(char ch);
/* A list of calls (`count, top(page,10)`): blanks that separate nothing go; what stands in parentheses or
 * quotes stays as written. */
void window_canon_calls(struct window_canon *c, const char *text);

/* ---- window_filter.c ---- */

/* Event types by name, separated by commas; empty: all. */
int window_types_parse(uint32_t *types, const char *text, struct window_canon *canon, struct err *err);
/* Tests joined by `and`, over these types (1 << enum event_type). *out is the caller's; NULL if everything
 * passes. The same text in canonical form is added to canon. */
int window_filter_parse(struct window_filter **out, uint32_t types, const char *text,
	struct window_canon *canon, struct err *err);
void window_filter_free(struct window_filter *f);
uint32_t window_filter_types(const struct window_filter *f);
/* The field of test i; FIELD_NONE behind the last. f: or NULL. */
enum field_id window_filter_field(const struct window_filter *f, uint32_t i);
/* "'contry': unknown field; did you mean country?" */
int window_field_unknown(const char *name, bool or_type, struct err *err);

/* ---- window_group.c ---- */

/* Fields and attributes, separated by commas, into *def, which is empty there; also on error it is freed by
 * window_groups_free(). */
int window_groups_parse(
	struct window_def *def, const char *text, struct window_canon *canon, struct err *err);
void window_groups_free(struct window_def *def);

/* ---- window_def.c ---- */

/* Checks and compiles one entry. Errors start with "window NAME: KEY: ". */
int window_def_make(struct window_def **out, const struct config_windows *cw, struct err *err);
/* What depends on state.step. */
int window_def_check_step(const struct window_def *def, int64_t step_ms, struct err *err);

/* ---- window.c ---- */

/* Takes def over, also on error: a name or uid that is there already, a step that does not fit. */
int window_plan_add(struct window_plan *plan, struct window_def *def, struct err *err);

/* ---- window_text.c: `key=value key="value"`, in the order of config.def ---- */

/* Fills *cw, from the table's defaults on. Any bytes. */
int window_text_read(struct config_windows *cw, const char *text, struct err *err);
/* The keys that windows of this kind have; malloc'ed, NULL without memory. */
char *window_text_print(const struct config_windows *cw);
/* Whether a kind (enum window_kind) has the key. */
bool window_text_has(const char *key, uint64_t kind);
uint64_t window_text_uid(const char *text);
/* The value of a key as text, for errors: cut to `cap` with its end. */
void window_text_value(const struct config_windows *cw, const char *key, char *out, size_t cap);

#endif
