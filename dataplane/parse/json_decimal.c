/* Exact decimal numbers. Worker thread; pure. */
#include "json_priv.h"

bool number_decimal(const struct number *n, int64_t *millionths)
{
	uint64_t v = n->mantissa;
	int32_t exp10 = n->exp10 + 6;

	*millionths = 0;
	if (!v)
		return true;
	/* more than 19 significant digits, or more digits before the point than fit */
	if (n->cut_off || exp10 > NUMBER_DIGITS_MAX)
		return false;
	for (; exp10 < 0 && v % 10 == 0; exp10++)
		v /= 10;
	if (exp10 < 0)
		return false;
	for (; exp10; exp10--)
		if (__builtin_mul_overflow(v, 10u, &v))
			return false;
	if (v > FIELD_DECIMAL_MAX)
		return false;
	*millionths = n->negative ? -(int64_t)v : (int64_t)v;
	return true;
}
