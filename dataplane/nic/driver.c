/* The table of driver particulars. Constant data; control thread. */
#include "driver.h"

#include <stdio.h>
#include <string.h>

/* Read from the sources of DPDK 22.11: a counter that a driver never writes must be shown as unknown, not as
 * 0. */
static const struct driver_quirks table[] = {
	{.driver = "net_af_packet",
		.kernel_drops = af_packet_kernel_drops,
		.check = kernel_iface_check,
		.iface_arg = "iface",
		.has_early_frames = true,
		.frame_arg = "framesz",
		.kernel_gathers = true},
	{.driver = "net_af_xdp",
		.has_missed = true,
		.kernel_drops = af_xdp_kernel_drops,
		.opened = af_xdp_opened,
		.closed = af_xdp_closed,
		.check = kernel_iface_check,
		.iface_arg = "iface"},
	{.driver = "net_pcap", .has_missed = true, .has_no_mbuf = true, .has_errors = true},
	{.driver = "net_ring"},
	{.driver = "net_null"},
	{.driver = "net_tap", .has_no_mbuf = true, .has_errors = true},
	{.driver = "net_memif"},
	{.has_missed = true, .has_no_mbuf = true, .has_errors = true},
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
