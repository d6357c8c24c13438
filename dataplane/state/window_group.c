/* What a window groups by: fields and attributes, from `by`. Set-up only. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "attr.h"
#include "window_priv.h"

/* A field or attribute more, which may be named once. */
static int group_add(struct window_def *def, const char *word, enum field_id field, struct err *err)
{
	if (def->group_count == WINDOW_GROUP_MAX)
		return err_set(err, -EINVAL, "more than %d fields", WINDOW_GROUP_MAX);
	for (uint32_t i = 0; i < def->group_count; i++)
		if (!strcmp(window_group_name(def, i), word))
			return err_set(err, -EINVAL, "'%.60s' is named twice", word);
	if (field == FIELD_NONE) {
		def->attr[def->group_count] = strdup(word);
		if (!def->attr[def->group_count])
			return err_set(err, -ENOMEM, "no memory");
	}
	def->group[def->group_count++] = field;
	return 0;
}

static int group_named(struct window_def *def, const char *word, struct err *err)
{
	bool attr = !strncmp(word, ATTR_PREFIX, strlen(ATTR_PREFIX));
	enum field_id field = field_by_name(word, strlen(word));
	const char *wrong = attr ? attr_path_wrong(word + strlen(ATTR_PREFIX)) : NULL;

	if (wrong)
		return err_set(err, -EINVAL, "'%.60s': %s", word, wrong);
	for (const char *p = word; attr && *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			return err_set(err, -EINVAL, "an attribute's name holds control characters");
	if (field == FIELD_NONE && !attr)
		return window_field_unknown(word, false, err);
	if (field_table[field].kind == FIELD_KIND_OBJECT)
		return err_set(err, -EINVAL,
			"'%s': an object is no key; expected a text or number field, or attributes.NAME",
			word);
	return group_add(def, word, field, err);
}

/* A name, bare up to a comma or blank or in quotes; *p moves behind it. */
static int group_word(const char **p, config_str word, struct err *err)
{
	const char quote = **p == '"' || **p == '\'' ? *(*p)++ : 0;
	const char *at = *p;
	size_t n = 0;

	for (; *at && (quote ? *at != quote : !strchr(", ", *at)); at++) {
		if (quote && *at == '\\' && !strchr("\\\"'", *++at)) /* at the end, too: see below */
			return err_set(
				err, -EINVAL, "in quotes a backslash stands before a quote or a backslash");
		if (!quote && (*at == '"' || *at == '\''))
			return err_set(err, -EINVAL,
				"'%.40s': a name with quotes, blanks or commas in it stands in quotes as a "
				"whole, as "
				"\"attributes.status code\"",
				*p);
		if (!*at)
			break;
		word[n++] = *at;
	}
	word[n] = 0;
	if (quote && !*at)
		return err_set(err, -EINVAL, "a text in %c has no end", quote);
	*p = at + (quote != 0);
	return 0;
}

void window_groups_free(struct window_def *def)
{
	for (uint32_t i = 0; i < WINDOW_GROUP_MAX; i++)
		free(def->attr[i]);
}

int window_groups_parse(struct window_def *def, const char *text, struct window_canon *canon, struct err *err)
{
	for (const char *p = text + strspn(text, " "); *p;) {
		config_str word;
		int rc = group_word(&p, word, err);

		if (!rc)
			rc = group_named(def, word, err);
		if (rc)
			return rc;
		window_canon_put(canon, ",", def->group_count > 1);
		window_canon_value(canon, word, strlen(word));
		p += strspn(p, " ");
		if (*p && *p != ',')
			return err_set(err, -EINVAL, "'%.40s': expected a comma between fields", p);
		p += *p == ',';
		p += strspn(p, " ");
	}
	return 0;
}
