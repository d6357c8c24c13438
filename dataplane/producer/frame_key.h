/* Keys of a listener for the MACs of docs/protocol.md: BLAKE2b (RFC 7693), keyed, 32 bytes of key, 16 of
 * output; by libsodium, which needs no memory for it. Loaded by the control thread, constant from then on;
 * workers check, the acker makes. */
#ifndef SLUICE_FRAME_KEY_H
#define SLUICE_FRAME_KEY_H

#include <stdbool.h>
#include <stdint.h>

#include "config.h"
#include "err.h"

#define FRAME_MAC_BYTES 16u
#define FRAME_KEY_BYTES 32u
#define FRAME_KEYS_MAX 8u

struct frame_keys {
	uint32_t count; /* 0: the listener asks for no MAC */
	uint8_t number[FRAME_KEYS_MAX];
	uint8_t key[FRAME_KEYS_MAX][FRAME_KEY_BYTES];
};

/* Reads a file of lines NUMBER HEX, 1 to 8 of them, kept as a secret (base/secret.h); path "": no keys. name:
 * of the configuration key, for errors. -EINVAL with the line. */
int frame_keys_load(struct frame_keys *keys, const char *path, const char *name, struct err *err);

/* Before the start: reads the key files of all listeners. 0 or -EINVAL. */
int frame_config_check(const struct config *cfg, struct err *err);

/* The MAC stands behind data. False: it is wrong, or there is no such key. Takes as long for any wrong MAC.
 */
bool frame_mac_good(const struct frame_keys *keys, uint8_t number, const uint8_t *data, uint32_t bytes);
/* out: FRAME_MAC_BYTES. The key is there. */
void frame_mac_make(
	const struct frame_keys *keys, uint8_t number, const uint8_t *data, uint32_t bytes, uint8_t *out);

#endif
