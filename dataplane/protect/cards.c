/* One pass over the text. The last digits are kept in a ring with the two running Luhn sums, so that each of
 * the lengths that a card may have is one subtraction: the cost of a byte is bounded, whatever a sender
 * writes. */
#include "cards.h"

#include <string.h>

#include "json_scan.h"

#define RING 32u /* power of two, more than CARD_DIGITS_MAX */
#define GAP_MAX 3u
#define OTHER 0x110000u /* a character that is neither digit nor separator */

struct digit {
	uint32_t at; /* its bytes in the text */
	uint8_t bytes;
	uint8_t value;
	bool first;	 /* of a row of digits */
	uint32_t sum[2]; /* Luhn sums before it: with the digits of even, of odd index doubled */
};

struct run {
	struct digit ring[RING];
	uint32_t count; /* digits since the run began */
	uint32_t sum[2];
	uint32_t gap;	 /* separators since the last digit */
	bool digit_last; /* the last character was a digit */
};

struct scan {
	uint8_t *text;
	enum cards_text kind;
	bool mask;
	uint32_t found;
	struct run run;
};

static void run_reset(struct run *r)
{
	r->count = r->gap = 0;
	r->sum[0] = r->sum[1] = 0;
	r->digit_last = false;
}

/* What schemes issue, by the first four digits. */
static bool card_issued(uint32_t head, uint32_t digits)
{
	uint32_t two = head / 100;

	if (head >= 2200 && head <= 2720)
		return digits >= 16 && (head <= 2205 || (head >= 2221 && digits == 16));
	if (two == 34 || two == 37)
		return digits == 15;
	if (two == 30 || two == 36 || two == 38 || two == 39)
		return digits >= 14;
	if (two == 35)
		return digits >= 16 && head >= 3528 && head <= 3589;
	if (two >= 51 && two <= 55)
		return digits == 16;
	if (two == 81 || two == 82 || head == 9792)
		return digits == 16;
	return two / 10 == 4 || two == 50 || (two >= 56 && two <= 69);
}

static bool card_at(const struct run *r, uint32_t digits)
{
	uint32_t from = r->count - digits, head = 0;
	const struct digit *d = &r->ring[from % RING];
	/* Counted from the end the second digit is doubled, and so on. */
	uint32_t odd = (r->count & 1) ? 1 : 0;

	if (!d->first || (r->sum[odd] - d->sum[odd]) % 10)
		return false;
	for (uint32_t i = 0; i < 4; i++)
		head = head * 10 + r->ring[(from + i) % RING].value;
	return card_issued(head, digits);
}

static void card_mask(const struct scan *s, uint32_t digits)
{
	const struct run *r = &s->run;

	for (uint32_t i = r->count - digits; i < r->count - 4; i++) {
		const struct digit *d = &r->ring[i % RING];

		if (s->kind == CARDS_NUMBER)
			s->text[d->at] = i == r->count - digits ? '1' : '0';
		else if (d->bytes == 1)
			s->text[d->at] = '*';
		else
			memcpy(s->text + d->at, "\\u002a", 6);
	}
}

/* The row of digits has ended. */
static void row_end(struct scan *s)
{
	struct run *r = &s->run;

	r->digit_last = false;
	for (uint32_t n = CARD_DIGITS_MAX; n >= CARD_DIGITS_MIN; n--) {
		if (r->count < n || !card_at(r, n))
			continue;
		s->found++;
		if (s->mask)
			card_mask(s, n);
		run_reset(r);
		return;
	}
}

static void digit_add(struct scan *s, uint32_t at, uint32_t bytes, uint32_t value)
{
	struct run *r = &s->run;
	uint32_t twice = value * 2 - (value > 4 ? 9 : 0);
	struct digit *d = &r->ring[r->count % RING];

	*d = (struct digit){at, (uint8_t)bytes, (uint8_t)value, !r->digit_last, {r->sum[0], r->sum[1]}};
	r->sum[r->count & 1] += twice;
	r->sum[~r->count & 1] += value;
	r->count++;
	r->gap = 0;
	r->digit_last = true;
}

/* The character at p, its length in *bytes; what is no digit or separator may be any of OTHER. */
static uint32_t char_at(const uint8_t *p, const uint8_t *end, enum cards_text kind, uint32_t *bytes)
{
	*bytes = 1;
	if (kind == CARDS_JSON && *p == '\\' && end - p >= 2) {
		uint32_t c = 0;

		*bytes = 2;
		if (p[1] != 'u' || end - p < 6)
			return OTHER;
		*bytes = 6;
		for (int i = 2; i < 6; i++) {
			uint32_t digit = json_hex_digit(p[i]);

			if (digit > 15) {
				*bytes = 2; /* no JSON: what follows may be a card */
				return OTHER;
			}
			c = c << 4 | digit;
		}
		return c;
	}
	if (*p < 0x80)
		return *p;
	if (end - p >= 2 && p[0] == 0xc2 && p[1] == 0xa0) {
		*bytes = 2;
		return 0xa0;
	}
	if (end - p >= 3 && p[0] == 0xe2 && p[1] == 0x80) {
		*bytes = 3;
		return 0x2000u | (p[2] & 0x3f);
	}
	return OTHER;
}

/* Space, no-break space, thin and narrow spaces, dashes of all widths. */
static bool char_separates(uint32_t c)
{
	return c == ' ' || c == '-' || c == 0xa0 || (c >= 0x2002 && c <= 0x200a) ||
	       (c >= 0x2010 && c <= 0x2015) || c == 0x202f;
}

uint32_t cards_find(uint8_t *text, uint32_t bytes, enum cards_text kind, bool mask)
{
	struct scan s = {.text = text, .kind = kind, .mask = mask};
	uint32_t n;

	if (bytes < CARD_DIGITS_MIN)
		return 0;
	for (uint32_t at = 0; at < bytes; at += n) {
		uint32_t c = char_at(text + at, text + bytes, kind, &n);

		if (c - '0' < 10) {
			digit_add(&s, at, n, c - '0');
			continue;
		}
		if (s.run.digit_last)
			row_end(&s);
		if (s.run.count && (!char_separates(c) || ++s.run.gap > GAP_MAX))
			run_reset(&s.run);
	}
	if (s.run.digit_last)
		row_end(&s);
	return s.found;
}
