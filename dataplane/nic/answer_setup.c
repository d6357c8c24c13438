/* The control thread's part of answer.h. */
#include <errno.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "answer.h"
#include "driver.h"
#include "ip_text.h"
#include "log.h"
#include "port_tx.h"

/* False: no IP address. */
static bool addr_of(const struct sockaddr *from, uint8_t addr[16])
{
	if (from && from->sa_family == AF_INET6) {
		memcpy(addr, &((const struct sockaddr_in6 *)from)->sin6_addr, 16);
		return true;
	}
	if (!from || from->sa_family != AF_INET)
		return false;
	ip_from_v4(addr, &((const struct sockaddr_in *)from)->sin_addr);
	return true;
}

/* Two that answer for one address: senders go to the port or to the kernel, as it happens. */
static void kernel_has(const struct address_list *own, const char *port)
{
	struct ifaddrs *list;

	if (getifaddrs(&list))
		return;
	for (const struct ifaddrs *a = list; a; a = a->ifa_next) {
		uint8_t addr[16];
		char text[IP_TEXT_BYTES];

		if (!addr_of(a->ifa_addr, addr) || address_list_find(own, addr) == ADDRESS_LIST_MAX)
			continue;
		(void)ip_to_text(text, addr);
		log_warn("nic",
			"ADDRESS CONFLICT: %s of port %s (ports.addresses) is an address of the kernel's "
			"interface %s as well: "
			"remove it there, or senders may be sent to the kernel",
			text, port, a->ifa_name);
	}
	freeifaddrs(list);
}

int answer_port_add(struct answer_ports *ports, const struct port *port, uint32_t index, struct err *err)
{
	struct answer_port *at = &ports->of[port->id];
	struct rte_ether_addr mac;
	int rc = address_list_from_text(&at->table.own, port->cfg->addresses, err);

	if (rc || !at->table.own.count)
		return rc;
	if (rte_eth_macaddr_get(port->id, &mac) || !rte_is_valid_assigned_ether_addr(&mac))
		return err_set(err, -EINVAL,
			"port %s: %s has no MAC address to answer with (ports.addresses)", port->cfg->name,
			port->device);
	memcpy(at->table.mac, mac.addr_bytes, sizeof at->table.mac);
	kernel_has(&at->table.own, port->cfg->name);
	at->pool = port->pool;
	at->index = index;
	at->mtu = kernel_mtu(port->driver.ifindex);
	if (!at->mtu)
		at->mtu = (uint32_t)port->cfg->mtu;
	return 0;
}

void answer_announce(const struct answer_ports *ports, const struct port *port)
{
	const struct neighbour_table *table = &ports->of[port->id].table;

	for (uint32_t i = 0; i < table->own.count; i++) {
		struct rte_mbuf *m = rte_pktmbuf_alloc(port->pool);
		uint8_t *to = m ? (uint8_t *)rte_pktmbuf_append(m, NEIGHBOUR_ANNOUNCE_MAX) : NULL;

		if (to)
			rte_pktmbuf_trim(
				m, (uint16_t)(NEIGHBOUR_ANNOUNCE_MAX - neighbour_announce(table, i, to)));
		if (!to || !port_tx(port->id, m))
			rte_pktmbuf_free(m); /* whoever needs it asks */
	}
}
