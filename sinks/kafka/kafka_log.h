/* What librdkafka logs, as lines of our log: each kind once a minute, with a count of those left out, since a
 * broker that is away is said by each client and each of its tries. Any thread. */
#ifndef SLUICE_KAFKA_LOG_H
#define SLUICE_KAFKA_LOG_H

#include <librdkafka/rdkafka.h>

#include "log.h"

#define KAFKA_LOG_KINDS 128u /* power of two; what comes beyond shares one place */

/* A log_cb. */
void kafka_log(const rd_kafka_t *rk, int level, const char *facility, const char *text);
/* The place of all lines that say the same of the same broker, whatever numbers they have. */
struct log_site *kafka_log_site(const char *facility, const char *text);

#endif
