/* The Internet checksum (RFC 1071). */
#ifndef SLUICE_DECODE_SUM_H
#define SLUICE_DECODE_SUM_H

#include <emmintrin.h>
#include <stdint.h>
#include <string.h>

/* One's complement sum of 16-bit words, in host order of the loads: the fold is order-independent. 32-bit
 * words into 64-bit sums: 64 KiB cannot overflow them. */
static inline uint64_t sum_words(const uint8_t *p, uint32_t bytes, uint64_t sum)
{
	__m128i low = _mm_setzero_si128(), high = low;
	const __m128i half = _mm_set1_epi64x(0xffffffff);
	uint64_t lanes[2];
	uint32_t tail = 0;

	for (; bytes >= 16; bytes -= 16, p += 16) {
		__m128i v = _mm_loadu_si128((const __m128i *)p);

		low = _mm_add_epi64(low, _mm_and_si128(v, half));
		high = _mm_add_epi64(high, _mm_srli_epi64(v, 32));
	}
	_mm_storeu_si128((__m128i *)lanes, _mm_add_epi64(low, high));
	sum += lanes[0] + lanes[1];
	for (; bytes >= 4; bytes -= 4, p += 4) {
		uint32_t v;

		memcpy(&v, p, 4);
		sum += v;
	}
	memcpy(&tail, p, bytes);
	return sum + tail;
}

/* 0xffff for words that hold their own checksum and are whole. */
static inline uint16_t sum_fold(uint64_t sum)
{
	sum = (sum & 0xffffffffu) + (sum >> 32);
	sum = (sum & 0xffffffffu) + (sum >> 32);
	sum = (sum & 0xffffu) + (sum >> 16);
	sum = (sum & 0xffffu) + (sum >> 16);
	return (uint16_t)sum;
}

#endif
