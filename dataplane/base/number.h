/* Numbers in text as RFC 8259 section 6 writes them: read once, then as a double or by their digits. Any
 * thread; no allocation but in number_memory_init(). */
#ifndef SLUICE_NUMBER_H
#define SLUICE_NUMBER_H

#include <locale.h>
#include <stdbool.h>
#include <stdint.h>

#define NUMBER_DIGITS_MAX 19 /* of a mantissa that fits 64 bits whatever the digits */

/* A number's text, read once. value = mantissa * 10^exp10 unless cut. */
struct number {
	uint64_t mantissa;
	int32_t exp10;
	bool negative;
	bool integer; /* neither fraction nor exponent */
	bool cut;     /* more than 19 significant digits: mantissa has the first 19 */
	bool cut_off; /* of those that it has not, one is not 0 */
};

/* Returns the end of the number at p, or NULL if there is none. */
const uint8_t *number_walk(const uint8_t *p, const uint8_t *end, struct number *n);

/* What number_double() needs for the few numbers that only strtod(3) gets right. Belongs to one thread. */
struct number_memory {
	locale_t c_locale;
	char *text; /* a number's bytes and a NUL */
	uint32_t text_bytes;
};

/* For numbers of up to text_bytes. False without memory; number_memory_free() is then to be called all the
 * same. *nm must have been zero before. */
bool number_memory_init(struct number_memory *nm, uint32_t text_bytes);
void number_memory_free(struct number_memory *nm);

/* Nearest double, 0 never with a sign: one value, one key. False if it is beyond the largest. text: what
 * number_walk read. */
bool number_double(const struct number_memory *nm, const struct number *n, const uint8_t *text,
	uint32_t bytes, double *out);

#endif
