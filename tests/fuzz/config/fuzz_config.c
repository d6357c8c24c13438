/* Any bytes as a configuration file: an error or a configuration that survives print and parse. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "config_table.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static struct config cfg, again;
	struct err err;
	char *text;
	size_t n;
	FILE *out;

	if (config_parse(&cfg, (const char *)data, bytes, "fuzz", &err))
		return 0;
	(void)config_check(&cfg, &err);
	out = open_memstream(&text, &n);
	if (!out)
		abort();
	config_print(&cfg, out, false);
	fclose(out);
	if (config_parse(&again, text, n, "printed", &err))
		abort();
	memset(&cfg.from, 0, sizeof cfg.from); /* names and lines of two texts */
	memset(&again.from, 0, sizeof again.from);
	if (memcmp(&cfg, &again, sizeof cfg) != 0)
		abort();
	free(text);
	return 0;
}
