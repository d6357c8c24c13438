/* Datagrams of docs/protocol.md: writing of DATA, reading of what comes back. Pure functions. */
#ifndef SC_WIRE_H
#define SC_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SC_DATA_HEAD 32
#define SC_EVENT_HEAD 2
#define SC_EVENT_MAX 65535
#define SC_DATAGRAM_MAX 65507 /* largest UDP payload over IPv4 */
#define SC_SEQUENCE_MAX INT64_MAX
#define SC_ACK_MAX 1200
#define SC_MAC_BYTES 16
#define SC_WINDOW 1024
#define SC_RANGE_BITS 64

enum sc_kind { SC_KIND_DATA = 1, SC_KIND_ACK = 2, SC_KIND_REJECT = 3 };
enum sc_flag { SC_FLAG_ACK = 1, SC_FLAG_MAC = 2 };

/* An answer, checked as a whole; it borrows the datagram. */
struct sc_answer {
	uint8_t kind;	 /* SC_KIND_ACK or SC_KIND_REJECT */
	uint8_t version; /* of a REJECT: the highest that the peer understands */
	uint8_t key;
	bool has_mac;
	uint64_t producer;
	uint16_t ranges, refusals; /* of an ACK */
	uint16_t reason;	   /* of a REJECT */
	const uint8_t *range_at, *refusal_at;
};

void sc_put16(uint8_t *at, uint16_t v);
void sc_put64(uint8_t *at, uint64_t v);

/* The header of a DATA datagram; flags: of enum sc_flag. */
void sc_data_head(uint8_t out[SC_DATA_HEAD], uint8_t flags, uint8_t key, uint64_t producer, uint64_t sequence,
	uint16_t count);

/* False: nothing that the protocol knows as an answer; `out` is then not to be used. The MAC is not checked
 * here. */
bool sc_answer_read(struct sc_answer *out, const uint8_t *data, size_t bytes);

/* Range i < ranges: first is 1 to SC_SEQUENCE_MAX. */
void sc_answer_range(const struct sc_answer *a, unsigned i, uint64_t *first, uint64_t *bits);
/* Refusal i < refusals. */
void sc_answer_refusal(const struct sc_answer *a, unsigned i, uint64_t *sequence, uint16_t *reason);

#endif
