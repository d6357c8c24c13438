/* The formats themselves: one file each. Not for other folders. */
#ifndef SLUICE_FORMAT_PRIV_H
#define SLUICE_FORMAT_PRIV_H

#include "format.h"

format_next statsd_next; /* StatsD, with the tags and packed values of DogStatsD */
format_next influx_next; /* InfluxDB's line protocol */

#endif
