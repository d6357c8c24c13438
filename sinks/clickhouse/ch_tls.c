/* A BIO of our own stands between OpenSSL and the socket: what it writes is gathered, so that a large body
 * costs few system calls, and sent before anything is read. */
#include "ch_tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <pthread.h>
#include <string.h>

#include "secret.h"

#define OUT_BYTES_MAX (256u << 10)
#define KEY_BYTES_MAX 16384
#define PART_BYTES_MAX (1u << 30)

/* ---- the BIO ---- */

static int out_flush(struct ch_tls *tls)
{
	if (tls->rc == 0 && tls->out.bytes)
		tls->rc = ch_sock_send(tls->sock, tls->out.data, tls->out.bytes, tls->deadline_ns);
	bytes_reset(&tls->out);
	return tls->rc;
}

static int tls_bio_write(BIO *bio, const char *data, int bytes)
{
	struct ch_tls *tls = BIO_get_data(bio);

	bytes_put(&tls->out, data, (size_t)bytes);
	if (tls->out.failed)
		tls->rc = -ENOMEM;
	else if (tls->out.bytes >= OUT_BYTES_MAX)
		out_flush(tls);
	return tls->rc ? -1 : bytes;
}

static int tls_bio_read(BIO *bio, char *data, int bytes)
{
	struct ch_tls *tls = BIO_get_data(bio);
	ssize_t n;

	if (out_flush(tls))
		return -1;
	n = ch_sock_recv(tls->sock, data, (size_t)bytes, tls->deadline_ns);
	if (n <= 0)
		tls->rc = n ? (int)n : -ECONNRESET;
	return n > 0 ? (int)n : -1;
}

static long tls_bio_ctrl(BIO *bio, int command, long number, void *arg)
{
	(void)bio, (void)number, (void)arg;
	return command == BIO_CTRL_FLUSH;
}

static BIO_METHOD *bio_method;
static pthread_once_t bio_once = PTHREAD_ONCE_INIT;

static void bio_method_make(void)
{
	BIO_METHOD *m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "ch_sock");

	if (m && BIO_meth_set_write(m, tls_bio_write) && BIO_meth_set_read(m, tls_bio_read) &&
		BIO_meth_set_ctrl(m, tls_bio_ctrl))
		bio_method = m;
}

/* ---- who we are and whom we trust ---- */

/* OpenSSL's reason, or "no reason given". */
static const char *tls_reason(void)
{
	const char *text = ERR_reason_error_string(ERR_peek_last_error());

	return text ? text : "no reason given";
}

static int key_take(struct ch_tls *tls, const char *path, struct err *err)
{
	char pem[KEY_BYTES_MAX];
	EVP_PKEY *key = NULL;
	BIO *bio;
	int rc = secret_file_read(pem, sizeof pem, path, "clickhouse.key_file", 1, err);

	if (rc)
		return rc;
	bio = BIO_new_mem_buf(pem, -1);
	if (bio)
		key = PEM_read_bio_PrivateKey(bio, NULL, NULL, (void *)"");
	if (!key || SSL_CTX_use_PrivateKey(tls->ctx, key) != 1)
		rc = err_set(err, -EINVAL, "clickhouse.key_file: %s: %s", path, tls_reason());
	EVP_PKEY_free(key);
	BIO_free(bio);
	explicit_bzero(pem, sizeof pem);
	return rc;
}

static int files_take(struct ch_tls *tls, const struct config_clickhouse *cfg, struct err *err)
{
	int good = cfg->ca_file[0] ? SSL_CTX_load_verify_file(tls->ctx, cfg->ca_file)
				   : SSL_CTX_set_default_verify_paths(tls->ctx);

	if (good != 1)
		return err_set(err, -EINVAL, "clickhouse.ca_file: %s: %s", cfg->ca_file, tls_reason());
	if (!cfg->cert_file[0] != !cfg->key_file[0])
		return err_set(err, -EINVAL, "clickhouse.cert_file and key_file go together");
	if (!cfg->cert_file[0])
		return 0;
	if (SSL_CTX_use_certificate_chain_file(tls->ctx, cfg->cert_file) != 1)
		return err_set(err, -EINVAL, "clickhouse.cert_file: %s: %s", cfg->cert_file, tls_reason());
	return key_take(tls, cfg->key_file, err);
}

int ch_tls_open(
	struct ch_tls *tls, const struct config_clickhouse *cfg, struct ch_sock *sock, struct err *err)
{
	memset(tls, 0, sizeof *tls);
	tls->sock = sock;
	tls->verify = cfg->tls_verify;
	pthread_once(&bio_once, bio_method_make);
	ERR_clear_error();
	tls->ctx = SSL_CTX_new(TLS_client_method());
	if (!bio_method || !tls->ctx || SSL_CTX_set_min_proto_version(tls->ctx, TLS1_2_VERSION) != 1)
		return err_set(err, -ENOMEM, "clickhouse: OpenSSL does not begin: %s", tls_reason());
	SSL_CTX_set_verify(tls->ctx, tls->verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
	return files_take(tls, cfg, err);
}

void ch_tls_close(struct ch_tls *tls)
{
	ch_tls_drop(tls);
	SSL_CTX_free(tls->ctx);
	tls->ctx = NULL;
	bytes_free(&tls->out);
}

/* ---- a connection ---- */

void ch_tls_drop(struct ch_tls *tls)
{
	SSL_free(tls->ssl);
	tls->ssl = NULL;
	bytes_reset(&tls->out);
}

/* The name that the certificate must be for. */
static bool host_set(SSL *ssl, const char *host)
{
	unsigned char addr[16];

	if (inet_pton(AF_INET, host, addr) == 1 || inet_pton(AF_INET6, host, addr) == 1)
		return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
	return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
}

static int call_begin(struct ch_tls *tls, uint64_t deadline_ns)
{
	ERR_clear_error();
	tls->deadline_ns = deadline_ns;
	tls->rc = 0;
	return tls->ssl ? 0 : -ENOTCONN;
}

int ch_tls_connect(struct ch_tls *tls, const char *host, uint64_t deadline_ns, struct err *err)
{
	BIO *bio = BIO_new(bio_method);
	long verdict;

	ch_tls_drop(tls);
	tls->ssl = SSL_new(tls->ctx);
	if (!bio || !tls->ssl || !host_set(tls->ssl, host)) {
		BIO_free(bio);
		ch_tls_drop(tls);
		return err_set(err, -ENOMEM, "clickhouse: TLS with %s: %s", host, tls_reason());
	}
	BIO_set_data(bio, tls);
	BIO_set_init(bio, 1);
	SSL_set_bio(tls->ssl, bio, bio);
	call_begin(tls, deadline_ns);
	if (SSL_connect(tls->ssl) == 1 && out_flush(tls) == 0)
		return 0;
	verdict = SSL_get_verify_result(tls->ssl);
	if (tls->rc)
		return err_set(err, tls->rc, "clickhouse: TLS with %s: %s", host,
			tls->rc == -ECANCELED ? "given up on stop" : strerror(-tls->rc));
	if (tls->verify && verdict != X509_V_OK)
		return err_set(err, -EINVAL, "clickhouse: TLS: certificate of %s: %s", host,
			X509_verify_cert_error_string(verdict));
	return err_set(err, -EPROTO, "clickhouse: TLS with %s: %s", host, tls_reason());
}

int ch_tls_send(struct ch_tls *tls, const void *data, size_t bytes, uint64_t deadline_ns)
{
	const uint8_t *p = data;
	int rc = call_begin(tls, deadline_ns);

	while (rc == 0 && bytes) {
		int part = (int)(bytes < PART_BYTES_MAX ? bytes : PART_BYTES_MAX);
		int n = SSL_write(tls->ssl, p, part);

		if (n <= 0)
			return tls->rc ? tls->rc : -EPROTO;
		p += n;
		bytes -= (size_t)n;
	}
	return rc ? rc : out_flush(tls);
}

ssize_t ch_tls_recv(struct ch_tls *tls, void *data, size_t bytes, uint64_t deadline_ns)
{
	int rc = call_begin(tls, deadline_ns), n;

	if (rc)
		return rc;
	n = SSL_read(tls->ssl, data, (int)(bytes < PART_BYTES_MAX ? bytes : PART_BYTES_MAX));
	if (n > 0)
		return n;
	if (tls->rc)
		return tls->rc;
	return SSL_get_error(tls->ssl, n) == SSL_ERROR_ZERO_RETURN ? 0 : -EPROTO;
}
