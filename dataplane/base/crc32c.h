/* CRC-32C (Castagnoli, RFC 3720 appendix B.4; Kafka record batches use the same). Any thread, no state.
 * Long inputs by carry-less multiplication where the processor has it for 256 bits, else by the SSE4.2
 * instruction. */
#ifndef SLUICE_CRC32C_H
#define SLUICE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* crc: 0 for a new sum, or the result of an earlier call to go on from. */
uint32_t crc32c(uint32_t crc, const void *data, size_t bytes);

#endif
