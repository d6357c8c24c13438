/* Parts of JSON text (RFC 8259) that more than the parser needs. Nothing here allocates or keeps state. */
#ifndef SLUICE_JSON_SCAN_H
#define SLUICE_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "drops.h"

static inline bool json_is_space(uint8_t c)
{
	return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static inline const uint8_t *json_skip_space(const uint8_t *p, const uint8_t *end)
{
	while (p < end && json_is_space(*p))
		p++;
	return p;
}

/* Value of a hex digit, or a number >= 16. */
static inline uint32_t json_hex_digit(uint8_t c)
{
	uint32_t digit = (uint32_t)c - '0';
	uint32_t letter = ((uint32_t)c | 0x20) - 'a';

	return digit < 10 ? digit : letter < 6 ? letter + 10 : 16;
}

/* p: behind the opening quote. Returns the closing quote; or NULL and the reason. May read 15 bytes beyond
 * end. */
const uint8_t *text_walk(const uint8_t *p, const uint8_t *end, bool *escaped, enum drop_reason *reason);
/* Decodes what text_walk has accepted; out needs no more than the input's size. Returns the bytes written. */
uint32_t text_decode(uint8_t *out, const uint8_t *text, uint32_t bytes);

/* Over text that a parser has accepted. Whatever stands there, they read nothing beyond end; what they make
 * of text that is no JSON is not defined. p: at the opening quote, at the first byte of a value. Return the
 * place behind it, or NULL if it does not end. */
const uint8_t *json_skip_text(const uint8_t *p, const uint8_t *end);
const uint8_t *json_skip_value(const uint8_t *p, const uint8_t *end);

#endif
