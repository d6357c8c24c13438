/* Reading files whole: what is no file of the allowed size is refused, and the copy does not change with the
 * file. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "enrich_files.h"
#include "table_file.h"

static void test_files(void **state)
{
	struct err err = {{0}};
	char path[64], *data;
	size_t bytes;

	(void)state;
	file_path(path);
	assert_int_equal(table_file_read(&data, &bytes, path, 100, &err), -EINVAL);
	assert_non_null(strstr(err.text, "empty"));
	file_write_text(path, "0123456789");
	assert_int_equal(table_file_read(&data, &bytes, path, 9, &err), -EINVAL);
	assert_non_null(strstr(err.text, "enrich.file_bytes_max, 9"));
	assert_non_null(strstr(err.text, path));
	assert_int_equal(table_file_read(&data, &bytes, path, 10, &err), 0);
	assert_int_equal(truncate(path, 0), 0);
	assert_int_equal(bytes, 10);
	assert_string_equal(data, "0123456789");
	free(data);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(table_file_read(&data, &bytes, path, 100, &err), -ENOENT);
	assert_null(data);
	assert_int_equal(table_file_read(&data, &bytes, ".", 1 << 20, &err), -EINVAL);
	assert_non_null(strstr(err.text, "not a regular file"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_files)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
