/* DDSketch's packed form, and quantiles out of it: see ddsketch.h. Packed bytes may be any. Pure. */
#include "ddsketch.h"
#include "varint.h"

static void sign_pack(const struct agg_register *item, uint32_t n, int sign, struct bytes *out)
{
	int32_t last = 0;

	bytes_put_varint(out, n);
	for (uint32_t i = 0; i < n; i++) { /* by ascending magnitude */
		const struct agg_register *r = sign > 0 ? &item[i] : &item[n - 1 - i];

		bytes_put_varint(out, (uint64_t)(r->index * sign - last));
		bytes_put_varint(out, r->value);
		last = r->index * sign;
	}
}

void dds_pack(const struct dds *d, const struct agg_arena *a, struct bytes *out)
{
	struct dds_list list;
	const struct agg_register *item = list.item;
	uint64_t ignored = 0, zero = 0;
	uint32_t i = 0, negative;

	dds_list_make(d, a, &list);
	if (i < list.count && item[i].index == DDS_KEY_IGNORED)
		ignored = item[i++].value;
	for (negative = i; i < list.count && item[i].index < 0;)
		i++;
	negative = i - negative;
	if (i < list.count && item[i].index == DDS_KEY_ZERO)
		zero = item[i].value;
	bytes_put_varint(out, agg_count_add(ignored, 0));
	bytes_put_varint(out, agg_count_add(zero, 0));
	i += zero != 0;
	sign_pack(item + i, list.count - i, 1, out);
	i -= zero != 0;
	sign_pack(item + i - negative, negative, -1, out);
}

/* Reads one sign's buckets; list NULL: only checks. */
static uint32_t sign_read(struct cursor *c, struct agg_register *out)
{
	uint64_t n = cursor_varint(c, 12), key = 0, first = 0;

	if (n > AGG_DDS_BUCKETS_MAX)
		c->failed = true;
	for (uint64_t i = 0; i < n && !c->failed; i++) {
		uint64_t more = cursor_varint(c, 17), count;

		count = cursor_varint(c, AGG_COUNT_BITS);
		key += more;
		first = i ? first : key;
		if (!more || !count || key < DDS_KEY_MIN || key > DDS_KEY_MAX ||
			key - first >= AGG_DDS_BUCKETS_MAX)
			c->failed = true;
		if (out)
			out[i] = (struct agg_register){(int32_t)key, count};
	}
	return (uint32_t)n;
}

void dds_read(struct cursor *c, struct dds_view *view)
{
	view->data = c->at;
	cursor_varint(c, AGG_COUNT_BITS);
	cursor_varint(c, AGG_COUNT_BITS);
	sign_read(c, NULL);
	sign_read(c, NULL);
	view->bytes = (uint32_t)(c->at - view->data);
}

void dds_view_list(const struct dds_view *view, struct dds_list *list)
{
	struct cursor c = cursor_of(view->data, view->bytes);
	struct agg_register positive[AGG_DDS_BUCKETS_MAX], *item = list->item;
	uint64_t ignored = cursor_varint(&c, AGG_COUNT_BITS), zero = cursor_varint(&c, AGG_COUNT_BITS);
	uint32_t n = sign_read(&c, positive), count = 0, negative;

	if (ignored)
		item[count++] = (struct agg_register){DDS_KEY_IGNORED, ignored};
	negative = sign_read(&c, item + count);
	for (uint32_t i = 0; i < negative; i++)
		item[count + i].index = -item[count + i].index;
	for (uint32_t i = 0; i < negative / 2; i++) {
		struct agg_register swap = item[count + i];

		item[count + i] = item[count + negative - 1 - i];
		item[count + negative - 1 - i] = swap;
	}
	count += negative;
	if (zero)
		item[count++] = (struct agg_register){DDS_KEY_ZERO, zero};
	for (uint32_t i = 0; i < n; i++)
		item[count++] = positive[i];
	list->count = count;
}

bool dds_join(struct dds *d, struct agg_arena *a, const struct dds_view *view)
{
	struct dds_list list;

	dds_view_list(view, &list);
	return dds_list_join(d, a, &list);
}

bool dds_list_quantile(const struct dds_list *list, uint32_t percent, double *value)
{
	uint64_t n = 0, rank, seen = 0;
	uint32_t i = list->count && list->item[0].index == DDS_KEY_IGNORED, first = i;

	for (; i < list->count; i++)
		n += list->item[i].value;
	if (!n)
		return false;
	rank = (uint64_t)((unsigned __int128)(n - 1) * percent / 100);
	for (i = first; i < list->count; i++) {
		seen += list->item[i].value;
		if (seen > rank)
			break;
	}
	*value = dds_key_value(list->item[i].index);
	return true;
}
