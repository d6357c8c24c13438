/* The table of driver particulars. Constant data; control thread. */
#include "driver.h"

#include <stdio.h>
#include <string.h>

/* Read from the sources of DPDK 22.11: a counter that a driver never writes must be shown as unknown, not as
 * 0. */
static const struct driver_quirks table[] = {
	{"net_af_packet", false, false, false, af_packet_kernel_drops, kernel_iface_check, "iface", true,
		"framesz", true},
	{"net_af_xdp", true, false, false, NULL, kernel_iface_check, "iface", false, NULL, false},
	{"net_pcap", true, true, true, NULL, NULL, NULL, false, NULL, false},
	{"net_ring", false, false, false, NULL, NULL, NULL, false, NULL, false},
	{"net_null", false, false, false, NULL, NULL, NULL, false, NULL, false},
	{"net_tap", false, true, true, NULL, NULL, NULL, false, NULL, false},
	{"net_memif", false, false, false, NULL, NULL, NULL, false, NULL, false},
	{NULL, true, true, true, NULL, NULL, NULL, false, NULL, false},
};

const struct driver_quirks *driver_quirks_of(const char *driver_name)
{
	const struct driver_quirks *q = table;

	while (q->driver && strcmp(q->driver, driver_name) != 0)
		q++;
	return q;
}

bool driver_arg(const char *device, const char *key, char *out, uint32_t bytes)
{
	size_t key_bytes = strlen(key);

	for (const char *p = strchr(device, ','); p; p = strchr(p + 1, ','))
		if (!strncmp(p + 1, key, key_bytes) && p[1 + key_bytes] == '=') {
			const char *value = p + key_bytes + 2;

			return snprintf(out, bytes, "%.*s", (int)strcspn(value, ","), value) < (int)bytes;
		}
	return false;
}

bool driver_is_finite(const char *device)
{
	char text[256];

	if (strncmp(device, "net_pcap", 8) != 0 || !driver_arg(device, "rx_pcap", text, sizeof text))
		return false;
	return !driver_arg(device, "infinite_rx", text, sizeof text) || !strcmp(text, "0");
}
