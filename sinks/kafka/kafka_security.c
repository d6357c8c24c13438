/* TLS and SASL of every client: what kafka.security and its neighbours say, as librdkafka's properties. A
 * password is read from its file when a client is made, and stands in no configuration that is shown. Sink
 * threads. */
#include <errno.h>
#include <string.h>

#include "kafka_priv.h"
#include "secret.h"

#define SECRET_BYTES_MAX 16384

static int set_if(rd_kafka_conf_t *conf, const char *name, const char *value, struct err *err)
{
	return *value ? kafka_conf_set(conf, name, value, err) : 0;
}

/* The property's value is the path: librdkafka reads it, and its errors name no key of ours. */
static int set_file(
	rd_kafka_conf_t *conf, const char *name, const char *path, const char *key, struct err *err)
{
	/* A word of librdkafka's for the CA certificates of the system. */
	int rc = strcmp(path, "probe") ? public_file_check(path, key, err) : 0;

	return rc ? rc : set_if(conf, name, path, err);
}

/* The property's value is the file's text. */
static int set_secret(rd_kafka_conf_t *conf, const char *name, const char *path, const char *key, int lines,
	struct err *err)
{
	char text[SECRET_BYTES_MAX];
	int rc = secret_file_read(text, sizeof text, path, key, lines, err);

	if (rc == 0 && *text)
		rc = kafka_conf_set(conf, name, text, NULL);
	explicit_bzero(text, sizeof text);
	if (rc && *path && err && !*err->text)
		err_set(err, rc, "%s: %s is not what it should be", key, path);
	return rc;
}

static int tls_set(rd_kafka_conf_t *conf, const struct config_kafka *cfg, struct err *err)
{
	if (!*cfg->cert_file != !*cfg->key_file)
		return err_set(err, -EINVAL, "kafka.cert_file and kafka.key_file go together");
	if (set_file(conf, "ssl.ca.location", cfg->ca_file, "kafka.ca_file", err) ||
		set_file(conf, "ssl.certificate.location", cfg->cert_file, "kafka.cert_file", err))
		return -EINVAL;
	return set_secret(conf, "ssl.key.pem", cfg->key_file, "kafka.key_file", 1, err);
}

static int sasl_set(rd_kafka_conf_t *conf, const struct config_kafka *cfg, struct err *err)
{
	static const char *const mechanism[] = {"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"};

	if (!*cfg->sasl_user || !*cfg->sasl_password_file)
		return err_set(err, -EINVAL,
			"kafka.security with SASL needs kafka.sasl_user and sasl_password_file");
	if (kafka_conf_set(conf, "sasl.mechanism", mechanism[cfg->sasl_mechanism], err) ||
		kafka_conf_set(conf, "sasl.username", cfg->sasl_user, err))
		return -EINVAL;
	return set_secret(conf, "sasl.password", cfg->sasl_password_file, "kafka.sasl_password_file", 0, err);
}

bool kafka_security_tls(const struct config_kafka *cfg)
{
	return cfg->security == KAFKA_SECURITY_SSL || cfg->security == KAFKA_SECURITY_SASL_SSL;
}

int kafka_security_set(rd_kafka_conf_t *conf, const struct config_kafka *cfg, struct err *err)
{
	static const char *const protocol[] = {"plaintext", "ssl", "sasl_plaintext", "sasl_ssl"};
	bool sasl = cfg->security >= KAFKA_SECURITY_SASL_PLAINTEXT;
	int rc = 0;

	if (cfg->security == KAFKA_SECURITY_PLAINTEXT) /* kafka.options may say otherwise */
		return 0;
	if (kafka_conf_set(conf, "security.protocol", protocol[cfg->security], err))
		return -EINVAL;
	if (kafka_security_tls(cfg))
		rc = tls_set(conf, cfg, err);
	return rc == 0 && sasl ? sasl_set(conf, cfg, err) : rc;
}
