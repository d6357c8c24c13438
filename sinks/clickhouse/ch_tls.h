/* TLS over a ch_sock: OpenSSL makes and reads records, the socket below keeps deadlines and gives up on a
 * stop. One thread; borrows the socket. */
#ifndef SLUICE_CH_TLS_H
#define SLUICE_CH_TLS_H

#include <openssl/ssl.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "bytes.h"
#include "ch_sock.h"
#include "config.h"
#include "err.h"

struct ch_tls {
	SSL_CTX *ctx;
	SSL *ssl; /* NULL: no connection */
	bool verify;
	struct ch_sock *sock;
	uint64_t deadline_ns; /* of the call under way */
	int rc;		      /* why the socket failed in it, or 0 */
	struct bytes out;     /* records that are not sent yet */
};

/* Authorities (clickhouse.ca_file, else the system's), our certificate and key. The key's file only its owner
 * may read. -EINVAL: a file is not what it should be. */
int ch_tls_open(
	struct ch_tls *tls, const struct config_clickhouse *cfg, struct ch_sock *sock, struct err *err);
void ch_tls_close(struct ch_tls *tls);

/* Over the connected socket, with the server of that name or address. -EINVAL: its certificate is not good
 * for it. */
int ch_tls_connect(struct ch_tls *tls, const char *host, uint64_t deadline_ns, struct err *err);
/* Forgets the connection, without a word to the other side. */
void ch_tls_drop(struct ch_tls *tls);

/* As ch_sock_send() and ch_sock_recv(). -EPROTO: what comes is no TLS. */
int ch_tls_send(struct ch_tls *tls, const void *data, size_t bytes, uint64_t deadline_ns);
ssize_t ch_tls_recv(struct ch_tls *tls, void *data, size_t bytes, uint64_t deadline_ns);

#endif
