/* sluice-verify: shows that what the journal holds is in Kafka and in ClickHouse exactly once, by address and
 * id, and, with the generator's truth file, that what was sent is in the journal or was dropped under a name.
 * Exit code 0: all equal; 1: something differs; 2: it could not be looked at. One thread. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ver_read.h"
#include "ver_truth.h"
#include "version.h"

struct opts {
	const char *journal, *rules;
	struct ver_kafka kafka;
	struct ver_clickhouse clickhouse;
	struct ver_truth_opts truth;
	bool torn_ok;
};

enum {
	OPT_JOURNAL = 1,
	OPT_RULES,
	OPT_KAFKA,
	OPT_CLICKHOUSE,
	OPT_DATABASE,
	OPT_USER,
	OPT_PASSWORD_FILE,
	OPT_TRUTH,
	OPT_MISSING_OK,
	OPT_LOST,
	OPT_ALLOW_MISSING,
	OPT_MISSING_LIST,
	OPT_TORN_OK,
	OPT_TIMEOUT,
	OPT_TOPIC_CLICK,
	OPT_TOPIC_PLATFORM,
	OPT_TOPIC_DEAD,
	OPT_TOPIC_ALERTS,
	OPT_HELP,
	OPT_VERSION
};

static const struct option rows[] = {
	{"journal", required_argument, NULL, OPT_JOURNAL},
	{"rules", required_argument, NULL, OPT_RULES},
	{"kafka", required_argument, NULL, OPT_KAFKA},
	{"clickhouse", required_argument, NULL, OPT_CLICKHOUSE},
	{"database", required_argument, NULL, OPT_DATABASE},
	{"user", required_argument, NULL, OPT_USER},
	{"password-file", required_argument, NULL, OPT_PASSWORD_FILE},
	{"truth", required_argument, NULL, OPT_TRUTH},
	{"missing-ok", no_argument, NULL, OPT_MISSING_OK},
	{"lost", required_argument, NULL, OPT_LOST},
	{"allow-missing", required_argument, NULL, OPT_ALLOW_MISSING},
	{"missing-list", required_argument, NULL, OPT_MISSING_LIST},
	{"torn-ok", no_argument, NULL, OPT_TORN_OK},
	{"timeout", required_argument, NULL, OPT_TIMEOUT},
	{"topic-click", required_argument, NULL, OPT_TOPIC_CLICK},
	{"topic-platform", required_argument, NULL, OPT_TOPIC_PLATFORM},
	{"topic-dead", required_argument, NULL, OPT_TOPIC_DEAD},
	{"topic-alerts", required_argument, NULL, OPT_TOPIC_ALERTS},
	{"help", no_argument, NULL, OPT_HELP},
	{"version", no_argument, NULL, OPT_VERSION},
	{NULL, 0, NULL, 0},
};

static void help(void)
{
	printf("sluice-verify: compares journal, Kafka and ClickHouse by address and event id\n\n"
	       "  --journal DIR          the journal; sluiced must not be running\n"
	       "  --rules DIR            node.data_dir, which has its ruleset generations; without it alerts "
	       "are not compared\n"
	       "  --kafka HOST:PORT      brokers; without it Kafka is not compared\n"
	       "  --clickhouse URL       http://HOST:PORT; without it ClickHouse is not compared\n"
	       "  --database NAME        (rt)   --user NAME (default)   --password-file FILE\n"
	       "  --topic-click, --topic-platform, --topic-dead, --topic-alerts NAME[,NAME...]\n"
	       "                         platform: the topics of all event types but click\n"
	       "  --truth FILE           what was sent, from sluice-gen\n"
	       "  --lost N               N events were lost under a name, as the ledger says\n"
	       "  --allow-missing A..B   missing events must lie in these lines of the truth; may be "
	       "repeated\n"
	       "  --missing-ok           any event may be missing\n"
	       "  --missing-list FILE    write the missing ones there\n"
	       "  --torn-ok              a journal that ends in a torn block is no error (after a crash)\n"
	       "  --timeout S            give up on Kafka after so many seconds without progress (60)\n"
	       "  --version              print the version\n");
}

static int take_number(const char *text, uint64_t *out, char **end, struct err *err)
{
	errno = 0;
	*out = strtoull(text, end, 10);
	if (errno || *text < '0' || *text > '9')
		return err_set(err, -EINVAL, "%s: expected a number", text);
	return 0;
}

static int take_range(struct ver_truth_opts *t, const char *text, struct err *err)
{
	char *end;

	if (t->range_count == VER_RANGES_MAX)
		return err_set(err, -EINVAL, "more than %d ranges", VER_RANGES_MAX);
	if (take_number(text, &t->range[t->range_count].from, &end, err))
		return -EINVAL;
	if (strncmp(end, "..", 2) != 0 || take_number(end + 2, &t->range[t->range_count].to, &end, err) ||
		*end)
		return err_set(err, -EINVAL, "%s: expected FROM..TO", text);
	t->range_count++;
	return 0;
}

static int take_password(struct opts *o, const char *path, struct err *err)
{
	static char password[256];
	FILE *f = fopen(path, "r");

	if (!f)
		return err_set(err, -errno, "%s: %s", path, strerror(errno));
	if (!fgets(password, sizeof password, f))
		password[0] = 0;
	fclose(f);
	password[strcspn(password, "\r\n")] = 0;
	o->clickhouse.password = password;
	return 0;
}

static int take(struct opts *o, int option, const char *value, struct err *err)
{
	const char **text[] = {[OPT_JOURNAL] = &o->journal,
		[OPT_RULES] = &o->rules,
		[OPT_KAFKA] = &o->kafka.brokers,
		[OPT_CLICKHOUSE] = &o->clickhouse.url,
		[OPT_DATABASE] = &o->clickhouse.database,
		[OPT_USER] = &o->clickhouse.user,
		[OPT_TRUTH] = &o->truth.path,
		[OPT_MISSING_LIST] = &o->truth.missing_list,
		[OPT_TOPIC_CLICK] = &o->kafka.topic[VER_CLICK],
		[OPT_TOPIC_PLATFORM] = &o->kafka.topic[VER_PLATFORM],
		[OPT_TOPIC_DEAD] = &o->kafka.topic[VER_DEAD],
		[OPT_TOPIC_ALERTS] = &o->kafka.topic[VER_ALERT]};
	uint64_t n;
	char *end;

	switch (option) {
	case OPT_PASSWORD_FILE:
		return take_password(o, value, err);
	case OPT_MISSING_OK:
		o->truth.missing_ok = true;
		return 0;
	case OPT_TORN_OK:
		o->torn_ok = true;
		return 0;
	case OPT_LOST:
		o->truth.lost_given = true;
		return take_number(value, &o->truth.lost, &end, err);
	case OPT_ALLOW_MISSING:
		return take_range(&o->truth, value, err);
	case OPT_TIMEOUT:
		if (take_number(value, &n, &end, err) || n < 1 || n > 86400)
			return err_set(err, -EINVAL, "--timeout: 1 to 86400");
		o->kafka.timeout_s = (uint32_t)n;
		return 0;
	default:
		*text[option] = value;
		return 0;
	}
}

static int parse(struct opts *o, int argc, char **argv, struct err *err)
{
	int option;

	while ((option = getopt_long(argc, argv, "+", rows, NULL)) != -1) {
		if (option == OPT_HELP) {
			help();
			exit(0);
		}
		if (option == OPT_VERSION) {
			version_print("sluice-verify");
			exit(0);
		}
		if (option == '?' || take(o, option, optarg, err))
			return -EINVAL;
	}
	if (optind < argc || !o->journal)
		return err_set(
			err, -EINVAL, "%s", o->journal ? "options begin with --" : "give --journal DIR");
	return 0;
}

static void print_row(const char *kind, const char *where, const struct ver_set *set, enum ver_kind k,
	const struct ver_diff *d)
{
	struct ver_sum s = ver_set_sum(set, k);

	printf("%-9s %-28s %10" PRIu64 " %10" PRIu64, kind, where, s.rows, s.distinct);
	if (d)
		printf(" %6" PRIu64 " %8" PRIu64 " %8" PRIu64 " %8" PRIu64, d->duplicate, d->missing,
			d->foreign, d->differing);
	else
		printf(" %6s %8s %8s %8s", "-", "-", "-", "-");
	printf("  %016" PRIx64 "%016" PRIx64 "\n", s.hash[0], s.hash[1]);
	if (set->others)
		printf("%-9s %-28s %10" PRIu64
		       " rows of other nodes or journals, or made by the state stage: not compared\n",
			"", "", set->others);
}

static void add_diff(struct ver_diff *to, struct ver_diff d)
{
	to->duplicate += d.duplicate;
	to->missing += d.missing;
	to->foreign += d.foreign;
	to->differing += d.differing;
}

/* Journal against one target; below what the journal still has: against `older`, the other target. */
static struct ver_diff compare_target(const struct ver_journal *j, enum ver_kind k, const struct ver_set *set,
	const struct ver_set *older, const char *label)
{
	struct ver_diff d = ver_compare(&j->set[k], set, j->oldest, false, label, stdout);

	if (older && older->looked)
		add_diff(&d, ver_compare(older, set, j->oldest, true, label, stdout));
	return d;
}

/* Returns whether all is equal. */
static bool compare_all(const struct opts *o, const struct ver_journal *j,
	const struct ver_set kafka[VER_KINDS], const struct ver_set ch[VER_KINDS])
{
	static const uint64_t none[VER_PARTITIONS_MAX];
	bool equal = true;
	char where[300];

	printf("%-9s %-28s %10s %10s %6s %8s %8s %8s  %s\n", "", "", "rows", "distinct", "twice", "missing",
		"foreign", "differ", "hash of ids");
	for (int i = 0; i < VER_KINDS; i++) {
		enum ver_kind k = (enum ver_kind)i;
		struct ver_diff self = ver_compare(&j->set[k], &j->set[k], none, false, "journal", stdout), d;

		if (!j->set[k].looked)
			continue;
		print_row(ver_kind_name[k], "journal", &j->set[k], k, &self);
		equal = equal && !ver_diff_any(&self);
		if (kafka[k].looked) {
			snprintf(where, sizeof where, "kafka %s", o->kafka.topic[k]);
			d = compare_target(j, k, &kafka[k], NULL, where);
			print_row("", where, &kafka[k], k, &d);
			equal = equal && !ver_diff_any(&d);
		}
		if (ch[k].looked) {
			snprintf(where, sizeof where, "clickhouse %s.%s", o->clickhouse.database,
				o->clickhouse.table[k]);
			d = compare_target(j, k, &ch[k], &kafka[k], where);
			print_row("", where, &ch[k], k, &d);
			equal = equal && !ver_diff_any(&d);
		}
	}
	return equal;
}

static void print_retention(const struct ver_journal *j)
{
	for (uint32_t p = 0; p < j->partitions; p++)
		if (j->oldest[p])
			printf("journal partition %u begins at offset %" PRIu64
			       ": what lies before has been removed and is compared between the targets\n",
				p, j->oldest[p]);
}

static void print_truth(const struct ver_truth_result *r)
{
	printf("truth: %" PRIu64 " sent = %" PRIu64 " to be accepted + %" PRIu64 " duplicates + %" PRIu64
	       " to be refused + %" PRIu64 " dropped by rules; in the journal all but %" PRIu64
	       " (in %" PRIu64 " intervals); unknown %" PRIu64 ", twice %" PRIu64 ", wrong %" PRIu64 ": %s\n",
		r->lines, r->accepted, r->duplicate, r->refused, r->rule_drop, r->missing, r->intervals,
		r->unknown, r->twice, r->wrong, r->ok ? "ok" : "FAILED");
}

static int verify(const struct opts *o, struct err *err)
{
	static struct ver_journal j;
	static struct ver_set kafka[VER_KINDS], ch[VER_KINDS];
	struct ver_truth_result truth = {.ok = true};
	bool equal = true;
	int rc = ver_journal_read(&j, o->journal, o->rules, err);

	if (!rc && o->kafka.brokers)
		rc = ver_kafka_read(kafka, &o->kafka, &j, err);
	if (!rc && o->clickhouse.url)
		rc = ver_clickhouse_read(ch, &o->clickhouse, &j, err);
	if (!rc) {
		print_retention(&j);
		equal = compare_all(o, &j, kafka, ch) && (!j.damaged || o->torn_ok);
	}
	if (!rc && o->truth.path) {
		rc = ver_truth_check(&truth, &o->truth, &j, err);
		if (!rc)
			print_truth(&truth);
	}
	if (!rc)
		printf("verify=%s clicks=%" PRIu64 " platform=%" PRIu64 " dead=%" PRIu64 " alerts=%" PRIu64
		       " missing=%" PRIu64 "\n",
			equal && truth.ok ? "ok" : "FAILED", j.set[VER_CLICK].count,
			j.set[VER_PLATFORM].count, j.set[VER_DEAD].count, j.set[VER_ALERT].count,
			truth.missing);
	for (int k = 0; k < VER_KINDS; k++) {
		ver_set_free(&j.set[k]);
		ver_set_free(&kafka[k]);
		ver_set_free(&ch[k]);
	}
	ver_set_free(&j.suppressed);
	return rc ? 2 : !(equal && truth.ok);
}

int main(int argc, char **argv)
{
	static struct opts o = {
		.kafka = {.topic = {"web.clicks", "events.raw", "events.dead", "alerts"}, .timeout_s = 60},
		.clickhouse = {.database = "rt",
			.user = "default",
			.password = "",
			.table = {"clicks_raw", "events_raw", "dead_letters", "alerts"}},
	};
	struct err err = {""};
	int rc;

	if (parse(&o, argc, argv, &err)) {
		fprintf(stderr, "sluice-verify: %s\n", err.text[0] ? err.text : "--help lists the options");
		return 2;
	}
	rc = verify(&o, &err);
	if (rc == 2)
		fprintf(stderr, "sluice-verify: %s\n", err.text);
	return rc;
}
