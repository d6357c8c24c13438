/* What a misspelt name was meant to be, and what is too far. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "nearest.h"

static const char *find(const char *word)
{
	static const char *const known[] = {"page", NULL, "country", "user_id", "session_id", "usr_id"};
	struct nearest n = nearest_to(word);

	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		nearest_offer(&n, known[i]);
	return n.name;
}

static void test_near(void **state)
{
	char longest[65];

	(void)state;
	assert_string_equal(find("pages"), "page");
	assert_string_equal(find("pag"), "page");
	assert_string_equal(find("conutry"), "country");
	assert_string_equal(find("userid"), "user_id"); /* the first of two that are one edit away */
	assert_string_equal(find("usrid"), "usr_id");
	assert_string_equal(find("sesion_d"), "session_id");
	assert_null(find("x"));
	assert_null(find("amount"));
	assert_null(find("zzzzion_id")); /* four edits from session_id */
	memset(longest, 'p', 64);
	longest[64] = 0;
	assert_null(find(longest));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_near)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
