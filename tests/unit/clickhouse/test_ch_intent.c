/* The intent file: steps come back, a torn slot gives the step before, damage is seen. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "ch_intent.h"

static char dir[] = "/tmp/sluice-intent-XXXXXX";
static struct ch_intent_file file;

static void reopen(void)
{
	struct err err;

	ch_intent_close(&file);
	if (ch_intent_open(&file, dir, CH_INTENT_INPUT, 2, &err))
		fail_msg("%s", err.text);
}

static struct ch_intent step(uint64_t from, uint64_t to, bool pending)
{
	struct ch_intent in = {.epoch = 0xabcdef,
		.from = from,
		.to = to,
		.pending = pending,
		.insert_count = 3,
		.body_crc = 0x55,
		.first_send_ms = -5,
		.partition = 2,
		.node = "n1",
		.endpoint = "h:1"};

	return in;
}

static void write_step(uint64_t from, uint64_t to, bool pending)
{
	struct ch_intent in = step(from, to, pending);
	struct err err;

	assert_int_equal(ch_intent_write(&file, &in, &err), 0);
}

static void flip(off_t at)
{
	uint8_t b;

	assert_int_equal(pread(file.fd, &b, 1, at), 1);
	b ^= 0x10;
	assert_int_equal(pwrite(file.fd, &b, 1, at), 1);
}

static void test_steps(void **state)
{
	(void)state;
	reopen();
	assert_false(file.existed);
	assert_false(file.damaged);
	assert_int_equal(file.last.sequence, 0);
	for (uint64_t n = 1; n < 20; n++) {
		struct ch_intent in = step(n, n + 5, n % 2);

		write_step(n, n + 5, n % 2);
		reopen();
		assert_true(file.existed);
		assert_false(file.damaged);
		assert_int_equal(file.last.sequence, n);
		in.sequence = n;
		assert_memory_equal(&file.last, &in, sizeof in);
	}
}

/* Every byte of the newest slot matters: with any of them wrong the step before is the last. */
static void test_damage(void **state)
{
	(void)state;
	reopen();
	write_step(100, 200, true);
	uint64_t newest = file.last.sequence;
	off_t slot = (off_t)(newest % 2 * 4096);

	for (off_t at = slot; at < slot + 4096; at += at < slot + 440 ? 1 : 61) {
		flip(at);
		reopen();
		assert_true(file.damaged);
		assert_int_equal(file.last.sequence, newest - 1);
		flip(at);
	}
	flip(slot + 4095);
	flip(4096 - slot); /* and the other slot: nothing is left to go on from */
	reopen();
	assert_true(file.existed);
	assert_true(file.damaged);
	assert_int_equal(file.last.sequence, 0);
	assert_int_equal(ftruncate(file.fd, 0), 0);
	reopen();
	assert_false(file.existed);
}

static int end(void **state)
{
	char path[300];

	(void)state;
	ch_intent_close(&file);
	unlink(file.path);
	snprintf(path, sizeof path, "%s/sinks/clickhouse", dir);
	rmdir(path);
	snprintf(path, sizeof path, "%s/sinks", dir);
	rmdir(path);
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_steps),
		cmocka_unit_test(test_damage),
	};

	file.fd = -1;
	if (!mkdtemp(dir))
		return 1;
	return cmocka_run_group_tests(tests, NULL, end);
}
