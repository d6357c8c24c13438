/* Truth against journal; see ver_truth.h. Both sides become lists sorted by id, which are then walked
 * together. */
#include "ver_truth.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "event.h"

#define INTERVAL_GAP 20000 /* missing lines closer than this belong to one interval */
#define SHOWN_MAX 20

/* A line of the file, or a record of the journal. */
struct item {
	uint64_t id_high, id_low; /* 0, 0: without */
	uint64_t line;
	uint8_t reason; /* enum drop_reason; DROP_NONE: accepted */
	uint8_t type;	/* enum event_type; journal: 0 for refused events */
};

struct items {
	struct item *item;
	uint64_t count, capacity;
};

static int items_add(struct items *list, struct item item, struct err *err)
{
	if (list->count == list->capacity) {
		uint64_t capacity = list->capacity ? list->capacity * 2 : 65536;
		struct item *grown = realloc(list->item, capacity * sizeof *grown);

		if (!grown)
			return err_set(err, -ENOMEM, "out of memory for %" PRIu64 " events", capacity);
		list->item = grown;
		list->capacity = capacity;
	}
	list->item[list->count++] = item;
	return 0;
}

static int id_order(const struct item *a, const struct item *b)
{
	if (a->id_high != b->id_high)
		return a->id_high < b->id_high ? -1 : 1;
	return a->id_low < b->id_low ? -1 : a->id_low > b->id_low;
}

static int by_id(const void *a, const void *b)
{
	const struct item *x = a, *y = b;
	int order = id_order(x, y);

	if (order)
		return order;
	if (x->reason != y->reason) /* anonymous ones meet by reason and type */
		return x->reason < y->reason ? -1 : 1;
	if (x->type != y->type)
		return x->type < y->type ? -1 : 1;
	return x->line < y->line ? -1 : x->line > y->line;
}

static int by_line(const void *a, const void *b)
{
	const struct item *x = a, *y = b;

	return x->line < y->line ? -1 : x->line > y->line;
}

static void items_sort(struct items *list, int (*order)(const void *, const void *))
{
	if (list->count) /* an empty one has no array */
		qsort(list->item, list->count, sizeof *list->item, order);
}

static uint8_t reason_by_name(const char *name)
{
	for (int i = 1; i < DROP_ID_MAX; i++)
		if (drop_table[i].name && !strcmp(drop_table[i].name, name))
			return (uint8_t)i;
	return 0;
}

/* One line: ID TYPE FATE RULE. */
static int parse_line(char *text, struct item *item)
{
	struct ver_row row = {0};
	char *save, *id = strtok_r(text, " ", &save), *type = strtok_r(NULL, " ", &save);
	char *fate = strtok_r(NULL, " ", &save), *rule = strtok_r(NULL, " \n", &save);

	if (!rule || strtok_r(NULL, " \n", &save))
		return -EINVAL;
	if (strcmp(id, "-") != 0 && !ver_uuid(&row, id, strlen(id)))
		return -EINVAL;
	item->id_high = row.id_high;
	item->id_low = row.id_low;
	item->type = (uint8_t)event_type_by_name(type, strlen(type));
	if (item->type == EVENT_TYPE_NONE)
		return -EINVAL;
	if (!strcmp(fate, "accepted"))
		item->reason = DROP_NONE;
	else if (!strcmp(fate, "duplicate"))
		item->reason = DROP_duplicate;
	else if (strncmp(fate, "refused:", 8) != 0 || !(item->reason = reason_by_name(fate + 8)))
		return -EINVAL;
	return 0;
}

static int read_file(const char *path, struct items *list, struct ver_truth_result *r, struct err *err)
{
	FILE *f = fopen(path, "r");
	char line[512];
	int rc = 0;

	if (!f)
		return err_set(err, -errno, "%s: %s", path, strerror(errno));
	while (!rc && fgets(line, sizeof line, f)) {
		struct item item = {.line = ++r->lines};

		if (parse_line(line, &item)) {
			rc = err_set(
				err, -EINVAL, "%s:%" PRIu64 ": expected ID TYPE FATE RULE", path, r->lines);
			break;
		}
		if (item.reason == DROP_duplicate) { /* its id is there by the first one */
			r->duplicate++;
			continue;
		}
		if (item.reason == DROP_rule_drop) {
			r->rule_drop++;
			continue;
		}
		r->accepted += item.reason == DROP_NONE;
		r->refused += item.reason != DROP_NONE;
		if (item.reason != DROP_NONE)
			item.type = 0; /* a refused event's type need not be known */
		rc = items_add(list, item, err);
	}
	if (!rc && ferror(f))
		rc = err_set(err, -EIO, "%s: %s", path, strerror(errno));
	fclose(f);
	return rc;
}

static int add_set(struct items *list, const struct ver_set *set, bool dead, struct err *err)
{
	int rc = 0;

	for (uint64_t i = 0; !rc && i < set->count; i++) {
		const struct ver_row *row = &set->row[i];
		struct item item = {.type = dead ? 0 : (uint8_t)(row->flags >> VER_F_TYPE)};

		if (dead)
			item.reason = (uint8_t)row->flags;
		if (dead || !(row->flags & VER_F_MADE)) {
			item.id_high = row->id_high;
			item.id_low = row->id_low;
		}
		rc = items_add(list, item, err);
	}
	return rc;
}

static bool anonymous(const struct item *a)
{
	return !a->id_high && !a->id_low;
}

/* Order by which a line and a record that are the same event meet. */
static int meet_order(const struct item *a, const struct item *b)
{
	int order = id_order(a, b);

	if (order || !anonymous(a))
		return order;
	if (a->reason != b->reason)
		return a->reason < b->reason ? -1 : 1;
	return a->type < b->type ? -1 : a->type > b->type;
}

static bool in_ranges(const struct ver_truth_opts *o, uint64_t line)
{
	for (uint32_t i = 0; i < o->range_count; i++)
		if (line >= o->range[i].from && line <= o->range[i].to)
			return true;
	return false;
}

static void show(const char *what, const struct item *a, uint64_t nth)
{
	if (nth < SHOWN_MAX)
		printf("  truth: %s: id %016" PRIx64 "%016" PRIx64 " reason %s\n", what, a->id_high,
			a->id_low, a->reason ? drop_table[a->reason].name : "-");
}

static int walk(struct ver_truth_result *r, const struct items *sent, const struct items *kept,
	struct items *missing, struct err *err)
{
	uint64_t i = 0, k = 0;
	int rc = 0;

	while (!rc && (i < sent->count || k < kept->count)) {
		const struct item *a = i < sent->count ? &sent->item[i] : NULL;
		const struct item *b = k < kept->count ? &kept->item[k] : NULL;
		int order = !a ? 1 : !b ? -1 : meet_order(a, b);

		if (b && k && !anonymous(b) && !id_order(b - 1, b)) {
			show("twice in the journal", b, r->twice++);
			k++;
		} else if (order < 0) {
			rc = items_add(missing, *a, err);
			i++;
		} else if (order > 0) {
			show("in the journal, but never sent", b, r->unknown++);
			k++;
		} else {
			if (a->reason != b->reason || a->type != b->type)
				show("another type or reason than was to be", b, r->wrong++);
			i++;
			k++;
		}
	}
	return rc;
}

static void show_intervals(struct ver_truth_result *r, const struct items *missing, uint64_t lines)
{
	for (uint64_t from = 0, i = 1; i <= missing->count; i++) {
		if (i < missing->count && missing->item[i].line - missing->item[i - 1].line <= INTERVAL_GAP)
			continue;
		if (r->intervals++ < SHOWN_MAX)
			printf("  truth: missing: %" PRIu64 " of lines %" PRIu64 " to %" PRIu64 " of %" PRIu64
			       "\n",
				i - from, missing->item[from].line, missing->item[i - 1].line, lines);
		from = i;
	}
}

static int list_missing(const char *path, const struct items *missing, struct err *err)
{
	FILE *f = fopen(path, "w");
	bool bad = !f;

	for (uint64_t i = 0; !bad && i < missing->count; i++)
		bad = fprintf(f, "%" PRIu64 " %016" PRIx64 "%016" PRIx64 " %s\n", missing->item[i].line,
			      missing->item[i].id_high, missing->item[i].id_low,
			      missing->item[i].reason ? drop_table[missing->item[i].reason].name
						      : "accepted") < 0;
	bad |= f && fclose(f);
	return bad ? err_set(err, -EIO, "%s: %s", path, strerror(errno)) : 0;
}

static void judge(struct ver_truth_result *r, const struct ver_truth_opts *o, const struct items *missing)
{
	r->missing = missing->count;
	for (uint64_t i = 0; i < missing->count; i++)
		r->outside += !in_ranges(o, missing->item[i].line);
	r->ok = !r->unknown && !r->twice && !r->wrong;
	if (o->lost_given) /* a lost one may have come again as its duplicate */
		r->ok = r->ok && r->missing <= o->lost && r->missing + r->duplicate >= o->lost;
	else if (o->range_count)
		r->ok = r->ok && !r->outside;
	else if (!o->missing_ok)
		r->ok = r->ok && !r->missing;
}

int ver_truth_check(struct ver_truth_result *r, const struct ver_truth_opts *o, const struct ver_journal *j,
	struct err *err)
{
	struct items sent = {0}, kept = {0}, missing = {0};
	int rc;

	memset(r, 0, sizeof *r);
	rc = read_file(o->path, &sent, r, err);
	if (!rc)
		rc = add_set(&kept, &j->set[VER_CLICK], false, err);
	if (!rc)
		rc = add_set(&kept, &j->set[VER_PLATFORM], false, err);
	if (!rc)
		rc = add_set(&kept, &j->set[VER_DEAD], true, err);
	if (!rc) {
		items_sort(&sent, by_id);
		items_sort(&kept, by_id);
		rc = walk(r, &sent, &kept, &missing, err);
	}
	if (!rc) {
		items_sort(&missing, by_line);
		show_intervals(r, &missing, r->lines);
		judge(r, o, &missing);
		if (o->missing_list)
			rc = list_missing(o->missing_list, &missing, err);
	}
	free(sent.item);
	free(kept.item);
	free(missing.item);
	return rc;
}
