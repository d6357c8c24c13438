/* Whether bytes are UTF-8 by RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF. Any thread;
 * pure. */
#ifndef SLUICE_UTF8_H
#define SLUICE_UTF8_H

#include <stdbool.h>
#include <stdint.h>

bool utf8_valid(const uint8_t *p, uint32_t bytes);

#endif
