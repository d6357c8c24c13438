/* The configuration table as data: what the parser, --print-config, the checks and docs/config.md are made
 * from. Constant; any thread. */
#ifndef SLUICE_CONFIG_TABLE_H
#define SLUICE_CONFIG_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "config.h"

enum config_kind {
	CONFIG_KIND_STR,
	CONFIG_KIND_TEXT, /* a longer one */
	CONFIG_KIND_UINT,
	CONFIG_KIND_BYTES,
	CONFIG_KIND_MS,
	CONFIG_KIND_US,
	CONFIG_KIND_BOOL,
	CONFIG_KIND_ENUM,
};

struct config_key {
	const char *section;
	const char *name;
	enum config_kind kind;
	const char *def;     /* default as text; NULL: must be set */
	const char *choices; /* ENUM: separated by '|' */
	uint64_t min, max;   /* STR, TEXT: of the length */
	const char *reload;
	const char *help;
	size_t offset; /* in the section's struct */
};

struct config_section {
	const char *name;
	const char *help;
	bool is_list;
	uint32_t max;	     /* entries of a list */
	size_t offset;	     /* in struct config: the struct, or a list's first */
	size_t stride;	     /* bytes of the section's struct */
	size_t line_offset;  /* list: the uint32_t line of its first entry in struct config */
	size_t count_offset; /* list: its uint32_t count in struct config */
};

extern const struct config_key config_key_table[];
extern const uint32_t config_key_count;
extern const struct config_section config_section_table[];
extern const uint32_t config_section_count;

const char *config_kind_name(enum config_kind kind);
bool config_key_is_text(const struct config_key *key);
/* What its value takes in the section's struct. */
size_t config_key_bytes(const struct config_key *key);

/* NULL if there is none. `bytes` long names need no NUL. */
const struct config_section *config_section_find(const char *name, size_t bytes);
const struct config_key *config_key_find(
	const struct config_section *section, const char *name, size_t bytes);

/* The known name that is nearest to a misspelt one, or NULL if none is near. section NULL: section names. */
const char *config_nearest(const struct config_section *section, const char *name);

/* Parses text into the key's place in the section's struct `base`. On error err holds "KEY: VALUE: what is
 * expected" without a place, and -EINVAL is returned. */
int config_value_parse(const struct config_key *key, void *base, const char *text, struct err *err);

/* The value as text that config_value_parse() takes, not quoted. A config_text has room for any. */
void config_value_print(const struct config_key *key, const void *base, char *out, size_t cap);

/* A duration as configuration and rules have it ("500ms", "5m", "1d"), in milliseconds; a size ("64KiB",
 * "4096") in bytes. False: no such text, or too large. */
bool config_duration(const char *text, uint64_t *ms);
bool config_bytes(const char *text, uint64_t *bytes);

/* What is expected of the key, for errors and docs: "duration from 1ms to 60s". */
void config_key_expected(const struct config_key *key, char *out, size_t cap);

/* The whole configuration as YAML that config_parse() takes; help: with a comment line for each key. */
void config_print(const struct config *cfg, FILE *out, bool help);

#endif
