/* JSON numbers: grammar of RFC 8259 section 6, and the nearest double. Worker threads. */
#include "number.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DIGITS_MAX NUMBER_DIGITS_MAX
#define EXPONENT_MAX 1000000 /* beyond it the double is 0 or infinite, whatever the digits of an event */

static inline bool is_digit(uint8_t c)
{
	return (uint8_t)(c - '0') < 10;
}

/* Reads digits into the mantissa; each one that is kept or dropped moves the decimal point by `point`. */
static inline const uint8_t *digits_walk(
	const uint8_t *p, const uint8_t *end, struct number *n, uint32_t *digits, bool fraction)
{
	for (; p < end && is_digit(*p); p++) {
		if (*digits < DIGITS_MAX) {
			n->mantissa = n->mantissa * 10 + (uint64_t)(*p - '0');
			*digits += n->mantissa != 0;
			n->exp10 -= fraction;
		} else {
			n->cut = true;
			n->cut_off |= *p != '0';
			n->exp10 += !fraction;
		}
	}
	return p;
}

static const uint8_t *exponent_walk(const uint8_t *p, const uint8_t *end, struct number *n)
{
	int32_t exponent = 0;
	bool negative = false;

	n->integer = false;
	if (p < end && (*p == '+' || *p == '-'))
		negative = *p++ == '-';
	if (p >= end || !is_digit(*p))
		return NULL;
	for (; p < end && is_digit(*p); p++)
		if (exponent < EXPONENT_MAX)
			exponent = exponent * 10 + (*p - '0');
	n->exp10 += negative ? -exponent : exponent;
	return p;
}

const uint8_t *number_walk(const uint8_t *p, const uint8_t *end, struct number *n)
{
	uint32_t digits = 0;

	*n = (struct number){.integer = true};
	if (p < end && *p == '-') {
		n->negative = true;
		p++;
	}
	if (p >= end || !is_digit(*p))
		return NULL;
	if (*p == '0')
		p++;
	else
		p = digits_walk(p, end, n, &digits, false);
	if (p < end && *p == '.') {
		n->integer = false;
		p++;
		if (p >= end || !is_digit(*p))
			return NULL;
		p = digits_walk(p, end, n, &digits, true);
	}
	if (p < end && (*p | 0x20) == 'e')
		return exponent_walk(p + 1, end, n);
	/* A digit here can only follow a leading zero. */
	return p < end && is_digit(*p) ? NULL : p;
}

/* 10^i is exact: as a double to 22, as an x87 long double (64-bit mantissa; 5^27 < 2^63) to 27. */
static const double power_double[] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12,
	1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
static const long double power_long[] = {1e0L, 1e1L, 1e2L, 1e3L, 1e4L, 1e5L, 1e6L, 1e7L, 1e8L, 1e9L, 1e10L,
	1e11L, 1e12L, 1e13L, 1e14L, 1e15L, 1e16L, 1e17L, 1e18L, 1e19L, 1e20L, 1e21L, 1e22L, 1e23L, 1e24L,
	1e25L, 1e26L, 1e27L};

/* One rounding to 64 bits, then one to 53: the second is right unless the first ended exactly between two
 * doubles, which it may have reached by rounding. Then false. */
static bool double_by_long(uint64_t mantissa, int32_t exp10, double *out)
{
	long double v = (long double)mantissa;
	uint64_t bits;

	v = exp10 < 0 ? v / power_long[-exp10] : v * power_long[exp10];
	memcpy(&bits, &v, sizeof bits);
	if ((bits & 0x7ff) == 0x400)
		return false;
	*out = (double)v;
	return true;
}

bool number_double(const struct number_memory *nm, const struct number *n, const uint8_t *text,
	uint32_t bytes, double *out)
{
	double v;

	if (!n->mantissa) {
		*out = 0;
		return true;
	}
	if (!n->cut && n->mantissa <= 1ull << 53 && n->exp10 >= -22 && n->exp10 <= 22) {
		v = (double)n->mantissa; /* exact, so the one operation rounds once */
		v = n->exp10 < 0 ? v / power_double[-n->exp10] : v * power_double[n->exp10];
	} else if (!n->cut && n->exp10 >= -27 && n->exp10 <= 27 &&
		   double_by_long(n->mantissa, n->exp10, &v)) {
		;
	} else {
		/* Rare. The C locale's point is '.', whatever the process has set; its sign is in the text.
		 */
		if (bytes > nm->text_bytes)
			return false;
		memcpy(nm->text, text, bytes);
		nm->text[bytes] = 0;
		*out = strtod_l(nm->text, NULL, nm->c_locale) + 0.0;
		return !isinf(*out);
	}
	*out = n->negative ? -v : v;
	return true;
}
