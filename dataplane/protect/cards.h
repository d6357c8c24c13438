/* Payment card numbers in text: 13 to 19 digits of which the last is the check digit of the Luhn algorithm
 * (ISO/IEC 7812-1), with up to three spaces or dashes between any two of them, and which begin as cards of a
 * scheme do. A card begins where a row of digits begins and ends where one ends: digits in the middle of a
 * longer row are no card, but a card between other numbers with spaces between is found. Pure; no allocation;
 * any thread, workers too.
 *
 * Masking changes no length: digits but the last four become '*', an escaped digit becomes an escaped '*'. */
#ifndef SLUICE_CARDS_H
#define SLUICE_CARDS_H

#include <stdbool.h>
#include <stdint.h>

#define CARD_DIGITS_MIN 13u
#define CARD_DIGITS_MAX 19u

enum cards_text {
	CARDS_PLAIN,  /* text as it is */
	CARDS_JSON,   /* inside of a JSON text: \uXXXX and the other escapes stand for characters */
	CARDS_NUMBER, /* digits of a JSON number: masked to 1 and zeros, so that it stays a number */
};

/* Finds cards in the text, and masks them in place if told to. Returns how many. Any bytes. */
uint32_t cards_find(uint8_t *text, uint32_t bytes, enum cards_text kind, bool mask);

#endif
