/* UTF-8 validation (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF. Worker thread; pure
 * functions. Source of the vector form: Keiser and Lemire, "Validating UTF-8 In Less Than One Instruction Per
 * Byte", 2021: three table look-ups on the nibbles of each pair of bytes give the set of errors that it can
 * have. */
#include <immintrin.h>
#include <string.h>

#include "json_priv.h"

static inline bool is_tail(uint8_t c)
{
	return (c & 0xc0) == 0x80;
}

/* Length of the sequence at p, 0 if there is none. */
static uint32_t sequence_bytes(const uint8_t *p, const uint8_t *end)
{
	ptrdiff_t left = end - p;
	uint8_t c = p[0];

	if (c < 0x80)
		return 1;
	if (c < 0xc2 || c > 0xf4)
		return 0;
	if (c < 0xe0)
		return left >= 2 && is_tail(p[1]) ? 2 : 0;
	if (c < 0xf0) {
		uint8_t low = c == 0xe0 ? 0xa0 : 0x80, high = c == 0xed ? 0x9f : 0xbf;

		return left >= 3 && p[1] >= low && p[1] <= high && is_tail(p[2]) ? 3 : 0;
	}
	uint8_t low = c == 0xf0 ? 0x90 : 0x80, high = c == 0xf4 ? 0x8f : 0xbf;

	return left >= 4 && p[1] >= low && p[1] <= high && is_tail(p[2]) && is_tail(p[3]) ? 4 : 0;
}

bool utf8_valid(const uint8_t *p, uint32_t bytes)
{
	const uint8_t *end = p + bytes;

	while (p < end) {
		if (end - p >= 16 && !_mm_movemask_epi8(_mm_loadu_si128((const __m128i *)p))) {
			p += 16;
			continue;
		}
		uint32_t n = sequence_bytes(p, end);
		if (!n)
			return false;
		p += n;
	}
	return true;
}

enum {
	SHORT = 1 << 0,	    /* a lead byte, then no continuation */
	LONG = 1 << 1,	    /* ASCII, then a continuation */
	OVER3 = 1 << 2,	    /* overlong form of three bytes */
	LARGE = 1 << 3,	    /* above U+10FFFF, f4 and higher */
	SURROGATE = 1 << 4, /* U+D800..DFFF */
	OVER2 = 1 << 5,	    /* overlong form of two bytes */
	OVER4 = 1 << 6,	    /* overlong of four; with LARGE the lead bytes f5 to ff */
	TWO_TAILS = 1 << 7, /* two continuations: right only behind a lead byte of three or four */
	CARRY = SHORT | LONG | TWO_TAILS,
};

#define TABLE(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p)                                                \
	_mm256_setr_epi8((char)(a), (char)(b), (char)(c), (char)(d), (char)(e), (char)(f), (char)(g),        \
		(char)(h), (char)(i), (char)(j), (char)(k), (char)(l), (char)(m), (char)(n), (char)(o),      \
		(char)(p), (char)(a), (char)(b), (char)(c), (char)(d), (char)(e), (char)(f), (char)(g),      \
		(char)(h), (char)(i), (char)(j), (char)(k), (char)(l), (char)(m), (char)(n), (char)(o),      \
		(char)(p))

/* Non-zero bytes where v, which follows `before`, has an error. */
AVX2_FN static inline __m256i block_errors(__m256i v, __m256i before)
{
	/* by the high nibble of the first byte, its low nibble, the high nibble of the second byte */
	const __m256i first_high = TABLE(LONG, LONG, LONG, LONG, LONG, LONG, LONG, LONG, TWO_TAILS, TWO_TAILS,
		TWO_TAILS, TWO_TAILS, SHORT | OVER2, SHORT, SHORT | OVER3 | SURROGATE, SHORT | LARGE | OVER4);
	const __m256i first_low = TABLE(CARRY | OVER3 | OVER2 | OVER4, CARRY | OVER2, CARRY, CARRY,
		CARRY | LARGE, CARRY | LARGE | OVER4, CARRY | LARGE | OVER4, CARRY | LARGE | OVER4,
		CARRY | LARGE | OVER4, CARRY | LARGE | OVER4, CARRY | LARGE | OVER4, CARRY | LARGE | OVER4,
		CARRY | LARGE | OVER4, CARRY | LARGE | OVER4 | SURROGATE, CARRY | LARGE | OVER4,
		CARRY | LARGE | OVER4);
	const __m256i second_high = TABLE(SHORT, SHORT, SHORT, SHORT, SHORT, SHORT, SHORT, SHORT,
		LONG | OVER2 | TWO_TAILS | OVER3 | OVER4, LONG | OVER2 | TWO_TAILS | OVER3 | LARGE,
		LONG | OVER2 | TWO_TAILS | SURROGATE | LARGE, LONG | OVER2 | TWO_TAILS | SURROGATE | LARGE,
		SHORT, SHORT, SHORT, SHORT);
	const __m256i nibble = _mm256_set1_epi8(0x0f);
	__m256i joint = _mm256_permute2x128_si256(before, v, 0x21);
	__m256i back1 = _mm256_alignr_epi8(v, joint, 15);
	__m256i back2 = _mm256_alignr_epi8(v, joint, 14);
	__m256i back3 = _mm256_alignr_epi8(v, joint, 13);
	__m256i pair = _mm256_shuffle_epi8(first_high, _mm256_and_si256(_mm256_srli_epi16(back1, 4), nibble));
	__m256i third, fourth, must_be_tail;

	pair = _mm256_and_si256(pair, _mm256_shuffle_epi8(first_low, _mm256_and_si256(back1, nibble)));
	pair = _mm256_and_si256(
		pair, _mm256_shuffle_epi8(second_high, _mm256_and_si256(_mm256_srli_epi16(v, 4), nibble)));
	/* Third and fourth bytes are where TWO_TAILS is right, and nowhere else. */
	third = _mm256_subs_epu8(back2, _mm256_set1_epi8(0xe0 - 0x80));
	fourth = _mm256_subs_epu8(back3, _mm256_set1_epi8(0xf0 - 0x80));
	must_be_tail = _mm256_and_si256(_mm256_or_si256(third, fourth), _mm256_set1_epi8((char)0x80));
	return _mm256_xor_si256(must_be_tail, pair);
}

AVX2_FN bool utf8_valid_avx2(const uint8_t *p, uint32_t bytes)
{
	__m256i errors = _mm256_setzero_si256(), before = _mm256_setzero_si256();
	uint8_t last[32] = {0};
	uint32_t at = 0;

	for (; at + 32 <= bytes; at += 32) {
		__m256i v = _mm256_loadu_si256((const __m256i *)(p + at));

		/* Two blocks of ASCII in a row: nothing can be wrong in or before the second. */
		if (!_mm256_movemask_epi8(_mm256_or_si256(v, before))) {
			before = v;
			continue;
		}
		errors = _mm256_or_si256(errors, block_errors(v, before));
		before = v;
	}
	/* At least one zero behind the last byte, so that a sequence cut off there is seen. */
	memcpy(last, p + at, bytes - at);
	errors = _mm256_or_si256(errors, block_errors(_mm256_loadu_si256((const __m256i *)last), before));
	return _mm256_testz_si256(errors, errors);
}
