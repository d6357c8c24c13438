/* The address of a journal record as every target shows it: node/epoch/partition/offset, the epoch as 16 hex
 * digits, the others in decimal. */
#ifndef SLUICE_ADDRESS_H
#define SLUICE_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "value_text.h"

struct address {
	const char *node; /* borrowed; at most 64 bytes */
	uint64_t epoch;
	uint32_t partition;
	uint64_t offset;
};

#define ADDRESS_TEXT_BYTES 128 /* room for any address and its terminating zero */

/* Writes the text with a terminating zero; returns its length. */
size_t address_text(char out[ADDRESS_TEXT_BYTES], const struct address *at);

/* ip_to_text() with a port: 1.2.3.4:5 or [::1]:5; returns its length. */
#define SOURCE_TEXT_BYTES 64
size_t source_port_text(char out[SOURCE_TEXT_BYTES], const uint8_t addr[16], uint16_t port);

#endif
