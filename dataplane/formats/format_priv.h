/* The formats themselves: one file each. Not for other folders. */
#ifndef SLUICE_FORMAT_PRIV_H
#define SLUICE_FORMAT_PRIV_H

#include "format.h"

format_next statsd_next; /* StatsD, with the tags and packed values of DogStatsD */
format_next influx_next; /* InfluxDB's line protocol */
format_next syslog_next; /* syslog of RFC 5424, and of RFC 3164 as it is sent */
format_next gelf_next;	 /* GELF, plain or compressed, in one datagram */

#endif
