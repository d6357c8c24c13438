/* See rule_cache.h. A file: struct cache_head, then the serialised database, or an array of struct
 * rule_width. */
#include "rule_cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crc32c.h"
#include "durable.h"
#include "hash.h"
#include "ruleset.h"

#define CACHE_MAGIC 0x31424453484c53ull /* "SLHSDB1" */
#define CACHE_FILE_BYTES_MAX (512ull << 20)
#define CACHE_FILES_MAX 512u /* more than one ruleset has databases: the oldest go */
#define CACHE_NAME_BYTES 40
#define CACHE_WIDTHS 0x77696474687331ull
#define SUFFIX ".hsdb"

struct cache_head {
	uint64_t magic;
	uint64_t hash[2];
	uint64_t bytes;	   /* of what follows */
	uint32_t crc;	   /* of what follows */
	uint32_t head_crc; /* of the words before */
};

/* Written once, before the first compile. */
static char cache_dir[512];

int ruleset_cache_set(const char *dir, struct err *err)
{
	cache_dir[0] = 0;
	if (!dir)
		return 0;
	if (strlen(dir) >= sizeof cache_dir)
		return err_set(err, -EINVAL, "%s: longer than %zu bytes", dir, sizeof cache_dir - 1);
	if (mkdir(dir, 0700) && errno != EEXIST)
		return err_set(err, -errno, "%s: %m", dir);
	snprintf(cache_dir, sizeof cache_dir, "%s", dir);
	return 0;
}

static uint64_t text_add(uint64_t h, const char *text)
{
	return hash_bytes(text, strlen(text), h);
}

struct rule_cache_key rule_cache_key(
	const char *const *expr, const unsigned *flags, const unsigned *id, uint32_t count)
{
	struct rule_cache_key key = {{0x736c75696365ull, 0x63616368ull}};
	hs_platform_info_t platform;

	memset(&platform, 0, sizeof platform);
	hs_populate_platform(&platform);
	for (int k = 0; k < 2; k++) {
		uint64_t h = text_add(key.hash[k], hs_version());

		h = hash_bytes(&platform, sizeof platform, h);
		h = hash_bytes(&count, sizeof count, h);
		for (uint32_t i = 0; i < count; i++) {
			h = text_add(h, expr[i]);
			h = hash_bytes(&flags[i], sizeof flags[i], h);
			h = hash_bytes(&id[i], sizeof id[i], h);
		}
		key.hash[k] = h;
	}
	return key;
}

static void file_name(char out[CACHE_NAME_BYTES], const struct rule_cache_key *key)
{
	snprintf(out, CACHE_NAME_BYTES, "%016" PRIx64 "%016" PRIx64 SUFFIX, key->hash[0], key->hash[1]);
}

static bool read_all(int fd, void *out, size_t bytes)
{
	for (size_t at = 0; at < bytes;) {
		ssize_t n = read(fd, (char *)out + at, bytes - at);

		if (n <= 0)
			return false;
		at += (size_t)n;
	}
	return true;
}

/* The bytes of the database behind a head that fits; NULL otherwise. */
static char *body_read(int fd, const struct rule_cache_key *key, uint64_t *bytes)
{
	struct cache_head head;
	struct stat st;
	char *body;

	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_uid != geteuid() || st.st_mode & 022 ||
		!read_all(fd, &head, sizeof head))
		return NULL;
	if (head.magic != CACHE_MAGIC || memcmp(head.hash, key->hash, sizeof head.hash) != 0 ||
		head.head_crc != crc32c(0, &head, offsetof(struct cache_head, head_crc)) ||
		head.bytes > CACHE_FILE_BYTES_MAX || (uint64_t)st.st_size != sizeof head + head.bytes)
		return NULL;
	body = malloc(head.bytes ? head.bytes : 1);
	if (body && (!read_all(fd, body, head.bytes) || crc32c(0, body, head.bytes) != head.crc)) {
		free(body);
		return NULL;
	}
	*bytes = head.bytes;
	return body;
}

/* The body of a file under this key, malloc'ed, or NULL. */
static char *file_get(const struct rule_cache_key *key, uint64_t *bytes)
{
	char path[sizeof cache_dir + CACHE_NAME_BYTES], name[CACHE_NAME_BYTES];
	char *body;
	int fd;

	if (!cache_dir[0])
		return NULL;
	file_name(name, key);
	snprintf(path, sizeof path, "%s/%s", cache_dir, name);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return NULL;
	body = body_read(fd, key, bytes);
	if (body)
		(void)futimens(fd, NULL); /* used: it goes last */
	close(fd);
	return body;
}

hs_database_t *rule_cache_get(const struct rule_cache_key *key)
{
	hs_database_t *db = NULL;
	uint64_t bytes;
	char *body = file_get(key, &bytes);

	if (body && hs_deserialize_database(body, bytes, &db) != HS_SUCCESS)
		db = NULL;
	free(body);
	return db;
}

/* Apart from a database of the same expressions. */
static struct rule_cache_key widths_key(const struct rule_cache_key *key)
{
	return (struct rule_cache_key){
		{hash_u64(key->hash[0] ^ CACHE_WIDTHS), hash_u64(key->hash[1] ^ CACHE_WIDTHS)}};
}

bool rule_cache_widths(const struct rule_cache_key *key, struct rule_width *out, uint32_t count)
{
	const struct rule_cache_key mine = widths_key(key);
	uint64_t bytes;
	char *body = file_get(&mine, &bytes);
	bool good = body && bytes == count * sizeof *out;

	if (good)
		memcpy(out, body, bytes);
	free(body);
	return good;
}

/* ---- writing ---- */

static int is_ours(const struct dirent *e)
{
	size_t n = strlen(e->d_name);

	return n > strlen(SUFFIX) && !strcmp(e->d_name + n - strlen(SUFFIX), SUFFIX);
}

/* Removes the file that was not used for the longest time, if there are too many. */
static void trim(void)
{
	int fd = open(cache_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), count;
	struct dirent **entry = NULL;
	struct timespec oldest = {0};
	int which = -1;

	count = fd < 0 ? -1 : scandir(cache_dir, &entry, is_ours, NULL);
	for (int i = 0; i < count; i++) {
		struct stat st;

		if (fstatat(fd, entry[i]->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
			(which < 0 || st.st_mtim.tv_sec < oldest.tv_sec ||
				(st.st_mtim.tv_sec == oldest.tv_sec &&
					st.st_mtim.tv_nsec < oldest.tv_nsec))) {
			which = i;
			oldest = st.st_mtim;
		}
	}
	if (count > (int)CACHE_FILES_MAX && which >= 0)
		(void)unlinkat(fd, entry[which]->d_name, 0);
	for (int i = 0; i < count; i++)
		free(entry[i]);
	free(entry);
	if (fd >= 0)
		close(fd);
}

static void file_put(const struct rule_cache_key *key, const void *body, size_t bytes)
{
	struct cache_head head = {.magic = CACHE_MAGIC, .hash = {key->hash[0], key->hash[1]}, .bytes = bytes};
	char name[CACHE_NAME_BYTES];
	struct durable_piece piece[2];
	struct err err;

	head.crc = crc32c(0, body, bytes);
	head.head_crc = crc32c(0, &head, offsetof(struct cache_head, head_crc));
	piece[0] = (struct durable_piece){&head, sizeof head};
	piece[1] = (struct durable_piece){body, bytes};
	file_name(name, key);
	if (bytes <= CACHE_FILE_BYTES_MAX && durable_write(cache_dir, name, piece, 2, NULL, &err) == 0)
		trim();
}

void rule_cache_put(const struct rule_cache_key *key, const hs_database_t *db)
{
	char *body = NULL;
	size_t bytes;

	if (!cache_dir[0] || hs_serialize_database(db, &body, &bytes) != HS_SUCCESS)
		return;
	file_put(key, body, bytes);
	free(body);
}

void rule_cache_put_widths(const struct rule_cache_key *key, const struct rule_width *width, uint32_t count)
{
	const struct rule_cache_key mine = widths_key(key);

	if (cache_dir[0])
		file_put(&mine, width, count * sizeof *width);
}
