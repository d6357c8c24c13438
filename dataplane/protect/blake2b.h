/* Keyed BLAKE2b (RFC 7693) with 16 bytes of output, for pseudonyms: no allocation, no state but the key's.
 * Pure; any thread. Bytes, key and result are as hashlib.blake2b(data, key=KEY, digest_size=16) has them. */
#ifndef SLUICE_BLAKE2B_H
#define SLUICE_BLAKE2B_H

#include <stddef.h>
#include <stdint.h>

#define BLAKE2B_KEY_MAX 64
#define BLAKE2B_OUT_BYTES 16

/* A key, absorbed once. Constant afterwards: any number of threads may use it. */
struct blake2b_key {
	uint64_t h[8];	     /* after the key's block */
	uint64_t h_empty[8]; /* before it: for an empty message the key's block is the last one */
	uint8_t block[128];
};

/* bytes: 1 to BLAKE2B_KEY_MAX. */
void blake2b_key_set(struct blake2b_key *key, const uint8_t *bytes, size_t count);
void blake2b_keyed(
	const struct blake2b_key *key, const uint8_t *data, size_t bytes, uint8_t out[BLAKE2B_OUT_BYTES]);

#endif
