/* Two configurations compared by the table. */
#include "config_diff.h"

#include <string.h>

static bool value_same(const struct config_key *key, const char *a, const char *b)
{
	if (config_key_is_text(key))
		return strncmp(a, b, config_key_bytes(key)) == 0;
	return memcmp(a, b, config_key_bytes(key)) == 0;
}

static void change_tell(const struct config *from, const struct config *to,
	const struct config_section *section, const struct config_key *key, uint32_t entry,
	void (*each)(void *arg, const struct config_change *change), void *arg)
{
	const struct config_key *named = section->is_list ? config_key_find(section, "name", 4) : NULL;
	size_t base = section->offset + entry * section->stride;
	char name[sizeof(config_str) + 80], label[64];
	config_text a, b;
	struct config_change change = {.key = key, .name = name, .from = a, .to = b};

	config_value_print(key, (const char *)from + base, a, sizeof a);
	config_value_print(key, (const char *)to + base, b, sizeof b);
	if (named)
		snprintf(label, sizeof label, "%.63s", (const char *)from + base + named->offset);
	else
		snprintf(label, sizeof label, "%u", entry + 1);
	if (section->is_list)
		snprintf(name, sizeof name, "%s[%s].%s", section->name, label, key->name);
	else
		snprintf(name, sizeof name, "%s.%s", section->name, key->name);
	/* Where another entry stands at this place, its keys are not those of the one that runs. */
	change.live = strcmp(key->reload, "live") == 0 &&
		      (!named || value_same(named, (const char *)from + base + named->offset,
					 (const char *)to + base + named->offset));
	change.offset = base + key->offset;
	each(arg, &change);
}

static void count_tell(const struct config_section *section, uint32_t from, uint32_t to,
	void (*each)(void *arg, const struct config_change *change), void *arg)
{
	char a[32], b[32];
	struct config_change change = {.name = section->name, .from = a, .to = b};

	snprintf(a, sizeof a, "%u entries", from);
	snprintf(b, sizeof b, "%u entries", to);
	each(arg, &change);
}

uint32_t config_diff(const struct config *from, const struct config *to,
	void (*each)(void *arg, const struct config_change *change), void *arg)
{
	uint32_t found = 0;

	for (uint32_t s = 0; s < config_section_count; s++) {
		const struct config_section *section = &config_section_table[s];
		uint32_t count = 1, other = 1;

		if (section->is_list) {
			memcpy(&count, (const char *)from + section->count_offset, sizeof count);
			memcpy(&other, (const char *)to + section->count_offset, sizeof other);
		}
		if (count != other) {
			count_tell(section, count, other, each, arg);
			found++;
			continue;
		}
		for (uint32_t i = 0; i < count; i++)
			for (uint32_t k = 0; k < config_key_count; k++) {
				const struct config_key *key = &config_key_table[k];
				size_t at = section->offset + i * section->stride + key->offset;

				if (strcmp(key->section, section->name) != 0 ||
					value_same(key, (const char *)from + at, (const char *)to + at))
					continue;
				change_tell(from, to, section, key, i, each, arg);
				found++;
			}
	}
	return found;
}

void config_change_copy(struct config *to, const struct config *from, const struct config_change *change)
{
	char *at = (char *)to + change->offset;
	const char *value = (const char *)from + change->offset;

	if (config_key_is_text(change->key) || change->key->kind == CONFIG_KIND_BOOL)
		memcpy(at, value, config_key_bytes(change->key));
	else
		__atomic_store_n(
			(uint64_t *)(void *)at, *(const uint64_t *)(const void *)value, __ATOMIC_RELAXED);
}
