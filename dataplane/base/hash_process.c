/* See hash_process.h. */
#include "hash_process.h"

#include "random.h"

struct hash_key hash_process_key = {{HASH_K0, HASH_K1, HASH_K2}};

int hash_process_key_draw(struct err *err)
{
	struct hash_key key;
	int rc = random_draw(&key, sizeof key, err);

	if (rc == 0)
		hash_process_key = key;
	return rc;
}
