#define _DEFAULT_SOURCE /* IP_MTU */
#include "sc_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sc_wire.h"

#define HEADERS_4 28 /* IPv4 and UDP */
#define HEADERS_6 48

/* Where one fragment is lost all is: rather an error here than a datagram that seldom arrives. */
static void never_fragment(int fd, int family)
{
#if defined(IP_MTU_DISCOVER) && defined(IPV6_MTU_DISCOVER)
	int mode = family == AF_INET ? IP_PMTUDISC_DO : IPV6_PMTUDISC_DO;

	if (family == AF_INET)
		(void)setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &mode, sizeof mode);
	else
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, &mode, sizeof mode);
#else
	(void)fd, (void)family;
#endif
}

static int try_address(const struct addrinfo *at)
{
	int fd = socket(at->ai_family, at->ai_socktype, at->ai_protocol), rc;

	if (fd < 0)
		return -errno;
	if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 || fcntl(fd, F_SETFL, O_NONBLOCK) < 0 ||
		connect(fd, at->ai_addr, at->ai_addrlen) < 0) {
		rc = -errno;
		close(fd);
		return rc;
	}
	never_fragment(fd, at->ai_family);
	return fd;
}

int sc_socket_open(const char *host, const char *port, int *family, char *error, size_t error_bytes)
{
	struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_DGRAM}, *list = NULL;
	int fd = -EHOSTUNREACH, rc = getaddrinfo(host, port, &hints, &list);

	if (rc) {
		snprintf(error, error_bytes, "%s port %s: %s", host, port, gai_strerror(rc));
		return -EHOSTUNREACH;
	}
	for (const struct addrinfo *at = list; at && fd < 0; at = at->ai_next) {
		fd = try_address(at);
		*family = at->ai_family;
	}
	if (fd < 0)
		snprintf(error, error_bytes, "%s port %s: %s", host, port, strerror(-fd));
	freeaddrinfo(list);
	return fd;
}

size_t sc_socket_payload_max(int fd, int family, size_t otherwise)
{
	size_t headers = family == AF_INET ? HEADERS_4 : HEADERS_6, payload = otherwise;
#if defined(IP_MTU) && defined(IPV6_MTU)
	int mtu = 0;
	socklen_t bytes = sizeof mtu;
	int rc = family == AF_INET ? getsockopt(fd, IPPROTO_IP, IP_MTU, &mtu, &bytes)
				   : getsockopt(fd, IPPROTO_IPV6, IPV6_MTU, &mtu, &bytes);

	if (rc == 0 && mtu > (int)headers)
		payload = (size_t)mtu - headers;
#else
	(void)fd, (void)headers;
#endif
	return payload < SC_DATAGRAM_MAX ? payload : SC_DATAGRAM_MAX;
}
