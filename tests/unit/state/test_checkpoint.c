/* Checkpoint files: there and back, damage of every kind, versions, trimming, kills, a full disk. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "checkpoint.h"
#include "crc32c.h"
#include "log.h"

static char dir[128];
static struct err err;

static void clean(void)
{
	DIR *d = opendir(dir);

	for (struct dirent *e = readdir(d); e; e = readdir(d))
		if (*e->d_name != '.')
			unlinkat(dirfd(d), e->d_name, 0);
	closedir(d);
}

static int setup(void **state)
{
	const char *base = getenv("SLUICE_TEST_DIR");

	(void)state;
	log_init(LOG_LEVEL_ERROR, false);
	snprintf(dir, sizeof dir, "%.90s/sluice-checkpoint-XXXXXX", base ? base : "/tmp");
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	clean();
	return rmdir(dir);
}

static struct checkpoint_info info_of(uint32_t who, uint64_t seq)
{
	struct checkpoint_info info = {.node = "box-1",
		.input_epoch = 0x1122334455667788,
		.output_epoch = 0x99,
		.who = who,
		.seq = seq,
		.input_offset = seq * 1000,
		.output_offset = seq * 10,
		.created_ms = 1715200123456,
		.watermark_ms = -5,
		.step_ms = 1000,
		.partitions = 4,
		.window_count = 3,
		.window_uid = {7, 8, UINT64_MAX}};

	return info;
}

static int put(uint32_t who, uint64_t seq, const char *savepoint)
{
	struct checkpoint_info info = info_of(who, seq);
	struct bytes body = {0};
	int rc;

	snprintf(info.savepoint, sizeof info.savepoint, "%s", savepoint);
	for (uint32_t i = 0; i < 5000; i++)
		bytes_put_u64(&body, seq + i);
	rc = checkpoint_write(dir, &info, &body, &err);
	bytes_free(&body);
	return rc;
}

static void path_of(char out[300], const char *name)
{
	snprintf(out, 300, "%s/%s", dir, name);
}

static void test_there_and_back(void **state)
{
	static const uint32_t who[] = {0, 3, CHECKPOINT_MERGE};
	static const char *const name[] = {
		"p0-00000000000000ff.ckpt", "p3-00000000000000ff.ckpt", "merge-00000000000000ff.ckpt"};
	struct bytes body = {0};
	struct checkpoint_info got, want;
	char path[300];

	(void)state;
	clean();
	assert_int_equal(checkpoint_read_newest(dir, 0, &got, &body, &err), -ENOENT);
	for (int i = 0; i < 3; i++)
		assert_int_equal(put(who[i], 255, ""), 0);
	for (int i = 0; i < 3; i++) {
		want = info_of(who[i], 255);
		want.version = CHECKPOINT_VERSION;
		want.body_bytes = 40000;
		assert_int_equal(checkpoint_read_newest(dir, who[i], &got, &body, &err), 0);
		assert_memory_equal(&got, &want, sizeof got);
		assert_int_equal(body.bytes, 40000);
		for (uint64_t k = 0; k < 5000; k++) {
			uint64_t v;

			memcpy(&v, body.data + 8 * k, 8);
			assert_true(v == 255 + k);
		}
		path_of(path, name[i]);
		assert_int_equal(checkpoint_read(path, &got, NULL, &err), 0);
		assert_memory_equal(&got, &want, sizeof got);
	}
	assert_int_equal(checkpoint_read_newest(dir, 1, &got, &body, &err), -ENOENT);
	path_of(path, "none");
	assert_int_equal(checkpoint_read(path, &got, &body, &err), -ENOENT);
	assert_int_equal(checkpoint_read_newest("/nowhere", 0, &got, &body, &err), -ENOENT);
	assert_int_equal(checkpoint_read(dir, &got, &body, &err), -EBADMSG);
	bytes_free(&body);
}

static void test_empty_body(void **state)
{
	struct checkpoint_info info = info_of(2, 1), got;
	struct bytes body = {0}, back = {0};

	(void)state;
	clean();
	assert_int_equal(checkpoint_write(dir, &info, &body, &err), 0);
	assert_int_equal(checkpoint_read_newest(dir, 2, &got, &back, &err), 0);
	assert_int_equal(back.bytes, 0);
	assert_int_equal(got.body_bytes, 0);
	bytes_free(&back);
}

/* Changes a byte of a file, cuts it, or adds one. */
static void damage(const char *name, off_t at, off_t bytes)
{
	char path[300];
	uint8_t b;
	int fd;

	path_of(path, name);
	fd = open(path, O_RDWR);
	assert_true(fd >= 0);
	if (at >= 0) {
		assert_int_equal(pread(fd, &b, 1, at), 1);
		b ^= 0x10;
		assert_int_equal(pwrite(fd, &b, 1, at), 1);
	} else {
		assert_int_equal(ftruncate(fd, bytes), 0);
	}
	close(fd);
}

static void test_damaged(void **state)
{
	static const char name[] = "p1-0000000000000003.ckpt";
	struct checkpoint_info got;
	struct bytes body = {0};

	(void)state;
	clean();
	assert_int_equal(put(1, 2, ""), 0);
	assert_int_equal(put(1, 3, ""), 0);
	for (off_t at = 0; at < 44096; at += at < 4200 ? 1 : 101) {
		damage(name, at, 0);
		assert_int_equal(checkpoint_read_newest(dir, 1, &got, &body, &err), 0);
		assert_int_equal(got.seq, 2);
		damage(name, at, 0); /* and back */
	}
	assert_int_equal(checkpoint_read_newest(dir, 1, &got, &body, &err), 0);
	assert_int_equal(got.seq, 3);
	for (off_t bytes = 0; bytes < 44100; bytes += 1003) {
		assert_int_equal(put(1, 3, ""), 0);
		damage(name, -1, bytes);
		assert_int_equal(checkpoint_read_newest(dir, 1, &got, &body, &err), 0);
		assert_int_equal(got.seq, 2);
	}
	assert_int_equal(put(1, 3, ""), 0);
	damage(name, -1, 44097);
	assert_int_equal(checkpoint_read_newest(dir, 1, &got, &body, &err), 0);
	assert_int_equal(got.seq, 2);
	damage("p1-0000000000000002.ckpt", 5000, 0);
	assert_int_equal(checkpoint_read_newest(dir, 1, &got, &body, &err), -EBADMSG);
	assert_int_equal(body.bytes, 0);
	assert_int_equal(got.partitions, 0);
	assert_non_null(strstr(err.text, "none of 2"));
	bytes_free(&body);
}

/* A good file under a name that is not its own. */
static void test_other_name(void **state)
{
	char from[300], to[300];
	struct checkpoint_info got;
	struct bytes body = {0};

	(void)state;
	clean();
	assert_int_equal(put(1, 2, ""), 0);
	assert_int_equal(put(2, 9, ""), 0);
	path_of(from, "p2-0000000000000009.ckpt");
	path_of(to, "p1-0000000000000009.ckpt");
	assert_int_equal(rename(from, to), 0);
	path_of(to, "p01-0000000000000010.ckpt"); /* no name of ours */
	close(open(to, O_CREAT | O_WRONLY, 0600));
	assert_int_equal(checkpoint_read_newest(dir, 1, &got, &body, &err), 0);
	assert_int_equal(got.seq, 2);
	bytes_free(&body);
}

/* Sets a 32-bit word of the header and makes its checksum right again. */
static void set_word(const char *name, off_t at, uint32_t v)
{
	uint8_t header[CHECKPOINT_HEADER_BYTES];
	char path[300];
	uint32_t crc;
	int fd;

	path_of(path, name);
	fd = open(path, O_RDWR);
	assert_int_equal(pread(fd, header, sizeof header, 0), sizeof header);
	memcpy(header + at, &v, 4);
	crc = crc32c(0, header, sizeof header - 4);
	memcpy(header + sizeof header - 4, &crc, 4);
	assert_int_equal(pwrite(fd, header, sizeof header, 0), sizeof header);
	close(fd);
}

static void test_versions(void **state)
{
	static const char name[] = "p1-0000000000000003.ckpt";
	struct checkpoint_info got;
	struct bytes body = {0};

	(void)state;
	clean();
	assert_int_equal(put(1, 2, ""), 0);
	assert_int_equal(put(1, 3, ""), 0);
	set_word(name, 8, CHECKPOINT_VERSION + 1);
	assert_int_equal(
		checkpoint_read_newest(dir, 1, &got, &body, &err), -EPROTO); /* not the one before it */
	assert_non_null(strstr(err.text, "a newer version"));
	assert_int_equal(checkpoint_trim(dir, 1, 1, &got, &err), 0); /* and it stays */
	assert_int_equal(got.seq, 2);
	assert_int_equal(checkpoint_read_newest(dir, 1, &got, &body, &err), -EPROTO);
	set_word(name, 8, 0);
	assert_int_equal(checkpoint_read_newest(dir, 1, &got, &body, &err), -EPROTO);
	assert_non_null(strstr(err.text, "an older version"));
	set_word(name, 8, CHECKPOINT_VERSION);
	assert_int_equal(checkpoint_read_newest(dir, 1, &got, &body, &err), 0);
	/* Values that cannot be, with a checksum that is right: windows, node and name without an end, who.
	 */
	set_word(name, 164, 0); /* partitions */
	assert_int_equal(checkpoint_read_newest(dir, 1, &got, &body, &err), 0);
	assert_int_equal(got.seq, 2);
	set_word(name, 164, 4);
	assert_int_equal(checkpoint_read_newest(dir, 1, &got, &body, &err), 0);
	assert_int_equal(got.seq, 3);
	set_word(name, 168, WINDOWS_MAX + 1);
	assert_int_equal(checkpoint_read_newest(dir, 1, &got, &body, &err), 0);
	assert_int_equal(got.seq, 2);
	set_word(name, 168, UINT32_MAX);
	assert_int_equal(checkpoint_read_newest(dir, 1, &got, &body, &err), 0);
	assert_int_equal(got.seq, 2);
	bytes_free(&body);
}

static uint32_t names(char *out, size_t cap)
{
	struct checkpoint_entry *list;
	uint32_t count;

	out[0] = 0;
	assert_int_equal(checkpoint_list(dir, &list, &count, &err), 0);
	for (uint32_t i = 0; i < count; i++) {
		size_t n = strlen(out);

		snprintf(out + n, cap - n, "%s%s%s", i ? " " : "", strrchr(list[i].path, '/') + 1,
			list[i].good ? "" : "!");
		assert_true(list[i].good == !list[i].fault[0]);
		assert_true(
			list[i].good ? list[i].info.seq != 0 : !list[i].info.seq && !list[i].info.body_bytes);
	}
	free(list);
	return count;
}

static void test_trim_and_list(void **state)
{
	struct checkpoint_info oldest;
	struct bytes body = {0};
	char all[512], path[300];

	(void)state;
	clean();
	assert_int_equal(names(all, sizeof all), 0);
	assert_int_equal(checkpoint_trim(dir, 1, 2, &oldest, &err), -ENOENT);
	for (uint64_t seq = 1; seq <= 5; seq++)
		assert_int_equal(put(1, seq, ""), 0);
	assert_int_equal(put(2, 1, ""), 0);
	assert_int_equal(put(1, 2, "before-upgrade"), 0);
	path_of(path, "p1-0000000000000006.ckpt.tmp");
	close(open(path, O_CREAT | O_WRONLY, 0600));
	path_of(path, "p2-0000000000000006.ckpt.tmp");
	close(open(path, O_CREAT | O_WRONLY, 0600));
	damage("p1-0000000000000005.ckpt", 20, 0);
	damage("p1-0000000000000002.ckpt", 20, 0);
	names(all, sizeof all);
	assert_string_equal(all,
		"p1-0000000000000001.ckpt p2-0000000000000001.ckpt p1-0000000000000002.ckpt! "
		"p1-0000000000000002.save p1-0000000000000003.ckpt p1-0000000000000004.ckpt "
		"p1-0000000000000005.ckpt!");
	assert_int_equal(checkpoint_trim(dir, 1, 2, &oldest, &err), 0);
	assert_int_equal(oldest.seq, 3);
	assert_int_equal(oldest.input_offset, 3000);
	names(all, sizeof all);
	assert_string_equal(all, "p2-0000000000000001.ckpt p1-0000000000000002.save p1-0000000000000003.ckpt "
				 "p1-0000000000000004.ckpt p1-0000000000000005.ckpt!");
	path_of(path, "p1-0000000000000006.ckpt.tmp");
	assert_int_equal(access(path, F_OK), -1);
	path_of(path, "p2-0000000000000006.ckpt.tmp");
	assert_int_equal(access(path, F_OK), 0);
	/* Only savepoints: the newest of them tells. */
	clean();
	assert_int_equal(put(1, 2, "a"), 0);
	assert_int_equal(put(1, 3, "b"), 0);
	assert_int_equal(checkpoint_trim(dir, 1, 2, &oldest, &err), 0);
	assert_int_equal(oldest.seq, 3);
	assert_string_equal(oldest.savepoint, "b");
	assert_int_equal(checkpoint_read_newest(dir, 1, &oldest, &body, &err), 0);
	assert_int_equal(oldest.seq, 3);
	/* An older checkpoint than a savepoint holds retention. */
	assert_int_equal(put(1, 1, ""), 0);
	assert_int_equal(checkpoint_trim(dir, 1, 2, &oldest, &err), 0);
	assert_int_equal(oldest.seq, 1);
	bytes_free(&body);
}

/* What a full disk does, by a limit on the file's size. */
static void test_no_space(void **state)
{
	struct checkpoint_info got;
	struct rlimit was, limit;
	struct bytes body = {0};
	char all[512];

	(void)state;
	clean();
	assert_int_equal(put(1, 2, ""), 0);
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &was);
	for (rlim_t at = 0; at < 44096; at += 4000) {
		limit = was;
		limit.rlim_cur = at;
		setrlimit(RLIMIT_FSIZE, &limit);
		assert_int_equal(put(1, 3, ""), -EFBIG);
		assert_int_equal(put(1, 2, ""), -EFBIG); /* the same name: the old file stays */
		setrlimit(RLIMIT_FSIZE, &was);
		names(all, sizeof all);
		assert_string_equal(all, "p1-0000000000000002.ckpt");
	}
	assert_int_equal(checkpoint_read_newest(dir, 1, &got, &body, &err), 0);
	assert_int_equal(got.seq, 2);
	body.failed = true;
	assert_int_equal(checkpoint_write(dir, &got, &body, &err), -ENOMEM);
	bytes_free(&body);
}

static void test_kills(void **state)
{
	static const struct {
		const char *point;
		uint64_t seq;
	} row[] = {{"checkpoint_written:1", 2}, {"checkpoint_synced:1", 2}, {"checkpoint_renamed:1", 3},
		{"checkpoint_dir_synced:1", 3}};
	struct checkpoint_info got;
	struct bytes body = {0};

	(void)state;
	for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
		int status;
		pid_t pid;

		clean();
		pid = fork();
		if (pid == 0) {
			if (put(1, 2, ""))
				_exit(1);
			_exit(0);
		}
		waitpid(pid, &status, 0);
		assert_int_equal(status, 0);
		pid = fork();
		if (pid == 0) {
			setenv("SLUICE_CRASH", row[i].point, 1);
			put(1, 3, "");
			_exit(0);
		}
		waitpid(pid, &status, 0);
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		assert_int_equal(checkpoint_read_newest(dir, 1, &got, &body, &err), 0);
		assert_int_equal(got.seq, row[i].seq);
		assert_int_equal(checkpoint_trim(dir, 1, 3, &got, &err), 0);
		assert_int_equal(got.seq, 2);
	}
	bytes_free(&body);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kills), /* first: the environment is read once a process */
		cmocka_unit_test(test_there_and_back),
		cmocka_unit_test(test_empty_body),
		cmocka_unit_test(test_damaged),
		cmocka_unit_test(test_other_name),
		cmocka_unit_test(test_versions),
		cmocka_unit_test(test_trim_and_list),
		cmocka_unit_test(test_no_space),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
