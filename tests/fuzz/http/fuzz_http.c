/* Answers of an HTTP server: whatever comes, in whatever pieces, gives an answer or an error, within bounds,
 * and the verdict does not depend on how the bytes were cut. First byte of the input: size of the pieces. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ch_answer.h"

#define BODY_MAX 2000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static int feed(struct ch_answer *a, const uint8_t *data, size_t bytes, size_t step)
{
	struct err err = {""};
	int rc = 0;

	ch_answer_reset(a);
	for (size_t at = 0; rc == 0 && at < bytes; at += step) {
		size_t part = step < bytes - at ? step : bytes - at;
		uint8_t *copy = malloc(part); /* exact size: reads beyond it are seen */

		memcpy(copy, data + at, part);
		rc = ch_answer_feed(a, copy, part, &err);
		free(copy);
	}
	assert(rc >= 0 || err.text[0]);
	assert(a->body_bytes <= BODY_MAX && a->body[a->body_bytes] == 0);
	assert((rc == 1) == a->complete);
	assert(strnlen(a->query_id, sizeof a->query_id) < sizeof a->query_id);
	return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static struct ch_answer whole, cut;

	if (!whole.body && (ch_answer_init(&whole, BODY_MAX, NULL) || ch_answer_init(&cut, BODY_MAX, NULL)))
		abort();
	if (bytes < 1)
		return 0;
	int rc = feed(&whole, data + 1, bytes - 1, bytes);
	int rc_cut = feed(&cut, data + 1, bytes - 1, (size_t)data[0] + 1);

	assert(rc == rc_cut);
	if (rc == 1) {
		assert(whole.status == cut.status && whole.has_exception == cut.has_exception &&
			whole.exception_code == cut.exception_code && whole.body_bytes == cut.body_bytes);
		assert(memcmp(whole.body, cut.body, whole.body_bytes) == 0 &&
			strcmp(whole.query_id, cut.query_id) == 0);
	}
	return 0;
}
