/* The words of ports.decap. Any thread. */
#ifndef SLUICE_DECAP_H
#define SLUICE_DECAP_H

#include <stdint.h>

#include "err.h"

#define DECAP_VXLAN 1u
#define DECAP_GRE 2u
#define DECAP_ERSPAN 4u
#define DECAP_VXLAN_PORT 4789u /* UDP, of IANA */

/* none, any, or vxlan, gre, erspan separated by commas; "" is none. Returns 0, or -EINVAL with a text that
 * names the word. */
int decap_from_text(uint32_t *decap, const char *text, struct err *err);

#endif
