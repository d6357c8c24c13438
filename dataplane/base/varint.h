/* LEB128: unsigned numbers, 7 bits a byte, lowest first. Writing gives the shortest form; reading refuses any
 * other, so that equal values have equal bytes. Signed numbers by zigzag. Source: DWARF 5, 7.6; Protocol
 * Buffers encoding. */
#ifndef SLUICE_VARINT_H
#define SLUICE_VARINT_H

#include "bytes.h"
#include "cursor.h"
#include "hash.h"

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

/* What varint_put_wide() takes apart: the 7 bits of each byte, together. */
static inline uint64_t varint_join(uint64_t x)
{
	x = (x & 0x7f007f007f007f00ull) >> 1 | (x & 0x007f007f007f007full);
	x = (x & 0x3fff00003fff0000ull) >> 2 | (x & 0x00003fff00003fffull);
	return (x & 0x0fffffff00000000ull) >> 4 | (x & 0x000000000fffffffull);
}

/* The number that p begins with, if it has at most eight bytes and is in its shortest form; returns its
 * bytes, else 0. left: bytes that can be read, at least one. */
static inline uint32_t varint_get_wide(const uint8_t *p, size_t left, uint64_t *v)
{
	/* zeros behind what is left are no end: a last byte of several is not 0 */
	uint64_t word = hash_load(p, left), ends = ~word & 0x8080808080808080ull;
	uint64_t whole = ends ^ (ends - 1); /* up to the last byte */

	if (!ends || (whole != 0xff && !(word & (whole ^ whole >> 8))))
		return 0;
	*v = varint_join(word & whole);
	return (uint32_t)__builtin_ctzll(ends) / 8 + 1;
}

/* cursor_varint128() of any number. */
static __attribute__((noinline, unused)) unsigned __int128 cursor_varint_any(struct cursor *c, unsigned bits)
{
	unsigned __int128 v = 0;
	uint8_t byte;

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

/* Fails (and gives 0) on a number of more than `bits` bits, and on a longer form than needed. */
static inline unsigned __int128 cursor_varint128(struct cursor *c, unsigned bits)
{
	size_t left = cursor_left(c);
	uint64_t v;
	uint32_t n;

	if (!c->failed && left) { /* nearly all are of few bytes */
		n = varint_get_wide(c->at, left, &v);
		if (n && (bits >= 56 || !(v >> bits))) {
			c->at += n;
			return v;
		}
	}
	return cursor_varint_any(c, bits);
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
