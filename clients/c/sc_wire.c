#include "sc_wire.h"

#include <string.h>

#define VERSION 1
#define ACK_HEAD 24
#define RANGE_BYTES 16
#define REFUSAL_BYTES 10
#define REJECT_BYTES 24

static const uint8_t magic[4] = {0x53, 0x4c, 0x43, 0x45};

void sc_put16(uint8_t *at, uint16_t v)
{
	at[0] = (uint8_t)v;
	at[1] = (uint8_t)(v >> 8);
}

void sc_put64(uint8_t *at, uint64_t v)
{
	for (unsigned i = 0; i < 8; i++)
		at[i] = (uint8_t)(v >> 8 * i);
}

static uint16_t get16(const uint8_t *at)
{
	return (uint16_t)(at[0] | at[1] << 8);
}

static uint64_t get64(const uint8_t *at)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < 8; i++)
		v |= (uint64_t)at[i] << 8 * i;
	return v;
}

static bool zeros(const uint8_t *at, size_t bytes)
{
	uint8_t any = 0;

	for (size_t i = 0; i < bytes; i++)
		any |= at[i];
	return any == 0;
}

void sc_data_head(uint8_t out[SC_DATA_HEAD], uint8_t flags, uint8_t key, uint64_t producer, uint64_t sequence,
	uint16_t count)
{
	memset(out, 0, SC_DATA_HEAD);
	memcpy(out, magic, sizeof magic);
	out[4] = VERSION;
	out[5] = SC_KIND_DATA;
	out[6] = flags;
	out[7] = key;
	sc_put64(out + 8, producer);
	sc_put64(out + 16, sequence);
	sc_put16(out + 24, count);
	out[26] = 1; /* JSON */
}

static bool read_ack(struct sc_answer *out, const uint8_t *data, size_t bytes)
{
	size_t want;
	uint64_t sequence, bits;
	uint16_t reason;

	if (bytes < ACK_HEAD || bytes > SC_ACK_MAX || data[4] != VERSION || (data[6] & ~SC_FLAG_MAC) ||
		!zeros(data + 20, 4))
		return false;
	out->has_mac = data[6] & SC_FLAG_MAC;
	out->key = data[7];
	out->ranges = get16(data + 16);
	out->refusals = get16(data + 18);
	want = ACK_HEAD + (size_t)out->ranges * RANGE_BYTES + (size_t)out->refusals * REFUSAL_BYTES +
	       (out->has_mac ? SC_MAC_BYTES : 0);
	if (bytes != want || out->has_mac != (out->key != 0))
		return false;
	out->range_at = data + ACK_HEAD;
	out->refusal_at = out->range_at + (size_t)out->ranges * RANGE_BYTES;
	for (unsigned i = 0; i < out->ranges; i++) {
		sc_answer_range(out, i, &sequence, &bits);
		if (sequence < 1 || sequence > SC_SEQUENCE_MAX)
			return false;
	}
	for (unsigned i = 0; i < out->refusals; i++) {
		sc_answer_refusal(out, i, &sequence, &reason);
		if (sequence < 1 || sequence > SC_SEQUENCE_MAX || reason == 0)
			return false;
	}
	return true;
}

static bool read_reject(struct sc_answer *out, const uint8_t *data, size_t bytes)
{
	if (bytes != REJECT_BYTES || !zeros(data + 6, 2) || !zeros(data + 18, 6))
		return false;
	out->reason = get16(data + 16);
	return true;
}

bool sc_answer_read(struct sc_answer *out, const uint8_t *data, size_t bytes)
{
	memset(out, 0, sizeof *out);
	if (bytes < 16 || memcmp(data, magic, sizeof magic) != 0)
		return false;
	out->version = data[4];
	out->kind = data[5];
	out->producer = get64(data + 8);
	if (out->kind == SC_KIND_ACK)
		return read_ack(out, data, bytes);
	return out->kind == SC_KIND_REJECT && read_reject(out, data, bytes);
}

void sc_answer_range(const struct sc_answer *a, unsigned i, uint64_t *first, uint64_t *bits)
{
	const uint8_t *at = a->range_at + (size_t)i * RANGE_BYTES;

	*first = get64(at);
	*bits = get64(at + 8);
}

void sc_answer_refusal(const struct sc_answer *a, unsigned i, uint64_t *sequence, uint16_t *reason)
{
	const uint8_t *at = a->refusal_at + (size_t)i * REFUSAL_BYTES;

	*sequence = get64(at);
	*reason = get16(at + 8);
}
