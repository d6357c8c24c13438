/* `event`: one event's way, from the files of a journal, and from what the daemon says of its sinks. */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "address.h"
#include "local_event.h"

void event_progress(void *arg, uint32_t done, uint32_t count)
{
	const struct event_search *s = arg;

	if (s->show_progress && count)
		fprintf(stderr, "\r%s, partition %u: segment %u of %u\033[K", s->what, s->partition, done + 1,
			count);
	else if (s->show_progress)
		fprintf(stderr, "\r%s, partition %u: segment %u\033[K", s->what, s->partition, done + 1);
}

static void progress_end(const struct event_search *s)
{
	if (s->show_progress)
		fputs("\r\033[K", stderr);
}

static int block_look(void *arg, const struct journal_scan_block *b)
{
	struct event_search *s = arg;
	const uint8_t *at = b->block.data;
	int rc = 0;

	for (uint32_t i = 0; i < b->block.record_count && rc == 0; i++) {
		const struct record *rec = (const struct record *)at;
		uint64_t offset = b->block.first_offset + i;

		at += rec->bytes;
		if (s->by_id ? rec->kind == RECORD_EVENT && !memcmp(rec->event_id, s->id, 16)
			     : offset == s->offset)
			rc = event_record_add(s, b, rec, offset);
	}
	return rc;
}

/* In every partition that it may be in. An id that has come again after the deduplication window is there
 * more than once. */
static int journal_look(struct event_search *s, struct err *err)
{
	struct journal_find find = {.id = s->by_id ? s->id : NULL,
		.offset = s->offset,
		.each = block_look,
		.progress = event_progress,
		.arg = s};
	uint32_t first = s->by_id ? 0 : s->partition, end = s->by_id ? s->meta.partitions : s->partition + 1;
	int rc = 0;

	s->what = "journal";
	for (uint32_t p = first; p < end && rc >= 0; p++) {
		s->partition = p;
		rc = journal_find(s->journal, p, &find, err);
	}
	progress_end(s);
	if (s->err.text[0])
		*err = s->err;
	return rc < 0 ? rc : 0;
}

/* An id, or an address of this journal. */
static enum cli_exit id_take(struct event_search *s, const char *text, struct err *err)
{
	struct address at = {s->meta.node, s->meta.epoch, 0, 0};
	char lower[UUID_TEXT_BYTES], again[ADDRESS_TEXT_BYTES];
	const char *slash = strrchr(text, '/');
	size_t n = strlen(text);

	s->id_text = text;
	if (n < sizeof lower) {
		for (size_t i = 0; i <= n; i++)
			lower[i] = (char)tolower((unsigned char)text[i]);
		s->by_id = uuid_of_text(lower, s->id);
		if (s->by_id)
			return CLI_OK;
	}
	if (slash)
		at.offset = strtoull(slash + 1, NULL, 10);
	while (slash && slash > text && *--slash != '/')
		;
	if (slash)
		at.partition = (uint32_t)strtoul(slash + 1, NULL, 10);
	address_text(again, &at);
	s->partition = at.partition;
	s->offset = at.offset;
	if (slash && !strcmp(again, text) && at.partition < s->meta.partitions)
		return CLI_OK;
	at = (struct address){s->meta.node, s->meta.epoch, 0, 0};
	address_text(again, &at);
	err_set(err, -EINVAL, "'%.100s': expected an event_id (a UUID), or an address of this journal as %s",
		text, again);
	return CLI_USAGE;
}

/* Results of read commands of the daemon. */
static enum cli_exit daemon_ask(struct event_search *s, const struct cli *cli, struct err *err)
{
	json_t *none = json_object(), *config = NULL, *sinks = NULL;
	const char *text;
	struct client_link link;
	enum cli_exit code = client_connect(&link, cli->socket, err);

	if (code == CLI_OK)
		code = client_call(&link, "config", none, &config, err);
	if (code == CLI_OK)
		code = client_call(&link, "sinks", none, &sinks, err);
	text = json_string_value(json_object_get(config, "text"));
	if (code == CLI_OK && text)
		s->cfg_known =
			config_parse(&s->cfg, text, strlen(text), "the daemon's configuration", err) == 0;
	s->sinks = json_incref(json_object_get(sinks, "sinks"));
	json_decref(config);
	json_decref(sinks);
	json_decref(none);
	client_close_link(&link);
	return code;
}

static enum cli_exit places_find(struct event_search *s, const struct cli *cli, struct err *err)
{
	const char *journal = json_string_value(json_object_get(cli->args, "journal"));
	const char *config = json_string_value(json_object_get(cli->args, "config"));
	enum cli_exit code = CLI_OK;

	config_defaults(&s->cfg);
	if (journal) {
		snprintf(s->journal, sizeof s->journal, "%s", journal);
		s->cfg_known = config && config_load(&s->cfg, config, err) == 0;
		if (config && !s->cfg_known)
			return CLI_FAILED;
	} else {
		code = cli_journal_dir(cli, s->journal, sizeof s->journal, err);
		if (code == CLI_OK)
			code = daemon_ask(s, cli, err);
	}
	if (code != CLI_OK)
		return code;
	if (cli_journal_meta(s->journal, &s->meta, err))
		return CLI_FAILED;
	snprintf(s->data, sizeof s->data, "%.2000s/..", s->journal);
	if (ruleset_store_there(s->data) && ruleset_store_open(&s->rulesets, s->data, err))
		return CLI_FAILED;
	return CLI_OK;
}

/* By id only what was accepted is found: of what was refused the id may never have been read. */
static enum cli_exit nothing_found(const struct event_search *s, struct err *err)
{
	const struct address at = {s->meta.node, s->meta.epoch, 0, 0};
	char address[ADDRESS_TEXT_BYTES];

	if (!s->by_id) {
		err_set(err, -ENOENT, "no event %.100s in %s, or not any more", s->id_text, s->journal);
		return CLI_FAILED;
	}
	address_text(address, &at);
	*strrchr(address, '/') = 0;
	*strrchr(address, '/') = 0;
	err_set(err, -ENOENT,
		"no event %s in %.100s, or not any more. Refused events are not found by id but by address, "
		"%s/PARTITION/OFFSET: `sluicectl journal dump --dir %s | grep -i %s` shows it, kind refused, "
		"if its "
		"bytes were kept; kafka.topic_dead and the table dead_letters have it, too",
		s->id_text, s->journal, address, strlen(s->journal) > 100 ? "DIR" : s->journal, s->id_text);
	return CLI_FAILED;
}

static int64_t since_of(const struct event_search *s)
{
	int64_t since = INT64_MAX;
	const json_t *record;
	size_t i;

	json_array_foreach(s->records, i, record)
	{
		int64_t ms = json_integer_value(json_object_get(record, "receive_time_ms"));

		since = ms < since ? ms : since;
	}
	return since;
}

enum cli_exit local_event(const struct cli *cli, FILE *out, struct err *err)
{
	struct event_search s = {.records = json_array(),
		.rules = json_array(),
		.places = json_array(),
		.alerts = json_array(),
		.show_progress = isatty(STDERR_FILENO)};
	uint64_t late = 0;
	enum cli_exit code = places_find(&s, cli, err);

	if (code == CLI_OK)
		code = id_take(&s, json_string_value(json_object_get(cli->args, "id")), err);
	if (code == CLI_OK && journal_look(&s, err) < 0)
		code = CLI_FAILED;
	if (code == CLI_OK && !json_array_size(s.records))
		code = nothing_found(&s, err);
	if (code == CLI_OK) {
		code = event_output_scan(&s, since_of(&s), &late, err) < 0 ? CLI_FAILED : CLI_OK;
		progress_end(&s);
	}
	if (code == CLI_OK)
		cli_print(cli, out,
			json_pack("{s:I, s:O, s:O, s:O, s:O}", "late_for_windows", (json_int_t)late,
				"records", s.records, "rules", s.rules, "alerts", s.alerts, "sinks",
				s.places));
	ruleset_store_close(s.rulesets);
	json_decref(s.sinks);
	json_decref(s.records);
	json_decref(s.rules);
	json_decref(s.places);
	json_decref(s.alerts);
	return code;
}
