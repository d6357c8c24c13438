/* Texts of a certain form: UUIDs and addresses. Worker thread; pure functions. */
#include <string.h>

#include "ip_text.h"
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

bool text_fits(enum field_id field, const uint8_t *text, uint32_t bytes)
{
	uint8_t address[16];

	return field != FIELD_ip || ip_from_text(address, text, bytes);
}
