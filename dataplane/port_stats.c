/* Statistics of a port: the driver's counters, with those that it does not have shown as unknown, and the
 * kernel's drops behind it. Control thread. */
#include <rte_ethdev.h>
#include <stdio.h>
#include <string.h>

#include "dataplane.h"
#include "dataplane_priv.h"

/* The driver has none of the port's frames. */
static void file_stats(const struct frame_file *file, struct rte_eth_stats *st)
{
	struct frame_file_stats from = frame_file_stats(file);

	st->ipackets = from.frames;
	st->ibytes = from.bytes;
	st->rx_nombuf = from.no_mbuf;
	st->ierrors = from.errors;
}

void dataplane_port_stats(const struct dataplane *dp, uint32_t index, struct port_stats *out)
{
	struct port *port = dataplane_port(dp, index);
	const struct driver_quirks *q = port->quirks;
	struct rte_eth_stats st = {0};
	struct rte_eth_link link = {0};
	struct rte_eth_dev_info info = {0};

	memset(out, 0, sizeof *out);
	rte_eth_stats_get(port->id, &st);
	if (port->file)
		file_stats(port->file, &st);
	rte_eth_link_get_nowait(port->id, &link);
	rte_eth_dev_info_get(port->id, &info);
	snprintf(out->name, sizeof out->name, "%.32s", port->cfg->name);
	snprintf(out->device, sizeof out->device, "%.63s", port->device);
	snprintf(out->driver, sizeof out->driver, "%.31s", info.driver_name ? info.driver_name : "?");
	out->link_up = port->driver.ifindex ? kernel_link_up(port->driver.ifindex)
					    : link.link_status == RTE_ETH_LINK_UP;
	out->numa_node = dataplane_port_node(dp, index);
	out->rx_packets = st.ipackets;
	out->rx_bytes = st.ibytes;
	out->rx_missed = q->has_missed ? st.imissed : PORT_COUNTER_UNKNOWN;
	out->rx_no_mbuf = q->has_no_mbuf ? st.rx_nombuf : PORT_COUNTER_UNKNOWN;
	out->rx_errors = q->has_errors ? st.ierrors : PORT_COUNTER_UNKNOWN;
	/* Without the interface's number (a device under an alias) its sockets cannot be told from others'.
	 */
	out->kernel_drops = q->kernel_drops && port->driver.ifindex ? q->kernel_drops(&port->driver)
								    : PORT_COUNTER_UNKNOWN;
}
