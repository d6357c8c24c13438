/* A ring that is limited: what it may do still goes, every other operation, flag and registration is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ring_limit.h"

static struct io_uring ring;
static int fd;

static struct io_uring_sqe *sqe(void)
{
	struct io_uring_sqe *s = io_uring_get_sqe(&ring);

	assert_non_null(s);
	return s;
}

static int answer(void)
{
	struct io_uring_cqe *cqe;
	int res;

	assert_int_equal(io_uring_submit(&ring), 1);
	assert_int_equal(io_uring_wait_cqe(&ring, &cqe), 0);
	res = cqe->res;
	io_uring_cqe_seen(&ring, cqe);
	return res;
}

static int setup(void **state)
{
	static const uint8_t ops[] = {IORING_OP_WRITE};
	char path[] = "/tmp/sluice-ring-XXXXXX";

	(void)state;
	fd = mkstemp(path);
	unlink(path);
	if (fd < 0 || ring_open(&ring, 8, IORING_SETUP_SINGLE_ISSUER))
		return -1;
	return io_uring_register_files(&ring, &fd, 1) ||
	       ring_limit(&ring, ops, 1, IOSQE_FIXED_FILE, IORING_REGISTER_FILES_UPDATE);
}

static int teardown(void **state)
{
	(void)state;
	io_uring_queue_exit(&ring);
	return close(fd);
}

static void test_allowed(void **state)
{
	struct io_uring_sqe *s = sqe();

	(void)state;
	io_uring_prep_write(s, 0, "abc", 3, 0);
	s->flags |= IOSQE_FIXED_FILE;
	assert_int_equal(answer(), 3);
	assert_int_equal(io_uring_register_files_update(&ring, 0, &fd, 1), 1);
}

static void test_refused(void **state)
{
	struct iovec memory = {malloc(4096), 4096};
	struct io_uring_sqe *s;

	(void)state;
	io_uring_prep_openat(sqe(), AT_FDCWD, "/etc/passwd", O_RDONLY, 0);
	assert_int_equal(answer(), -EACCES);
	io_uring_prep_socket(sqe(), 2, 1, 0, 0);
	assert_int_equal(answer(), -EACCES);
	io_uring_prep_read(sqe(), fd, memory.iov_base, 3, 0);
	assert_int_equal(answer(), -EACCES);
	s = sqe();
	io_uring_prep_write(s, fd, "abc", 3, 0);
	s->flags |= IOSQE_ASYNC;
	assert_int_equal(answer(), -EACCES);
	assert_int_equal(io_uring_register_buffers(&ring, &memory, 1), -EACCES);
	assert_int_equal(io_uring_register_eventfd(&ring, fd), -EACCES);
	free(memory.iov_base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_allowed), cmocka_unit_test(test_refused)};

	return cmocka_run_group_tests(tests, setup, teardown);
}
