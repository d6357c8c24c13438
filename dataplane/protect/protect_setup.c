/* Tables of protection from the configuration, and its check. Control thread, before the worker starts. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <sodium.h>
#include <stdlib.h>

#include "json_scan.h"
#include "protect_priv.h"
#include "secret.h"

#define KEY_BYTES_MIN 16u
#define OUT_BYTES (4u * 65536) /* an event, and what its replaced values are longer */

#define ATTRIBUTES "attributes."

bool protect_configured(const struct config *cfg)
{
	return cfg->protect_count || cfg->privacy.cards != CARDS_OFF;
}

/* Every key is in the table at most once: fields that keys are of, and attributes that rows name. */
static struct slot *slot_add(struct protector *pt, const char *name, size_t bytes, enum scope scope)
{
	struct slot *s = slot_find(pt, (const uint8_t *)name, (uint32_t)bytes, scope);

	if (s->bytes)
		return s;
	memcpy(s->name, name, bytes);
	s->bytes = (uint32_t)bytes;
	s->scope = (uint8_t)scope;
	memset(s->row, ROW_NONE, sizeof s->row);
	s->row_any = ROW_NONE;
	return s;
}

/* Fields that partition keys of these types are taken from. */
static uint64_t key_fields(uint32_t types)
{
	uint64_t fields = 0;

	for (int t = 1; t < EVENT_TYPE_MAX; t++)
		for (const uint8_t *f = type_table[t].part_key; types >> t & 1 && *f; f++)
			fields |= 1ull << *f;
	return fields;
}

static uint64_t required_fields(uint32_t types)
{
	uint64_t fields = 0;

	for (int t = 1; t < EVENT_TYPE_MAX; t++)
		if (types >> t & 1)
			fields |= type_table[t].required;
	return fields;
}

static uint32_t types_all(void)
{
	uint32_t types = 0;

	for (int t = 1; t < EVENT_TYPE_MAX; t++)
		if (type_table[t].name)
			types |= 1u << t;
	return types;
}

/* No text: all of them. */
static int types_read(uint32_t *types, const char *text, struct err *err)
{
	*types = 0;
	for (const char *p = text; *p;) {
		size_t n;
		enum event_type type;

		while (*p == ' ')
			p++;
		n = strcspn(p, ",");
		while (n && p[n - 1] == ' ')
			n--;
		type = event_type_by_name(p, n);
		if (type == EVENT_TYPE_NONE)
			return err_set(err, -EINVAL,
				"protect.types: '%.*s' is no event type (docs/events-fields.md)", (int)n, p);
		*types |= 1u << type;
		p += strcspn(p, ",");
		p += *p == ',';
	}
	if (!*types)
		*types = types_all();
	return 0;
}

static int field_fits(enum field_id field, uint64_t action, uint32_t types, struct err *err)
{
	const struct field_info *info = &field_table[field];
	uint64_t bit = 1ull << field;

	assert(field < FIELD_ID_MAX);
	if (info->kind == FIELD_KIND_UUID || info->kind == FIELD_KIND_TIME)
		return err_set(err, -EINVAL, "protect.field: %s cannot be protected: it is the event's %s",
			info->name, info->kind == FIELD_KIND_TIME ? "time" : "identity");
	if (event_enriched_mask & bit)
		return err_set(err, -EINVAL,
			"protect.field: %s is filled by enrichment: leave its table out instead", info->name);
	if (field == FIELD_attributes)
		return err_set(err, -EINVAL,
			"protect.field: attributes hold fields of their own: name them one by one, as "
			"attributes.NAME");
	if (info->kind != FIELD_KIND_TEXT && action != ACTION_DROP)
		return err_set(err, -EINVAL, "protect.action: %s is no text: expected drop", info->name);
	if (action == ACTION_HASH && info->len_max < 2 * PSEUDONYM_BYTES)
		return err_set(err, -EINVAL,
			"protect.action: a hash is longer than %s may be: expected mask or drop", info->name);
	if (action == ACTION_MASK && key_fields(types) & bit)
		return err_set(err, -EINVAL,
			"protect.action: %s is a key of partitions and windows, which a mask would make one: "
			"expected hash%s",
			info->name, required_fields(types) & bit ? "" : " or drop");
	if (action == ACTION_DROP && required_fields(types) & bit)
		return err_set(err, -EINVAL, "protect.action: %s is required: expected %s", info->name,
			info->kind != FIELD_KIND_TEXT ? "another field"
			: key_fields(types) & bit     ? "hash"
						      : "hash or mask");
	return 0;
}

static int key_read(struct row *row, const struct config_protect *cfg, struct err *err)
{
	char text[2 * KEY_BYTES_MAX + 2];
	size_t n = 0;
	int rc;

	if (row->action != ACTION_HASH)
		return cfg->key_file[0]
			       ? err_set(err, -EINVAL, "protect.key_file: %s: only the action hash has a key",
					 cfg->field)
			       : 0;
	if (!cfg->key_file[0])
		return err_set(err, -EINVAL,
			"protect.key_file: missing for %s: a hash without a key can be guessed", cfg->field);
	rc = secret_file_read(text, sizeof text, cfg->key_file, "protect.key_file", 0, err);
	if (rc == 0 &&
		(sodium_init() < 0 ||
			sodium_hex2bin(row->key, sizeof row->key, text, strlen(text), NULL, &n, NULL) ||
			2 * n != strlen(text) || n < KEY_BYTES_MIN))
		rc = err_set(err, -EINVAL,
			"protect.key_file: %s: expected %u to %u hex digits, an even number of them; make "
			"one "
			"with: openssl rand -hex 32",
			cfg->key_file, 2 * KEY_BYTES_MIN, 2 * KEY_BYTES_MAX);
	row->key_bytes = (uint32_t)n;
	explicit_bzero(text, sizeof text);
	return rc;
}

static int slot_row(struct protector *pt, struct slot *s, uint32_t row, uint32_t types, const char *field,
	struct err *err)
{
	for (int t = 0; t < EVENT_TYPE_MAX; t++) {
		if (!(types >> t & 1))
			continue;
		if (s->row[t] != ROW_NONE)
			return err_set(err, -EINVAL, "protect: two rows for %s of type %s", field,
				type_table[t].name);
		s->row[t] = (uint8_t)row;
	}
	if (s->row_any == ROW_NONE || pt->row[s->row_any].action < pt->row[row].action)
		s->row_any = (uint8_t)row;
	return 0;
}

/* attributes.NAME, properties.NAME. */
static int inner_row(struct protector *pt, const char *field, uint32_t row, uint32_t types, struct err *err)
{
	enum scope scope = field[0] == 'a' ? SCOPE_ATTRIBUTES : SCOPE_PROPERTIES;
	const char *name = strchr(field, '.') + 1;
	struct slot *s;

	if (!*name)
		return err_set(err, -EINVAL, "protect.field: '%s': expected a name behind the dot", field);
	if (strchr(name, '.'))
		return err_set(err, -EINVAL,
			"protect.field: '%s': keys of objects within attributes or properties are not looked "
			"at: name "
			"the key that holds them",
			field);
	s = slot_add(pt, name, strlen(name), scope);
	if (s->field)
		return err_set(err, -EINVAL, "protect.field: '%s' is the field %s: name that", field,
			field_table[s->field].name);
	return slot_row(pt, s, row, types, field, err);
}

/* Rules and windows read attributes.NAME from `properties` and from the event's own unknown keys, too: what
 * they see under that name must not be stored there either. Not where another row has the name, or a field of
 * the type. */
static int elsewhere_add(
	struct protector *pt, const struct config_protect *cfg, uint32_t row, struct err *err)
{
	const char *name = cfg->field + strlen(ATTRIBUTES);
	uint32_t types;
	int rc = types_read(&types, cfg->types, err);

	for (uint32_t i = 0; i < 2 && !rc; i++) {
		struct slot *s = slot_add(pt, name, strlen(name), i ? SCOPE_PROPERTIES : SCOPE_TOP);
		uint32_t free = 0;

		if (!i && !strcmp(name, "type")) /* what the event is */
			continue;
		for (int t = 0; t < EVENT_TYPE_MAX; t++)
			free |= (uint32_t)(s->row[t] == ROW_NONE &&
					   !(s->field && type_table[t].uses >> s->field & 1))
				<< t;
		rc = slot_row(pt, s, row, types & free, cfg->field, err);
	}
	return rc;
}

static int row_add(struct protector *pt, const struct config_protect *cfg, struct err *err)
{
	uint32_t types, index = pt->row_count;
	struct row *row = &pt->row[index];
	enum field_id field = field_by_name(cfg->field, strlen(cfg->field));
	int rc;

	row->action = (uint8_t)cfg->action;
	rc = types_read(&types, cfg->types, err);
	if (rc == 0)
		rc = key_read(row, cfg, err);
	if (rc)
		return rc;
	pt->row_count++;
	if (!strncmp(cfg->field, ATTRIBUTES, strlen(ATTRIBUTES)) || !strncmp(cfg->field, "properties.", 11))
		return inner_row(pt, cfg->field, index, types, err);
	if (field == FIELD_NONE)
		return err_set(err, -EINVAL,
			"protect.field: '%.80s': expected a field (docs/events-fields.md), attributes.NAME "
			"or "
			"properties.NAME",
			cfg->field);
	rc = field_fits(field, cfg->action, types, err);
	/* Whether the type uses the field or not: then it is an attribute with the field's name. */
	for (uint32_t i = 0; i < SLOTS && !rc; i++)
		if (pt->slot[i].bytes && pt->slot[i].field == field)
			rc = slot_row(pt, &pt->slot[i], index, types, cfg->field, err);
	return rc;
}

static int rows_add(struct protector *pt, const struct config *cfg, struct err *err)
{
	for (uint32_t k = 0; k < key_count; k++) {
		const struct key_info *info = &key_table[k];

		slot_add(pt, info->key, info->key_bytes,
			info->scope == KEY_SCOPE_TOP ? SCOPE_TOP : SCOPE_ATTRIBUTES)
			->field = (uint8_t)info->field;
	}
	for (uint32_t i = 0; i < cfg->protect_count; i++) {
		int rc = row_add(pt, &cfg->protect[i], err);

		if (rc)
			return rc;
	}
	for (uint32_t i = 0; i < cfg->protect_count; i++) {
		int rc = strncmp(cfg->protect[i].field, ATTRIBUTES, strlen(ATTRIBUTES))
				 ? 0
				 : elsewhere_add(pt, &cfg->protect[i], i, err);

		if (rc)
			return rc;
	}
	return 0;
}

int protector_new(struct protector **out, const struct config *cfg, struct err *err)
{
	struct protector *pt = calloc(1, sizeof *pt);
	int rc = 0;

	*out = NULL;
	if (pt) {
		pt->row = calloc(cfg->protect_count + 1, sizeof *pt->row);
		/* Decoding and parsing read beyond the end. */
		pt->out = (struct bytes){calloc(1, OUT_BYTES + EVENT_PAD_BYTES), 0, OUT_BYTES, false, true};
		pt->decoded = calloc(1, EVENT_BYTES_MAX + EVENT_PAD_BYTES);
	}
	if (!pt || !pt->row || !pt->out.data || !pt->decoded)
		rc = err_set(err, -ENOMEM, "protect: no memory");
	if (rc == 0) {
		pt->cards = (uint8_t)cfg->privacy.cards;
		for (int f = 1; f < FIELD_ID_MAX; f++)
			if (field_table[f].name && field_table[f].kind == FIELD_KIND_TEXT)
				pt->text_fields |= 1ull << f;
		pt->text_fields &= ~key_fields(UINT32_MAX) & ~event_enriched_mask;
		rc = rows_add(pt, cfg, err);
	}
	if (rc) {
		protector_free(pt);
		return rc;
	}
	*out = pt;
	return 0;
}

void protector_free(struct protector *pt)
{
	if (!pt)
		return;
	if (pt->row)
		explicit_bzero(pt->row, pt->row_count * sizeof *pt->row);
	free(pt->row);
	free(pt->out.data);
	free(pt->decoded);
	free(pt);
}

int protect_config_check(const struct config *cfg, struct err *err)
{
	struct protector *pt;
	int rc;

	if (!protect_configured(cfg))
		return 0;
	rc = protector_new(&pt, cfg, err);
	protector_free(pt);
	return rc;
}
