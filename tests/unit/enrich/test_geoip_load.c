/* GeoIP tables: for every address the same answer as libmaxminddb's own look-up; damaged files end in an
 * error or in a table that can be searched. */
#include <arpa/inet.h>
#include <errno.h>
#include <maxminddb.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "enrich_files.h"
#include "enrich_priv.h"
#include "ip_text.h"

#define BYTES_MAX (64u << 20)

/* "COUNTRY/CITY" or "AS1/" of an address; "" if there is none. */
static const char *answer(const struct geoip *geo, const uint8_t addr[16])
{
	static char out[300];
	uint32_t n = geoip_find(geo, addr);
	const struct geoip_result *r = &geo->result[n];

	out[0] = 0;
	if (n)
		snprintf(out, sizeof out, "%.*s/%.*s", r->bytes[0], (const char *)geo->text + r->at,
			r->bytes[1], (const char *)geo->text + r->at + r->bytes[0]);
	return out;
}

static const char *ask(const struct geoip *geo, const char *text)
{
	uint8_t addr[16];

	assert_true(ip_from_text(addr, (const uint8_t *)text, (uint32_t)strlen(text)));
	return answer(geo, addr);
}

static void load(struct geoip *geo, enum geoip_kind kind, const char *name)
{
	struct err err = {{0}};
	char path[512];

	snprintf(path, sizeof path, "%s%s", MMDB_DIR, name);
	if (geoip_load(geo, kind, path, BYTES_MAX, &err))
		fail_msg("%s", err.text);
}

static void test_known(void **state)
{
	static const char *const file[] = {"city24.mmdb", "city.mmdb", "city32.mmdb", "city_v4.mmdb"};
	struct geoip geo;

	(void)state;
	for (int i = 0; i < 4; i++) {
		bool v6 = i < 3;

		load(&geo, GEOIP_CITY, file[i]);
		assert_string_equal(ask(&geo, "192.0.2.255"), "DE/Berlin");
		assert_string_equal(ask(&geo, "192.0.3.0"), "");
		assert_string_equal(ask(&geo, "198.51.100.127"), "US/New York");
		assert_string_equal(ask(&geo, "198.51.100.128"), "US/");
		assert_string_equal(ask(&geo, "203.0.113.7"), "FR/Saint-\xc3\x89tienne");
		assert_string_equal(ask(&geo, "203.0.113.6"), "");
		assert_string_equal(ask(&geo, "::ffff:10.9.8.7"), "ZZ/Testville");
		assert_string_equal(ask(&geo, "2001:db8::1"), v6 ? "JP/T\xc5\x8dky\xc5\x8d" : "");
		assert_string_equal(ask(&geo, "2001:db8::7"), v6 ? "IN/" : "");
		assert_string_equal(ask(&geo, "2001:db8:ff:1::"), v6 ? "BR/S\xc3\xa3o Paulo" : "");
		assert_string_equal(ask(&geo, "2001:db9::"), "");
		assert_int_equal(geo.left_out, 0);
		geoip_free(&geo);
	}
	load(&geo, GEOIP_ASN, "asn.mmdb");
	assert_string_equal(ask(&geo, "192.0.2.1"), "AS64496/");
	assert_string_equal(ask(&geo, "203.0.113.1"), "AS4200000000/");
	assert_string_equal(ask(&geo, "2001:db8::1"), "AS65551/");
	geoip_free(&geo);
}

static const char *library_text(MMDB_lookup_result_s *r, const char *const *path)
{
	static char out[2][200];
	static int turn;
	MMDB_entry_data_s data;

	turn ^= 1;
	out[turn][0] = 0;
	if (MMDB_aget_value(&r->entry, &data, path) == 0 && data.has_data)
		snprintf(out[turn], sizeof out[turn], "%.*s", (int)data.data_size, data.utf8_string);
	return out[turn];
}

/* Random addresses in and around the known networks: libmaxminddb is the oracle. */
static void test_library(void **state)
{
	static const char *const base[] = {"192.0.2.0", "198.51.100.128", "203.0.113.7", "10.0.0.0",
		"2001:db8::7", "2001:db8:ff::", "::", "2001:db8::"};
	static const char *const country[] = {"country", "iso_code", NULL}, *const city[] = {"city", "names",
										    "en", NULL};
	struct geoip geo;
	char want[300];
	MMDB_s db;

	(void)state;
	load(&geo, GEOIP_CITY, "city.mmdb");
	assert_int_equal(MMDB_open(MMDB_DIR "city.mmdb", 0, &db), 0);
	srandom(9);
	for (int i = 0; i < 300000; i++) {
		struct sockaddr_in6 sa6 = {.sin6_family = AF_INET6};
		struct sockaddr_in sa4 = {.sin_family = AF_INET};
		uint8_t addr[16];
		MMDB_lookup_result_s r;
		bool v4;
		int code;

		assert_true(ip_from_text(addr, (const uint8_t *)base[i % 8], (uint32_t)strlen(base[i % 8])));
		v4 = ip_is_v4(addr);
		for (int k = 0; k < 3; k++)
			addr[v4 ? 12 + random() % 4 : random() % 16] ^= (uint8_t)(1u << random() % 8);
		v4 = ip_is_v4(addr);
		memcpy(&sa6.sin6_addr, addr, 16);
		memcpy(&sa4.sin_addr, addr + 12, 4);
		r = MMDB_lookup_sockaddr(&db, v4 ? (struct sockaddr *)&sa4 : (struct sockaddr *)&sa6, &code);
		assert_int_equal(code, 0);
		want[0] = 0;
		if (r.found_entry)
			snprintf(want, sizeof want, "%s/%s", library_text(&r, country),
				library_text(&r, city));
		assert_string_equal(answer(&geo, addr), want);
	}
	MMDB_close(&db);
	geoip_free(&geo);
}

/* What does not fit its field, or is of another type, is left out, and the rest is taken. */
static void test_evil_records(void **state)
{
	struct geoip geo;

	(void)state;
	load(&geo, GEOIP_CITY, "city_evil.mmdb");
	assert_string_equal(ask(&geo, "192.0.2.1"), "DE/");
	assert_string_equal(ask(&geo, "198.51.100.1"), "/Fits");
	assert_string_equal(ask(&geo, "203.0.113.1"), "");
	assert_int_equal(geo.left_out, 2);
	geoip_free(&geo);
	load(&geo, GEOIP_ASN, "asn_evil.mmdb");
	assert_string_equal(ask(&geo, "192.0.2.1"), "");
	assert_int_equal(geo.results, 1);
	geoip_free(&geo);
	load(&geo, GEOIP_ASN, "city.mmdb"); /* the wrong kind of file knows nothing */
	assert_int_equal(geo.networks, 0);
	geoip_free(&geo);
}

static char *content(const char *path, size_t *bytes)
{
	FILE *in = fopen(path, "re");
	char *data = malloc(1 << 20);

	assert_non_null(in);
	*bytes = fread(data, 1, 1 << 20, in);
	fclose(in);
	return data;
}

static void test_damage(void **state)
{
	uint32_t refused = 0, taken = 0;
	struct geoip geo;
	struct err err;
	size_t bytes;
	char path[64], *data = content(MMDB_DIR "city.mmdb", &bytes), *bad = malloc(bytes);

	(void)state;
	file_path(path);
	file_write_text(path, "no database");
	assert_int_equal(geoip_load(&geo, GEOIP_CITY, path, BYTES_MAX, &err), -EINVAL);
	assert_non_null(strstr(err.text, path));
	srandom(3);
	for (int i = 0; i < 3000; i++) {
		size_t keep = i % 3 ? bytes : (size_t)random() % bytes;

		memcpy(bad, data, bytes);
		for (int k = 0; k < 1 + i % 4; k++)
			bad[(size_t)random() % bytes] ^= (char)(1 + random() % 255);
		file_write(path, bad, keep ? keep : 1);
		err.text[0] = 0;
		if (geoip_load(&geo, GEOIP_CITY, path, BYTES_MAX, &err)) {
			assert_non_null(strstr(err.text, path));
			assert_null(geo.link);
			refused++;
			continue;
		}
		taken++;
		for (int k = 0; k < 200; k++) {
			uint8_t addr[16];

			for (int b = 0; b < 16; b++)
				addr[b] = (uint8_t)random();
			if (k % 2)
				ip_from_text(addr, (const uint8_t *)"192.0.2.1", 9);
			assert_true(geoip_find(&geo, addr) < geo.results);
		}
		geoip_free(&geo);
	}
	if (refused < 300 || taken < 300)
		fail_msg("refused %u, taken %u: a test of one side only", refused, taken);
	unlink(path);
	free(data);
	free(bad);
}

/* The file may be cut or removed as soon as it is loaded. */
static void test_copy(void **state)
{
	struct geoip geo;
	struct err err;
	size_t bytes;
	char path[64], *data = content(MMDB_DIR "city.mmdb", &bytes);

	(void)state;
	file_path(path);
	file_write(path, data, bytes);
	assert_int_equal(geoip_load(&geo, GEOIP_CITY, path, bytes - 1, &err), -EINVAL);
	assert_int_equal(geoip_load(&geo, GEOIP_CITY, path, bytes, &err), 0);
	assert_int_equal(truncate(path, 0), 0);
	assert_string_equal(ask(&geo, "192.0.2.1"), "DE/Berlin");
	geoip_free(&geo);
	unlink(path);
	free(data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known),
		cmocka_unit_test(test_library),
		cmocka_unit_test(test_evil_records),
		cmocka_unit_test(test_damage),
		cmocka_unit_test(test_copy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
