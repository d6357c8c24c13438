/* The Internet checksum (RFC 1071). */
#ifndef SLUICE_DECODE_SUM_H
#define SLUICE_DECODE_SUM_H

#include <stdint.h>
#include <string.h>

/* One's complement sum of 16-bit words, in host order of the loads: the fold is order-independent. */
static inline uint64_t sum_words(const uint8_t *p, uint32_t bytes, uint64_t sum)
{
	uint32_t tail = 0;

	for (; bytes >= 8; bytes -= 8, p += 8) {
		uint64_t v;

		memcpy(&v, p, 8);
		sum += (v & 0xffffffffu) + (v >> 32);
	}
	if (bytes >= 4) {
		uint32_t v;

		memcpy(&v, p, 4);
		sum += v;
		bytes -= 4;
		p += 4;
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
