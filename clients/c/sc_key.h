/* The MAC: BLAKE2b with a key, and the file with the keys. Built without libsodium there is none. */
#ifndef SC_KEY_H
#define SC_KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SC_KEY_BYTES 32

struct sc_key {
	uint8_t number; /* 0: no key, no MAC */
	uint8_t bytes[SC_KEY_BYTES];
};

/* number 0: the file's only key. 0, -EINVAL (the file's form; no such key; which of several), -ENOTSUP (built
 * without), or why the file cannot be read. */
int sc_key_load(struct sc_key *out, const char *path, unsigned number, char *error, size_t error_bytes);

/* Writes the MAC of data[0..bytes) behind it. */
void sc_key_sign(const struct sc_key *key, uint8_t *data, size_t bytes);
/* Whether the last bytes of data are the MAC of those before. */
bool sc_key_valid(const struct sc_key *key, const uint8_t *data, size_t bytes);
void sc_key_forget(struct sc_key *key);

#endif
