/* JSON for people and programs: as jansson writes it, numbers with no more digits than they need. Any thread.
 */
#ifndef SLUICE_JSON_PRINT_H
#define SLUICE_JSON_PRINT_H

#include <jansson.h>
#include <stdio.h>

/* json_dumps(), but 0.1 is not 0.10000000000000001: each number is the shortest of 15 to 17 digits that reads
 * back as the same double. The caller frees it; NULL: no memory. */
char *json_print(const json_t *value, size_t flags);
void json_print_file(const json_t *value, FILE *out, size_t flags);

#endif
