/* See frame_key.h. */
#include "frame_key.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "secret.h"

static int key_line(struct frame_keys *keys, const char *line, size_t bytes, struct err *err)
{
	unsigned long number;
	size_t done = 0;
	char *end;

	if (keys->count == FRAME_KEYS_MAX)
		return err_set(err, -EINVAL, "more than %u keys", FRAME_KEYS_MAX);
	number = strtoul(line, &end, 10);
	if (end == line || *line < '0' || *line > '9' || *end != ' ' || number < 1 || number > 255)
		return err_set(err, -EINVAL,
			"expected a number from 1 to 255, a space, and %u hexadecimal digits",
			2 * FRAME_KEY_BYTES);
	for (uint32_t i = 0; i < keys->count; i++)
		if (keys->number[i] == number)
			return err_set(err, -EINVAL, "key %lu stands there twice", number);
	end++;
	if (sodium_hex2bin(keys->key[keys->count], FRAME_KEY_BYTES, end, bytes - (size_t)(end - line), NULL,
		    &done, NULL) ||
		done != FRAME_KEY_BYTES || (size_t)(end - line) + 2 * FRAME_KEY_BYTES != bytes)
		return err_set(
			err, -EINVAL, "key %lu is not %u hexadecimal digits", number, 2 * FRAME_KEY_BYTES);
	keys->number[keys->count++] = (uint8_t)number;
	return 0;
}

int frame_keys_load(struct frame_keys *keys, const char *path, const char *name, struct err *err)
{
	char text[2048];
	uint32_t at = 1;
	int rc;

	*keys = (struct frame_keys){0};
	if (!path[0])
		return 0;
	if (sodium_init() < 0)
		return err_set(err, -EINVAL, "%s: libsodium does not start", name);
	rc = secret_file_read(text, sizeof text, path, name, 1, err);
	for (char *line = text; rc == 0 && *line; at++) {
		size_t bytes = strcspn(line, "\n");

		rc = bytes ? key_line(keys, line, bytes, err) : 0;
		if (rc)
			err_prefix(err, "%s: %s, line %u", name, path, at);
		line += bytes + (line[bytes] == '\n');
	}
	sodium_memzero(text, sizeof text);
	if (rc == 0 && !keys->count)
		rc = err_set(err, -EINVAL, "%s: %s holds no key", name, path);
	return rc;
}

int frame_config_check(const struct config *cfg, struct err *err)
{
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < cfg->listeners_count; i++) {
		struct frame_keys keys;

		rc = frame_keys_load(&keys, cfg->listeners[i].key_file, "listeners.key_file", err);
		sodium_memzero(&keys, sizeof keys);
	}
	return rc;
}

static const uint8_t *key_of(const struct frame_keys *keys, uint8_t number)
{
	for (uint32_t i = 0; i < keys->count; i++)
		if (keys->number[i] == number)
			return keys->key[i];
	return NULL;
}

void frame_mac_make(
	const struct frame_keys *keys, uint8_t number, const uint8_t *data, uint32_t bytes, uint8_t *out)
{
	const uint8_t *key = key_of(keys, number);

	if (key)
		(void)crypto_generichash(out, FRAME_MAC_BYTES, data, bytes, key, FRAME_KEY_BYTES);
	else
		memset(out, 0, FRAME_MAC_BYTES);
}

bool frame_mac_good(const struct frame_keys *keys, uint8_t number, const uint8_t *data, uint32_t bytes)
{
	uint8_t mac[FRAME_MAC_BYTES];

	if (!key_of(keys, number))
		return false;
	frame_mac_make(keys, number, data, bytes, mac);
	return sodium_memcmp(mac, data + bytes, FRAME_MAC_BYTES) == 0;
}
