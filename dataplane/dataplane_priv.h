/* Private to this folder: a port by index, and its NUMA node, for its statistics. */
#ifndef SLUICE_DATAPLANE_PRIV_H
#define SLUICE_DATAPLANE_PRIV_H

#include "dataplane.h"
#include "port.h"

struct port *dataplane_port(const struct dataplane *dp, uint32_t index);
int dataplane_port_node(const struct dataplane *dp, uint32_t index);

#endif
