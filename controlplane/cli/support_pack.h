/* A gzipped tar file of texts, from which secrets are removed on the way in. */
#ifndef SLUICE_SUPPORT_PACK_H
#define SLUICE_SUPPORT_PACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <zlib.h>

#include "config.h"
#include "err.h"

#define PACK_FOLDER "sluice-support/"
#define PACK_SECRETS_MAX 64
#define PACK_REMOVED "[removed]"

struct pack {
	gzFile file;
	int64_t time_s; /* of all members */
	char *secret[PACK_SECRETS_MAX];
	uint32_t secret_count;
	bool failed; /* a write did, or memory is out */
};

/* A new file that its owner alone can read. */
int pack_open(struct pack *p, const char *path, int64_t time_s, struct err *err);
/* 0, or -EIO: the file is not whole. */
int pack_close(struct pack *p, struct err *err);

/* What must not be in any member: texts of four characters and more. */
void pack_secret(struct pack *p, const char *text, size_t bytes);
/* Takes secrets out of a configuration that is to be shown, and remembers them: values of librdkafka's
 * properties that are secrets, and what stands in the webhook's URL beside scheme, host and port. */
void pack_config(struct pack *p, struct config *cfg);

/* A member PACK_FOLDER + name, without what is secret. */
void pack_add(struct pack *p, const char *name, const char *text, size_t bytes);

#endif
