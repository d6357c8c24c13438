/* The Ethernet header of a frame that is to be answered. Worker stage. */
#ifndef SLUICE_DECODE_L2_H
#define SLUICE_DECODE_L2_H

#include <rte_mbuf.h>
#include <stdint.h>

#define DECODE_L2_MAX 22u /* with two tags */

/* The Ethernet header and its tags as they came, those that the port took off put back, and its bytes. 0: too
 * short, or more than two tags. *packet: what follows in the first mbuf, at most at its end. */
uint32_t decode_l2(const struct rte_mbuf *m, uint8_t l2[DECODE_L2_MAX], const uint8_t **packet);

#endif
