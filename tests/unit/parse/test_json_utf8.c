/* UTF-8: baseline and AVX2 against a decoder that knows only code points, on every sequence of up to three
 * bytes and on random ones at every place in a block. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "avx2.h"
#include "parse_util.h"

/* Decodes and encodes again: valid if the shortest form of an allowed code point comes back. */
static bool model(const uint8_t *p, uint32_t bytes)
{
	for (uint32_t i = 0; i < bytes;) {
		uint32_t n = p[i] < 0x80       ? 1
			     : p[i] >> 5 == 6  ? 2
			     : p[i] >> 4 == 14 ? 3
			     : p[i] >> 3 == 30 ? 4
					       : 0;
		uint32_t c = n == 1 ? p[i] : n ? p[i] & (0x7fu >> n) : 0;
		static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};

		if (!n || i + n > bytes)
			return false;
		for (uint32_t k = 1; k < n; k++) {
			if (p[i + k] >> 6 != 2)
				return false;
			c = c << 6 | (p[i + k] & 63);
		}
		if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
			return false;
		i += n;
	}
	return true;
}

static void check(const uint8_t *p, uint32_t bytes)
{
	bool want = model(p, bytes);

	if (utf8_valid(p, bytes) != want)
		fail_msg("baseline, %u bytes", bytes);
	if (avx2_usable() && utf8_valid_avx2(p, bytes) != want)
		fail_msg("AVX2, %u bytes", bytes);
}

static void test_short(void **state)
{
	uint8_t text[3 + EVENT_PAD_BYTES] = {0};

	(void)state;
	for (uint32_t v = 0; v < 1u << 24; v += v < 0x10000 ? 1 : 7) {
		text[0] = (uint8_t)(v >> 16);
		text[1] = (uint8_t)(v >> 8);
		text[2] = (uint8_t)v;
		check(text, 3);
	}
	for (uint32_t v = 0x800000; v < 0x1000000; v += 256) {
		text[0] = (uint8_t)(v >> 16);
		text[1] = (uint8_t)(v >> 8);
		check(text, 2);
		check(text, 1);
	}
}

static void test_places(void **state)
{
	static const char *const parts[] = {"\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf",
		"\xee\x80\x80", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf", "\xe2\x82\xac", "\xc0\xaf",
		"\xe0\x80\xaf", "\xed\xa0\x80", "\xf0\x80\x80\xaf", "\xf4\x90\x80\x80", "\x80", "\xbf\xbf",
		"\xc3", "\xe2\x82", "\xf0\x9f\x98", "\xf8", "\xff", "\xf5\x80\x80\x80"};
	uint64_t seed = 3;

	(void)state;
	for (uint32_t at = 0; at < 100; at++) {
		for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
			for (uint32_t behind = 0; behind < 5; behind++) {
				uint8_t text[200 + EVENT_PAD_BYTES];
				uint32_t bytes = (uint32_t)strlen(parts[i]);

				memset(text, 'a', sizeof text);
				memcpy(text + at, parts[i], bytes);
				/* continuations behind the end must not complete anything */
				memset(text + at + bytes + behind, 0x80, 8);
				check(text, at + bytes + behind);
			}
		}
	}
	for (int i = 0; i < 100000; i++) {
		uint8_t text[200 + EVENT_PAD_BYTES];
		uint32_t bytes = 0;

		while (bytes < 90) {
			const char *part;

			seed = seed * 6364136223846793005ull + 1442695040888963407ull;
			part = parts[(seed >> 33) % (i % 4 ? 8 : sizeof parts / sizeof *parts)];
			memcpy(text + bytes, part, strlen(part));
			bytes += (uint32_t)strlen(part);
		}
		memset(text + bytes, 0x80, EVENT_PAD_BYTES);
		check(text, bytes - (uint32_t)(seed >> 60 & 3));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_short), cmocka_unit_test(test_places)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
