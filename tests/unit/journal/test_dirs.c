/* Partitions on several disks: dealt in turn, found again, refused when one is away, removed with the rest.
 */
#include "journal_rig.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "durable.h"
#include "log.h"

static uint32_t entries(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	uint32_t count = 0;

	assert_non_null(d);
	while ((e = readdir(d)))
		count += e->d_name[0] != '.';
	closedir(d);
	return count;
}

/* Whatever lies there is somebody's. */
static void without_meta_nothing_is_touched(struct rig *rig)
{
	char path[300], target[300];
	struct rig_log log;
	struct err err;

	snprintf(path, sizeof path, "%s/journal.meta", rig->params.dir);
	snprintf(target, sizeof target, "%s/meta-away", rig->dir);
	assert_int_equal(rename(path, target), 0);
	assert_int_equal(rig_open_rc(rig, &err), -EBADMSG);
	assert_non_null(strstr(err.text, "there are segments but no journal.meta"));
	assert_int_equal(rename(target, path), 0);
	rig_open(rig);
	for (uint32_t p = 0; p < 4; p++) {
		rig_read(rig, p, &log);
		assert_int_equal(log.count, 3000);
		rig_log_free(&log);
	}
	rig_close(rig);
}

static void partitions_are_dealt_in_turn(void **state)
{
	char disk[2][200], away[220], path[300], target[300];
	struct rig_log log;
	struct rig rig;
	struct err err;

	(void)state;
	rig_init(&rig, 4, 1);
	snprintf(rig.params.dir, sizeof rig.params.dir, "%s/tree/journal", rig.dir);
	for (int i = 0; i < 2; i++) {
		snprintf(disk[i], sizeof disk[i], "%s/disk%d", rig.dir, i);
		assert_int_equal(mkdir(disk[i], 0700), 0);
	}
	snprintf(rig.params.dirs, sizeof rig.params.dirs, "%.80s, %.80s/missing", disk[0], disk[1]);
	assert_int_equal(rig_open_rc(&rig, &err), -ENOENT);
	assert_non_null(strstr(err.text, "disk1/missing is not there"));
	snprintf(rig.params.dirs, sizeof rig.params.dirs, "relative");
	assert_int_equal(rig_open_rc(&rig, &err), -EINVAL);
	snprintf(rig.params.dirs, sizeof rig.params.dirs, "%.80s, %.80s", disk[0], disk[1]);
	rig_start(&rig);
	for (uint32_t p = 0; p < 4; p++) {
		rig_feed(&rig, 0, p, 1, 3000);
		rig_settle(&rig, p);
	}
	assert_int_equal(entries(disk[0]), 2);
	assert_int_equal(entries(disk[1]), 2);
	for (uint32_t p = 0; p < 4; p++) {
		ssize_t n;

		snprintf(path, sizeof path, "%s/p%u", rig.params.dir, p);
		n = readlink(path, target, sizeof target - 1);
		assert_true(n > 0);
		target[n] = 0;
		assert_int_equal(strncmp(target, disk[p % 2], strlen(disk[0])), 0);
		assert_true(entries(target) >= 3);
	}
	rig_restart(&rig);
	for (uint32_t p = 0; p < 4; p++) {
		rig_read(&rig, p, &log);
		assert_int_equal(log.count, 3000);
		rig_log_free(&log);
	}
	rig_close(&rig);
	/* A disk that is not mounted. */
	snprintf(away, sizeof away, "%s-away", disk[1]);
	assert_int_equal(rename(disk[1], away), 0);
	assert_int_equal(rig_open_rc(&rig, &err), -ENOENT);
	assert_non_null(strstr(err.text, "partition 1 lies in"));
	assert_int_equal(mkdir(disk[1], 0700), 0); /* its mount point alone */
	assert_int_equal(rig_open_rc(&rig, &err), -ENOENT);
	assert_int_equal(rmdir(disk[1]), 0);
	assert_int_equal(rename(away, disk[1]), 0);
	rig_open(&rig);
	rig_close(&rig);
	without_meta_nothing_is_touched(&rig);
	/* Removed as a whole, also if a removal has crashed after the first. */
	snprintf(path, sizeof path, "%s/p0", rig.params.dir);
	target[readlink(path, target, sizeof target - 1)] = 0;
	assert_int_equal(durable_tree_remove(target, &err), 0);
	assert_int_equal(unlink(path), 0);
	snprintf(path, sizeof path, "%s/tree", rig.dir);
	assert_int_equal(journal_tree_remove(path, &err), 0);
	assert_int_equal(entries(disk[0]) + entries(disk[1]), 0);
	assert_int_equal(access(path, F_OK), -1);
	rig_free(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(partitions_are_dealt_in_turn)};

	rig_eal("dirs");
	log_init(LOG_LEVEL_ERROR, false);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
