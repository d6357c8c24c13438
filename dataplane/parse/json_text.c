/* Texts of a certain form: UUIDs and addresses. Worker thread; pure functions. */
#include <arpa/inet.h>
#include <string.h>

#include "json_priv.h"

bool uuid_from_text(const uint8_t *text, uint32_t bytes, uint8_t out[16])
{
	uint32_t bad = 0;

	if (bytes != 36 || text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-')
		return false;
	for (uint32_t i = 0, o = 0; i < 36;) {
		if (i == 8 || i == 13 || i == 18 || i == 23)
			i++;
		uint32_t high = json_hex_digit(text[i]), low = json_hex_digit(text[i + 1]);

		bad |= high | low;
		out[o++] = (uint8_t)(high << 4 | low);
		i += 2;
	}
	return bad < 16;
}

/* inet_pton(3) takes what RFC 4291 section 2.2 and dotted decimal without leading zeros allow; it wants a
 * NUL. */
static bool address_fits(const uint8_t *text, uint32_t bytes)
{
	char copy[INET6_ADDRSTRLEN];
	uint8_t address[16];

	if (bytes >= sizeof copy || memchr(text, 0, bytes))
		return false;
	memcpy(copy, text, bytes);
	copy[bytes] = 0;
	return inet_pton(memchr(copy, ':', bytes) ? AF_INET6 : AF_INET, copy, address) == 1;
}

bool text_fits(enum field_id field, const uint8_t *text, uint32_t bytes)
{
	return field != FIELD_ip || address_fits(text, bytes);
}
