/* See support_pack.h. tar: POSIX.1-1988 ustar. */
#include "support_pack.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOCK_BYTES 512u
#define SECRET_BYTES_MIN 4u

struct ustar {
	char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], check[8], type, link[100];
	char magic[6], version[2], user[32], group[32], major[8], minor[8], prefix[155], zero[12];
};
_Static_assert(sizeof(struct ustar) == BLOCK_BYTES, "a header is a block");

int pack_open(struct pack *p, const char *path, int64_t time_s, struct err *err)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

	*p = (struct pack){.time_s = time_s};
	if (fd < 0)
		return err_set(err, -errno, "%s: %s", path, strerror(errno));
	p->file = gzdopen(fd, "wb9");
	if (p->file)
		return 0;
	close(fd);
	return err_set(err, -ENOMEM, "%s: no memory", path);
}

static void put(struct pack *p, const void *data, size_t bytes)
{
	if (bytes && gzwrite(p->file, data, (unsigned)bytes) != (int)bytes)
		p->failed = true;
}

int pack_close(struct pack *p, struct err *err)
{
	static const char end[2 * BLOCK_BYTES];

	put(p, end, sizeof end);
	if (gzclose(p->file) != Z_OK)
		p->failed = true;
	for (uint32_t i = 0; i < p->secret_count; i++)
		free(p->secret[i]);
	return p->failed ? err_set(err, -EIO, "the archive could not be written whole") : 0;
}

/* Rather no archive than one with a secret. */
static void secret_keep(struct pack *p, const char *text, size_t bytes)
{
	char *copy = p->secret_count < PACK_SECRETS_MAX ? strndup(text, bytes) : NULL;

	if (copy)
		p->secret[p->secret_count++] = copy;
	else
		p->failed = true;
}

void pack_secret(struct pack *p, const char *text, size_t bytes)
{
	json_t *string = json_stringn_nocheck(text, bytes);
	char *quoted = string ? json_dumps(string, JSON_ENCODE_ANY) : NULL;
	size_t n = quoted ? strlen(quoted) : 0;

	if (bytes >= SECRET_BYTES_MIN) {
		secret_keep(p, text, bytes);
		/* As it stands in JSON, where that is another text. */
		if (n < 2)
			p->failed = true;
		else if (n - 2 != bytes || memcmp(quoted + 1, text, bytes) != 0)
			secret_keep(p, quoted + 1, n - 2);
	}
	free(quoted);
	json_decref(string);
}

static bool property_is_secret(const char *name, size_t bytes)
{
	static const char *const part[] = {"password", "secret", "token", "jaas", "pem", "credential",
		"oauthbearer.config", "key.string"};

	for (size_t i = 0; i < sizeof part / sizeof *part; i++)
		if (memmem(name, bytes, part[i], strlen(part[i])))
			return true;
	return false;
}

static void options_clean(struct pack *p, config_str *options)
{
	config_str out = "", in;
	char *rest = in;

	memcpy(in, *options, sizeof in);
	for (char *pair; (pair = strsep(&rest, ","));) {
		char *equals = strchr(pair, '=');
		bool hide = equals && property_is_secret(pair, (size_t)(equals - pair));
		size_t n = strlen(out);

		if (hide)
			pack_secret(p, equals + 1, strlen(equals + 1));
		snprintf(out + n, sizeof out - n, "%s%.*s%s", n ? "," : "",
			hide ? (int)(equals + 1 - pair) : (int)strlen(pair), pair, hide ? PACK_REMOVED : "");
	}
	memcpy(*options, out, sizeof out);
}

static void url_clean(struct pack *p, config_str *url)
{
	const char *host = strstr(*url, "://"), *path, *at;
	char out[2 * sizeof(config_str)] = "";

	if (!host)
		return;
	host += 3;
	path = host + strcspn(host, "/?#");
	at = memrchr(host, '@', (size_t)(path - host));
	if (at)
		pack_secret(p, host, (size_t)(at - host));
	pack_secret(p, path, strlen(path));
	snprintf(out, sizeof out, "%.*s%.*s%s", (int)(host - *url), *url, (int)(path - (at ? at + 1 : host)),
		at ? at + 1 : host, strlen(path) > 1 ? "/" PACK_REMOVED : path);
	memcpy(*url, out, sizeof *url - 1);
}

void pack_config(struct pack *p, struct config *cfg)
{
	options_clean(p, &cfg->kafka.options);
	url_clean(p, &cfg->webhook.url);
}

/* Each secret in the text becomes PACK_REMOVED. The caller's to free; NULL: no memory. */
static char *cleaned(const struct pack *p, const char *text, size_t *bytes)
{
	char *now = malloc(*bytes + 1);

	if (now)
		memcpy(now, text, *bytes);
	for (uint32_t i = 0; now && i < p->secret_count; i++) {
		size_t secret = strlen(p->secret[i]), at = 0, size = 0;
		char *found, *next = NULL;
		FILE *out = open_memstream(&next, &size);

		if (!out) {
			free(now);
			return NULL;
		}
		while ((found = memmem(now + at, *bytes - at, p->secret[i], secret))) {
			fwrite(now + at, 1, (size_t)(found - now) - at, out);
			fputs(PACK_REMOVED, out);
			at = (size_t)(found - now) + secret;
		}
		fwrite(now + at, 1, *bytes - at, out);
		free(now);
		now = fclose(out) ? NULL : next;
		*bytes = size;
	}
	return now;
}

void pack_add(struct pack *p, const char *name, const char *text, size_t bytes)
{
	static const char zero[BLOCK_BYTES];
	struct ustar h = {.type = '0', .magic = "ustar", .version = {'0', '0'}};
	char *clean = cleaned(p, text, &bytes);
	unsigned sum = 0;

	if (!clean) {
		p->failed = true;
		return;
	}
	snprintf(h.name, sizeof h.name, "%s%s", PACK_FOLDER, name);
	snprintf(h.mode, sizeof h.mode, "%07o", 0600u);
	snprintf(h.uid, sizeof h.uid, "%07o", 0u);
	snprintf(h.gid, sizeof h.gid, "%07o", 0u);
	snprintf(h.size, sizeof h.size, "%011llo", (unsigned long long)bytes & 077777777777ull);
	snprintf(h.mtime, sizeof h.mtime, "%011llo", (unsigned long long)p->time_s & 077777777777ull);
	memset(h.check, ' ', sizeof h.check);
	for (size_t i = 0; i < sizeof h; i++)
		sum += ((const uint8_t *)&h)[i];
	snprintf(h.check, sizeof h.check, "%06o", sum & 0777777u);
	put(p, &h, sizeof h);
	put(p, clean, bytes);
	put(p, zero, (BLOCK_BYTES - bytes % BLOCK_BYTES) % BLOCK_BYTES);
	free(clean);
}
