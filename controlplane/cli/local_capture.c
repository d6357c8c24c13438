/* `capture`: frames as the daemon's workers see them, into a pcap file. */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "json_scan.h"

#define FRAME_BYTES_MAX 65535u
#define COUNT_DEFAULT 10000u
#define BYTES_DEFAULT (64u << 20)
#define SECONDS_DEFAULT 10u

/* pcap with nanoseconds, in this machine's order: https://www.tcpdump.org/manpages/pcap-savefile.5.html */
struct pcap_file_head {
	uint32_t magic;
	uint16_t major, minor;
	uint32_t zone, accuracy, frame_bytes_max, link;
};
struct pcap_frame_head {
	uint32_t seconds, nanoseconds, bytes, frame_bytes;
};

struct capture_out {
	FILE *file;
	uint64_t frames, bytes;
	uint64_t frames_max, bytes_max;
	uint8_t *data; /* of one answer */
	size_t capacity;
};

static volatile sig_atomic_t interrupted;

static void on_signal(int signo)
{
	(void)signo;
	interrupted = 1;
}

static uint64_t option(const struct cli *cli, const char *name, uint64_t def)
{
	const json_t *v = json_object_get(cli->args, name);

	return v ? (uint64_t)json_integer_value(v) : def;
}

/* A new file that nobody else can read, or standard output. */
static int out_open(struct capture_out *out, const char *path, struct err *err)
{
	const struct pcap_file_head head = {0xa1b23c4d, 2, 4, 0, 0, FRAME_BYTES_MAX, 1};
	int fd;

	if (!strcmp(path, "-"))
		fd = dup(STDOUT_FILENO);
	else
		fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	out->file = fd >= 0 ? fdopen(fd, "wb") : NULL;
	if (!out->file || fwrite(&head, sizeof head, 1, out->file) != 1)
		return err_set(err, -errno, "%s: %s", path, strerror(errno));
	out->bytes = sizeof head;
	return 0;
}

/* Hexadecimal digits to bytes; -1: they are none. */
static ssize_t unhex(struct capture_out *out, const char *hex)
{
	size_t bytes = strlen(hex) / 2;

	if (bytes > out->capacity) {
		uint8_t *more = realloc(out->data, bytes);

		if (!more)
			return -1;
		out->data = more;
		out->capacity = bytes;
	}
	for (size_t i = 0; i < bytes; i++) {
		uint32_t high = json_hex_digit((uint8_t)hex[2 * i]),
			 low = json_hex_digit((uint8_t)hex[2 * i + 1]);

		if (high > 15 || low > 15)
			return -1;
		out->data[i] = (uint8_t)(high << 4 | low);
	}
	return hex[2 * bytes] ? -1 : (ssize_t)bytes;
}

/* Frames of one answer, up to the limits. 1: a limit is reached. */
static int frames_write(struct capture_out *out, const char *hex, struct err *err)
{
	ssize_t bytes = hex ? unhex(out, hex) : -1;
	struct pcap_frame_head h;

	for (ssize_t at = 0; at < bytes; at += (ssize_t)sizeof h + h.bytes) {
		if (bytes - at < (ssize_t)sizeof h)
			bytes = -1;
		else
			memcpy(&h, out->data + at, sizeof h);
		if (bytes < 0 || h.bytes > FRAME_BYTES_MAX || bytes - at - (ssize_t)sizeof h < h.bytes) {
			bytes = -1;
			break;
		}
		if (out->frames == out->frames_max || out->bytes + sizeof h + h.bytes > out->bytes_max)
			return 1;
		if (fwrite(out->data + at, sizeof h + h.bytes, 1, out->file) != 1)
			return err_set(err, -errno, "writing: %s", strerror(errno));
		out->frames++;
		out->bytes += sizeof h + h.bytes;
	}
	if (bytes < 0)
		return err_set(err, -EPROTO, "the answer is not one of sluiced's");
	return out->frames == out->frames_max;
}

/* Reads until the daemon, a limit or the user ends it. */
static enum cli_exit capture_read_all(
	struct client_link *link, struct capture_out *out, const json_t *id, json_t **counts, struct err *err)
{
	enum cli_exit code = CLI_OK;
	bool ended = false;

	while (code == CLI_OK && !ended) {
		json_t *answer = NULL;
		int full = 0;

		code = client_call(link, "tap read", id, &answer, err);
		if (code == CLI_OK)
			full = frames_write(out, json_string_value(json_object_get(answer, "hex")), err);
		if (full < 0)
			code = CLI_FAILED;
		ended = full || interrupted || json_is_true(json_object_get(answer, "ended"));
		json_decref(answer);
	}
	if (code == CLI_OK)
		code = client_call(link, "tap close", id, counts, err);
	return code;
}

static enum cli_exit capture_run(const struct cli *cli, struct client_link *link, struct capture_out *out,
	json_t **counts, struct err *err)
{
	static const char *const passed[] = {"port", "listener", "source", "drop"};
	json_t *args = json_pack("{s:I}", "seconds", (json_int_t)option(cli, "seconds", SECONDS_DEFAULT)),
	       *id = NULL;
	enum cli_exit code;

	for (size_t i = 0; i < sizeof passed / sizeof *passed; i++)
		if (json_object_get(cli->args, passed[i]))
			json_object_set(args, passed[i], json_object_get(cli->args, passed[i]));
	code = client_call(link, "tap open", args, &id, err);
	json_decref(args);
	if (code == CLI_OK) {
		fputs("sluicectl: capturing; Ctrl-C ends it\n", stderr);
		code = capture_read_all(link, out, id, counts, err);
	}
	json_decref(id);
	return code;
}

enum cli_exit local_capture(const struct cli *cli, FILE *text, struct err *err)
{
	const char *path = json_string_value(json_object_get(cli->args, "out"));
	struct capture_out out = {.frames_max = option(cli, "count", COUNT_DEFAULT),
		.bytes_max = option(cli, "bytes", BYTES_DEFAULT)};
	struct sigaction act = {.sa_handler = on_signal};
	struct client_link link;
	json_t *counts = NULL;
	enum cli_exit code = client_connect(&link, cli->socket, err);

	sigaction(SIGINT, &act, NULL);
	sigaction(SIGTERM, &act, NULL);
	if (code == CLI_OK && out_open(&out, path, err))
		code = CLI_FAILED;
	if (code == CLI_OK)
		code = capture_run(cli, &link, &out, &counts, err);
	if (out.file && fclose(out.file) && code == CLI_OK) {
		err_set(err, -errno, "%s: %s", path, strerror(errno));
		code = CLI_FAILED;
	}
	if (out.file && code != CLI_OK && !out.frames && strcmp(path, "-") != 0)
		unlink(path);
	if (code == CLI_OK) {
		json_object_set_new(counts, "frames", json_u64(out.frames));
		json_object_set_new(counts, "bytes", json_u64(out.bytes));
		cli_print(cli, strcmp(path, "-") ? text : stderr, json_incref(counts));
	}
	json_decref(counts);
	client_close_link(&link);
	free(out.data);
	return code;
}
