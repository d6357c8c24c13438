/* `schema clickhouse` and `position clickhouse`: no daemon needed. */
#include "cli.h"

#include <errno.h>

#include "clickhouse.h"
#include "config.h"

enum cli_exit local_schema_clickhouse(const struct cli *cli, FILE *out, struct err *err)
{
	const char *path = json_string_value(json_object_get(cli->args, "config"));
	const char *server = json_string_value(json_object_get(cli->args, "server"));
	bool diff = json_is_true(json_object_get(cli->args, "diff"));
	struct config cfg;

	if (diff && !path) {
		err_set(err, -EINVAL,
			"--diff: which tables there must be is in the configuration: --config FILE");
		return CLI_USAGE;
	}
	if (server && !diff) {
		err_set(err, -EINVAL, "--server: is for --diff");
		return CLI_USAGE;
	}
	if (path) {
		if (config_load(&cfg, path, err))
			return CLI_FAILED;
	} else {
		config_defaults(&cfg);
	}
	if (diff)
		return clickhouse_schema_diff(&cfg, server, out, err) ? CLI_FAILED : CLI_OK;
	return clickhouse_schema_ddl(&cfg, out, err) ? CLI_FAILED : CLI_OK;
}

enum cli_exit local_position_clickhouse(const struct cli *cli, FILE *out, struct err *err)
{
	const char *dir = json_string_value(json_object_get(cli->args, "dir"));
	uint64_t partition = (uint64_t)json_integer_value(json_object_get(cli->args, "partition"));
	uint64_t offset = (uint64_t)json_integer_value(json_object_get(cli->args, "offset"));
	struct ch_position to = {.output = json_is_true(json_object_get(cli->args, "output")),
		.drop_parked = json_is_true(json_object_get(cli->args, "drop-parked")),
		.partition = (uint32_t)partition,
		.offset = offset};
	struct config cfg;

	config_defaults(&cfg);
	if (partition > UINT32_MAX) {
		err_set(err, -EINVAL, "there is no such partition");
		return CLI_FAILED;
	}
	if (clickhouse_position_set(dir ? dir : cfg.node.data_dir, &to, err))
		return CLI_FAILED;
	cli_print(cli, out,
		json_pack("{s:I, s:I}", "partition", (json_int_t)partition, "delivered_before",
			(json_int_t)offset));
	return CLI_OK;
}
