/* See kafka_log.h. */
#include "kafka_log.h"

#include <ctype.h>
#include <stdint.h>
#include <string.h>

#include "hash.h"

#define WINDOW_NS 60000000000ull
#define DEBUG 7 /* of syslog: asked for by kafka.options, and then as it comes */

struct kind {
	_Atomic uint64_t hash; /* 0: free */
	struct log_site site;
};
static struct kind kind_table[KAFKA_LOG_KINDS] = {
	[0 ... KAFKA_LOG_KINDS - 1] = {.site = {.burst = 1, .window_ns = WINDOW_NS}}};
static struct log_site others = {.burst = 1, .window_ns = WINDOW_NS};

/* Of facility, thread, which names the broker, and what it says: without its numbers, and without how long
 * and how often it was so, which librdkafka puts in brackets behind it. */
static uint64_t kind_hash(const char *facility, const char *text)
{
	const char *said = !strncmp(text, "[thrd:", 6) ? strstr(text, "]: ") : NULL;
	const char *end = strstr(text, " (after ");
	uint64_t hash = hash_bytes(facility, strlen(facility), 0);
	char plain[512];
	size_t n = 0;

	if (said)
		hash = hash_bytes(text, (size_t)(said - text), hash);
	for (said = said ? said : text; *said && said != end && n < sizeof plain; said++)
		if (!isdigit((unsigned char)*said))
			plain[n++] = *said;
	hash = hash_bytes(plain, n, hash);
	return hash ? hash : 1;
}

struct log_site *kafka_log_site(const char *facility, const char *text)
{
	uint64_t hash = kind_hash(facility, text);

	for (uint32_t i = 0; i < KAFKA_LOG_KINDS; i++) {
		struct kind *kind = &kind_table[(hash + i) % KAFKA_LOG_KINDS];
		uint64_t taken = 0;

		if (atomic_compare_exchange_strong(&kind->hash, &taken, hash) || taken == hash)
			return &kind->site;
	}
	return &others;
}

void kafka_log(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
	(void)rk;
	if (level >= DEBUG)
		log_debug("kafka", "%s: %s", facility, text);
	else
		log_write(kafka_log_site(facility, text),
			level <= 3   ? LOG_LEVEL_ERROR
			: level == 4 ? LOG_LEVEL_WARN
				     : LOG_LEVEL_INFO,
			"kafka", "%s: %s", facility, text);
}
