/* What enrichment costs an event: each kind of table alone and all together, against libmaxminddb's own
 * look-up of the same addresses, and what a cache of results by address would give. Bursts of 32; addresses
 * and users are drawn at random, so that the tables (1,000,000 rows; 200,000 networks) are met outside the
 * caches. The databases are made once, beside the program. bench_enrich [CITY.mmdb ASN.mmdb] */
#include <arpa/inet.h>
#include <maxminddb.h>
#include <unistd.h>

#include "bench_util.h"
#include "enrich_priv.h"

#define COUNT 65536u
#define BURST 32u
#define USERS 1000000u
#define RAW_BYTES 48u
#define CACHE_SLOTS 4096u

struct cache_slot {
	uint8_t addr[16];
	uint32_t number;
};

static struct {
	struct config cfg;
	struct enrich_set *set;
	struct enricher *en;
	struct enrich_stats stats;
	struct event event[BURST];
	struct event *burst[BURST];
	uint8_t (*addr)[16];
	uint8_t *raw;
	uint8_t *user_bytes;
	MMDB_s city, asn;
	struct cache_slot *cache;
	uint64_t cache_hits, cache_asked;
} b;

/* A click as the parser leaves it: {user_id}{page} as raw bytes. */
static void burst_fill(uint32_t at)
{
	for (uint32_t i = 0; i < BURST; i++) {
		struct event *ev = &b.event[i];
		uint32_t n = (at + i) % COUNT;

		ev->raw = b.raw + (size_t)n * RAW_BYTES;
		ev->raw_bytes = RAW_BYTES;
		ev->tail_bytes = 0;
		ev->field_mask = FBIT(user_id) | FBIT(page);
		ev->field[FIELD_user_id] = (struct span){0, b.user_bytes[n]};
		ev->field[FIELD_page] = (struct span){16, 13};
		memcpy(ev->src_addr, b.addr[n], 16);
	}
}

static void run_empty(void *arg, uint32_t count)
{
	(void)arg;
	for (uint32_t done = 0; done < count; done += BURST) {
		burst_fill(done);
		bench_keep(b.event);
	}
}

static void run_stage(void *arg, uint32_t count)
{
	(void)arg;
	for (uint32_t done = 0; done < count; done += BURST) {
		burst_fill(done);
		enrich_run(b.en, b.set, b.burst, BURST, &b.stats);
	}
}

static void run_find(void *arg, uint32_t count)
{
	uint32_t sum = 0;

	for (uint32_t i = 0; i < count; i++)
		sum += geoip_find(arg, b.addr[i % COUNT]);
	bench_keep(&sum);
}

static void run_find_cached(void *arg, uint32_t count)
{
	uint32_t sum = 0;

	for (uint32_t i = 0; i < count; i++) {
		const uint8_t *addr = b.addr[i % COUNT];
		struct cache_slot *slot = &b.cache[hash_bytes(addr, 16, 0) % CACHE_SLOTS];

		b.cache_asked++;
		if (memcmp(slot->addr, addr, 16) == 0) {
			b.cache_hits++;
		} else {
			memcpy(slot->addr, addr, 16);
			slot->number = geoip_find(arg, addr);
		}
		sum += slot->number;
	}
	bench_keep(&sum);
}

/* The same three texts by the library. */
static void run_library(void *arg, uint32_t count)
{
	static const char *const country[] = {"country", "iso_code", NULL};
	static const char *const city[] = {"city", "names", "en", NULL};
	static const char *const asn[] = {"autonomous_system_number", NULL};
	struct sockaddr_in sa = {.sin_family = AF_INET};
	MMDB_entry_data_s data;
	int code;

	(void)arg;
	for (uint32_t i = 0; i < count; i++) {
		MMDB_lookup_result_s r;

		memcpy(&sa.sin_addr, b.addr[i % COUNT] + 12, 4);
		r = MMDB_lookup_sockaddr(&b.city, (struct sockaddr *)&sa, &code);
		if (r.found_entry) {
			MMDB_aget_value(&r.entry, &data, country);
			MMDB_aget_value(&r.entry, &data, city);
		}
		r = MMDB_lookup_sockaddr(&b.asn, (struct sockaddr *)&sa, &code);
		if (r.found_entry)
			MMDB_aget_value(&r.entry, &data, asn);
		bench_keep(&data);
	}
}

/* Users half of whom the table knows; addresses out of `distinct` ones. */
static void events_make(uint32_t distinct)
{
	uint64_t seed = 3;

	for (uint32_t i = 0; i < COUNT; i++) {
		uint8_t *raw = b.raw + (size_t)i * RAW_BYTES;
		uint64_t one = bench_random(&seed) % distinct, r = hash_u64(one + 1);
		char text[RAW_BYTES + 1];

		b.user_bytes[i] = (uint8_t)snprintf(
			text, sizeof text, "u%u", (uint32_t)(bench_random(&seed) % (2 * USERS)));
		memset(raw, ' ', RAW_BYTES);
		memcpy(raw, text, b.user_bytes[i]);
		snprintf(text, sizeof text, "/product/%04u", (uint32_t)(r >> 40) % 2000);
		memcpy(raw + 16, text, 13);
		memset(b.addr[i], 0, 16);
		b.addr[i][10] = b.addr[i][11] = 0xff;
		memcpy(b.addr[i] + 12, &r, 4);
	}
}

static void csv_write(const char *path, const char *prefix, const char *format, uint32_t rows)
{
	FILE *out = fopen(path, "we");

	if (!out)
		exit(1);
	fprintf(out, "key,value\n");
	for (uint32_t i = 0; i < rows; i++) {
		fputs(prefix, out);
		fprintf(out, format, i);
		fprintf(out, ",value-%u\n", i % 20);
	}
	fclose(out);
}

static void mmdb_make(const char *path, const char *kind)
{
	char command[600];

	if (access(path, R_OK) == 0)
		return;
	snprintf(command, sizeof command, "python3 %s %s %s --random 200000", MAKE_MMDB, path, kind);
	if (system(command) != 0)
		exit(1);
}

/* Loads what is named of: c(ity), a(sn), u(sers), p(roducts). */
static void set_use(const char *what, const char *city, const char *asn)
{
	static const struct config_lookups users = {.name = "users",
						   .file = "./bench_users.csv",
						   .key = "user_id",
						   .to = "user_segment"},
					   products = {.name = "products",
						   .file = "./bench_products.csv",
						   .key = "page",
						   .key_prefix = "/product/",
						   .to = "product_category"};
	struct err err;

	if (b.set)
		enrich_set_free(b.set);
	config_defaults(&b.cfg);
	if (strchr(what, 'c'))
		snprintf(b.cfg.enrich.geoip_city, sizeof b.cfg.enrich.geoip_city, "%s", city);
	if (strchr(what, 'a'))
		snprintf(b.cfg.enrich.geoip_asn, sizeof b.cfg.enrich.geoip_asn, "%s", asn);
	if (strchr(what, 'u'))
		b.cfg.lookups[b.cfg.lookups_count++] = users;
	if (strchr(what, 'p'))
		b.cfg.lookups[b.cfg.lookups_count++] = products;
	if (enrich_set_load(&b.set, &b.cfg, &err)) {
		fprintf(stderr, "%s\n", err.text);
		exit(1);
	}
	memset(&b.stats, 0, sizeof b.stats);
}

static void stage_report(const char *name, const char *what, const char *city, const char *asn, double empty)
{
	double ns;

	set_use(what, city, asn);
	ns = bench_report(name, run_stage, NULL, COUNT, 0);
	printf("   without filling the events: %.1f ns\n", ns - empty);
}

static void setup(void)
{
	b.addr = calloc(COUNT, sizeof *b.addr);
	b.raw = calloc(COUNT + 2, RAW_BYTES);
	b.user_bytes = calloc(COUNT, 1);
	b.cache = calloc(CACHE_SLOTS, sizeof *b.cache);
	b.en = enricher_new(256, 256u << 10, 65536);
	if (!b.addr || !b.raw || !b.user_bytes || !b.cache || !b.en)
		exit(1);
	for (uint32_t i = 0; i < BURST; i++)
		b.burst[i] = &b.event[i];
	csv_write("./bench_users.csv", "u", "%u", USERS);
	csv_write("./bench_products.csv", "", "%04u", 1000);
}

int main(int argc, char **argv)
{
	const char *city = argc > 2 ? argv[1] : "./bench_city.mmdb",
		   *asn = argc > 2 ? argv[2] : "./bench_asn.mmdb";
	uint64_t start;
	double empty;

	setup();
	mmdb_make(city, "city");
	mmdb_make(asn, "asn");
	events_make(UINT32_MAX);
	start = bench_now_ns();
	set_use("caup", city, asn);
	printf("-- all tables loaded in %.2f s: %u nodes, %u results, %u rows\n",
		(double)(bench_now_ns() - start) / 1e9, b.set->geo[GEOIP_CITY].table.nodes,
		b.set->geo[GEOIP_CITY].table.results, b.set->lookup[0].table.rows);
	empty = bench_report("filling the events", run_empty, NULL, COUNT, 0);
	stage_report("product of 1,000 by page prefix", "p", city, asn, empty);
	stage_report("user of 1,000,000", "u", city, asn, empty);
	stage_report("country and city", "c", city, asn, empty);
	stage_report("country, city and ASN", "ca", city, asn, empty);
	stage_report("all of these", "caup", city, asn, empty);
	if (MMDB_open(city, 0, &b.city) || MMDB_open(asn, 0, &b.asn))
		return 1;
	bench_report("libmaxminddb: country, city and ASN", run_library, NULL, COUNT, 0);
	for (uint32_t distinct = 10000; distinct <= 10000000; distinct *= 1000) {
		events_make(distinct);
		printf("-- addresses out of %u\n", distinct);
		bench_report("bare find of a city", run_find, &b.set->geo[GEOIP_CITY].table, COUNT, 0);
		b.cache_hits = b.cache_asked = 0;
		bench_report("the same behind a cache of 4,096", run_find_cached,
			&b.set->geo[GEOIP_CITY].table, COUNT, 0);
		printf("   hits: %.0f%%\n", 100.0 * (double)b.cache_hits / (double)b.cache_asked);
	}
	return 0;
}
