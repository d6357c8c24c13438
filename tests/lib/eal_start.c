/* See eal_start.h. */
#include "eal_start.h"

#include <stdio.h>
#include <stdlib.h>

#include "eal.h"

void rig_eal_start(uint32_t workers)
{
	static struct config cfg;
	struct err err = {0};

	cfg.eal.hugepages = false;
	cfg.eal.memory = 192u << 20;
	cfg.worker.count = workers;
	if (eal_start(&cfg, &err)) {
		fprintf(stderr, "%s\n", err.text);
		exit(77);
	}
}
