/* What no single key can show: keys that need or exclude each other. Start-up only. */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "address_list.h"
#include "decap.h"
#include "ip_list.h"

#define NAME_CHARS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"

/* mbufs beyond what a port's rings hold: bursts under way and the pool's per-core caches. */
#define MBUFS_SPARE 512
#define MBUFS_ANSWERS 768 /* that a device keeps behind sending them, and a cache of the main lcore */

bool config_name_ok(const char *name)
{
	return name[0] && !name[strspn(name, NAME_CHARS)];
}

/* Cores as "0,2-3": their number, or -1. */
static int cores_count(const char *text)
{
	int count = 0;

	if (!*text)
		return 0;
	for (const char *p = text;;) {
		unsigned lo = 0, hi;
		const char *start = p;

		while (*p >= '0' && *p <= '9' && lo < 4096)
			lo = lo * 10 + (unsigned)(*p++ - '0');
		if (p == start || lo >= 1024)
			return -1;
		hi = lo;
		if (*p == '-') {
			start = ++p;
			for (hi = 0; *p >= '0' && *p <= '9' && hi < 4096;)
				hi = hi * 10 + (unsigned)(*p++ - '0');
			if (p == start || hi < lo || hi >= 1024)
				return -1;
		}
		count += (int)(hi - lo + 1);
		if (!*p)
			return count;
		if (*p++ != ',')
			return -1;
	}
}

static int check_cores(const struct config *cfg, struct err *err)
{
	int n = cores_count(cfg->worker.cores);

	if (n < 0)
		return err_set(err, -EINVAL, "worker.cores: '%s': expected core numbers as 2,4-5",
			cfg->worker.cores);
	if (n && (uint64_t)n != cfg->worker.count)
		return err_set(err, -EINVAL,
			"worker.cores: '%s' names %d cores for %" PRIu64 " workers (worker.count)",
			cfg->worker.cores, n, cfg->worker.count);
	if (cores_count(cfg->eal.main_cores) < 0)
		return err_set(err, -EINVAL, "eal.main_cores: '%s': expected core numbers as 0,2-3",
			cfg->eal.main_cores);
	return 0;
}

static int check_journal(const struct config *cfg, struct err *err)
{
	if (cfg->journal.block_bytes % 4096)
		return err_set(err, -EINVAL, "journal.block_bytes: %" PRIu64 " is not a multiple of 4096",
			cfg->journal.block_bytes);
	if (cfg->journal.segment_bytes % 4096)
		return err_set(err, -EINVAL, "journal.segment_bytes: %" PRIu64 " is not a multiple of 4096",
			cfg->journal.segment_bytes);
	if (cfg->journal.segment_bytes < 4 * cfg->journal.block_bytes)
		return err_set(err, -EINVAL,
			"journal.segment_bytes: %" PRIu64 " holds less than four blocks of %" PRIu64,
			cfg->journal.segment_bytes, cfg->journal.block_bytes);
	if (cfg->worker.batch_bytes + 4096 > cfg->journal.block_bytes)
		return err_set(err, -EINVAL,
			"worker.batch_bytes: a batch of %" PRIu64 " bytes does not fit a block of %" PRIu64
			" with its header (journal.block_bytes)",
			cfg->worker.batch_bytes, cfg->journal.block_bytes);
	if (cfg->journal.dead_letter_bytes * 2 > cfg->worker.batch_bytes)
		return err_set(err, -EINVAL,
			"journal.dead_letter_bytes: more than half a batch (worker.batch_bytes)");
	if (cfg->journal.dead_letter_rate < 2 * cfg->journal.dead_letter_bytes)
		return err_set(err, -EINVAL,
			"journal.dead_letter_rate: %" PRIu64
			" a second would not let two dead letters of journal.dead_letter_bytes, %" PRIu64
			", through",
			cfg->journal.dead_letter_rate, cfg->journal.dead_letter_bytes);
	return 0;
}

/* The whole of it is read by the sink; this is what would be wrong most often. */
static int check_clickhouse_url(const char *urls, struct err *err)
{
	for (const char *p = urls;; p++) {
		size_t bytes = strcspn(p, ","), scheme = strncmp(p, "http://", 7) == 0	  ? 7
							 : strncmp(p, "https://", 8) == 0 ? 8
											  : 0;

		if (!scheme || bytes == scheme || strcspn(p, " @?#") < bytes)
			return err_set(err, -EINVAL,
				"clickhouse.url: expected http://HOST:PORT or https://HOST:PORT[,...], "
				"without blanks, user and query");
		p += bytes;
		if (!*p)
			return 0;
	}
}

static int check_lag(const char *section, uint64_t policy, uint64_t limit, struct err *err)
{
	if (policy == CONFIG_LAG_SKIP && limit == 0)
		return err_set(err, -EINVAL, "%s.lag_policy: skip needs %s.lag_limit", section, section);
	return 0;
}

static int check_lags(const struct config *cfg, struct err *err)
{
	int rc = check_lag("kafka", cfg->kafka.lag_policy, cfg->kafka.lag_limit, err);

	if (rc == 0)
		rc = check_lag("clickhouse", cfg->clickhouse.lag_policy, cfg->clickhouse.lag_limit, err);
	if (rc == 0)
		rc = check_lag("webhook", cfg->webhook.lag_policy, cfg->webhook.lag_limit, err);
	/* A batch that waits for one of several servers must not lose its records meanwhile. */
	if (rc == 0 && cfg->clickhouse.enabled && strchr(cfg->clickhouse.url, ',') &&
		(cfg->clickhouse.lag_policy == CONFIG_LAG_SKIP ||
			cfg->journal.full == CONFIG_FULL_DROP_OLD_UNSENT))
		rc = err_set(err, -EINVAL,
			"clickhouse.url: several servers go neither with clickhouse.lag_policy: skip nor "
			"with "
			"journal.full: drop_old_unsent");
	return rc;
}

static int check_sinks(const struct config *cfg, struct err *err)
{
	const char *url = cfg->webhook.url;

	if (cfg->kafka.enabled && !cfg->kafka.brokers[0])
		return err_set(err, -EINVAL,
			"kafka.brokers: empty, but kafka.enabled is true: expected HOST:PORT[,...]");
	if (cfg->kafka.enabled && cfg->kafka.min_isr > cfg->kafka.replication)
		return err_set(err, -EINVAL,
			"kafka.min_isr: %" PRIu64 " is more than kafka.replication, %" PRIu64,
			cfg->kafka.min_isr, cfg->kafka.replication);
	if (cfg->clickhouse.enabled && check_clickhouse_url(cfg->clickhouse.url, err))
		return -EINVAL;
	if (cfg->webhook.enabled && (strncmp(url, "http://", 7) != 0 || !url[7]) &&
		(strncmp(url, "https://", 8) != 0 || !url[8]))
		return err_set(err, -EINVAL,
			"webhook.url: expected http://HOST[:PORT]/PATH or https://HOST[:PORT]/PATH");
	for (const char *p = cfg->clickhouse.database; *p; p++)
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_", *p))
			return err_set(err, -EINVAL,
				"clickhouse.database: '%s': expected letters, digits and _",
				cfg->clickhouse.database);
	return 0;
}

#define TOPIC_KEYS 7

struct topic_key {
	const char *key, *topic;
	enum config_topic_kind kind;
};

static void topic_keys(struct topic_key row[TOPIC_KEYS], const struct config_kafka *cfg)
{
	const struct topic_key key[TOPIC_KEYS] = {
		{"topic_positions", cfg->topic_positions, CONFIG_TOPIC_POSITIONS},
		{"topic_alerts", cfg->topic_alerts, CONFIG_TOPIC_ALERTS},
		{"topic_dead", cfg->topic_dead, CONFIG_TOPIC_REASONS},
		{"topic_late", cfg->topic_late, CONFIG_TOPIC_REASONS},
		{"topic_enriched", cfg->topic_enriched, CONFIG_TOPIC_ENRICHED},
		{"topic_click", cfg->topic_click, CONFIG_TOPIC_EVENTS},
		{"topic_platform", cfg->topic_platform, CONFIG_TOPIC_EVENTS}};

	memcpy(row, key, sizeof key);
}

const char *config_topic_other(const struct config_kafka *cfg, const char *topic, enum config_topic_kind kind)
{
	struct topic_key row[TOPIC_KEYS];

	topic_keys(row, cfg);
	for (size_t i = 0; i < TOPIC_KEYS; i++)
		if (row[i].kind != kind && !strcmp(row[i].topic, topic))
			return row[i].key;
	return NULL;
}

static int check_topics(const struct config *cfg, struct err *err)
{
	struct topic_key row[TOPIC_KEYS];

	topic_keys(row, &cfg->kafka);
	for (size_t i = 0; i < TOPIC_KEYS; i++) {
		const char *other = config_topic_other(&cfg->kafka, row[i].topic, row[i].kind);

		if (!config_name_ok(row[i].topic))
			return err_set(err, -EINVAL, "kafka.%s: '%s': expected letters, digits and ._-",
				row[i].key, row[i].topic);
		if (other)
			return err_set(err, -EINVAL,
				"kafka.%s: '%s' is kafka.%s too: what they hold would be mixed", row[i].key,
				row[i].topic, other);
	}
	if (*cfg->kafka.topic_aggregates && !config_name_ok(cfg->kafka.topic_aggregates))
		return err_set(err, -EINVAL, "kafka.topic_aggregates: '%s': expected letters, digits and ._-",
			cfg->kafka.topic_aggregates);
	return 0;
}

static int check_listeners(const struct config *cfg, struct err *err)
{
	for (uint32_t i = 0; i < cfg->listeners_count; i++) {
		struct ip_list allow;
		struct err why;

		if (!config_name_ok(cfg->listeners[i].name))
			return err_set(err, -EINVAL, "listeners.name: '%s': expected letters, digits and ._-",
				cfg->listeners[i].name);
		if (ip_list_from_text(&allow, cfg->listeners[i].allow, &why))
			return err_set(
				err, -EINVAL, "listeners.allow of %s: %s", cfg->listeners[i].name, why.text);
		if (cfg->listeners[i].key_file[0] && cfg->listeners[i].format != CONFIG_FORMAT_SLUICE)
			return err_set(err, -EINVAL,
				"listeners.key_file of %s: only the format sluice has keys",
				cfg->listeners[i].name);
		if (cfg->listeners[i].burst && !cfg->listeners[i].rate)
			return err_set(err, -EINVAL, "listeners.burst of %s: expected a rate with it",
				cfg->listeners[i].name);
		for (uint32_t k = 0; k < i; k++)
			if (!strcmp(cfg->listeners[i].name, cfg->listeners[k].name) ||
				cfg->listeners[i].udp_port == cfg->listeners[k].udp_port)
				return err_set(err, -EINVAL,
					"listeners: '%s' and '%s' have the same name or UDP port",
					cfg->listeners[k].name, cfg->listeners[i].name);
	}
	return 0;
}

/* A listener would get the tunnel's datagrams, and nothing within. */
static int check_decap(const struct config *cfg, const struct config_ports *port, struct err *err)
{
	struct err why;
	uint32_t decap;

	if (decap_from_text(&decap, port->decap, &why))
		return err_set(err, -EINVAL, "ports.decap of %s: %s", port->name, why.text);
	for (uint32_t i = 0; i < cfg->listeners_count && decap & DECAP_VXLAN; i++)
		if (cfg->listeners[i].udp_port == DECAP_VXLAN_PORT)
			return err_set(err, -EINVAL,
				"listeners: '%s' has the UDP port of VXLAN, which port %s takes off "
				"(ports.decap)",
				cfg->listeners[i].name, port->name);
	return 0;
}

/* What a mirror shows is meant for others, who answer. */
static int check_addresses(const struct config *cfg, uint32_t index, struct err *err)
{
	const struct config_ports *port = &cfg->ports[index];
	struct address_list list, other;
	uint32_t decap = 0;
	struct err why;

	if (address_list_from_text(&list, port->addresses, &why))
		return err_set(err, -EINVAL, "ports.addresses of %s: %s", port->name, why.text);
	if (list.count && (port->promiscuous || decap_from_text(&decap, port->decap, &why) || decap))
		return err_set(err, -EINVAL,
			"ports.addresses of %s: a port with decap or promiscuous takes what is meant for "
			"others, and answers nothing",
			port->name);
	for (uint32_t k = 0; k < index; k++) {
		if (address_list_from_text(&other, cfg->ports[k].addresses, &why))
			continue;
		for (uint32_t i = 0; i < list.count; i++)
			if (address_list_find(&other, list.address[i]) < ADDRESS_LIST_MAX)
				return err_set(err, -EINVAL,
					"ports.addresses: '%s' and '%s' have an address in common",
					cfg->ports[k].name, port->name);
	}
	return 0;
}

static int check_inputs(const struct config *cfg, struct err *err)
{
	if (!cfg->ports_count)
		return err_set(
			err, -EINVAL, "ports: none: no packet could come in; expected at least one entry");
	if (!cfg->listeners_count)
		return err_set(err, -EINVAL,
			"listeners: none: every datagram would be dropped; expected at least one");
	for (uint32_t i = 0; i < cfg->ports_count; i++) {
		uint64_t held = cfg->ports[i].queues * cfg->ports[i].descriptors +
				(cfg->ports[i].addresses[0] ? MBUFS_ANSWERS : 0);

		if (cfg->eal.mbufs && cfg->eal.mbufs < held + MBUFS_SPARE)
			return err_set(err, -EINVAL,
				"eal.mbufs: %" PRIu64
				" are too few for port %s, whose rings alone hold %" PRIu64
				" (queues x descriptors, answers): expected at least %" PRIu64,
				cfg->eal.mbufs, cfg->ports[i].name, held, held + MBUFS_SPARE);
		if (!config_name_ok(cfg->ports[i].name))
			return err_set(err, -EINVAL, "ports.name: '%s': expected letters, digits and ._-",
				cfg->ports[i].name);
		if (check_decap(cfg, &cfg->ports[i], err) || check_addresses(cfg, i, err))
			return -EINVAL;
		for (uint32_t k = 0; k < i; k++)
			if (!strcmp(cfg->ports[i].name, cfg->ports[k].name) ||
				!strcmp(cfg->ports[i].device, cfg->ports[k].device))
				return err_set(err, -EINVAL,
					"ports: '%s' and '%s' have the same name or device",
					cfg->ports[k].name, cfg->ports[i].name);
	}
	return check_listeners(cfg, err);
}

static int check_lookups(const struct config *cfg, struct err *err)
{
	for (uint32_t i = 0; i < cfg->lookups_count; i++) {
		if (!config_name_ok(cfg->lookups[i].name))
			return err_set(err, -EINVAL, "lookups.name: '%s': expected letters, digits and ._-",
				cfg->lookups[i].name);
		for (uint32_t k = 0; k < i; k++)
			if (!strcmp(cfg->lookups[i].name, cfg->lookups[k].name))
				return err_set(err, -EINVAL, "lookups: two have the name '%s'",
					cfg->lookups[i].name);
	}
	return 0;
}

int config_check(const struct config *cfg, struct err *err)
{
	int (*const check[])(const struct config *, struct err *) = {check_cores, check_journal, check_sinks,
		check_lags, check_topics, check_inputs, check_lookups};

	if (!config_name_ok(cfg->node.id))
		return err_set(err, -EINVAL, "node.id: '%s': expected letters, digits and ._-", cfg->node.id);
	for (size_t i = 0; i < sizeof check / sizeof *check; i++) {
		int rc = check[i](cfg, err);

		if (rc)
			return rc;
	}
	return 0;
}
