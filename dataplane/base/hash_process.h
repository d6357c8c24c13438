/* The key of this process's hash tables over what senders choose: keys of windows and rules, addresses.
 * Nothing that is kept, sent or shown may depend on it. */
#ifndef SLUICE_HASH_PROCESS_H
#define SLUICE_HASH_PROCESS_H

#include "err.h"
#include "hash.h"

extern struct hash_key
	hash_process_key; /* the same in each run until it is drawn: for tests and benchmarks */

/* At the start of a program, before any table and any other thread. */
int hash_process_key_draw(struct err *err);

#endif
