/* The control thread's part of answer.h. */
#include <errno.h>
#include <string.h>

#include "answer.h"
#include "port_tx.h"

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
	at->pool = port->pool;
	at->index = index;
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
