/* Where events go: datagrams by UDP sockets or as frames of a pcap file; lines of a text file. One thread. */
#ifndef SLUICE_GEN_OUT_H
#define SLUICE_GEN_OUT_H

#include <stdint.h>

#include "err.h"

#define GEN_BURST 64	     /* datagrams handed over at once */
#define GEN_PAYLOAD_MAX 8972 /* of a 9000-byte IPv4 packet */

/* A datagram's payload. */
struct gen_datagram {
	uint32_t bytes;
	char data[GEN_PAYLOAD_MAX];
};

/* ---- UDP ---- */
struct gen_udp;
/* target: HOST:PORT. flows: sockets, each a source port of its own. */
int gen_udp_open(struct gen_udp **out, const char *target, uint32_t flows, struct err *err);
/* Sends all of them or fails for good. Waits when the socket is full. */
int gen_udp_send(struct gen_udp *u, const struct gen_datagram *dg, uint32_t count, struct err *err);
uint64_t gen_udp_retries(const struct gen_udp *u);  /* sends that the kernel refused and that were repeated */
uint32_t gen_udp_overhead(const struct gen_udp *u); /* bytes of IP and UDP header */
void gen_udp_close(struct gen_udp *u);

/* ---- pcap ---- */
struct gen_pcap;
struct gen_pcap_where {
	const char *src, *dst;	       /* ADDR:PORT */
	const char *src_mac, *dst_mac; /* xx:xx:xx:xx:xx:xx */
	uint32_t flows;		       /* source ports src ... src + flows - 1, taken in turn */
};
int gen_pcap_open(
	struct gen_pcap **out, const char *path, const struct gen_pcap_where *where, struct err *err);
int gen_pcap_write(struct gen_pcap *p, const struct gen_datagram *dg, int64_t time_ms, struct err *err);
/* What has been written is in the file, and a reader may have it. */
int gen_pcap_flush(struct gen_pcap *p, struct err *err);
uint32_t gen_pcap_overhead(const struct gen_pcap *p);
/* Flushes: what it returns tells whether all of it is in the file. */
int gen_pcap_close(struct gen_pcap *p, struct err *err);

/* ---- addresses: gen_addr.c ---- */
struct gen_addr {
	uint8_t bytes[16];
	uint32_t length; /* 4 or 16 */
	uint16_t port;
};
/* Splits HOST:PORT or [HOST]:PORT. host has host_bytes. */
int gen_addr_split(const char *text, char *host, uint32_t host_bytes, uint16_t *port, struct err *err);
/* A numeric address with port. */
int gen_addr_parse(struct gen_addr *a, const char *text, struct err *err);
int gen_mac_parse(uint8_t mac[6], const char *text, struct err *err);

#endif
