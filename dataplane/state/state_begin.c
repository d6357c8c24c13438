/* See state_begin.h. */
#include "state_begin.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint.h"
#include "state_priv.h"

struct finder {
	const char *journal_dir;
	const struct journal_meta *meta;
	struct checkpoint_entry *list; /* one that proves unusable is set to not good */
	uint32_t count;
	bool looked_elsewhere; /* for the next two */
	uint32_t noted;	       /* the first partition that has a note; UINT32_MAX: none has */
	struct state_terms terms;
};

int state_note_first(
	const char *journal_dir, uint32_t partition, uint64_t limit, struct state_note *note, struct err *err)
{
	struct journal_scanner *scanner;
	struct journal_scan_block b;
	int rc = journal_scanner_open(&scanner, journal_dir, partition, err), found = 0;

	memset(note, 0, sizeof *note);
	note->whole = true;
	if (rc != 0)
		return rc;
	while (found == 0 && (rc = journal_scanner_next(scanner, &b, err)) > 0) {
		note->whole = b.intact;
		if (!b.intact || b.block.first_offset >= limit)
			break;
		found = state_terms_of_block(&b.block, &note->terms, err);
		note->offset = b.block.first_offset;
	}
	journal_scanner_close(scanner);
	note->found = found > 0;
	return rc < 0 ? rc : found < 0 ? found : 0;
}

static int first_offset(const char *journal_dir, uint32_t partition, uint64_t *offset, struct err *err)
{
	struct journal_scanner *scanner;
	struct journal_scan_block b;
	int rc = journal_scanner_open(&scanner, journal_dir, partition, err);

	*offset = 0;
	if (rc != 0)
		return rc;
	rc = journal_scanner_next(scanner, &b, err);
	if (rc > 0 && b.intact)
		*offset = b.block.first_offset;
	journal_scanner_close(scanner);
	return rc < 0 ? rc : 0;
}

/* ---- checkpoints ---- */

static bool usable(const struct finder *f, const struct checkpoint_entry *e)
{
	return e->good && e->info.who != CHECKPOINT_MERGE && e->info.input_epoch == f->meta->epoch;
}

/* 1: *t is filled; 0: no definitions were in force; -1: it cannot be read (any more). */
static int entry_terms(struct checkpoint_entry *e, struct state_terms *t)
{
	struct checkpoint_info info;
	struct bytes body = {0};
	struct err ignored;
	size_t head;
	int any = -1;

	if (checkpoint_read(e->path, &info, &body, &ignored) == 0)
		any = part_body_terms(body.data, body.bytes, t, &head, &ignored);
	bytes_free(&body);
	e->good = any >= 0;
	return any < 0 ? -1 : any;
}

/* The partition's that stands nearest to `offset`, there or later. */
static struct checkpoint_entry *entry_nearest(const struct finder *f, uint32_t partition, uint64_t offset)
{
	struct checkpoint_entry *nearest = NULL;

	for (uint32_t i = 0; i < f->count; i++) {
		struct checkpoint_entry *e = &f->list[i];

		if (usable(f, e) && e->info.who == partition && e->info.input_offset >= offset &&
			(!nearest || e->info.input_offset < nearest->info.input_offset))
			nearest = e;
	}
	return nearest;
}

static void from_entry(struct state_begin *b, const struct checkpoint_entry *e)
{
	const char *name = strrchr(e->path, '/');

	snprintf(b->from, sizeof b->from, "checkpoint %.80s", name ? name + 1 : e->path);
}

/* The newest that names definitions: of this partition, or else of any. */
static bool find_newest(struct finder *f, uint32_t partition, struct state_begin *b)
{
	for (int own = 1; own >= 0; own--)
		for (uint32_t i = f->count; i-- > 0;) {
			struct checkpoint_entry *e = &f->list[i];

			if (!usable(f, e) || (own && e->info.who != partition) ||
				entry_terms(e, &b->terms) != 1)
				continue;
			from_entry(b, e);
			return true;
		}
	return false;
}

/* ---- one partition ---- */

/* A checkpoint with no note between the first kept record and its place has the terms of both. 1: found. */
static int find_certain(
	struct finder *f, uint32_t partition, struct state_begin *b, struct state_note *note, struct err *err)
{
	struct checkpoint_entry *e;
	int any = -1, rc;

	/* One that cannot be read is not there the next time. */
	while ((e = entry_nearest(f, partition, b->offset)) != NULL && any < 0)
		any = entry_terms(e, &b->terms);
	rc = state_note_first(f->journal_dir, partition, e ? e->info.input_offset : UINT64_MAX, note, err);
	if (rc != 0 || !e || note->found || !note->whole)
		return rc;
	from_entry(b, e);
	b->certain = true;
	b->known = any;
	return 1;
}

/* Asked for by a partition that has none itself: the same answer for each. */
static int find_note_elsewhere(struct finder *f, struct state_begin *b, struct err *err)
{
	struct state_note note;

	for (uint32_t p = 0; p < f->meta->partitions && !f->looked_elsewhere; p++) {
		int rc = state_note_first(f->journal_dir, p, UINT64_MAX, &note, err);

		if (rc != 0)
			return rc;
		if (!note.found)
			continue;
		f->looked_elsewhere = true;
		f->noted = p;
		f->terms = note.terms;
	}
	f->looked_elsewhere = true;
	b->known = f->noted != UINT32_MAX;
	if (!b->known)
		return 0;
	b->terms = f->terms;
	snprintf(b->from, sizeof b->from, "the first note of partition %u", f->noted);
	return 0;
}

static int find_terms(struct finder *f, uint32_t partition, struct state_begin *b, struct err *err)
{
	struct state_note note;
	int rc = find_certain(f, partition, b, &note, err);

	b->looked = true;
	if (rc != 0)
		return rc < 0 ? rc : 0;
	if (note.found) {
		b->known = true;
		b->terms = note.terms;
		b->certain = note.offset == b->offset; /* nothing stands before it */
		snprintf(b->from, sizeof b->from, "the note at offset %" PRIu64, note.offset);
		return 0;
	}
	b->known = find_newest(f, partition, b);
	return b->known ? 0 : find_note_elsewhere(f, b, err);
}

int state_begin_find(const char *journal_dir, const char *checkpoint_dir, const struct journal_meta *meta,
	uint32_t partition, struct state_begin *begin, struct err *err)
{
	uint32_t first = partition == UINT32_MAX ? 0 : partition;
	uint32_t end = partition == UINT32_MAX ? meta->partitions : partition + 1;
	struct finder f = {.journal_dir = journal_dir, .meta = meta, .noted = UINT32_MAX};
	bool gone = false;
	int rc = 0;

	for (uint32_t p = first; p < end && rc == 0; p++) {
		memset(&begin[p], 0, sizeof begin[p]);
		rc = first_offset(journal_dir, p, &begin[p].offset, err);
		gone |= begin[p].offset > 0;
	}
	if (rc == 0 && gone && checkpoint_dir)
		rc = checkpoint_list(checkpoint_dir, &f.list, &f.count, err);
	for (uint32_t p = first; p < end && rc == 0 && gone; p++)
		if (begin[p].offset > 0 || meta->before)
			rc = find_terms(&f, p, &begin[p], err);
	free(f.list);
	return rc;
}
