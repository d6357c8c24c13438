/* `checkpoint ls|inspect`: the files of the state stage as they lie there; no daemon needed. */
#include "cli.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checkpoint.h"

enum cli_exit cli_data_dir(const struct cli *cli, char *dir, size_t cap, struct err *err)
{
	enum cli_exit code = cli_journal_dir(cli, dir, cap, err);
	char *slash;

	if (code == CLI_OK && json_object_get(cli->args, "dir") && access(dir, F_OK)) {
		err_set(err, -errno, "%s: %s", dir, strerror(errno));
		return CLI_FAILED;
	}
	if (code != CLI_OK || json_object_get(cli->args, "dir"))
		return code;
	slash = strrchr(dir, '/'); /* the daemon's is node.data_dir/journal */
	if (slash)
		*slash = 0;
	return CLI_OK;
}

static json_t *who_json(uint32_t who)
{
	return who == CHECKPOINT_MERGE ? json_string("merge") : json_sprintf("partition %u", who);
}

static json_t *entry_json(const struct checkpoint_entry *e)
{
	const struct checkpoint_info *info = &e->info;
	const char *name = strrchr(e->path, '/');

	if (!e->good)
		return json_pack("{s:o, s:s, s:o}", "file", json_text(name ? name + 1 : e->path), "state",
			"damaged", "fault", json_text(e->fault));
	return json_pack("{s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "file",
		json_text(name ? name + 1 : e->path), "state", "good", "of", who_json(info->who), "seq",
		json_u64(info->seq), "input_offset", json_u64(info->input_offset), "output_offset",
		json_u64(info->output_offset), "watermark", json_time(info->watermark_ms), "created",
		json_time(info->created_ms), "bytes", json_u64(info->body_bytes), "savepoint",
		json_text(info->savepoint));
}

enum cli_exit local_checkpoint_ls(const struct cli *cli, FILE *out, struct err *err)
{
	struct checkpoint_entry *list;
	uint32_t count, damaged = 0;
	char dir[4096], path[4200];
	enum cli_exit code = cli_data_dir(cli, dir, sizeof dir, err);
	json_t *rows;

	if (code != CLI_OK)
		return code;
	snprintf(path, sizeof path, "%s/state/checkpoints", dir);
	if (checkpoint_list(path, &list, &count, err))
		return CLI_FAILED;
	rows = json_array();
	for (uint32_t i = 0; i < count; i++) {
		json_array_append_new(rows, entry_json(&list[i]));
		damaged += !list[i].good;
	}
	free(list);
	cli_print(cli, out,
		json_pack("{s:o, s:I, s:o}", "dir", json_text(path), "damaged", (json_int_t)damaged,
			"checkpoints", rows));
	return CLI_OK;
}

enum cli_exit local_checkpoint_inspect(const struct cli *cli, FILE *out, struct err *err)
{
	const char *path = json_string_value(json_object_get(cli->args, "file"));
	struct checkpoint_info info;
	json_t *uids;

	if (checkpoint_read(path, &info, NULL, err))
		return CLI_FAILED;
	uids = json_array();
	for (uint32_t i = 0; i < info.window_count; i++)
		json_array_append_new(uids, json_sprintf("%016" PRIx64, info.window_uid[i]));
	cli_print(cli, out,
		json_pack("{s:o, s:I, s:s, s:o, s:o, s:o, s:I, s:o, s:o, s:o, s:o, s:o, s:I, s:o, s:o}", "of",
			who_json(info.who), "version", (json_int_t)info.version, "node", info.node,
			"input_epoch", json_sprintf("%016" PRIx64, info.input_epoch), "output_epoch",
			json_sprintf("%016" PRIx64, info.output_epoch), "seq", json_u64(info.seq),
			"partitions", (json_int_t)info.partitions, "input_offset",
			json_u64(info.input_offset), "output_offset", json_u64(info.output_offset),
			"watermark", json_time(info.watermark_ms), "created", json_time(info.created_ms),
			"savepoint", json_text(info.savepoint), "step_ms", (json_int_t)info.step_ms, "bytes",
			json_u64(info.body_bytes), "windows", uids));
	return CLI_OK;
}
