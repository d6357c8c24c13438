/* Bits that nobody can guess, of the kernel. Any thread. */
#ifndef SLUICE_RANDOM_H
#define SLUICE_RANDOM_H

#include <stddef.h>

#include "err.h"

/* bytes: at most 256, which come as a whole (getrandom(2)). 0 or -errno. */
int random_draw(void *to, size_t bytes, struct err *err);

#endif
