/* Writes SQL from the table descriptions; nothing here talks to a server. */
#include "ch_ddl.h"

#include <string.h>

static void quoted(FILE *out, const char *text, char quote)
{
	fputc(quote, out);
	for (; *text; text++) {
		if (*text == quote || *text == '\\')
			fputc('\\', out);
		fputc(*text, out);
	}
	fputc(quote, out);
}

void ch_ddl_name(FILE *out, const char *name)
{
	quoted(out, name, '`');
}

void ch_ddl_word(FILE *out, const char *name)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";

	if (name[strspn(name, plain)])
		ch_ddl_name(out, name);
	else
		fputs(name, out);
}

void ch_ddl_text(FILE *out, const char *text)
{
	quoted(out, text, '\'');
}

static void table_name(FILE *out, const struct config_clickhouse *cfg, const struct ch_table *table)
{
	ch_ddl_name(out, cfg->database);
	fputc('.', out);
	ch_ddl_name(out, table->name);
}

void ch_ddl_database(FILE *out, const struct config_clickhouse *cfg)
{
	fputs("CREATE DATABASE IF NOT EXISTS ", out);
	ch_ddl_name(out, cfg->database);
}

void ch_ddl_table(FILE *out, const struct config_clickhouse *cfg, const struct ch_table *table)
{
	fputs("CREATE TABLE IF NOT EXISTS ", out);
	table_name(out, cfg, table);
	fputs("\n(\n", out);
	for (uint32_t i = 0; i < table->column_count; i++) {
		char type[CH_TYPE_BYTES];

		ch_column_type(type, &table->column[i]);
		fputs("    ", out);
		ch_ddl_name(out, table->column[i].name);
		fprintf(out, " %s%s\n", type, i + 1 < table->column_count || table->index_count ? "," : "");
	}
	for (uint32_t i = 0; i < table->index_count; i++)
		fprintf(out, "    INDEX bf_%s %s TYPE bloom_filter(0.01) GRANULARITY 4%s\n", table->index[i],
			table->index[i], i + 1 < table->index_count ? "," : "");
	fprintf(out, ")\nENGINE = %s\nPARTITION BY " CH_PARTITION_KEY "\nORDER BY %s\n",
		table->aggregating ? "AggregatingMergeTree" : "MergeTree", table->time, table->order_by);
	if (table->ttl && cfg->ttl_months)
		fprintf(out, "TTL toDateTime(%s) + INTERVAL %lu MONTH\n", table->time, cfg->ttl_months);
	/* Deduplication is what makes a repeated INSERT harmless; fsync is what makes its answer mean
	 * durable. */
	fprintf(out,
		"SETTINGS non_replicated_deduplication_window = %lu, fsync_after_insert = 1, "
		"fsync_part_directory = 1",
		cfg->dedup_window);
}

void ch_ddl_insert(FILE *out, const struct config_clickhouse *cfg, const struct ch_table *table)
{
	fputs("INSERT INTO ", out);
	table_name(out, cfg, table);
	for (uint32_t i = 0; i < table->column_count; i++) {
		fputs(i ? ", " : " (", out);
		ch_ddl_name(out, table->column[i].name);
	}
	fputs(") FORMAT Native", out);
}
