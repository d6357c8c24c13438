/* Command line of sluice-gen. One table: name, kind, place, help. */
#include "gen_opts.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gen_event.h"

enum opt_kind { OPT_U32, OPT_U64, OPT_I64, OPT_DOUBLE, OPT_TEXT, OPT_FLAG, OPT_SECONDS, OPT_MIX, OPT_KINDS };

#define AT(member) offsetof(struct gen_opts, member)
static const struct opt_row {
	const char *name;
	enum opt_kind kind;
	size_t at;
	uint64_t min, max;
	const char *arg, *help;
	bool made; /* says something of made events: not beside --lines */
} opt_rows[] = {
	{"udp", OPT_TEXT, AT(udp), 0, 0, "HOST:PORT", "send datagrams there; [ADDR]:PORT for IPv6", false},
	{"pcap", OPT_TEXT, AT(pcap), 0, 0, "FILE", "write them as frames into a pcap file", false},
	{"file", OPT_TEXT, AT(file), 0, 0, "FILE", "write the events, one a line; - = standard output",
		false},
	{"lines", OPT_TEXT, AT(lines), 0, 0, "FILE",
		"make none: send the lines of this file, but empty ones, as they are; - = standard input",
		false},
	{"truth", OPT_TEXT, AT(truth), 0, 0, "FILE", "write a line per event: ID TYPE FATE RULE", true},
	{"clock", OPT_TEXT, AT(clock), 0, 0, "FILE",
		"write a line per burst: EVENTS_SO_FAR BEFORE_MS AFTER_MS", false},
	{"count", OPT_U64, AT(count), 0, UINT64_MAX, "N", "events; 0 = no limit", false},
	{"duration", OPT_SECONDS, AT(duration_ms), 0, 31536000, "S", "seconds to go on; 0 = no limit", false},
	{"rate", OPT_U64, AT(rate), 0, 100000000, "N", "events a second; 0 = as fast as it goes", false},
	{"ts-rate", OPT_U64, AT(ts_rate), 0, 100000000, "N",
		"events a second of event time, from --start-ts on; 0 = --rate", true},
	{"events-per-datagram", OPT_U32, AT(events_per_datagram), 1, 64, "N",
		"lines in a datagram, if they fit", false},
	{"mtu", OPT_U32, AT(mtu), 1280, 9000, "BYTES", "largest IP packet", false},
	{"flows", OPT_U32, AT(flows), 1, 64, "N", "UDP source ports, taken in turn", false},
	{"seed", OPT_U64, AT(seed), 0, UINT64_MAX, "N", "same seed, same --start-ts: same events", true},
	{"start-ts", OPT_I64, AT(start_ts_ms), 0, 4102444800000, "MS",
		"event time of the first event; without it event times follow the clock", true},
	{"mix", OPT_MIX, 0, 0, 0, "NAME|TYPE=N,...", "a mix of event types (below), or their weights", true},
	{"users", OPT_U32, AT(users), 1, 10000000, "N", "different users", true},
	{"pages", OPT_U32, AT(pages), 1, 10000000, "N", "different pages", true},
	{"devices", OPT_U32, AT(devices), 1, 10000000, "N", "different devices of telemetry", true},
	{"zipf", OPT_DOUBLE, AT(zipf), 0, 8, "S", "skew of users and pages; 0 = uniform", true},
	{"disorder", OPT_U32, AT(disorder_ms), 0, 3600000, "MS", "event times lie up to so far back", true},
	{"disorder-ms", OPT_U32, AT(disorder_ms), 0, 3600000, "MS", "the same", true},
	{"late", OPT_DOUBLE, AT(late), 0, 1, "SHARE", "so many events (0 to 1) are late ...", true},
	{"late-by", OPT_U32, AT(late_by_ms), 0, 86400000, "MS", "... by so much beside the disorder", true},
	{"dup-permille", OPT_U32, AT(dup_permille), 0, 1000, "N", "events that are sent again", true},
	{"bad-permille", OPT_U32, AT(bad_permille), 0, 1000, "N", "malformed events", true},
	{"bad-kinds", OPT_KINDS, AT(bad_kinds), 0, 0, "KIND,...", "kinds of malformed events (below)", true},
	{"fraud-permille", OPT_U32, AT(fraud_permille), 0, 1000, "N", "events that shipped rules match",
		true},
	{"scenarios", OPT_U32, AT(scenarios), 0, 4096, "N",
		"so many actors at a time do what rules with state must find, or just not", true},
	{"scenario-truth", OPT_TEXT, AT(scenario_truth), 0, 0, "FILE",
		"write a JSON object a line per scenario", true},
	{"noid-permille", OPT_U32, AT(noid_permille), 0, 1000, "N", "events without event_id", true},
	{"escape-permille", OPT_U32, AT(escape_permille), 0, 1000, "N", "events with escapes in their texts",
		true},
	{"utf8-permille", OPT_U32, AT(utf8_permille), 0, 1000, "N", "events with text beyond ASCII", true},
	{"extra-permille", OPT_U32, AT(extra_permille), 0, 1000, "N",
		"events with unknown keys, blanks, other order", true},
	{"src", OPT_TEXT, AT(src), 0, 0, "ADDR:PORT", "source of pcap frames", false},
	{"dst", OPT_TEXT, AT(dst), 0, 0, "ADDR:PORT", "destination of pcap frames; same family as --src",
		false},
	{"src-mac", OPT_TEXT, AT(src_mac), 0, 0, "MAC", "source MAC of pcap frames", false},
	{"dst-mac", OPT_TEXT, AT(dst_mac), 0, 0, "MAC", "destination MAC of pcap frames", false},
	{"progress", OPT_FLAG, AT(progress), 0, 0, NULL, "a line a second on standard error", false},
};
#define OPT_ROWS (sizeof opt_rows / sizeof *opt_rows)

static int number(const char *text, uint64_t *out)
{
	char *end;

	errno = 0;
	*out = strtoull(text, &end, 10);
	return errno || end == text || *end || *text == '-' ? -EINVAL : 0;
}

static const struct mix_row {
	const char *name, *weights, *help;
} mix_rows[] = {
	{"ecommerce", "page_view=60,click=25,session=12,conversion=3",
		"visitors who go down a funnel, some buy"},
	{"iot", "telemetry=1", "devices whose values drift; some are stuck"},
	{"saas", "platform=40,log=45,custom=15", "services with bursts of errors, and what users do"},
	{"payments", "transaction=1", "many small amounts, a few large ones"},
	{"all",
		"click=20,platform=15,page_view=20,session=4,conversion=1,custom=10,transaction=10,"
		"telemetry=10,log=10",
		"every event type"},
};
#define MIX_ROWS (sizeof mix_rows / sizeof *mix_rows)

static int parse_weights(uint32_t mix[EVENT_TYPE_MAX], const char *text)
{
	uint64_t sum = 0;

	memset(mix, 0, EVENT_TYPE_MAX * sizeof *mix);
	while (*text) {
		size_t bytes = strcspn(text, "=");
		enum event_type type = event_type_by_name(text, bytes);
		uint64_t v;
		char *end;

		text += bytes;
		if (type == EVENT_TYPE_NONE || *text++ != '=' || *text < '0' || *text > '9')
			return -EINVAL;
		v = strtoull(text, &end, 10);
		if (v > 1000000 || (*end && *end != ','))
			return -EINVAL;
		mix[type] = (uint32_t)v;
		sum += v;
		text = end + (*end == ',');
	}
	return sum ? 0 : -EINVAL;
}

static int parse_mix(struct gen_opts *o, const char *text)
{
	for (size_t i = 0; i < MIX_ROWS; i++)
		if (!strcmp(text, mix_rows[i].name))
			text = mix_rows[i].weights;
	return parse_weights(o->mix, text);
}

static int parse_kinds(struct gen_opts *o, const char *text)
{
	o->bad_kinds = 0;
	while (*text) {
		size_t bytes = strcspn(text, ",");
		uint32_t k = 0;

		while (k < GEN_BAD_COUNT && (strlen(gen_bad_table[k].name) != bytes ||
						    strncmp(gen_bad_table[k].name, text, bytes) != 0))
			k++;
		if (k == GEN_BAD_COUNT)
			return -EINVAL;
		o->bad_kinds |= 1ull << k;
		text += bytes + (text[bytes] == ',');
	}
	return o->bad_kinds ? 0 : -EINVAL;
}

static int parse_double(const char *text, double min, double max, double *out)
{
	char *end;

	errno = 0;
	*out = strtod(text, &end);
	return errno || end == text || *end || !(*out >= min && *out <= max) ? -EINVAL : 0;
}

static int set(struct gen_opts *o, const struct opt_row *row, const char *text)
{
	void *to = (char *)o + row->at;
	uint64_t v = 0;
	double d;

	switch (row->kind) {
	case OPT_TEXT:
		*(const char **)to = text;
		return 0;
	case OPT_FLAG:
		*(bool *)to = true;
		return 0;
	case OPT_DOUBLE:
		return parse_double(text, (double)row->min, (double)row->max, to);
	case OPT_SECONDS:
		if (parse_double(text, (double)row->min, (double)row->max, &d))
			return -EINVAL;
		*(uint64_t *)to = (uint64_t)(d * 1000);
		return 0;
	case OPT_MIX:
		return parse_mix(o, text);
	case OPT_KINDS:
		return parse_kinds(o, text);
	default:
		if (number(text, &v) || v < row->min || v > row->max)
			return -EINVAL;
	}
	if (row->kind == OPT_U32)
		*(uint32_t *)to = (uint32_t)v;
	else
		*(uint64_t *)to = v; /* OPT_I64: max keeps it positive */
	return 0;
}

static const struct opt_row *find(const char *name, size_t bytes)
{
	for (size_t i = 0; i < OPT_ROWS; i++)
		if (strlen(opt_rows[i].name) == bytes && !strncmp(opt_rows[i].name, name, bytes))
			return &opt_rows[i];
	return NULL;
}

static const struct gen_opts defaults = {
	.seed = 1,
	.mix = {[EVENT_TYPE_click] = 80, [EVENT_TYPE_platform] = 20},
	.devices = 1000,
	.users = 100000,
	.pages = 2000,
	.zipf = 1.05,
	.bad_kinds = (1ull << GEN_BAD_COUNT) - 1,
	.start_ts_ms = GEN_START_CLOCK,
	.events_per_datagram = 1,
	.mtu = 1500,
	.flows = 1,
	.src = "192.0.2.1:40000",
	.dst = "192.0.2.2:5140",
	.src_mac = "02:00:00:00:00:01",
	.dst_mac = "02:00:00:00:00:02",
};

/* Scenarios: their events must go out in time, and what others do must be known not to look like one. */
static int scenarios_check(const struct gen_opts *o, struct err *err)
{
	uint64_t rate = gen_opts_rate(o), sum = 0, busy_ms;

	for (int type = 0; type < EVENT_TYPE_MAX; type++)
		sum += o->mix[type];
	if (o->scenario_truth && !o->scenarios)
		return err_set(err, -EINVAL, "--scenario-truth needs --scenarios");
	if (!o->scenarios)
		return 0;
	if (rate < 4ull * o->scenarios)
		return err_set(err, -EINVAL,
			"--scenarios %u needs --rate, or --start-ts and --ts-rate, of at least %u",
			o->scenarios, 4 * o->scenarios);
	busy_ms = (o->mix[EVENT_TYPE_click] + o->mix[EVENT_TYPE_page_view]) * (uint64_t)GEN_CALM_WEB_MS +
		  o->mix[EVENT_TYPE_custom] * (uint64_t)GEN_CALM_CUSTOM_MS +
		  o->mix[EVENT_TYPE_transaction] * (uint64_t)GEN_CALM_PAY_MS;
	if (2 * rate * busy_ms / sum / 1000 > o->users)
		return err_set(err, -EINVAL,
			"--scenarios needs --users of at least %llu at this rate: fewer would look like "
			"fraud",
			(unsigned long long)(2 * rate * busy_ms / sum / 1000));
	return 0;
}

/* made: an option that was given and means made events, or NULL. */
static int opts_check(const struct gen_opts *o, const char *made, struct err *err)
{
	if (o->lines && made)
		return err_set(err, -EINVAL, "--lines sends what is in %s: --%s has no place beside it",
			o->lines, made);
	if (o->late > 0 && !o->late_by_ms)
		return err_set(err, -EINVAL, "--late needs --late-by");
	if (!o->udp && !o->pcap && !o->file)
		return err_set(err, -EINVAL, "nowhere to send: give --udp, --pcap or --file");
	if (!o->count && !o->duration_ms && !o->udp && !o->lines)
		return err_set(err, -EINVAL, "a file needs an end: give --count, --duration or --lines");
	return scenarios_check(o, err);
}

enum gen_opts_result gen_opts_parse(struct gen_opts *o, int argc, char **argv, struct err *err)
{
	const char *made = NULL;

	*o = defaults;
	for (int i = 1; i < argc; i++) {
		const char *arg = argv[i], *eq = strchr(arg, '=');
		const struct opt_row *row;
		const char *value;

		if (!strcmp(arg, "--help") || !strcmp(arg, "-h"))
			return GEN_OPTS_HELP;
		if (!strcmp(arg, "--version"))
			return GEN_OPTS_VERSION;
		row = strncmp(arg, "--", 2) ? NULL
					    : find(arg + 2, eq ? (size_t)(eq - arg - 2) : strlen(arg + 2));
		if (!row) {
			err_set(err, -EINVAL, "%s: no such option; --help lists them", arg);
			return GEN_OPTS_WRONG;
		}
		value = eq ? eq + 1 : NULL;
		if (row->kind != OPT_FLAG && !eq)
			value = ++i < argc ? argv[i] : NULL;
		if ((row->kind == OPT_FLAG) != !value || set(o, row, value)) {
			err_set(err, -EINVAL, "--%s %s: expected %s%s%s", row->name, value ? value : "",
				row->arg ? row->arg : "no value", row->arg ? ": " : "",
				row->arg ? row->help : "");
			return GEN_OPTS_WRONG;
		}
		made = row->made ? row->name : made;
	}
	return opts_check(o, made, err) ? GEN_OPTS_WRONG : GEN_OPTS_RUN;
}

void gen_opts_help(void)
{
	char left[64];

	printf("sluice-gen: makes events, or takes lines of a file, and sends them\n\nOptions:\n");
	for (size_t i = 0; i < OPT_ROWS; i++) {
		snprintf(left, sizeof left, "--%s %s", opt_rows[i].name,
			opt_rows[i].arg ? opt_rows[i].arg : "");
		printf("  %-30s %s\n", left, opt_rows[i].help);
	}
	printf("  %-30s %s\n\nMixes:\n", "--version", "print the version");
	for (size_t i = 0; i < MIX_ROWS; i++)
		printf("  %-18s %s\n  %-18s %s\n", mix_rows[i].name, mix_rows[i].help, "",
			mix_rows[i].weights);
	printf("\nKinds of malformed events, and the reason with which they must be refused:\n");
	for (uint32_t k = 0; k < GEN_BAD_COUNT; k++)
		printf("  %-18s %-18s %s\n", gen_bad_table[k].name, drop_table[gen_bad_table[k].reason].name,
			gen_bad_table[k].help);
	printf("\nThe truth file has a line per event: its id or -, its type, its fate (accepted, "
	       "duplicate,\n"
	       "refused:<reason>), and the shipped rule that it was made to match or -. The clock file says\n"
	       "when: after each burst, the lines of the truth file that have been sent, and the wall-clock\n"
	       "milliseconds before and after sending the burst. The file of scenarios has a JSON object a\n"
	       "line: rule, expect (alert, none; cut: it was not done at the end), key, first_ms, last_ms, "
	       "ids.\n");
}
