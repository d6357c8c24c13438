/* The one text of a value, wherever it becomes a key, a label or a column: the same value, the same bytes.
 * Pure; any thread. Each writes a terminating zero and returns the length without it. */
#ifndef SLUICE_VALUE_TEXT_H
#define SLUICE_VALUE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Integers below 2^53 in full, else the fewest of 15 to 17 significant digits that read back as the same
 * double; "0" for -0. What is not finite: "nan", "inf", "-inf". */
#define NUMBER_TEXT_BYTES 32
size_t number_text(char out[NUMBER_TEXT_BYTES], double v);

/* Millionths as a plain decimal without zeros at its end: "-12.5", "3", "0.000001". */
#define DECIMAL_TEXT_BYTES 48
size_t decimal_text(char out[DECIMAL_TEXT_BYTES], __int128 millionths);

/* And back, exactly: digits, perhaps '-' before them, perhaps a point and at most six digits more. False: not
 * such a text, or beyond +-max. */
bool decimal_of_text(const char *text, int64_t max, int64_t *millionths);

size_t integer_text(char out[DECIMAL_TEXT_BYTES], int64_t v);

/* Lower case, RFC 9562: 36 characters. */
#define UUID_TEXT_BYTES 37
size_t uuid_text(char out[UUID_TEXT_BYTES], const uint8_t id[16]);
/* And back: exactly such a text. */
bool uuid_of_text(const char *text, uint8_t id[16]);

#endif
