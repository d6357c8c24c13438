/* DPDK's environment for a test: no hugepages, no device, nothing shared, names that are the process's own.
 */
#ifndef EAL_RIG_H
#define EAL_RIG_H

/* Once a process, before anything else. `name` is in the file prefix. The calling thread keeps the cores that
 * it had. */
void rig_eal(const char *name);

#endif
