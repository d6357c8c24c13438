/* The parts of the C client alone: datagrams, time-outs, window, key files. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sc_key.h"
#include "sc_rack.h"
#include "sc_window.h"
#include "sc_wire.h"

static const uint8_t ack[] = {'S', 'L', 'C', 'E', 1, 2, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1, 1, 0, 1, 0, 0, 0, 0,
	0,						   /* head */
	5, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0x80, /* range */
	9, 0, 0, 0, 0, 0, 0, 0x40, 40, 0};		   /* refusal */
static const uint8_t reject[] = {
	'S', 'L', 'C', 'E', 3, 3, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1, 16, 0, 0, 0, 0, 0, 0, 0};

static void test_data_head(void **state)
{
	static const uint8_t want[SC_DATA_HEAD] = {'S', 'L', 'C', 'E', 1, 1, 3, 7, 0xef, 0xcd, 0xab, 0x89,
		0x67, 0x45, 0x23, 1, 2, 1, 0, 0, 0, 0, 0, 0, 0, 4, 1};
	uint8_t out[SC_DATA_HEAD];

	(void)state;
	sc_data_head(out, SC_FLAG_ACK | SC_FLAG_MAC, 7, 0x0123456789abcdef, 258, 1024);
	assert_memory_equal(out, want, sizeof want);
}

static void test_ack(void **state)
{
	struct sc_answer a;
	uint64_t sequence, bits;
	uint16_t reason;

	(void)state;
	assert_true(sc_answer_read(&a, ack, sizeof ack));
	assert_true(a.kind == SC_KIND_ACK && a.producer == 0x0102030405060708 && !a.has_mac);
	assert_int_equal(a.ranges, 1);
	assert_int_equal(a.refusals, 1);
	sc_answer_range(&a, 0, &sequence, &bits);
	assert_true(sequence == 5 && bits == 0x8000000000000003);
	sc_answer_refusal(&a, 0, &sequence, &reason);
	assert_true(sequence == 0x4000000000000009 && reason == 40);
}

/* As many answers as the protocol allows, and one more. */
static void test_ack_max(void **state)
{
	enum { RANGES = 71, MOST = 1200 };
	uint8_t data[MOST + 10] = {'S', 'L', 'C', 'E', 1, 2, 0, 0, 1};
	struct sc_answer a;

	(void)state;
	for (unsigned i = 0; i < RANGES; i++)
		data[24 + 16 * i] = 1;
	for (unsigned at = 24 + 16 * RANGES; at < sizeof data; at += 10)
		data[at] = data[at + 8] = 1;
	data[16] = RANGES;
	data[18] = 4;
	assert_true(sc_answer_read(&a, data, MOST));
	data[18] = 5;
	assert_false(sc_answer_read(&a, data, sizeof data));
}

static void test_reject(void **state)
{
	struct sc_answer a;

	(void)state;
	assert_true(sc_answer_read(&a, reject, sizeof reject));
	assert_true(a.kind == SC_KIND_REJECT && a.version == 3 && a.reason == 16 &&
		    a.producer == 0x0102030405060708);
}

/* Each size but the right one, and each byte that must be something else, makes it no answer at all. */
static void test_damaged(void **state)
{
	static const struct {
		unsigned at;
		uint8_t value;
	} wrong[] = {{0, 'X'}, {3, 0}, {4, 0}, {4, 2}, {5, 0}, {5, 1}, {5, 4}, {6, 1}, {6, 2}, {6, 4},
		{6, 0x80}, {7, 1}, {16, 0}, {16, 2}, {17, 1}, {18, 0}, {18, 2}, {19, 0xff}, {20, 1}, {23, 1},
		{24, 0}, {31, 0x80}, {47, 0x80}, {48, 0}};
	struct sc_answer a;
	uint8_t copy[sizeof ack + 1] = {0};

	(void)state;
	for (size_t bytes = 0; bytes <= sizeof copy; bytes++) {
		uint8_t *exact = malloc(bytes ? bytes : 1); /* a checker of memory sees a read beyond */

		memcpy(exact, ack, bytes < sizeof ack ? bytes : sizeof ack);
		if (bytes > sizeof ack)
			exact[sizeof ack] = 0;
		assert_int_equal(sc_answer_read(&a, exact, bytes), bytes == sizeof ack);
		free(exact);
	}
	for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		memcpy(copy, ack, sizeof ack);
		copy[wrong[i].at] = wrong[i].value;
		if (sc_answer_read(&a, copy, sizeof ack))
			fail_msg("byte %u = %u", wrong[i].at, wrong[i].value);
	}
	for (size_t bytes = 0; bytes < sizeof reject; bytes++)
		assert_false(sc_answer_read(&a, reject, bytes));
	memcpy(copy, reject, sizeof reject);
	copy[23] = 1;
	assert_false(sc_answer_read(&a, copy, sizeof reject));
}

static void test_rto(void **state)
{
	struct sc_rto r;

	(void)state;
	sc_rto_init(&r);
	assert_true(sc_rto_wait(&r) == 1000000000); /* RFC 6298, 2.1 */
	sc_rto_measured(&r, 100000000, 1);
	assert_true(r.srtt_ns == 100000000 && r.rttvar_ns == 50000000 && sc_rto_doubled(&r, 0) == 300000000);
	assert_true(sc_rto_wait(&r) == 200000000); /* RFC 8985, 7.2 */
	sc_rto_measured(&r, 60000000, 2);	   /* RFC 6298, 2.3 */
	assert_true(r.srtt_ns == 95000000 && r.rttvar_ns == 47500000 && sc_rto_doubled(&r, 0) == 285000000);
	sc_rto_timed_out(&r);
	assert_true(sc_rto_wait(&r) == 285000000);
	sc_rto_timed_out(&r);
	assert_true(sc_rto_wait(&r) == 570000000); /* 5.5 */
	for (unsigned i = 0; i < 300; i++)
		sc_rto_timed_out(&r);
	assert_true(sc_rto_wait(&r) == SC_RTO_MAX_NS && sc_rto_doubled(&r, UINT_MAX) == SC_RTO_MAX_NS);
	for (unsigned i = 0; i < 200; i++)
		sc_rto_measured(&r, 1000, 3);
	assert_true(sc_rto_wait(&r) == SC_RTO_GRANULARITY_NS && sc_rto_doubled(&r, 3) == 8 * SC_RTO_MIN_NS);
	for (unsigned i = 0; i < 200; i++)
		sc_rto_measured(&r, UINT64_MAX / 2, 4);
	assert_true(sc_rto_wait(&r) == SC_RTO_MAX_NS);
}

/* What may be the answer to something older ends no long wait; a measurement does. */
static void test_rto_doubted(void **state)
{
	struct sc_rto r;

	(void)state;
	sc_rto_init(&r);
	sc_rto_measured(&r, 20000000, 1);
	sc_rto_timed_out(&r);
	sc_rto_timed_out(&r);
	sc_rto_answered(&r);
	assert_true(r.timeouts == 0);
	sc_rto_timed_out(&r);
	r.doubted = true;
	sc_rto_answered(&r);
	assert_true(r.timeouts == 1);
	sc_rto_measured(&r, 20000000, 2);
	assert_true(r.timeouts == 0 && !r.doubted);
}

static void test_least(void **state)
{
	struct sc_rto r;

	(void)state;
	sc_rto_init(&r);
	assert_true(sc_rto_least(&r) == 0);
	sc_rto_measured(&r, 3000000, SC_RTO_LEAST_NS);
	sc_rto_measured(&r, 2000000, SC_RTO_LEAST_NS + 1);
	sc_rto_measured(&r, 7000000, SC_RTO_LEAST_NS + 2);
	assert_true(sc_rto_least(&r) == 2000000);
	sc_rto_measured(&r, 8000000, 2 * SC_RTO_LEAST_NS);
	assert_true(sc_rto_least(&r) == 2000000);
	sc_rto_measured(&r, 9000000, 3 * SC_RTO_LEAST_NS);
	assert_true(sc_rto_least(&r) == 8000000);
}

static void test_rack(void **state)
{
	struct sc_rack k = {0};
	struct sc_rto r;

	(void)state;
	sc_rto_init(&r);
	assert_true(sc_rack_wait(&k, &r) == SC_RTO_FIRST_NS); /* nothing is known */
	sc_rto_measured(&r, 40000000, 1);
	assert_true(sc_rack_wait(&k, &r) == 50000000);
	sc_rto_measured(&r, 80000000, 2);
	assert_true(sc_rack_wait(&k, &r) == 90000000); /* the latest one, when it is longer than the mean */
	sc_rto_init(&r);
	sc_rto_measured(&r, 40000000, 3);
	sc_rack_premature(&k, &r, 1000000000);
	assert_true(sc_rack_wait(&k, &r) == 60000000);
	sc_rack_premature(&k, &r, 1000000000 + 39999999); /* once in a round trip */
	assert_true(sc_rack_wait(&k, &r) == 60000000);
	for (unsigned i = 2; i < 30; i++)
		sc_rack_premature(&k, &r, i * 1000000000ull);
	assert_true(sc_rack_wait(&k, &r) == 40000000 + r.base_ns);
	for (unsigned i = 0; i < SC_RACK_PATIENCE; i++) {
		assert_true(sc_rack_wait(&k, &r) == 40000000 + r.base_ns);
		sc_rack_spent(&k, 1); /* that something is repeated says nothing yet */
		sc_rack_needed(&k, &r, 40000000000 + i * 40000000ull);
		sc_rack_needed(&k, &r, 40000000000 + i * 40000000ull + 1);
	}
	assert_true(sc_rack_wait(&k, &r) == 50000000);
	sc_rack_settled(&k, 10, 100);
	assert_true(k.credit == 10 * SC_RACK_SHARE);
	sc_rack_spent(&k, 11);
	assert_true(k.credit == 10 * SC_RACK_SHARE - 11);
	sc_rack_settled(&k, 1000, 100);
	assert_true(k.credit == 100);
	sc_rack_spent(&k, 101);
	assert_true(k.credit == 0);
}

/* The numbers of datagrams begin anew some day. */
static void test_datagram_numbers(void **state)
{
	struct sc_rack k = {.answered = UINT32_MAX - 1};

	(void)state;
	sc_rack_answered(&k, UINT32_MAX - 5);
	assert_true(k.answered == UINT32_MAX - 1);
	sc_rack_answered(&k, 3);
	assert_true(k.answered == 3 && sc_rack_is_before(UINT32_MAX, 3) && !sc_rack_is_before(4, 3) &&
		    !sc_rack_is_before(3, 3));
}

static void left_and_settled(struct sc_window *w, uint64_t sequence)
{
	sc_window_slot(w, sequence)->settled = true;
	w->settled++;
	sc_window_advance(w);
}

/* Events of all sizes through a small ring, settled out of order: each is whole until it is settled, none
 * overlaps. */
static void test_window(void **state)
{
	struct sc_window w;
	static uint8_t model[6000];
	static char event[6000];
	unsigned random = 12345, held_max = 0;
	uint64_t total = 0;

	(void)state;
	assert_int_equal(sc_window_init(&w, 20, 20000), 0);
	for (unsigned round = 0; round < 50000; round++) {
		size_t bytes;

		random = random * 1103515245 + 12345;
		bytes = (random >> 16) % (random & 0x100 ? 6000 : 300) + 1;
		memset(event, (int)((w.next * 7) & 0xff), bytes);
		if (sc_window_put(&w, event, bytes)) {
			sc_window_left(&w, 1);
			total++;
		} else {
			uint64_t s = w.base + (random >> 8) % (w.next - w.base);

			assert_true(w.next > w.base);
			if (!sc_window_slot(&w, s)->settled)
				left_and_settled(&w, s);
		}
		held_max = (unsigned)sc_window_open(&w) > held_max ? (unsigned)sc_window_open(&w) : held_max;
		for (uint64_t s = w.base; s < w.next && round % 16 == 0; s++) {
			memset(model, (int)((s * 7) & 0xff), sc_window_slot(&w, s)->bytes);
			assert_memory_equal(sc_window_event(&w, s), model, sc_window_slot(&w, s)->bytes);
		}
	}
	assert_in_range(total, 10000, 50000);
	assert_in_range(held_max, 15, 20);
	assert_true(w.queued_bytes == 0);
	sc_window_free(&w);
}

static void test_window_full(void **state)
{
	struct sc_window w;
	char event[1000] = "";

	(void)state;
	assert_int_equal(sc_window_init(&w, SC_WINDOW, 10000), 0);
	for (unsigned i = 0; i < 10; i++)
		assert_true(sc_window_put(&w, event, sizeof event));
	assert_false(sc_window_put(&w, event, 1));
	sc_window_left(&w, 10);
	left_and_settled(&w, 2);
	assert_false(sc_window_put(&w, event, 1)); /* not the oldest one */
	left_and_settled(&w, 1);
	assert_true(w.base == 3 && sc_window_put(&w, event, 1000) && sc_window_put(&w, event, 1000));
	assert_false(sc_window_put(&w, event, 1));
	assert_true(sc_window_open(&w) == 10);
	sc_window_free(&w);
}

static void test_pack(void **state)
{
	struct sc_window w;
	uint8_t out[100];
	size_t bytes;

	(void)state;
	assert_int_equal(sc_window_init(&w, 100, 10000), 0);
	assert_true(
		sc_window_put(&w, "{}", 2) && sc_window_put(&w, "[1]", 3) && sc_window_put(&w, "{  }", 4));
	assert_int_equal(sc_window_pack(&w, 1, 4, out, 9, &bytes), 2);
	assert_int_equal(bytes, 9);
	assert_memory_equal(out, "\2\0{}\3\0[1]", 9);
	assert_int_equal(sc_window_pack(&w, 1, 4, out, 8, &bytes), 1);
	assert_int_equal(sc_window_pack(&w, 1, 3, out, 100, &bytes), 2);
	assert_int_equal(sc_window_pack(&w, 1, 4, out, 100, &bytes), 3);
	sc_window_slot(&w, 3)->settled = true;
	assert_int_equal(sc_window_pack(&w, 1, 4, out, 100, &bytes), 2);
	sc_window_free(&w);
}

#ifdef SLUICE_CLIENT_MAC
#define HEX "000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F"

static int load(const char *text, unsigned number, struct sc_key *key)
{
	char path[] = "/tmp/sluice-client-key-XXXXXX", error[200] = "";
	int fd = mkstemp(path), rc;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
	rc = sc_key_load(key, path, number, error, sizeof error);
	assert_true((rc == 0) == (error[0] == '\0'));
	unlink(path);
	return rc;
}

static void test_key_file(void **state)
{
	struct sc_key key = {0};

	(void)state;
	assert_int_equal(load("\n7 " HEX "\n\n", 0, &key), 0);
	assert_true(key.number == 7 && key.bytes[0] == 0 && key.bytes[31] == 31);
	assert_int_equal(load("7 " HEX "\n255 " HEX, 255, &key), 0);
	assert_true(key.number == 255);
	assert_int_equal(load("7 " HEX "\n8 " HEX "\n", 0, &key), -EINVAL); /* which? */
	assert_true(key.number == 0);
	assert_int_equal(load("7 " HEX "\n", 8, &key), -EINVAL);
	assert_int_equal(load("7 " HEX "\n7 " HEX "\n", 7, &key), -EINVAL);
	assert_int_equal(load("", 0, &key), -EINVAL);
	assert_int_equal(load("0 " HEX "\n", 0, &key), -EINVAL);
	assert_int_equal(load("256 " HEX "\n", 0, &key), -EINVAL);
	assert_int_equal(load("7  " HEX "\n", 0, &key), -EINVAL);
	assert_int_equal(load("7 " HEX "0\n", 0, &key), -EINVAL);
	assert_int_equal(load("7 " HEX " \n", 0, &key), -EINVAL);
	assert_int_equal(load("7 00\n", 0, &key), -EINVAL);
	assert_int_equal(load("\n", 0, &key), -EINVAL);
	assert_int_equal(load("7 " HEX HEX HEX "\n", 0, &key), -EINVAL);
}

/* Expected value: hashlib.blake2b(b"sluice", digest_size=16, key=bytes(range(32))) of CPython. */
static void test_mac(void **state)
{
	static const uint8_t want[SC_MAC_BYTES] = {0xb6, 0x30, 0x03, 0x7b, 0x56, 0x85, 0xc9, 0x43, 0xf8, 0x04,
		0xa1, 0x64, 0x66, 0xb5, 0xb3, 0xf6};
	struct sc_key key = {0};
	uint8_t data[6 + SC_MAC_BYTES] = "sluice";

	(void)state;
	assert_int_equal(load("7 " HEX "\n", 7, &key), 0);
	sc_key_sign(&key, data, 6);
	assert_memory_equal(data + 6, want, sizeof want);
	assert_true(sc_key_valid(&key, data, sizeof data));
	for (unsigned i = 0; i < sizeof data; i++) {
		data[i] ^= 1;
		assert_false(sc_key_valid(&key, data, sizeof data));
		data[i] ^= 1;
	}
	assert_false(sc_key_valid(&key, data, sizeof data - 1));
	assert_false(sc_key_valid(&key, data, 3));
}
#else
static void test_no_mac(void **state)
{
	struct sc_key key = {0};
	char error[200] = "";

	(void)state;
	assert_int_equal(sc_key_load(&key, "/nowhere", 1, error, sizeof error), -ENOTSUP);
	assert_non_null(strstr(error, "libsodium"));
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_data_head),
		cmocka_unit_test(test_ack),
		cmocka_unit_test(test_ack_max),
		cmocka_unit_test(test_reject),
		cmocka_unit_test(test_damaged),
		cmocka_unit_test(test_rto),
		cmocka_unit_test(test_rto_doubted),
		cmocka_unit_test(test_least),
		cmocka_unit_test(test_rack),
		cmocka_unit_test(test_datagram_numbers),
		cmocka_unit_test(test_window),
		cmocka_unit_test(test_window_full),
		cmocka_unit_test(test_pack),
#ifdef SLUICE_CLIENT_MAC
		cmocka_unit_test(test_key_file),
		cmocka_unit_test(test_mac),
#else
		cmocka_unit_test(test_no_mac),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
