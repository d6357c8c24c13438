/* What a service manager is told, by the protocol of sd_notify(3): datagrams to the socket that NOTIFY_SOCKET
 * names. Without that variable nothing is said. Server thread, but for service_open() and what comes before
 * it runs. */
#ifndef SLUICE_SERVICE_H
#define SLUICE_SERVICE_H

#include <stdbool.h>
#include <stdint.h>

/* Ten minutes more, from now on, until READY or the end. */
#define SERVICE_PATIENCE "EXTEND_TIMEOUT_USEC=600000000"

struct service {
	int fd;		      /* -1: nobody listens */
	uint64_t watchdog_ns; /* how often it must be told; 0: it does not want to */
	uint64_t told_ns;     /* last */
};

/* Takes the variables out of the environment. A socket that cannot be used is warned of once. */
void service_open(struct service *s);
void service_close(struct service *s);

/* Assignments as sd_notify(3) has them, a line each: "READY=1\nSTATUS=...". */
void service_say(struct service *s, const char *text);

/* Once a second; tells it if a quarter of watchdog_ns has passed. alive: something has moved that must. */
void service_tick(struct service *s, bool alive, uint64_t now_ns);

#endif
