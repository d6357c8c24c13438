/* Values of the Java client (UtilsTest.testMurmur2 of Apache Kafka, and tests of other clients against it).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "murmur2.h"

static const struct {
	const char *key;
	int32_t hash;
} java[] = {
	{"21", -973932308},
	{"foobar", -790332482},
	{"a-little-bit-long-string", -985981536},
	{"a-little-bit-longer-string", -1486304829},
	{"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971},
	{"abc", 479470107},
	{"kafka", (int32_t)0xd067cf64},
	{"giberish123456789", (int32_t)0x8f552b0c},
	{"1234", (int32_t)0x9fc97b14},
	{"234", (int32_t)0xe7c009ca},
	{"34", (int32_t)0x873930da},
	{"4", (int32_t)0x5a4b5ca1},
	{"PreAmbleWillBeRemoved,ThePrePartThatIs", (int32_t)0x78424f1c},
	{"reAmbleWillBeRemoved,ThePrePartThatIs", (int32_t)0x4a62b377},
	{"eAmbleWillBeRemoved,ThePrePartThatIs", (int32_t)0xe0e4e09e},
	{"AmbleWillBeRemoved,ThePrePartThatIs", (int32_t)0x62b8b43f},
	{"", (int32_t)0x106e08d9},
};

static void test_hash(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof java / sizeof *java; i++) {
		size_t bytes = strlen(java[i].key);
		char shifted[80];

		assert_int_equal((int32_t)murmur2_hash(java[i].key, bytes), java[i].hash);
		/* Keys stand anywhere in a record. */
		for (int shift = 1; shift < 8; shift++) {
			memcpy(shifted + shift, java[i].key, bytes);
			assert_int_equal((int32_t)murmur2_hash(shifted + shift, bytes), java[i].hash);
		}
	}
}

static void test_partition(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof java / sizeof *java; i++)
		for (int32_t n = 1; n < 50; n++)
			assert_int_equal(murmur2_partition(java[i].key, strlen(java[i].key), n),
				(java[i].hash & 0x7fffffff) % n);
	/* "foobar": toPositive(-790332482) = 1357151166; % 12 = 6 (negating instead would give 2). */
	assert_int_equal(murmur2_partition("foobar", 6, 12), 6);
	assert_int_equal(murmur2_partition("abc", 3, 12), 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_hash), cmocka_unit_test(test_partition)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
