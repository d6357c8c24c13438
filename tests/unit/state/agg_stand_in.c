/* A stand-in for the compiler of aggregates in the tests of window definitions: takes any text of known
 * words. */
#include "agg.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct agg_set {
	int unused;
};

int agg_set_parse(struct agg_set **out, const char *text, struct err *err)
{
	*out = NULL;
	if (strstr(text, "nonsense"))
		return err_set(err, -EINVAL, "'nonsense': unknown function");
	*out = calloc(1, sizeof **out);
	return *out ? 0 : err_set(err, -ENOMEM, "no memory");
}

void agg_set_free(struct agg_set *set)
{
	free(set);
}
