/* DPDK's environment as sluiced starts it, for tests of what goes with its configuration. */
#ifndef EAL_START_H
#define EAL_START_H

#include <stdint.h>

/* Without hugepages; workers = lcores beside the main one. Ends the process with 77 where it cannot be had.
 */
void rig_eal_start(uint32_t workers);

#endif
