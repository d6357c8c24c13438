/* The version. Constant; any thread. */
#include "version.h"

#include <stdio.h>

const char version_text[] = SLUICE_VERSION;

void version_print(const char *program)
{
	printf("%s %s\n", program, version_text);
}
