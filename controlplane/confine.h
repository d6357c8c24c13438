/* Rights that the daemon gives up once it has what it needs: capabilities behind the ports, system calls when
 * everything runs. Both hold for every thread. See docs/operations.md, "Permissions". Control thread. */
#ifndef SLUICE_CONFINE_H
#define SLUICE_CONFINE_H

#include <stdint.h>

#include "config.h"
#include "err.h"

/* Gives up all capabilities but CAP_IPC_LOCK, and what ports need to be closed (af_xdp, tap: CAP_NET_ADMIN,
 * CAP_NET_RAW, CAP_BPF), in every thread of the process; threads made later have no others. Says in the log
 * what stays. 0; or -EPERM and the thread that kept more. */
int confine_capabilities(const struct config *cfg, struct err *err);

/* Lets every thread make the calls of syscalls.def and no others, until the process ends. control.seccomp: on
 * = another one is not made, its caller gets EPERM, it is counted; a thread that blocks SIGSYS ends the
 * process instead. log = it is made, and the kernel's log names it. off = nothing is done. Needs
 * PR_SET_NO_NEW_PRIVS. 0 or -errno. */
int confine_calls(const struct config *cfg, struct err *err);

/* Calls that were refused. Any thread. */
uint64_t confine_refused(void);
/* Logs which calls were refused since the last time, by name. Server thread. */
void confine_say(void);

#endif
