/* The committed position of a sink as text: what the positions topic holds. The format's number stands in
 * front, so that a later one is told from damage. */
#ifndef SLUICE_POSITION_H
#define SLUICE_POSITION_H

#include <stddef.h>
#include <stdint.h>

#include "address.h"

#define POSITION_TEXT_BYTES 64

/* 1: of Kafka's main lane while it sent alerts, too; 2: of a lane that sends what its key says. */
#define POSITION_VERSION 2

/* "sluice-position/2 next=<offset>"; returns its length. */
size_t position_text(char out[POSITION_TEXT_BYTES], uint64_t next);

/* 0; -EINVAL: not of that form; -ENOTSUP: of a format that this version does not know. */
int position_parse(const void *text, size_t bytes, uint32_t *version, uint64_t *next);

/* "<sink>/<node>/<epoch>/<partition>": the key of a partition's position. */
size_t position_key(
	char out[ADDRESS_TEXT_BYTES], const char *sink, const char *node, uint64_t epoch, uint32_t partition);

#endif
