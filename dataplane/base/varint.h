/* LEB128: unsigned numbers, 7 bits a byte, lowest first. Writing gives the shortest form; reading refuses any
 * other, so that equal values have equal bytes. Signed numbers by zigzag. Source: DWARF 5, 7.6; Protocol
 * Buffers encoding. */
#ifndef SLUICE_VARINT_H
#define SLUICE_VARINT_H

#include "bytes.h"
#include "cursor.h"

#define VARINT_BYTES_MAX 10    /* of 64 bits */
#define VARINT128_BYTES_MAX 19 /* of 128 bits */

/* Returns the bytes written, at most VARINT_BYTES_MAX. */
static inline size_t varint_put(uint8_t *p, uint64_t v)
{
	size_t n = 0;

	for (; v >= 0x80; v >>= 7)
		p[n++] = (uint8_t)(v | 0x80);
	p[n++] = (uint8_t)v;
	return n;
}

/* The same without a loop for most numbers; writes VARINT_BYTES_MAX bytes, of which those behind what it
 * returns say nothing. */
static inline size_t varint_put_wide(uint8_t *p, uint64_t v)
{
	uint32_t bits = 64u - (uint32_t)__builtin_clzll(v | 1),
		 n = (bits * 9 + 64) >> 6; /* = (bits + 6) / 7 */
	uint64_t x = v;

	if (v >> 56)
		return varint_put(p, v);
	x = (x & 0x00fffffff0000000ull) << 4 | (x & 0x000000000fffffffull);
	x = (x & 0x0fffc0000fffc000ull) << 2 | (x & 0x00003fff00003fffull);
	x = (x & 0x3f803f803f803f80ull) << 1 | (x & 0x007f007f007f007full);
	x |= 0x8080808080808080ull & ((1ull << (8 * (n - 1))) - 1);
	memcpy(p, &x, sizeof x);
	return n;
}

static inline void bytes_put_varint(struct bytes *b, uint64_t v)
{
	uint8_t *p = bytes_room(b, VARINT_BYTES_MAX);

	if (p)
		b->bytes -= VARINT_BYTES_MAX - varint_put(p, v);
}

/* Returns the bytes written, at most VARINT128_BYTES_MAX. */
static inline size_t varint128_put(uint8_t *p, unsigned __int128 v)
{
	size_t n = 0;

	for (; v >> 64; v >>= 7)
		p[n++] = (uint8_t)(v | 0x80);
	return n + varint_put(p + n, (uint64_t)v);
}

static inline void bytes_put_varint128(struct bytes *b, unsigned __int128 v)
{
	uint8_t *p = bytes_room(b, VARINT128_BYTES_MAX);

	if (p)
		b->bytes -= VARINT128_BYTES_MAX - varint128_put(p, v);
}

/* Fails (and gives 0) on a number of more than `bits` bits, and on a longer form than needed. */
static inline unsigned __int128 cursor_varint128(struct cursor *c, unsigned bits)
{
	unsigned __int128 v = 0;
	uint64_t low = 0;
	uint8_t byte;

	/* nearly all are of few bytes, for which words will do; the rest starts over below */
	for (unsigned i = 0; !c->failed && i < 8 && 7 * i + 7 <= bits && i < cursor_left(c); i++) {
		byte = c->at[i];
		low |= (uint64_t)(byte & 0x7f) << 7 * i;
		if (byte & 0x80)
			continue;
		if (i && !byte)
			break;
		c->at += i + 1;
		return low;
	}
	for (unsigned shift = 0;; shift += 7) {
		byte = cursor_u8(c);
		if (c->failed || shift >= bits || (shift && !byte) ||
			(bits - shift < 7 && byte >> (bits - shift)))
			break;
		v |= (unsigned __int128)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return v;
	}
	c->failed = true;
	return 0;
}

static inline uint64_t cursor_varint(struct cursor *c, unsigned bits)
{
	const uint8_t *p = c->at;

	if (!c->failed && p < c->end && *p < 0x80 && bits >= 7) { /* most are short */
		c->at++;
		return *p;
	}
	return (uint64_t)cursor_varint128(c, bits > 64 ? 64 : bits);
}

static inline uint64_t varint_zigzag(int64_t v)
{
	return (uint64_t)v << 1 ^ (uint64_t)(v >> 63);
}

static inline int64_t varint_unzigzag(uint64_t v)
{
	return (int64_t)(v >> 1 ^ -(v & 1));
}

#endif
