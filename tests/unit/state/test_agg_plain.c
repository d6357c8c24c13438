/* Plain cells: whatever the shortcuts give is what the way by a cell gives, byte for byte; any bytes are
 * taken for a packed cell or not as by agg_packed_valid(). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agg_narrow.h"
#include "agg_plain.h"
#include "agg_slide.h"

#define ROUNDS 20000

static uint64_t seed = 11;

static uint64_t random_word(void)
{
	uint64_t z = seed += 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

/* Of any length in bits up to `bits`. */
static unsigned __int128 random_number(unsigned bits)
{
	unsigned __int128 v = (unsigned __int128)random_word() << 64 | random_word();
	unsigned take = (unsigned)(random_word() % (bits + 1));

	return take ? v >> (128 - take) : 0;
}

static struct agg_set *set_of(const char *text)
{
	struct agg_set *set;
	struct err err;

	assert_int_equal(agg_set_parse(&set, text, &err), 0);
	return set;
}

static size_t packed_make(const struct agg_set *set, uint8_t packed[AGG_PLAIN_BYTES])
{
	__int128 value[AGG_PLAIN_MAX] = {0};
	bool present = false;

	for (uint32_t i = 0; i < set->part_count; i++) {
		if (set->part[i].kind != AGG_PART_SUM)
			value[i] = (__int128)random_number(AGG_COUNT_BITS);
		else if (present)
			value[i] = (__int128)random_number(AGG_SUM_BITS - 2) * (random_word() & 1 ? 1 : -1);
		if (set->part[i].kind == AGG_PART_PRESENT)
			present = value[i] != 0;
	}
	return (size_t)(agg_plain_pack(set, value, packed) - packed);
}

/* Whole less part is what is added to part to make the whole, if no counter is less than nothing or at its
 * bound. True if so. */
static bool cells_apart(const struct agg_set *set, const uint8_t *whole, const uint8_t *part,
	struct agg_arena *arena, struct bytes *out)
{
	_Alignas(16) uint8_t rest[256];
	size_t bytes = agg_set_cell_bytes(set);
	struct bytes again = {0};

	memcpy(rest, whole, bytes);
	if (!agg_plain_subtract(set, rest, part))
		return false;
	agg_plain_merge(set, rest, part);
	bytes_reset(out);
	agg_cell_pack(set, whole, arena, out);
	agg_cell_pack(set, rest, arena, &again);
	assert_int_equal(out->bytes, again.bytes);
	assert_memory_equal(out->data, again.data, again.bytes);
	bytes_free(&again);
	memcpy(rest, part, bytes);
	for (uint32_t i = 0; i < set->part_count; i++) /* more than is there */
		if (set->part[i].kind == AGG_PART_COUNT && agg_u64(rest + set->part[i].offset)) {
			agg_u64_set(rest + set->part[i].offset, agg_u64(rest + set->part[i].offset) - 1);
			assert_false(agg_plain_subtract(set, rest, part));
			break;
		}
	return true;
}

/* Narrow cells come and go as the ordinary ones of the same content do. */
static void slide_narrow(const struct agg_set *set, const uint8_t *sum)
{
	_Alignas(16) uint8_t a[256], b[256], wide[2][256] = {{0}};
	uint8_t cell[2][128] = {{0}}, got[2][AGG_PLAIN_BYTES];
	const struct agg_slide s = agg_slide_of(set);
	const struct agg_set *narrow = agg_narrow(set);
	size_t n;

	assert_true(narrow && agg_set_cell_bytes(narrow) <= 120);
	memcpy(a, sum, sizeof a);
	memcpy(b, sum, sizeof b);
	for (int i = 0; i < 2; i++) {
		for (size_t k = 0; k < agg_set_cell_bytes(narrow); k++)
			cell[i][3 + k] = (uint8_t)random_word(); /* any bytes are a narrow cell */
		agg_narrow_widen(set, cell[i] + 3, wide[i]);
	}
	for (int which = 0; which < 4; which++) {
		const uint8_t *in = which & 1 ? cell[0] + 3 : NULL, *out = which & 2 ? cell[1] + 3 : NULL;

		n = (size_t)(agg_plain_slide(set, a, in ? wide[0] : NULL, out ? wide[1] : NULL, got[0]) -
			     got[0]);
		in = in ? in : s.empty;
		out = out ? out : s.empty;
		assert_int_equal(agg_slide_narrow(&s, b, in, out, got[1]) - got[1], n);
		assert_memory_equal(got[0], got[1], n);
		assert_memory_equal(a, b, agg_set_cell_bytes(set));
	}
}

static void test_same(void **state)
{
	static const char *const text[] = {"count", "count, sum(amount)", "avg(amount), count(type=click)",
		"error_rate, sum(amount), count(page=/a)"};
	struct agg_arena *arena = agg_arena_new(1 << 20);
	uint32_t slid = 0;

	(void)state;
	for (uint32_t s = 0; s < 4; s++) {
		struct agg_set *set = set_of(text[s]);
		struct bytes out = {0};

		assert_true(agg_plain(set) && agg_set_cell_bytes(set) <= 256);
		for (int round = 0; round < ROUNDS; round++) {
			uint8_t packed[2][AGG_PLAIN_BYTES + 16] = {{0}}, got[AGG_PLAIN_BYTES];
			_Alignas(16) uint8_t a[256] = {0}, b[256] = {0}, c[256], d[256];
			__int128 value[AGG_PLAIN_MAX] = {0};
			size_t n[2];

			for (int i = 0; i < 2; i++) {
				n[i] = packed_make(set, packed[i]);
				agg_cell_init(set, i ? b : a);
				assert_int_equal(agg_cell_unpack(set, i ? b : a, arena, packed[i], n[i]), 0);
				bytes_reset(&out);
				agg_cell_pack(set, i ? b : a, arena, &out);
				assert_int_equal(out.bytes, n[i]);
				assert_memory_equal(out.data, packed[i], n[i]);
				assert_int_equal(
					agg_plain_slide(set, i ? b : a, NULL, NULL, got) - got, n[i]);
				assert_memory_equal(got, packed[i], n[i]);
				assert_true(agg_plain_add(set, value, packed[i], n[i]));
			}
			memcpy(c, a, sizeof c);
			assert_true(agg_cell_merge(set, c, arena, b, arena));
			bytes_reset(&out);
			agg_cell_pack(set, c, arena, &out);
			assert_int_equal(agg_plain_pack(set, value, got) - got, out.bytes);
			assert_memory_equal(got, out.data, out.bytes);
			memcpy(d, a, sizeof d); /* b comes, a goes: b is left */
			assert_int_equal(agg_plain_slide(set, d, b, a, got) - got, out.bytes);
			assert_memory_equal(got, out.data, out.bytes);
			assert_memory_equal(d, b, agg_set_cell_bytes(set));
			agg_plain_merge(set, a, b);
			assert_memory_equal(a, c, agg_set_cell_bytes(set));
			slid += cells_apart(set, a, b, arena, &out);
			slide_narrow(set, a);
		}
		bytes_free(&out);
		agg_set_free(set);
	}
	assert_true(slid > ROUNDS);
	agg_arena_free(arena);
}

static void test_valid(void **state)
{
	struct agg_set *set = set_of("count, sum(amount), count(type=click)");
	uint32_t good = 0, bad = 0;

	(void)state;
	for (int round = 0; round < 10 * ROUNDS; round++) {
		uint8_t packed[AGG_PLAIN_BYTES + 16] = {0};
		size_t n = packed_make(set, packed);
		bool valid;

		for (uint64_t k = random_word() % 3; k; k--)
			packed[random_word() % n] ^= (uint8_t)(1u << random_word() % 8);
		n = random_word() % 8 ? n : random_word() % (n + 8);
		valid = agg_packed_valid(set, packed, n);
		assert_int_equal(agg_plain_valid(set, packed, n), valid);
		good += valid;
		bad += !valid;
	}
	assert_true(good > 1000 && bad > 1000);
	agg_set_free(set);
}

static void test_which(void **state)
{
	static const char *const other[] = {"count, sum(metric)", "max(amount)", "distinct(user_id)",
		"variance(amount)", "count, last(page)"};

	(void)state;
	for (uint32_t i = 0; i < sizeof other / sizeof *other; i++) {
		struct agg_set *set = set_of(other[i]);

		assert_false(agg_plain(set));
		agg_set_free(set);
	}
}

/* What adds up, and can be taken apart again. */
static void test_total(void **state)
{
	const __int128 half = (__int128)1 << (AGG_SUM_BITS - 3);
	const struct {
		uint64_t count[2];
		__int128 sum[2];
		bool good;
	} list[] = {{{1, 2}, {-5, 3}, true}, {{AGG_COUNT_MAX - 1, 0}, {0, 0}, true},
		{{AGG_COUNT_MAX, 0}, {0, 0}, false}, {{AGG_COUNT_MAX / 2, AGG_COUNT_MAX / 2}, {0, 0}, true},
		{{AGG_COUNT_MAX / 2, AGG_COUNT_MAX / 2 + 1}, {0, 0}, false}, {{1, 1}, {half, half - 1}, true},
		{{1, 1}, {half, half}, false}, {{1, 1}, {half, -half}, false},
		{{1, 1}, {1 - 2 * half, 0}, true}, {{1, 1}, {-2 * half, 0}, false},
		{{1, 1}, {(__int128)((unsigned __int128)1 << 127), 0}, false}};
	struct agg_set *set = set_of("count, sum(amount)");

	(void)state;
	for (uint32_t n = 0; n < sizeof list / sizeof *list; n++) {
		_Alignas(16) uint8_t total[256] = {0}, cell[256] = {0};
		bool good = true;

		for (int c = 0; c < 2 && good; c++) {
			for (uint32_t i = 0; i < set->part_count; i++)
				if (set->part[i].kind == AGG_PART_SUM)
					agg_u128_set(cell + set->part[i].offset,
						(unsigned __int128)list[n].sum[c]);
				else
					agg_u64_set(cell + set->part[i].offset, list[n].count[c]);
			good = agg_plain_total(set, total, cell);
		}
		assert_int_equal(good, list[n].good);
	}
	agg_set_free(set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_same), cmocka_unit_test(test_valid),
		cmocka_unit_test(test_total), cmocka_unit_test(test_which)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
