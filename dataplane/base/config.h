/* struct config, made from config.def. Read once at start, then constant: every thread may read it.
 * Units: MS keys in milliseconds, US keys in microseconds, BYTES keys in bytes. An ENUM key holds the index
 * of its choice: CONFIG_<SECTION>_... constants below name those that code compares with. */
#ifndef SLUICE_CONFIG_H
#define SLUICE_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

typedef char config_str[256];
typedef char config_text[2048];
typedef config_str config_c_STR;
typedef config_text config_c_TEXT;
typedef uint64_t config_c_UINT;
typedef uint64_t config_c_BYTES;
typedef uint64_t config_c_MS;
typedef uint64_t config_c_US;
typedef bool config_c_BOOL;

/* struct config_node { config_str id; ... }; and so on for each section and list. */
#define SECTION(name, help) struct config_##name {
#define LIST(name, max, help) struct config_##name {
#define KEY(section, name, type, def, min, max, reload, help) config_c_##type name;
#define ENUM(section, name, choices, def, reload, help) uint64_t name;
#define END(name)                                                                                            \
	}                                                                                                    \
	;
#include "config.def"
#undef SECTION
#undef LIST
#undef KEY
#undef ENUM
#undef END

/* Where it was read: file's name, and the lines in it that entries of lists begin at. 0, "": of no file. */
struct config_from {
	config_str file;
#define SECTION(name, help)
#define LIST(name, max, help) uint32_t name[max];
#define KEY(section, name, type, def, min, max, reload, help)
#define ENUM(section, name, choices, def, reload, help)
#define END(name)
#include "config.def"
#undef SECTION
#undef LIST
#undef KEY
#undef ENUM
#undef END
};

struct config {
	struct config_from from;
#define SECTION(name, help) struct config_##name name;
#define LIST(name, max, help)                                                                                \
	struct config_##name name[max];                                                                      \
	uint32_t name##_count;
#define KEY(section, name, type, def, min, max, reload, help)
#define ENUM(section, name, choices, def, reload, help)
#define END(name)
#include "config.def"
#undef SECTION
#undef LIST
#undef KEY
#undef ENUM
#undef END
};

enum { CONFIG_POWER_POLL, CONFIG_POWER_ADAPTIVE };
enum { CONFIG_NUMA_STRICT, CONFIG_NUMA_RELAXED };
enum { CONFIG_SPREAD_OFF, CONFIG_SPREAD_AUTO, CONFIG_SPREAD_ON };
enum { CONFIG_FULL_DROP_NEW, CONFIG_FULL_DROP_OLD_UNSENT };
enum { CONFIG_LAG_HOLD, CONFIG_LAG_SKIP };
enum { CONFIG_DURABILITY_COMMIT, CONFIG_DURABILITY_INTERVAL, CONFIG_DURABILITY_ASYNC };
enum {
	CONFIG_FORMAT_JSON,
	CONFIG_FORMAT_NDJSON,
	CONFIG_FORMAT_SLUICE,
	CONFIG_FORMAT_STATSD,
	CONFIG_FORMAT_INFLUX,
	CONFIG_FORMAT_SYSLOG,
	CONFIG_FORMAT_GELF,
	CONFIG_FORMAT_GRAPHITE,
	CONFIG_FORMAT_COUNT
};

enum { CONFIG_PRIORITY_LOW, CONFIG_PRIORITY_NORMAL, CONFIG_PRIORITY_HIGH };

/* Fills *cfg with the table's defaults: lists are empty. Cannot fail: a test parses each default. */
void config_defaults(struct config *cfg);

/* Reads YAML text. `name` stands in error texts as the file's name. Errors say name:line:column, the key, the
 * value and what is expected; *cfg is then undefined. Returns 0 or -EINVAL. */
int config_parse(struct config *cfg, const char *text, size_t bytes, const char *name, struct err *err);

/* config_parse() of a file. Returns 0, -EINVAL, or what open(2) and read(2) gave. */
int config_load(struct config *cfg, const char *path, struct err *err);

/* Sets one key by text, as "kafka.brokers=localhost:9092" on the command line. Sections only, not lists. */
int config_set(struct config *cfg, const char *assignment, struct err *err);

/* Letters, digits and . _ - only, not empty: names of nodes, topics, ports. */
bool config_name_ok(const char *name);

/* What the records of a topic are. Late events and refused ones have the header `reason`, which tells them
 * apart in a topic that they share. */
enum config_topic_kind {
	CONFIG_TOPIC_EVENTS,
	CONFIG_TOPIC_ENRICHED,
	CONFIG_TOPIC_ALERTS,
	CONFIG_TOPIC_REASONS,
	CONFIG_TOPIC_POSITIONS,
	CONFIG_TOPIC_WINDOW
};
/* The key topic_* that gives this topic to records of another kind, which would be mixed there; NULL: none
 * does. */
const char *config_topic_other(
	const struct config_kafka *cfg, const char *topic, enum config_topic_kind kind);

/* What no single key can show: e.g. a sink enabled without an address, two listeners on one port. */
int config_check(const struct config *cfg, struct err *err);

#endif
