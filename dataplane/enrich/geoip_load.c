/* MaxMind DB files to tables. libmaxminddb opens a copy in memory (memfd), so that a file that is cut while
 * it is mapped cannot raise SIGBUS, and is asked for each node of the search tree and for each distinct data
 * record once. Control threads. */
#include "geoip.h"

#include <errno.h>
#include <maxminddb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bytes.h"
#include "hash.h"
#include "table_file.h"
#include "table_memory.h"
#include "utf8.h"

#define FIRST_BITS 16
#define FIRST_LINKS (1u << FIRST_BITS)
#define PATH_MAX_PARTS 4

/* What is taken from a data record: where it stands, and the field that it fills. */
struct geoip_text {
	enum field_id field;
	const char *path[PATH_MAX_PARTS];
	bool number; /* of an autonomous system: "AS" is put before it */
};

static const struct geoip_text text_table[GEOIP_KINDS][GEOIP_TEXTS_MAX] = {
	[GEOIP_CITY] = {{FIELD_geo_country, {"country", "iso_code", NULL}, false},
		{FIELD_geo_city, {"city", "names", "en", NULL}, false}},
	[GEOIP_ASN] = {{FIELD_geo_asn, {"autonomous_system_number", NULL}, true},
		{FIELD_NONE, {NULL}, false}},
};

/* Place of a data record in the file -> number of its result. */
struct seen {
	uint32_t offset; /* + 1; 0: free */
	uint32_t result;
};

struct load {
	MMDB_s db;
	const struct geoip_text *want;
	struct geoip *geo;
	struct bytes text, result;
	struct seen *seen;
	uint32_t seen_mask, seen_count;
	struct err *err;
};

static int no_memory(struct load *ld)
{
	return err_set(ld->err, -ENOMEM, "no memory");
}

/* The wanted text of a record into out; 0 bytes if it has none that fits its field. */
static uint32_t text_take(
	struct load *ld, const struct geoip_text *want, uint32_t offset, char *out, size_t cap)
{
	MMDB_entry_s entry = {&ld->db, offset};
	MMDB_entry_data_s data;
	size_t bytes;

	if (!want->field || MMDB_aget_value(&entry, &data, want->path) != MMDB_SUCCESS || !data.has_data)
		return 0;
	if (want->number) {
		if (data.type == MMDB_DATA_TYPE_UINT32)
			return (uint32_t)snprintf(out, cap, "AS%u", data.uint32);
		return data.type == MMDB_DATA_TYPE_UINT16 ? (uint32_t)snprintf(out, cap, "AS%u", data.uint16)
							  : 0;
	}
	if (data.type != MMDB_DATA_TYPE_UTF8_STRING || data.data_size == 0)
		return 0;
	bytes = data.data_size;
	if (bytes > field_table[want->field].len_max || bytes > cap || bytes > UINT8_MAX ||
		!utf8_valid((const uint8_t *)data.utf8_string, (uint32_t)bytes)) {
		ld->geo->left_out++;
		return 0;
	}
	memcpy(out, data.utf8_string, bytes);
	return (uint32_t)bytes;
}

/* The number of the result that a data record becomes: 0 if it has nothing that is wanted. */
static int result_make(struct load *ld, uint32_t offset, uint32_t *number)
{
	struct geoip_result r = {.at = (uint32_t)ld->text.bytes};
	char text[UINT8_MAX];

	for (int i = 0; i < GEOIP_TEXTS_MAX; i++) {
		uint32_t bytes = text_take(ld, &ld->want[i], offset, text, sizeof text);

		r.bytes[i] = (uint8_t)bytes;
		bytes_put(&ld->text, text, bytes);
	}
	*number = 0;
	if (r.bytes[0] || r.bytes[1]) {
		*number = (uint32_t)(ld->result.bytes / sizeof r);
		bytes_put(&ld->result, &r, sizeof r);
	}
	if (ld->text.bytes > UINT32_MAX || *number >= GEOIP_LEAF)
		return err_set(ld->err, -EINVAL, "more records than a table can have");
	return ld->text.failed || ld->result.failed ? no_memory(ld) : 0;
}

static int seen_grow(struct load *ld)
{
	uint32_t mask = ld->seen ? ld->seen_mask * 2 + 1 : 4095;
	struct seen *seen = calloc((size_t)mask + 1, sizeof *seen);

	if (!seen)
		return no_memory(ld);
	for (uint32_t i = 0; ld->seen && i <= ld->seen_mask; i++) {
		uint32_t k = (uint32_t)hash_u64(ld->seen[i].offset) & mask;

		if (!ld->seen[i].offset)
			continue;
		while (seen[k].offset)
			k = (k + 1) & mask;
		seen[k] = ld->seen[i];
	}
	free(ld->seen);
	ld->seen = seen;
	ld->seen_mask = mask;
	return 0;
}

/* Many networks have one data record: each is looked into once. */
static int result_of(struct load *ld, uint32_t offset, uint32_t *number)
{
	uint32_t k;
	int rc = 0;

	if (offset == UINT32_MAX)
		return err_set(ld->err, -EINVAL, "damaged: a data record outside of the file");
	if (!ld->seen || ld->seen_count * 2 > ld->seen_mask)
		rc = seen_grow(ld);
	if (rc)
		return rc;
	for (k = (uint32_t)hash_u64(offset + 1) & ld->seen_mask; ld->seen[k].offset;
		k = (k + 1) & ld->seen_mask)
		if (ld->seen[k].offset == offset + 1) {
			*number = ld->seen[k].result;
			return 0;
		}
	rc = result_make(ld, offset, number);
	ld->seen[k] = (struct seen){offset + 1, *number};
	ld->seen_count++;
	return rc;
}

static int link_make(struct load *ld, uint8_t type, uint64_t record, const MMDB_entry_s *entry, uint32_t *out)
{
	uint32_t number = 0;
	int rc;

	switch (type) {
	case MMDB_RECORD_TYPE_SEARCH_NODE:
		if (record >= ld->geo->nodes)
			break;
		*out = (uint32_t)record;
		return 0;
	case MMDB_RECORD_TYPE_EMPTY:
		*out = GEOIP_LEAF;
		return 0;
	case MMDB_RECORD_TYPE_DATA:
		if (entry->offset >= ld->db.data_section_size)
			break;
		rc = result_of(ld, entry->offset, &number);
		ld->geo->networks += number != 0;
		*out = GEOIP_LEAF | number;
		return rc;
	}
	return err_set(ld->err, -EINVAL, "damaged: the search tree points outside of the file");
}

static int links_make(struct load *ld)
{
	struct geoip *geo = ld->geo;
	uint32_t(*link)[2] = table_alloc((size_t)geo->nodes * sizeof *link);
	MMDB_search_node_s node;
	int rc = 0;

	geo->link = (const uint32_t(*)[2])link;
	if (!link)
		return no_memory(ld);
	for (uint32_t i = 0; i < geo->nodes && rc == 0; i++) {
		if (MMDB_read_node(&ld->db, i, &node) != MMDB_SUCCESS)
			return err_set(ld->err, -EINVAL, "damaged: search tree node %u cannot be read", i);
		rc = link_make(
			ld, node.left_record_type, node.left_record, &node.left_record_entry, &link[i][0]);
		if (rc == 0)
			rc = link_make(ld, node.right_record_type, node.right_record,
				&node.right_record_entry, &link[i][1]);
	}
	return rc;
}

/* The link after each possible value of the next 16 bits, from a link on. */
static uint32_t *first_make(const struct geoip *geo, uint32_t from)
{
	uint32_t *first = table_alloc(FIRST_LINKS * sizeof *first);

	for (uint32_t i = 0; first && i < FIRST_LINKS; i++) {
		uint32_t at = from;

		for (int bit = FIRST_BITS - 1; bit >= 0 && !(at & GEOIP_LEAF); bit--)
			at = geo->link[at][i >> bit & 1];
		first[i] = at;
	}
	return first;
}

/* IPv4 addresses stand in an IPv6 tree as ::a.b.c.d: behind 96 zero bits. */
static int firsts_make(struct load *ld)
{
	struct geoip *geo = ld->geo;
	uint32_t root4 = 0;

	if (ld->db.metadata.ip_version == 6) {
		geo->first6 = first_make(geo, 0);
		if (!geo->first6)
			return no_memory(ld);
		for (int bit = 0; bit < 96 && !(root4 & GEOIP_LEAF); bit++)
			root4 = geo->link[root4][0];
	}
	geo->first4 = first_make(geo, root4);
	return geo->first4 ? 0 : no_memory(ld);
}

static int table_make(struct load *ld)
{
	const MMDB_metadata_s *md = &ld->db.metadata;
	int rc;

	if (md->ip_version != 4 && md->ip_version != 6)
		return err_set(ld->err, -EINVAL, "IP version %u is neither 4 nor 6", md->ip_version);
	/* The library has checked that the tree lies within the file, so this also bounds memory. */
	if (md->node_count == 0 || md->node_count >= GEOIP_LEAF)
		return err_set(ld->err, -EINVAL, "%u nodes in the search tree", md->node_count);
	ld->geo->nodes = md->node_count;
	bytes_put(&ld->result, &(struct geoip_result){0}, sizeof(struct geoip_result));
	rc = links_make(ld);
	if (rc == 0)
		rc = firsts_make(ld);
	if (rc == 0 && ld->result.failed)
		rc = no_memory(ld);
	return rc;
}

/* Opens the bytes as if they were a file: the library takes a path only. */
static int db_open(MMDB_s *db, const char *data, size_t bytes, struct err *err)
{
	int fd = memfd_create("sluice-geoip", MFD_CLOEXEC), status;
	char path[64];
	size_t done = 0;

	if (fd < 0)
		return err_set(err, -errno, "memfd_create: %s", strerror(errno));
	while (done < bytes) {
		ssize_t n = write(fd, data + done, bytes - done);

		if (n <= 0) {
			close(fd);
			return err_set(err, -ENOMEM, "no memory for a copy of %zu bytes", bytes);
		}
		done += (size_t)n;
	}
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	status = MMDB_open(path, MMDB_MODE_MMAP, db);
	close(fd);
	return status == MMDB_SUCCESS ? 0 : err_set(err, -EINVAL, "%s", MMDB_strerror(status));
}

static int geoip_parse(
	struct geoip *out, enum geoip_kind kind, const char *data, size_t bytes, struct err *err)
{
	struct load ld = {.want = text_table[kind], .geo = out, .err = err};
	int rc = db_open(&ld.db, data, bytes, err);

	if (rc)
		return rc;
	out->version = hash_bytes(data, bytes, 0);
	for (int i = 0; i < GEOIP_TEXTS_MAX; i++)
		out->field[i] = ld.want[i].field;
	rc = table_make(&ld);
	out->results = (uint32_t)(ld.result.bytes / sizeof *out->result);
	out->text_bytes = ld.text.bytes;
	out->result = table_take(&ld.result);
	out->text = table_take(&ld.text);
	if (rc == 0 && (!out->result || !out->text))
		rc = no_memory(&ld);
	MMDB_close(&ld.db);
	free(ld.seen);
	return rc;
}

int geoip_load(struct geoip *out, enum geoip_kind kind, const char *path, uint64_t bytes_max, struct err *err)
{
	size_t bytes = 0;
	char *data;
	int rc;

	memset(out, 0, sizeof *out);
	rc = table_file_read(&data, &bytes, path, bytes_max, err);
	if (rc)
		return rc;
	rc = geoip_parse(out, kind, data, bytes, err);
	free(data);
	if (rc) {
		err_prefix(err, "%s", path);
		geoip_free(out);
	}
	return rc;
}

void geoip_free(struct geoip *geo)
{
	free((void *)(uintptr_t)geo->first4);
	free((void *)(uintptr_t)geo->first6);
	free((void *)(uintptr_t)geo->link);
	free((void *)(uintptr_t)geo->result);
	free((void *)(uintptr_t)geo->text);
	memset(geo, 0, sizeof *geo);
}
