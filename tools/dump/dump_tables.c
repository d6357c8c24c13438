/* Prints the reference pages of docs/, and what the clients have of them, from the tables that the program
 * itself is made of. A test compares. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "config_table.h"
#include "drops.h"
#include "event.h"
#include "metrics.h"

#define HEAD(title)                                                                                          \
	"# " title                                                                                           \
	"\n\nMade from the program's table by `dump_tables`; a test compares. Do not edit by hand.\n\n"

static void dump_config(void)
{
	char expected[192];

	fputs(HEAD("Configuration"), stdout);
	fputs("YAML, as `sluiced --config FILE`. `--print-config` prints what would be in force, with help; "
	      "`--set\n"
	      "section.key=value` sets one key of a section. Units: bytes with KiB MiB GiB or none; "
	      "durations\n"
	      "with us ms s m h d, always but for 0.\n"
	      "A key of the kind *live* can be changed without a restart, where a command does so.\n",
		stdout);
	for (uint32_t s = 0; s < config_section_count; s++) {
		const struct config_section *section = &config_section_table[s];

		printf("\n## %s\n\n%s%s.\n\n| key | default | expected | change | meaning "
		       "|\n|---|---|---|---|---|\n",
			section->name, section->is_list ? "A list: " : "", section->help);
		for (uint32_t k = 0; k < config_key_count; k++) {
			const struct config_key *key = &config_key_table[k];

			if (strcmp(key->section, section->name) != 0)
				continue;
			config_key_expected(key, expected, sizeof expected);
			printf("| `%s` | %s%s%s | %s | %s | %s |\n", key->name,
				key->def && *key->def ? "`" : "",
				!key->def   ? "must be set"
				: *key->def ? key->def
					    : "empty",
				key->def && *key->def ? "`" : "", expected, key->reload, key->help);
		}
	}
}

static void dump_metrics(void)
{
	fputs(HEAD("Metrics"), stdout);
	fputs("`sluicectl metrics` prints them as Prometheus text. A counter that a port does not have is "
	      "left out, never "
	      "0.\n\n| metric | type | labels | meaning |\n|---|---|---|---|\n",
		stdout);
	for (uint32_t i = 0; i < metric_count; i++)
		printf("| `%s` | %s | %s | %s |\n", metric_table[i].name, metric_table[i].type,
			metric_scope_labels(metric_table[i].scope), metric_table[i].help);
}

static void dump_drops(void)
{
	fputs(HEAD("Named drops"), stdout);
	fputs("Every way in which a frame, a datagram or an event ends without being journaled as an event. "
	      "The ids are\n"
	      "stored in journal blocks and dead letters.\n\n"
	      "Each worker's equation of frames: frames = datagrams + the drops below whose unit is frame + "
	      "`fragments_joined` +\n`fragments_held` + `neighbour_answered` + `neighbour_unsent`. An IP "
	      "packet that came in n fragments "
	      "is one datagram, or one drop of its name, for the frame that completed\nit; the "
	      "other n - 1 are joined. Frames of packets that are not complete yet are held; they end as "
	      "joined, "
	      "or as a drop\n`fragment_...` of each frame.\n\n| id | reason | unit | meaning "
	      "|\n|---|---|---|---|\n",
		stdout);
	for (int i = 1; i < DROP_ID_MAX; i++)
		if (drop_table[i].name)
			printf("| %d | `%s` | %s | %s |\n", i, drop_table[i].name,
				drop_unit_name(drop_table[i].unit), drop_table[i].help);
}

/* Of reasons that answers name: those of events, and of datagrams (REJECT). */
static void dump_reasons(const char *row)
{
	for (int i = 1; i < DROP_ID_MAX; i++)
		if (drop_table[i].name &&
			(drop_table[i].unit == DROP_UNIT_event || drop_table[i].unit == DROP_UNIT_datagram))
			printf(row, i, drop_table[i].name);
}

static void dump_reasons_c(void)
{
	fputs("/* SC_REASON(id, name): reasons that answers name. Made from the program's table by "
	      "`dump_tables reasons-c`; a test\n * compares. */\n",
		stdout);
	dump_reasons("SC_REASON(%d, \"%s\")\n");
}

static void dump_reasons_python(void)
{
	fputs("\"\"\"Reasons that answers of sluice name (docs/protocol.md). Made from the program's table "
	      "by "
	      "`dump_tables\nreasons-python`; a test compares.\"\"\"\n\n"
	      "NAMES = {\n    0: \"too_big\",  # the client's own: the path's MTU became too small\n",
		stdout);
	dump_reasons("    %d: \"%s\",\n");
	fputs("}\n\n\ndef reason_name(reason):\n"
	      "    \"\"\"Of an id; one that this file does not know yet: \"reason ID\".\"\"\"\n"
	      "    return NAMES.get(reason, f\"reason {reason}\")\n",
		stdout);
}

static void dump_type(const struct type_info *type)
{
	printf("\n## Type `%s`\n\nRequired: ", type->name);
	for (int f = 1, n = 0; f < FIELD_ID_MAX; f++)
		if (type->required >> f & 1)
			printf("%s`%s`", n++ ? ", " : "", field_table[f].name);
	printf(". Also known: ");
	for (int i = 0, n = 0; type->column[i]; i++)
		if (!((type->required | event_enriched_mask) >> type->column[i] & 1))
			printf("%s`%s`", n++ ? ", " : "", field_table[type->column[i]].name);
	printf(".\nPartition key: the first that is present of ");
	for (int i = 0; type->part_key[i]; i++)
		printf("`%s`, ", field_table[type->part_key[i]].name);
	printf("else the source address.\n");
}

static void dump_events_fields(void)
{
	fputs(HEAD("Event fields"), stdout);
	fputs("Keys that a type does not know are kept in the raw bytes. Times: integer milliseconds since "
	      "the epoch, or RFC "
	      "3339.\nFields of all types that enrichment fills have no key: docs/enrichment.md.\n\n| id | "
	      "field | JSON keys | kind | bytes | column | meaning "
	      "|\n|---|---|---|---|---|---|---|\n",
		stdout);
	for (int f = 1; f < FIELD_ID_MAX; f++) {
		const struct field_info *field = &field_table[f];

		if (!field->name)
			continue;
		printf("| %d | `%s` | ", f, field->name);
		for (uint32_t k = 0, n = 0; k < key_count; k++)
			if ((int)key_table[k].field == f)
				printf("%s`%s%s`", n++ ? ", " : "",
					key_table[k].scope == KEY_SCOPE_ATTR ? "attributes." : "",
					key_table[k].key);
		if (event_enriched_mask >> f & 1)
			printf("(enrichment)");
		printf(" | %s | ", field_kind_name[field->kind]);
		if (field->len_max)
			printf("%u to %u", field->len_min, field->len_max);
		printf(" | `%s` | %s |\n", field->column_type, field->help);
	}
	for (int t = 1; t < EVENT_TYPE_MAX; t++)
		if (type_table[t].name)
			dump_type(&type_table[t]);
}

static void dump_command(const struct command *c)
{
	static const char *const kind[] = {[ARG_TEXT] = "text",
		[ARG_UINT] = "number",
		[ARG_BOOL] = "true or false",
		[ARG_FILES] = "list of {name, text}, and of lists of values {name, text, list: true}",
		[ARG_CHOICE] = "text",
		[ARG_DROP] = "text"};
	char usage[60];
	bool any = false;

	printf("\n### %s\n\n`sluicectl %s", c->words, c->words);
	for (uint32_t k = 0; k < command_arg_count; k++) {
		const struct command_arg *arg = &command_arg_table[k];

		if (arg->command != c->id)
			continue;
		command_arg_usage(arg, usage, sizeof usage);
		printf(command_arg_needed(arg) ? " %s" : " [%s]", usage);
	}
	printf("` (%s)\n\n%c%s.\n",
		c->where == WHERE_local	    ? "no daemon needed"
		: c->access == ACCESS_write ? "root and the daemon's user"
					    : "also members of control.group",
		c->help[0] >= 'a' && c->help[0] <= 'z' && strncmp(c->help, "rules.", 6) != 0 ? c->help[0] - 32
											     : c->help[0],
		c->help + 1);
	for (uint32_t k = 0; k < command_arg_count; k++)
		if (command_arg_table[k].command == c->id) {
			printf("%s- `%s` (%s): %s\n", any ? "" : "\n", command_arg_table[k].name,
				kind[command_arg_table[k].kind], command_arg_table[k].help);
			any = true;
		}
}

static void dump_commands(void)
{
	fputs(HEAD("Commands"), stdout);
	printf("The control socket is a Unix stream socket (`control.socket`, mode 0660). A request is one "
	       "line, at most %u\n"
	       "bytes, an answer is one line; requests may follow each other without waiting, answers come "
	       "in their order:\n\n"
	       "    {\"v\":%d,\"cmd\":\"rules show\",\"args\":{\"id\":\"bots\"}}\n"
	       "    {\"v\":%d,\"ok\":true,\"result\":{...}}\n"
	       "    {\"v\":%d,\"ok\":false,\"error\":{\"code\":\"failed\",\"text\":\"no rule 'bots' in "
	       "force\"}}\n\n"
	       "Codes: `bad_request`, `unknown_command`, `bad_argument`, `too_big`, `forbidden`, `busy`, "
	       "`failed`. Who may do\n"
	       "what is decided by the peer's credentials (SO_PEERCRED): root and the daemon's own user "
	       "everything, members of\n"
	       "`control.group` what reads. A client that leaves its answers unread is dropped.\n\n"
	       "`sluicectl [--socket PATH] [--json] COMMAND`; exit codes: 0 done, 1 the command failed, 2 "
	       "usage, 3 the daemon\n"
	       "cannot be reached.\n\n## Commands\n",
		CONTROL_REQUEST_BYTES_MAX, CONTROL_PROTOCOL, CONTROL_PROTOCOL, CONTROL_PROTOCOL);
	for (int i = 0; i < COMMAND_COUNT; i++)
		dump_command(&command_table[i]);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*dump)(void);
	} page[] = {{"config", dump_config}, {"metrics", dump_metrics}, {"drops", dump_drops},
		{"events-fields", dump_events_fields}, {"commands", dump_commands},
		{"reasons-c", dump_reasons_c}, {"reasons-python", dump_reasons_python}};

	for (size_t i = 0; i < sizeof page / sizeof *page && argc == 2; i++)
		if (!strcmp(argv[1], page[i].name)) {
			page[i].dump();
			return fflush(stdout) ? 1 : 0;
		}
	fputs("usage: dump_tables config|metrics|drops|events-fields|commands|reasons-c|reasons-python\n",
		stderr);
	return 2;
}
