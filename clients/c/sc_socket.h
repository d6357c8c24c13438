/* A connected UDP socket whose datagrams are never fragmented on the way. */
#ifndef SC_SOCKET_H
#define SC_SOCKET_H

#include <stddef.h>
#include <stdint.h>

/* The first address of the name that can be connected to. Returns the socket, or -errno. *family: AF_INET or
 * AF_INET6. */
int sc_socket_open(const char *host, const char *port, int *family, char *error, size_t error_bytes);

/* Largest UDP payload of the path as the system knows it now; `otherwise` where it does not say. */
size_t sc_socket_payload_max(int fd, int family, size_t otherwise);

#endif
