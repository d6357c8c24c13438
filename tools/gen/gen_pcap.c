/* Frames in a pcap file: Ethernet, IPv4 or IPv6, UDP, with right checksums. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gen_out.h"

#define ETHER_BYTES 14
#define UDP_BYTES 8

struct gen_pcap {
	FILE *f;
	const char *path;
	struct gen_addr src, dst;
	uint8_t src_mac[6], dst_mac[6];
	uint32_t flows, next;
	uint16_t ip_id;
};

static void put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

/* RFC 1071: ones' complement sum of big-endian words, an odd last byte padded with zero. */
static uint32_t sum16(uint32_t sum, const uint8_t *p, uint32_t bytes)
{
	for (; bytes > 1; bytes -= 2, p += 2) {
		sum += (uint32_t)p[0] << 8 | p[1];
		sum = (sum & 0xffff) + (sum >> 16);
	}
	if (bytes)
		sum += (uint32_t)p[0] << 8;
	return (sum & 0xffff) + (sum >> 16);
}

static uint16_t checksum_end(uint32_t sum)
{
	return (uint16_t) ~((sum & 0xffff) + (sum >> 16));
}

static int write_header(struct gen_pcap *p)
{
	struct {
		uint32_t magic;
		uint16_t major, minor;
		uint32_t zone, figures, snaplen, link;
	} h = {0xa1b2c3d4, 2, 4, 0, 0, 65535, 1};

	return fwrite(&h, sizeof h, 1, p->f) == 1 ? 0 : -EIO;
}

int gen_pcap_open(
	struct gen_pcap **out, const char *path, const struct gen_pcap_where *where, struct err *err)
{
	struct gen_pcap *p = calloc(1, sizeof *p);
	int rc;

	if (!p)
		return err_set(err, -ENOMEM, "out of memory");
	rc = gen_addr_parse(&p->src, where->src, err);
	if (!rc)
		rc = gen_addr_parse(&p->dst, where->dst, err);
	if (!rc && p->src.length != p->dst.length)
		rc = err_set(err, -EINVAL, "%s and %s are of different families", where->src, where->dst);
	if (!rc && p->src.port + where->flows > 65536)
		rc = err_set(err, -EINVAL, "%s: no room for %u source ports", where->src, where->flows);
	if (!rc)
		rc = gen_mac_parse(p->src_mac, where->src_mac, err);
	if (!rc)
		rc = gen_mac_parse(p->dst_mac, where->dst_mac, err);
	if (!rc) {
		p->path = path;
		p->flows = where->flows;
		p->f = fopen(path, "wb");
		if (!p->f || write_header(p))
			rc = err_set(err, -errno, "%s: %s", path, strerror(errno));
	}
	if (rc) {
		if (p->f)
			fclose(p->f);
		free(p);
		return rc;
	}
	*out = p;
	return 0;
}

uint32_t gen_pcap_overhead(const struct gen_pcap *p)
{
	return (p->src.length == 4 ? 20 : 40) + UDP_BYTES;
}

static uint32_t put_ipv4(struct gen_pcap *p, uint8_t *ip, uint32_t udp_bytes)
{
	memset(ip, 0, 20);
	ip[0] = 0x45;
	put16(ip + 2, 20 + udp_bytes);
	put16(ip + 4, p->ip_id++);
	put16(ip + 6, 0x4000); /* do not fragment */
	ip[8] = 64;
	ip[9] = 17;
	memcpy(ip + 12, p->src.bytes, 4);
	memcpy(ip + 16, p->dst.bytes, 4);
	put16(ip + 10, checksum_end(sum16(0, ip, 20)));
	return 20;
}

static uint32_t put_ipv6(struct gen_pcap *p, uint8_t *ip, uint32_t udp_bytes)
{
	memset(ip, 0, 40);
	ip[0] = 0x60;
	put16(ip + 4, udp_bytes);
	ip[6] = 17;
	ip[7] = 64;
	memcpy(ip + 8, p->src.bytes, 16);
	memcpy(ip + 24, p->dst.bytes, 16);
	return 40;
}

static void put_udp(struct gen_pcap *p, uint8_t *udp, const struct gen_datagram *dg)
{
	uint32_t bytes = UDP_BYTES + dg->bytes, sum;
	uint16_t check;

	put16(udp, p->src.port + p->next++ % p->flows);
	put16(udp + 2, p->dst.port);
	put16(udp + 4, bytes);
	put16(udp + 6, 0);
	memcpy(udp + UDP_BYTES, dg->data, dg->bytes);
	sum = sum16(0, p->src.bytes, p->src.length);
	sum = sum16(sum, p->dst.bytes, p->dst.length);
	sum = sum16(sum + 17 + bytes, udp, bytes);
	check = checksum_end(sum);
	put16(udp + 6, check ? check : 0xffff); /* zero would mean: none */
}

int gen_pcap_write(struct gen_pcap *p, const struct gen_datagram *dg, int64_t time_ms, struct err *err)
{
	uint8_t frame[ETHER_BYTES + 40 + UDP_BYTES + GEN_PAYLOAD_MAX], *ip = frame + ETHER_BYTES;
	uint32_t udp_bytes = UDP_BYTES + dg->bytes, bytes, head[4];

	memcpy(frame, p->dst_mac, 6);
	memcpy(frame + 6, p->src_mac, 6);
	put16(frame + 12, p->src.length == 4 ? 0x0800 : 0x86dd);
	bytes = ETHER_BYTES + (p->src.length == 4 ? put_ipv4(p, ip, udp_bytes) : put_ipv6(p, ip, udp_bytes));
	put_udp(p, frame + bytes, dg);
	bytes += udp_bytes;
	head[0] = (uint32_t)(time_ms / 1000);
	head[1] = (uint32_t)(time_ms % 1000 * 1000);
	head[2] = head[3] = bytes;
	if (fwrite(head, sizeof head, 1, p->f) != 1 || fwrite(frame, bytes, 1, p->f) != 1)
		return err_set(err, -EIO, "%s: %s", p->path, strerror(errno));
	return 0;
}

int gen_pcap_flush(struct gen_pcap *p, struct err *err)
{
	return fflush(p->f) ? err_set(err, -EIO, "%s: %s", p->path, strerror(errno)) : 0;
}

int gen_pcap_close(struct gen_pcap *p, struct err *err)
{
	int rc = fclose(p->f) ? err_set(err, -EIO, "%s: %s", p->path, strerror(errno)) : 0;

	free(p);
	return rc;
}
