/* Frames of a capture file, for a port that is one: read in large pieces and put straight into mbufs.
 * net_pcap reads 4 KiB at a time, which costs more than decoding what it brings. The port is net_pcap's all
 * the same: its name, its configuration and its queue; what is not read here is read by it. Opened and closed
 * by the control thread; frames and their end belong to the worker that polls the queue. */
#ifndef SLUICE_FRAME_FILE_H
#define SLUICE_FRAME_FILE_H

#include <rte_mbuf.h>
#include <stdbool.h>
#include <stdint.h>

#include "err.h"

struct frame_file;

/* Written by the worker, read racily by control threads. */
struct frame_file_stats {
	uint64_t frames, bytes;
	uint64_t no_mbuf; /* times that there was none; the frame is read later */
	uint64_t errors;  /* the file ended in the middle of a frame, or could not be read on */
};

/* 0; with *out NULL if the file is none that is read here: another format than pcap 2.4, no Ethernet, a pipe,
 * or more than one file. Or -ENOMEM. device: as configured, a finite one (driver_is_finite()), which has been
 * opened. */
int frame_file_open(struct frame_file **out, const char *device, struct err *err);
void frame_file_close(struct frame_file *file);

/* Up to n frames into mbufs of the pool; longer ones than an mbuf holds into several. */
uint16_t frame_file_burst(
	struct frame_file *file, uint16_t port, struct rte_mempool *pool, struct rte_mbuf **mbuf, uint16_t n);
/* After a burst without frames: there are no more, it was not mbufs that were missing. */
bool frame_file_ended(const struct frame_file *file);
struct frame_file_stats frame_file_stats(const struct frame_file *file);

#endif
