/* The supervised programs: how each is set up, started and known to be ready. Set-up is done once by main. */
#ifndef SLUICE_SUP_SERVER_H
#define SLUICE_SUP_SERVER_H

#include <stdint.h>

#include "err.h"
#include "sup_child.h"
#include "sup_opts.h"

struct sup_ports {
	uint16_t kafka, kafka_controller;
	uint16_t clickhouse_http, clickhouse_native;
};

/* Wanted ports are checked to be free, others are chosen: those of the last time, if DATA/ports has them and
 * they are free, so that clients find the servers again. */
int sup_ports_choose(struct sup_ports *p, const struct sup_opts *o, struct err *err);

/* Writes the broker's files, formats its storage if it has none, and fills c. */
int sup_kafka_prepare(
	struct sup_child *c, const struct sup_opts *o, const struct sup_ports *p, struct err *err);
int sup_clickhouse_prepare(
	struct sup_child *c, const struct sup_opts *o, const struct sup_ports *p, struct err *err);
/* brokers, url: of the servers to deliver to. */
int sup_sluiced_prepare(
	struct sup_child *c, const struct sup_opts *o, const char *brokers, const char *url, struct err *err);
/* Path of the control socket that sup_sluiced_prepare() asks for. */
void sup_sluiced_socket(const struct sup_opts *o, char *out, uint32_t bytes);

/* Connects to 127.0.0.1, sends `request` and looks for `expect` in what comes back. */
bool sup_answers(uint16_t port, const char *request, const char *expect);
int sup_make_dir(const char *path, struct err *err);

#endif
