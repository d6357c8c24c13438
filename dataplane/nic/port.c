/* Opening and closing of ports. Control thread at start and end. */
#include "port.h"

#include <errno.h>
#include <net/if.h>
#include <rte_bus.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "address_list.h"
#include "decap.h"
#include "eal.h"

#define POOL_CACHE 250
#define MBUF_DATA 2048u /* bytes of a frame in an mbuf of the usual size */
#define ROOM_STEP 1024u
#define AF_XDP_MBUFS 8192u /* in the rings between driver and kernel of a queue, whatever its descriptors */
#define FRAME_OVERHEAD 26u /* Ethernet header, two tags, CRC */
#define AF_PACKET_FRAME_BYTES 2048u /* the driver's own default */
#define TX_DESCRIPTORS 512u
#define EARLY_FRAMES_MAX 262144u /* of a queue; more than a kernel ring of such a port holds */

/* Splits "net_af_packet,iface=x" into an EAL name that is unique ("net_af_packet3") and the arguments. A name
 * that ends in a digit is kept: the user has chosen it. */
static int device_name(const char *device, uint32_t index, char *name, size_t bytes, const char **args)
{
	size_t length = strcspn(device, ",");
	char last = length ? device[length - 1] : 0;
	int n;

	*args = device[length] ? device + length + 1 : "";
	if (last >= '0' && last <= '9')
		n = snprintf(name, bytes, "%.*s", (int)length, device);
	else
		n = snprintf(name, bytes, "%.*s%u", (int)length, device, index);
	return n > 0 && (size_t)n < bytes ? 0 : -ENAMETOOLONG;
}

uint64_t port_mbufs_needed(const struct config *cfg, uint32_t port, uint32_t away)
{
	const struct config_ports *p = &cfg->ports[port];
	/* A cache flushes at one and a half times its size. */
	uint64_t need = p->queues * (p->descriptors + cfg->worker.burst) +
			cfg->worker.count * (POOL_CACHE * 3 / 2) + away;

	if (!strncmp(p->device, "net_af_xdp", 10))
		need += p->queues * AF_XDP_MBUFS;
	if (p->addresses[0])
		need += TX_DESCRIPTORS;
	return need;
}

uint32_t port_mbufs(const struct config *cfg, uint32_t port, uint32_t away)
{
	uint32_t need = (uint32_t)port_mbufs_needed(cfg, port, away);

	return cfg->eal.mbufs ? (uint32_t)cfg->eal.mbufs : rte_align32pow2(need + 1) - 1;
}

static int port_attach(struct port *port, const struct config_ports *cfg, uint32_t index, struct err *err)
{
	const char *args = "";
	char file[256];
	int rc;

	if (eal_is_pci_address(cfg->device)) {
		snprintf(port->device, sizeof port->device, "%s", cfg->device);
		if (rte_eth_dev_get_port_by_name(port->device, &port->id))
			return err_set(err, -ENODEV,
				"port %s: no DPDK driver has taken %s; bind it first: `driverctl "
				"set-override %s vfio-pci`",
				cfg->name, cfg->device, cfg->device);
		return 0;
	}
	if (device_name(cfg->device, index, port->device, sizeof port->device, &args))
		return err_set(err, -EINVAL, "port %s: device name too long", cfg->name);
	if (rte_eth_dev_get_port_by_name(port->device, &port->id) == 0)
		return 0;
	rc = rte_eal_hotplug_add("vdev", port->device, args);
	if (rc && driver_arg(cfg->device, "rx_pcap", file, sizeof file) && access(file, R_OK))
		return err_set(err, -errno, "port %s: capture file %s: %s", cfg->name, file, strerror(errno));
	if (rc)
		return err_set(err, rc, "port %s: DPDK could not make %s with \"%s\": %s%s", cfg->name,
			port->device, args, rte_strerror(-rc),
			rc == -EPERM && driver_arg(cfg->device, "rx_pcap", file, sizeof file)
				? " (is it a capture file? DPDK's own line above says more)"
			: rc == -EPERM
				? " (af_packet needs CAP_NET_RAW, af_xdp and tap CAP_NET_ADMIN as well)"
			: rc == -EFAULT ? " (is there a driver of that name?)"
					: "");
	port->attached = true;
	if (rte_eth_dev_get_port_by_name(port->device, &port->id))
		return err_set(err, -ENODEV, "port %s: %s made no Ethernet device", cfg->name, port->device);
	return 0;
}

/* Whether frames of this port may come in several mbufs of the usual size. */
static bool port_scatters(const struct port *port, const struct rte_eth_dev_info *info)
{
	return port->cfg->mtu + FRAME_OVERHEAD > MBUF_DATA && !port->quirks->frame_arg &&
	       info->rx_offload_capa & RTE_ETH_RX_OFFLOAD_SCATTER;
}

/* Bytes of a frame that one mbuf must hold. */
static int port_frame_bytes(
	const struct port *port, const struct rte_eth_dev_info *info, uint32_t *bytes, struct err *err)
{
	const struct config_ports *cfg = port->cfg;
	uint32_t want = (uint32_t)cfg->mtu + FRAME_OVERHEAD, have = AF_PACKET_FRAME_BYTES;
	char text[16];

	if (port->quirks->frame_arg) {
		if (driver_arg(cfg->device, port->quirks->frame_arg, text, sizeof text))
			have = (uint32_t)strtoul(text, NULL, 10);
		if (have < cfg->mtu + DRIVER_FRAME_HEAD)
			return err_set(err, -EINVAL,
				"port %s: mtu %u needs %s=%u or more in device, and a multiple of 16; "
				"blocksz a multiple of it and "
				"of 4096",
				cfg->name, (unsigned)cfg->mtu, port->quirks->frame_arg,
				(unsigned)cfg->mtu + DRIVER_FRAME_HEAD);
		want = have;
	} else if (cfg->mtu > info->max_mtu) {
		return err_set(err, -EINVAL, "port %s: mtu is %u, %s takes %u at most", cfg->name,
			(unsigned)cfg->mtu, port->device, info->max_mtu);
	}
	*bytes = port_scatters(port, info) ? MBUF_DATA : want;
	if (*bytes > UINT16_MAX - RTE_PKTMBUF_HEADROOM - ROOM_STEP)
		return err_set(err, -EINVAL, "port %s: frames of %u bytes do not fit an mbuf: at most %u",
			cfg->name, *bytes, UINT16_MAX - RTE_PKTMBUF_HEADROOM - ROOM_STEP);
	return 0;
}

/* Receiving hardware counts in steps of 1 KiB. */
static int port_pool(struct port *port, const struct rte_eth_dev_info *info, uint32_t index, uint32_t mbufs,
	struct err *err)
{
	char name[RTE_MEMPOOL_NAMESIZE];
	uint32_t bytes = 0;
	int rc = port_frame_bytes(port, info, &bytes, err);

	if (rc)
		return rc;
	if (bytes < MBUF_DATA)
		bytes = MBUF_DATA;
	bytes = RTE_ALIGN_CEIL(bytes, ROOM_STEP);
	snprintf(name, sizeof name, "mbufs_%u", index);
	port->pool = rte_pktmbuf_pool_create(name, mbufs, POOL_CACHE, 0,
		(uint16_t)(bytes + RTE_PKTMBUF_HEADROOM), rte_eth_dev_socket_id(port->id));
	if (!port->pool)
		return err_set(err, -rte_errno,
			"port %s: no memory for %u mbufs of %u bytes: raise eal.memory or lower eal.mbufs, "
			"or reserve more hugepages (%s)",
			port->cfg->name, mbufs, bytes, rte_strerror(rte_errno));
	return 0;
}

/* RTE_ETH_RSS_IP has fragments in it: by their addresses, since but the first has no ports. */
static int port_configure(struct port *port, const struct rte_eth_dev_info *info, struct err *err)
{
	struct rte_eth_conf conf = {0};
	uint64_t checksums = RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_UDP_CKSUM;
	uint16_t tx_queues, descriptors = (uint16_t)port->cfg->descriptors, tx_descriptors = TX_DESCRIPTORS;
	int rc;

	if (port->queues > info->max_rx_queues)
		return err_set(err, -EINVAL, "port %s: queues is %u, %s has %u", port->cfg->name,
			port->queues, port->device, info->max_rx_queues);
	conf.rxmode.offloads = checksums & info->rx_offload_capa;
	if (port_scatters(port, info))
		conf.rxmode.offloads |= RTE_ETH_RX_OFFLOAD_SCATTER;
	if (!port->quirks->frame_arg && port->cfg->mtu != RTE_ETHER_MTU)
		conf.rxmode.mtu = (uint32_t)port->cfg->mtu;
	if (port->queues > 1 && info->flow_type_rss_offloads) {
		conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
		conf.rx_adv_conf.rss_conf.rss_hf =
			(RTE_ETH_RSS_IP | RTE_ETH_RSS_UDP) & info->flow_type_rss_offloads;
	}
	tx_queues = port->queues < info->max_tx_queues ? port->queues : info->max_tx_queues;
	rc = rte_eth_dev_configure(port->id, port->queues, tx_queues, &conf);
	if (rc)
		return err_set(err, rc, "port %s: configure: %s", port->cfg->name, rte_strerror(-rc));
	if (info->rx_desc_lim.nb_max && descriptors > info->rx_desc_lim.nb_max)
		descriptors = info->rx_desc_lim.nb_max;
	rte_eth_dev_adjust_nb_rx_tx_desc(port->id, &descriptors, &tx_descriptors);
	for (uint16_t q = 0; q < port->queues && rc == 0; q++)
		rc = rte_eth_rx_queue_setup(port->id, q, descriptors, SOCKET_ID_ANY, NULL, port->pool);
	for (uint16_t q = 0; q < tx_queues && rc == 0; q++)
		rc = rte_eth_tx_queue_setup(port->id, q, tx_descriptors, SOCKET_ID_ANY, NULL);
	if (rc)
		return err_set(err, rc, "port %s: queue set-up: %s", port->cfg->name, rte_strerror(-rc));
	return 0;
}

static int port_check_iface(struct port *port, const struct config_ports *cfg, struct err *err)
{
	static const char *const driver_with_iface[] = {"net_af_packet", "net_af_xdp"};
	char iface[64];

	for (unsigned i = 0; i < sizeof driver_with_iface / sizeof *driver_with_iface; i++) {
		const struct driver_quirks *q = driver_quirks_of(driver_with_iface[i]);
		int rc;

		if (strncmp(cfg->device, q->driver, strlen(q->driver)) != 0)
			continue;
		if (!driver_arg(cfg->device, q->iface_arg, iface, sizeof iface))
			return err_set(
				err, -EINVAL, "port %s: device needs %s=NAME", cfg->name, q->iface_arg);
		rc = q->check(iface, err);
		if (rc) {
			err_prefix(err, "port %s", cfg->name);
			return rc;
		}
		port->driver.ifindex = (int)if_nametoindex(iface);
	}
	return 0;
}

/* The packet sockets of net_af_packet take frames of every interface until they are bound, and every frame of
 * theirs until they have joined the others that share the queue's traffic: what came until then is thrown
 * away, as if it had come before the start; else it would be counted, and refused events be kept, twice. */
static void port_discard_early(struct port *port)
{
	struct rte_mbuf *mbuf[32];
	uint16_t n;

	for (uint16_t q = 0; q < port->queues; q++)
		for (uint32_t taken = 0; taken < EARLY_FRAMES_MAX; taken += n) {
			n = rte_eth_rx_burst(port->id, q, mbuf, 32);
			if (n == 0)
				break;
			rte_pktmbuf_free_bulk(mbuf, n);
		}
	rte_eth_stats_reset(port->id);
	if (port->quirks->kernel_drops)
		port->quirks->kernel_drops(&port->driver);
	port->driver.kernel_drops = 0;
}

/* Neighbour solicitations come by multicast. What a device cannot be told it takes anyway, or its kernel
 * interface is told. */
static int port_multicast(struct port *port, struct err *err)
{
	struct address_list own;
	int rc = address_list_from_text(&own, port->cfg->addresses, err);

	if (rc || !address_list_has_v6(&own))
		return rc;
	rc = rte_eth_allmulticast_enable(port->id);
	if (rc && rc != -ENOTSUP)
		return err_set(err, rc, "port %s: multicast, for solicitations of ports.addresses: %s",
			port->cfg->name, rte_strerror(-rc));
	if (!port->driver.ifindex)
		return 0;
	rc = kernel_multicast_open(port->driver.ifindex);
	if (rc < 0)
		return err_set(
			err, rc, "port %s: multicast of its interface: %s", port->cfg->name, strerror(-rc));
	port->multicast_fd = rc;
	return 0;
}

int port_open(
	struct port *port, const struct config_ports *cfg, uint32_t index, uint32_t mbufs, struct err *err)
{
	struct rte_eth_dev_info info;
	int rc;

	*port = (struct port){
		.id = RTE_MAX_ETHPORTS, .queues = (uint16_t)cfg->queues, .cfg = cfg, .multicast_fd = -1};
	rc = decap_from_text(&port->decap, cfg->decap, err);
	if (rc == 0)
		rc = port_check_iface(port, cfg, err);
	if (rc == 0)
		rc = port_attach(port, cfg, index, err);
	if (rc)
		goto fail;
	rc = rte_eth_dev_info_get(port->id, &info);
	if (rc) {
		err_set(err, rc, "port %s: %s", cfg->name, rte_strerror(-rc));
		goto fail;
	}
	port->quirks = driver_quirks_of(info.driver_name);
	rc = port_pool(port, &info, index, mbufs, err);
	if (rc == 0)
		rc = port_configure(port, &info, err);
	if (rc)
		goto fail;
	rc = rte_eth_dev_start(port->id);
	if (rc) {
		err_set(err, rc, "port %s: start: %s", cfg->name, rte_strerror(-rc));
		goto fail;
	}
	if (port->queues == 1 && driver_is_finite(cfg->device))
		rc = frame_file_open(&port->file, cfg->device, err);
	if (rc) {
		err_prefix(err, "port %s", cfg->name);
		goto fail;
	}
	if (port->quirks->opened)
		port->quirks->opened(&port->driver);
	if (cfg->promiscuous)
		rte_eth_promiscuous_enable(port->id); /* a driver without it takes all frames anyway */
	rc = port_multicast(port, err);
	if (rc)
		goto fail;
	if (port->quirks->has_early_frames)
		port_discard_early(port);
	return 0;
fail:
	port_close(port);
	return rc;
}

void port_close(struct port *port)
{
	if (port->quirks && port->quirks->closed)
		port->quirks->closed(&port->driver);
	if (port->id != RTE_MAX_ETHPORTS) {
		rte_eth_dev_stop(port->id);
		if (port->attached) {
			rte_eth_dev_close(port->id);
			rte_eal_hotplug_remove("vdev", port->device);
		}
	}
	if (port->multicast_fd >= 0)
		close(port->multicast_fd);
	frame_file_close(port->file);
	rte_mempool_free(port->pool);
	*port = (struct port){.id = RTE_MAX_ETHPORTS, .multicast_fd = -1};
}
