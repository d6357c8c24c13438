/* `support-bundle`: what somebody needs who looks at this box from afar, in one file, without secrets and
 * without events: what the daemon says of itself, its files by name and size, and the machine. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "checkpoint.h"
#include "cli.h"
#include "config_table.h"
#include "journal.h"
#include "journal_segments.h"
#include "json_print.h"
#include "support_pack.h"
#include "version.h"

#define TEXT_BYTES_MAX (256u << 10) /* of a file of the machine */
#define LOG_BYTES (256u << 10)	    /* of the log, its end */
#define DEPTH_MAX 4

struct support {
	struct pack pack;
	struct client_link link;
	json_t *missing; /* {member: why it is not there} */
	char data[PATH_MAX / 2];
	int pid; /* of the daemon; 0: unknown */
};

static void missing(struct support *s, const char *name, const char *why)
{
	json_object_set_new(s->missing, name, json_text(why));
}

static void add_json(struct support *s, const char *name, json_t *v)
{
	char *text = v ? json_print(v, JSON_INDENT(2)) : NULL;

	if (text)
		pack_add(&s->pack, name, text, strlen(text));
	else
		s->pack.failed = true;
	free(text);
	json_decref(v);
}

/* ---- what the daemon says ---- */

/* The configuration first: what is secret in it is then in nothing that follows. */
static bool add_config(struct support *s, struct err *err)
{
	json_t *none = json_object(), *result = NULL;
	enum cli_exit code = client_call(&s->link, "config", none, &result, err);
	const char *text = json_string_value(json_object_get(result, "text"));
	struct config *cfg = malloc(sizeof *cfg);
	char *clean = NULL;
	size_t bytes = 0;
	FILE *out;
	bool good =
		code == CLI_OK && text && cfg && config_parse(cfg, text, strlen(text), "config", err) == 0;

	if (good) {
		snprintf(s->data, sizeof s->data, "%s", cfg->node.data_dir);
		pack_config(&s->pack, cfg);
		out = open_memstream(&clean, &bytes);
		if (out) {
			config_print(cfg, out, false);
			fclose(out);
		}
		pack_add(&s->pack, "config.yaml", clean ? clean : "", bytes);
		free(clean);
	}
	free(cfg);
	json_decref(result);
	json_decref(none);
	return good;
}

static void add_views(struct support *s)
{
	static const struct {
		const char *words, *name;
		bool text;
	} view[] = {{"version", "version.json", false}, {"status", "status.json", false},
		{"stats", "stats.json", false}, {"ledger", "ledger.json", false},
		{"sinks", "sinks.json", false}, {"ports", "ports.json", false},
		{"windows", "windows.json", false}, {"rules list", "rules.json", false},
		{"rules stats", "rules-stats.json", false}, {"enrich show", "enrich.json", false},
		{"metrics", "metrics.txt", true}};
	json_t *none = json_object();

	for (size_t i = 0; i < sizeof view / sizeof *view; i++) {
		json_t *result = NULL, *text;
		struct err why = {0};

		if (client_call(&s->link, view[i].words, none, &result, &why) != CLI_OK) {
			missing(s, view[i].name, why.text);
			continue;
		}
		text = json_object_get(result, "text");
		if (view[i].text && json_is_string(text))
			pack_add(&s->pack, view[i].name, json_string_value(text), json_string_length(text));
		else
			add_json(s, view[i].name, json_incref(result));
		json_decref(result);
	}
	json_decref(none);
}

static int daemon_pid(const struct client_link *link)
{
	struct ucred who;
	socklen_t n = sizeof who;

	return getsockopt(link->fd, SOL_SOCKET, SO_PEERCRED, &who, &n) == 0 ? (int)who.pid : 0;
}

/* ---- files ---- */

/* Of a file that is no longer than `most`, or its end. */
static void add_file(struct support *s, const char *name, const char *path, uint64_t most)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	char *text = fd >= 0 ? malloc(most) : NULL;
	size_t bytes = 0, start = 0;
	const char *line;
	struct stat st;
	ssize_t n;

	if (!text || fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		missing(s, name, fd < 0 ? strerror(errno) : "it is no file");
	} else {
		if ((uint64_t)st.st_size > most)
			(void)lseek(fd, st.st_size - (off_t)most, SEEK_SET);
		while (bytes < most && (n = read(fd, text + bytes, most - bytes)) > 0)
			bytes += (size_t)n;
		/* From a line's beginning: half of a secret would not be found. */
		line = (uint64_t)st.st_size > most ? memchr(text, '\n', bytes) : NULL;
		if (line)
			start = (size_t)(line + 1 - text);
		else if ((uint64_t)st.st_size > most)
			start = bytes;
		pack_add(&s->pack, name, text + start, bytes - start);
	}
	free(text);
	if (fd >= 0)
		close(fd);
}

static void add_log(struct support *s)
{
	char path[64];

	if (!s->pid) {
		missing(s, "log-tail.txt", "the daemon does not run");
		return;
	}
	snprintf(path, sizeof path, "/proc/%d/fd/2", s->pid);
	add_file(s, "log-tail.txt", path, LOG_BYTES);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

/* Names and sizes, in the order of names; what a link points to is not looked at. */
static void list_folder(FILE *out, const char *path, const char *shown, int depth)
{
	struct dirent **entry;
	int count = depth < DEPTH_MAX ? scandir(path, &entry, NULL, by_name) : 0;

	for (int i = 0; i < count; i++) {
		char full[PATH_MAX], name[PATH_MAX], below[PATH_MAX];
		struct stat st;

		snprintf(full, sizeof full, "%.3000s/%.255s", path, entry[i]->d_name);
		snprintf(name, sizeof name, "%.3000s%.255s", shown, entry[i]->d_name);
		if (strcmp(entry[i]->d_name, ".") != 0 && strcmp(entry[i]->d_name, "..") != 0 &&
			!lstat(full, &st)) {
			fprintf(out, "%06o %12lld %12lld %s%s\n", (unsigned)st.st_mode, (long long)st.st_size,
				(long long)st.st_mtime, name, S_ISDIR(st.st_mode) ? "/" : "");
			snprintf(below, sizeof below, "%.3000s/", name);
			if (S_ISDIR(st.st_mode))
				list_folder(out, full, below, depth + 1);
		}
		free(entry[i]);
	}
	if (count > 0)
		free(entry);
	else if (count < 0)
		fprintf(out, "%s: %s\n", path, strerror(errno));
}

static void add_listing(struct support *s)
{
	char *text = NULL;
	size_t bytes = 0;
	FILE *out = open_memstream(&text, &bytes);

	if (!out) {
		s->pack.failed = true;
		return;
	}
	fputs("mode         bytes     modified name\n", out);
	list_folder(out, s->data, "", 0);
	fclose(out);
	pack_add(&s->pack, "data-dir.txt", text, bytes);
	free(text);
}

static int segment_add(void *arg, const struct journal_segment_head *head)
{
	json_t *row = json_pack("{s:o, s:b}", "segment", json_u64(head->number), "any", head->any);

	if (head->any) {
		json_object_set_new(row, "first_block", json_u64(head->first_seq));
		json_object_set_new(row, "first_offset", json_u64(head->first_offset));
		json_object_set_new(row, "generation", json_integer(head->generation));
		json_object_set_new(row, "receive_first", json_time(head->receive_first_ms));
	}
	json_array_append_new(arg, row);
	return 0;
}

static void add_segments(struct support *s, const char *log, const char *name)
{
	json_t *partitions = json_array(), *list;
	struct journal_meta meta;
	char dir[PATH_MAX];
	struct err why = {0};

	snprintf(dir, sizeof dir, "%s/%s", s->data, log);
	if (journal_meta_read(dir, &meta, &why)) {
		missing(s, name, why.text);
		json_decref(partitions);
		return;
	}
	for (uint32_t p = 0; p < meta.partitions; p++) {
		list = json_array();
		if (journal_segments(dir, p, segment_add, list, &why) < 0)
			json_array_append_new(list, json_text(why.text));
		json_array_append_new(partitions, list);
	}
	add_json(s, name,
		json_pack("{s:s, s:o, s:I, s:o}", "node", meta.node, "epoch",
			json_sprintf("%016" PRIx64, meta.epoch), "partitions", (json_int_t)meta.partitions,
			"segments", partitions));
}

static void add_checkpoints(struct support *s)
{
	struct checkpoint_entry *list;
	char dir[PATH_MAX];
	struct err why = {0};
	uint32_t count;
	json_t *rows;

	snprintf(dir, sizeof dir, "%s/state/checkpoints", s->data);
	if (checkpoint_list(dir, &list, &count, &why)) {
		missing(s, "checkpoints.json", why.text);
		return;
	}
	rows = json_array();
	for (uint32_t i = 0; i < count; i++)
		json_array_append_new(
			rows, json_pack("{s:o, s:b, s:o}", "file", json_text(list[i].path), "good",
				      list[i].good, "fault", json_text(list[i].good ? "" : list[i].fault)));
	free(list);
	add_json(s, "checkpoints.json", rows);
}

/* ---- the machine ---- */

/* Of the kernel's command line, what decides about cores and memory: the rest is nobody's business. */
static void cmdline_put(FILE *out)
{
	static const char *const wanted[] = {"isolcpus=", "nohz_full=", "rcu_nocbs=", "hugepages=",
		"hugepagesz=", "default_hugepagesz=", "iommu=", "intel_iommu=", "amd_iommu=", "mitigations=",
		"intel_idle.max_cstate=", "processor.max_cstate=", "idle=", "nosmt"};
	FILE *in = fopen("/proc/cmdline", "re");
	char word[256];

	fputs("\n== kernel command line, in part\n", out);
	while (in && fscanf(in, "%255s", word) == 1)
		for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
			if (!strncmp(word, wanted[i], strlen(wanted[i])))
				fprintf(out, "%s\n", word);
	if (in)
		fclose(in);
}

static void file_put(FILE *out, const char *path, uint32_t lines)
{
	FILE *in = fopen(path, "re");
	char line[1024];

	fprintf(out, "\n== %s\n", path);
	while (in && lines-- && fgets(line, sizeof line, in))
		fputs(line, out);
	if (in)
		fclose(in);
	else
		fprintf(out, "%s\n", strerror(errno));
}

/* The files of this name in each folder of a folder whose name begins so. */
static void each_put(FILE *out, const char *folder, const char *begins, const char *name, uint32_t lines)
{
	struct dirent **entry;
	int count = scandir(folder, &entry, NULL, by_name);

	for (int i = 0; i < count; i++) {
		char path[PATH_MAX];

		if (!strncmp(entry[i]->d_name, begins, strlen(begins))) {
			snprintf(path, sizeof path, "%.1000s/%.255s/%.100s", folder, entry[i]->d_name, name);
			file_put(out, path, lines);
		}
		free(entry[i]);
	}
	if (count >= 0)
		free(entry);
}

static void add_machine(struct support *s)
{
	static const char *const file[] = {"/etc/os-release", "/proc/meminfo", "/proc/loadavg",
		"/proc/net/dev", "/proc/pressure/cpu", "/proc/pressure/io", "/proc/sys/vm/nr_hugepages",
		"/proc/sys/vm/overcommit_memory",
		"/sys/devices/system/clocksource/clocksource0/current_clocksource",
		"/sys/devices/system/cpu/online", "/sys/devices/system/cpu/isolated",
		"/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
		"/sys/kernel/mm/transparent_hugepage/enabled"};
	struct utsname u;
	char *text = NULL, path[64];
	size_t bytes = 0;
	FILE *out = open_memstream(&text, &bytes);

	if (!out) {
		s->pack.failed = true;
		return;
	}
	if (uname(&u) == 0)
		fprintf(out, "== kernel\n%s %s %s %s\n", u.sysname, u.release, u.version, u.machine);
	cmdline_put(out);
	for (size_t i = 0; i < sizeof file / sizeof *file; i++)
		file_put(out, file[i], 200);
	file_put(out, "/proc/cpuinfo", 30); /* the first one */
	each_put(out, "/sys/devices/system/node", "node", "cpulist", 1);
	each_put(out, "/sys/devices/system/node", "node", "meminfo", 60);
	each_put(out, "/sys/kernel/mm/hugepages", "hugepages-", "nr_hugepages", 1);
	each_put(out, "/sys/kernel/mm/hugepages", "hugepages-", "free_hugepages", 1);
	for (int i = 0; s->pid && i < 2; i++) {
		snprintf(path, sizeof path, "/proc/%d/%s", s->pid, i ? "limits" : "status");
		file_put(out, path, 200);
	}
	fclose(out);
	pack_add(&s->pack, "machine.txt", text, bytes);
	free(text);
}

static void add_all(struct support *s, bool daemon)
{
	if (daemon)
		add_views(s);
	add_log(s);
	if (s->data[0]) {
		add_listing(s);
		add_segments(s, "journal", "journal.json");
		add_segments(s, "output", "output-log.json");
		add_checkpoints(s);
	}
	add_machine(s);
	add_json(s, "manifest.json",
		json_pack("{s:s, s:o, s:b, s:O}", "sluicectl", version_text, "made",
			json_time(s->pack.time_s * 1000), "daemon_answered", daemon, "missing", s->missing));
}

enum cli_exit local_support_bundle(const struct cli *cli, FILE *out, struct err *err)
{
	const char *path = json_string_value(json_object_get(cli->args, "out"));
	const char *dir = json_string_value(json_object_get(cli->args, "dir"));
	struct support s = {.link = {-1}};
	enum cli_exit code;
	bool daemon;

	if (dir)
		snprintf(s.data, sizeof s.data, "%s", dir);
	code = client_connect(&s.link, cli->socket, err);
	if (code != CLI_OK && !dir)
		return code;
	daemon = code == CLI_OK;
	if (pack_open(&s.pack, path, (int64_t)time(NULL), err)) {
		client_close_link(&s.link);
		return CLI_FAILED;
	}
	s.missing = json_object();
	s.pid = daemon ? daemon_pid(&s.link) : 0;
	if (!daemon)
		missing(&s, "config.yaml", err->text);
	/* Without it nobody knows what has to be left out. */
	code = !daemon || add_config(&s, err) ? CLI_OK : CLI_FAILED;
	if (code == CLI_OK)
		add_all(&s, daemon);
	client_close_link(&s.link);
	if (pack_close(&s.pack, code == CLI_OK ? err : NULL) && code == CLI_OK)
		code = CLI_FAILED;
	if (code == CLI_OK)
		cli_print(cli, out, json_pack("{s:o, s:O}", "file", json_text(path), "missing", s.missing));
	else
		unlink(path);
	json_decref(s.missing);
	return code;
}
