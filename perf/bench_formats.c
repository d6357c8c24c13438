/* Cost of a foreign format's event: written as JSON, and with its fields found for the record. The messages
 * of syslog are those of peer_rsyslog.py; each format has 65,536 different datagrams.
 *
 * usage: bench_formats [FORMAT [COUNT]] */
#include <string.h>

#include "bench_util.h"
#include "format.h"
#include "json.h"

#define NOW_MS 1763700000000ll
#define ROOM 1024 /* of a datagram */

struct run {
	const struct format *format;
	struct json_parser *jp;
	uint8_t *datagram;
	uint32_t *bytes;
	uint8_t *out;
	uint64_t refused, sum, total;
};

static const uint8_t sender[16] = {[10] = 0xff, [11] = 0xff, 192, 0, 2, 7};
static const struct parse_limits limits = {0, 300000};

typedef int make_fn(char *to, uint32_t i);

static int make_syslog(char *to, uint32_t i)
{
	return snprintf(to, ROOM,
		"<%u>1 2025-11-21T03:%02u:%02u.%03uZ host%u.example app%u %u ID%u - user u%u opened "
		"/products/%u "
		"from 192.0.2.%u in %u ms, session %08x, all is well with it",
		128 + i % 48, i / 60 % 60, i % 60, i % 1000, i % 50, i % 20, 1000 + i % 5000, i % 47,
		i * 7919 % 1000000, i % 1000, i % 250, i % 900, i * 2654435761u);
}

static int make_bsd(char *to, uint32_t i)
{
	return snprintf(to, ROOM,
		"<%u>Nov 21 03:%02u:%02u host%u app%u[%u]: user u%u opened /products/%u from 192.0.2.%u in "
		"%u ms, "
		"session %08x, all is well with it",
		128 + i % 48, i / 60 % 60, i % 60, i % 50, i % 20, 1000 + i % 5000, i * 7919 % 1000000,
		i % 1000, i % 250, i % 900, i * 2654435761u);
}

static int make_escaped(char *to, uint32_t i)
{
	return snprintf(to, ROOM,
		"<%u>1 2025-11-21T03:%02u:%02u.%03uZ host%u.example nginx %u - [o@1 k=\"v%u\"] 192.0.2.%u - "
		"- \"GET "
		"/products/%u HTTP/1.1\" 200 %u \"-\" \"Mozilla/5.0\"",
		128 + i % 48, i / 60 % 60, i % 60, i % 1000, i % 50, 1000 + i % 5000, i % 90, i % 250,
		i % 1000, i * 7919 % 100000);
}

static int make_gelf(char *to, uint32_t i)
{
	return snprintf(to, ROOM,
		"{\"version\":\"1.1\",\"host\":\"host%u.example\",\"short_message\":\"user u%u opened "
		"/products/%u "
		"from 192.0.2.%u in %u ms\",\"timestamp\":1763690%03u.%03u,\"level\":%u,\"_app\":\"app%u\","
		"\"_session\":\"%08x\",\"_pid\":%u}",
		i % 50, i * 7919 % 1000000, i % 1000, i % 250, i % 900, i % 1000, i % 1000, i % 8, i % 20,
		i * 2654435761u, 1000 + i % 5000);
}

static int make_statsd(char *to, uint32_t i)
{
	return snprintf(to, ROOM, "http.request.time:%u.%u|ms|@0.5|#host:host%u,page:/products/%u,code:200",
		i % 900, i % 10, i % 50, i % 1000);
}

static int make_influx(char *to, uint32_t i)
{
	return snprintf(to, ROOM, "cpu,host=host%u,region=eu-%u usage=%u.%u 1763690%03u%03u000000", i % 50,
		i % 7, i % 100, i % 10, i % 1000, i % 1000);
}

static const struct {
	const char *name;
	int format;
	make_fn *make;
} ways[] = {
	{"syslog", CONFIG_FORMAT_SYSLOG, make_syslog},
	{"syslog-bsd", CONFIG_FORMAT_SYSLOG, make_bsd},
	{"syslog-escaped", CONFIG_FORMAT_SYSLOG, make_escaped},
	{"gelf", CONFIG_FORMAT_GELF, make_gelf},
	{"statsd", CONFIG_FORMAT_STATSD, make_statsd},
	{"influx", CONFIG_FORMAT_INFLUX, make_influx},
};

static void take(struct run *run, uint32_t i, bool fields)
{
	struct format_reader r = format_open(run->datagram + (size_t)i * ROOM, run->bytes[i], NOW_MS, sender);
	struct bytes out = {run->out, 0, EVENT_BYTES_MAX, false, true};
	struct event ev;

	while (run->format->next(&r, &out) == FORMAT_EVENT) {
		memset(out.data + out.bytes, 0, EVENT_PAD_BYTES);
		run->sum += out.bytes;
		if (fields) {
			json_parser_reset(run->jp);
			json_take_written(run->jp, out.data, (uint32_t)out.bytes, &r.written, EVENT_TYPE_NONE,
				NOW_MS, &limits, &ev);
			run->refused += ev.refused != 0;
			bench_keep(&ev);
		}
		bytes_reset(&out);
	}
}

static void run_write(void *arg, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		take(arg, i, false);
}

static void run_all(void *arg, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		take(arg, i, true);
}

static void way_run(const char *name, int format, make_fn *make, uint32_t count)
{
	struct run run = {.format = &format_table[format],
		.jp = json_parser_new(1 << 20),
		.datagram = malloc((size_t)count * ROOM),
		.bytes = calloc(count, sizeof *run.bytes),
		.out = malloc(EVENT_BYTES_MAX + EVENT_PAD_BYTES)};
	char line[64];

	if (!run.jp || !run.datagram || !run.bytes || !run.out)
		abort();
	for (uint32_t i = 0; i < count; i++) {
		run.bytes[i] = (uint32_t)make((char *)run.datagram + (size_t)i * ROOM, i);
		run.total += run.bytes[i];
	}
	snprintf(line, sizeof line, "%s: written", name);
	bench_report(line, run_write, &run, count, run.total);
	snprintf(line, sizeof line, "%s: and its fields", name);
	bench_report(line, run_all, &run, count, run.total);
	if (run.refused)
		printf("   REFUSED: %lu\n", (unsigned long)run.refused);
	json_parser_free(run.jp);
	free(run.datagram);
	free(run.bytes);
	free(run.out);
}

int main(int argc, char **argv)
{
	uint32_t count = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 65536;

	for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
		if (argc < 2 || !strcmp(argv[1], ways[i].name) || !strcmp(argv[1], "all"))
			way_run(ways[i].name, ways[i].format, ways[i].make, count);
	return 0;
}
