/* See random.h. */
#include "random.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

int random_draw(void *to, size_t bytes, struct err *err)
{
	ssize_t got = getrandom(to, bytes, 0);

	if (got == (ssize_t)bytes)
		return 0;
	return err_set(err, got < 0 ? -errno : -EIO, "getrandom: %s", strerror(got < 0 ? errno : EIO));
}
