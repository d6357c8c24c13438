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
		.pending = pending,
		.partition = 2,
		.node = "n1",
		.range = {.from = from,
			.to = to,
			.insert_count = 3,
			.body_crc = 0x55,
			.first_send_ms = -5,
			.endpoint = "h:1"}};

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

/* Parked ranges come back, in their order; without one the file is one that the version before reads. */
static void test_parked(void **state)
{
	struct ch_intent in = step(900, 950, true);
	uint64_t magic[2], mend;
	struct err err;

	(void)state;
	reopen();
	for (uint32_t count = 0; count <= CH_PARKED_MAX; count++) {
		in.parked_count = count;
		for (uint32_t i = 0; i < count; i++)
			in.parked[i] = (struct ch_range){.from = i * 100,
				.to = i * 100 + 7,
				.first_send_ms = i,
				.insert_count = i + 1,
				.body_crc = ~i,
				.settled = i,
				.split_from = i * 100 + 1,
				.split_to = i * 100 + 3,
				.endpoint = "other:1"};
		assert_int_equal(ch_intent_write(&file, &in, &err), 0);
		in.sequence = file.last.sequence;
		assert_int_equal(pread(file.fd, &magic[count > 0], 8, (off_t)(in.sequence % 2 * 4096)), 8);
		reopen();
		assert_false(file.damaged);
		assert_memory_equal(&file.last, &in, sizeof in);
	}
	in.parked_count = 0;
	memset(in.parked, 0, sizeof in.parked);
	in.range.settled = 2;
	in.range.split_from = 910;
	in.range.split_to = 920;
	assert_int_equal(ch_intent_write(&file, &in, &err), 0);
	in.sequence = file.last.sequence;
	reopen();
	assert_memory_equal(&file.last, &in, sizeof in);
	in.range.confirmed = 3;
	assert_int_equal(ch_intent_write(&file, &in, &err), 0);
	in.sequence = file.last.sequence;
	assert_int_equal(pread(file.fd, &mend, 8, (off_t)(in.sequence % 2 * 4096)), 8);
	assert_int_equal(mend, 0x3374746e49684353ull);
	reopen();
	assert_memory_equal(&file.last, &in, sizeof in);
	in.range.confirmed = 0;
	in.parked_count = 1;
	in.parked[0] = (struct ch_range){.from = 1, .to = 7, .confirmed = 1, .endpoint = "other:1"};
	assert_int_equal(ch_intent_write(&file, &in, &err), 0);
	in.sequence = file.last.sequence;
	reopen();
	assert_memory_equal(&file.last, &in, sizeof in);
	memset(in.parked, 0, sizeof in.parked);
	in.parked_count = 4;
	assert_int_equal(magic[0], 0x3174746e49684353ull);
	assert_int_not_equal(magic[0], magic[1]);
	/* Beyond the range itself nothing can be parked: not a step that was ever written. */
	for (int i = 0; i < 4; i++)
		in.parked[i].to = in.parked[i].from + 1;
	in.parked[3].to = 901;
	assert_int_equal(ch_intent_write(&file, &in, &err), 0);
	reopen();
	assert_true(file.damaged);
	assert_int_equal(file.last.sequence, in.sequence);
	in = step(1000, 1000, false);
	assert_int_equal(ch_intent_write(&file, &in, &err), 0);
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
		cmocka_unit_test(test_parked),
		cmocka_unit_test(test_damage),
	};

	file.fd = -1;
	if (!mkdtemp(dir))
		return 1;
	return cmocka_run_group_tests(tests, NULL, end);
}
