/* See hash_process.h. */
#include "hash_process.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

struct hash_key hash_process_key = {{HASH_K0, HASH_K1, HASH_K2}};

int hash_process_key_draw(struct err *err)
{
	struct hash_key key;

	if (getrandom(&key, sizeof key, 0) != (ssize_t)sizeof key)
		return err_set(err, -errno, "getrandom: %s", strerror(errno));
	hash_process_key = key;
	return 0;
}
