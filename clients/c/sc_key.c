#include "sc_key.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef SLUICE_CLIENT_MAC
#include <sodium.h>
#endif

#include "sc_wire.h"

#define LINE_MAX_BYTES 70 /* three digits, space, 64 digits, line feed, zero */

#ifdef SLUICE_CLIENT_MAC

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool parse_line(const char *line, struct sc_key *out)
{
	unsigned number = 0;
	size_t i = 0;

	for (; i < 3 && line[i] >= '0' && line[i] <= '9'; i++)
		number = number * 10 + (unsigned)(line[i] - '0');
	if (i == 0 || number < 1 || number > 255 || line[i++] != ' ')
		return false;
	for (unsigned k = 0; k < SC_KEY_BYTES; k++, i += 2) {
		int high = digit(line[i]), low = high < 0 ? -1 : digit(line[i + 1]);

		if (low < 0)
			return false;
		out->bytes[k] = (uint8_t)(high << 4 | low);
	}
	out->number = (uint8_t)number;
	return line[i] == '\0' || (line[i] == '\n' && line[i + 1] == '\0');
}

/* A line that is too long comes in pieces, none of which has the form of a line. */
static int read_lines(
	FILE *in, struct sc_key *out, unsigned number, const char *path, char *error, size_t error_bytes)
{
	char line[LINE_MAX_BYTES + 2];
	unsigned keys = 0, line_number = 0;
	bool seen[256] = {false};
	struct sc_key key = {0};
	int rc = 0;

	while (rc == 0 && fgets(line, sizeof line, in)) {
		line_number++;
		if (line[0] == '\n')
			continue;
		if (!parse_line(line, &key) || seen[key.number]) {
			snprintf(error, error_bytes,
				"%s:%u: not a number (1 to 255, each once), a space and 64 "
				"hexadecimal digits",
				path, line_number);
			rc = -EINVAL;
			break;
		}
		seen[key.number] = true;
		keys++;
		if (number == 0 || key.number == number)
			*out = key;
	}
	sodium_memzero(line, sizeof line);
	sodium_memzero(&key, sizeof key);
	if (rc)
		return rc;
	if (ferror(in)) {
		snprintf(error, error_bytes, "%s: cannot be read", path);
		return -EIO;
	}
	if (keys == 0 || (number && !seen[number])) {
		snprintf(error, error_bytes, "%s: there is no key %u in it", path, number);
		return -EINVAL;
	}
	if (number == 0 && keys > 1) {
		snprintf(error, error_bytes, "%s: %u keys; the number of one must be given", path, keys);
		return -EINVAL;
	}
	return 0;
}

int sc_key_load(struct sc_key *out, const char *path, unsigned number, char *error, size_t error_bytes)
{
	FILE *in;
	int rc;

	if (sodium_init() < 0 || number > 255) {
		snprintf(error, error_bytes, number > 255 ? "key %u: 1 to 255" : "libsodium does not start",
			number);
		return -EINVAL;
	}
	in = fopen(path, "re");
	if (!in) {
		rc = -errno;
		snprintf(error, error_bytes, "%s: %s", path, strerror(-rc));
		return rc;
	}
	rc = read_lines(in, out, number, path, error, error_bytes);
	fclose(in);
	if (rc)
		sc_key_forget(out);
	return rc;
}

void sc_key_sign(const struct sc_key *key, uint8_t *data, size_t bytes)
{
	crypto_generichash(data + bytes, SC_MAC_BYTES, data, bytes, key->bytes, SC_KEY_BYTES);
}

bool sc_key_valid(const struct sc_key *key, const uint8_t *data, size_t bytes)
{
	uint8_t mac[SC_MAC_BYTES];

	if (bytes < SC_MAC_BYTES)
		return false;
	crypto_generichash(mac, SC_MAC_BYTES, data, bytes - SC_MAC_BYTES, key->bytes, SC_KEY_BYTES);
	return sodium_memcmp(mac, data + bytes - SC_MAC_BYTES, SC_MAC_BYTES) == 0;
}

void sc_key_forget(struct sc_key *key)
{
	sodium_memzero(key, sizeof *key);
}

#else

int sc_key_load(struct sc_key *out, const char *path, unsigned number, char *error, size_t error_bytes)
{
	(void)out;
	snprintf(error, error_bytes, "%s (key %u): this library was built without libsodium: no MAC", path,
		number);
	return -ENOTSUP;
}

void sc_key_sign(const struct sc_key *key, uint8_t *data, size_t bytes)
{
	(void)key, (void)data, (void)bytes;
	abort(); /* without a key nobody signs */
}

bool sc_key_valid(const struct sc_key *key, const uint8_t *data, size_t bytes)
{
	(void)key, (void)data, (void)bytes;
	return false;
}

void sc_key_forget(struct sc_key *key)
{
	(void)key;
}

#endif
