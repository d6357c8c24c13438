/* What the state stage starts from: the newest good checkpoint of each partition and of the merge, checked
 * against the input journal and the output log; or the reason why it cannot start, with what to do about it.
 * Set-up thread.
 *
 * A new state begins with a checkpoint of each that holds nothing (STATE_SEQ_FIRST), at the end that the
 * input journal has then. So a directory without checkpoints is never taken for a new one once rows have been
 * written. */
#include "state_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "log.h"

struct start { /* what one producer starts from */
	struct state *state;
	uint32_t who, out_partition;
	struct checkpoint_info *info;
	struct bytes *body;
	bool found;
};

static struct start start_of(struct state *s, uint32_t i)
{
	if (i == s->partitions)
		return (struct start){s, CHECKPOINT_MERGE, i, &s->merge.from, &s->merge.body, false};
	return (struct start){s, i, i, &s->part[i].from, &s->part[i].body, false};
}

static const char *start_name(const struct start *st, char out[32])
{
	if (st->who == CHECKPOINT_MERGE)
		return "the merge";
	snprintf(out, 32, "partition %u", st->who);
	return out;
}

static int refuse(const struct start *st, const char *what, struct err *err)
{
	char name[32], anew[2 * STATE_PATH_BYTES];

	state_anew(st->state, anew);
	return err_set(err, -EINVAL, "state of %s: %s; %s", start_name(st, name), what, anew);
}

int recover_output_check(const struct state *s, uint32_t checkpoints, struct err *err)
{
	struct journal_meta meta;
	struct err missing;
	int rc = journal_meta_read(s->output_dir, &meta, &missing);

	if (rc == -ENOENT && checkpoints) {
		char anew[2 * STATE_PATH_BYTES];

		state_anew(s, anew);
		return err_set(err, -EINVAL,
			"output log %s is missing, but there are %u checkpoints: restore it, or %s",
			s->output_dir, checkpoints, anew);
	}
	return 0;
}

/* ---- checks ---- */

static int check_owner(const struct start *st, struct err *err)
{
	const struct checkpoint_info *info = st->info;
	const struct state *s = st->state;
	char text[300];

	text[0] = 0;
	if (info->input_epoch != journal_epoch(s->input))
		snprintf(text, sizeof text,
			"the checkpoint is of input journal %016" PRIx64 ", this one is %016" PRIx64,
			info->input_epoch, journal_epoch(s->input));
	else if (info->output_epoch != journal_epoch(s->output))
		snprintf(text, sizeof text,
			"the checkpoint is of output log %016" PRIx64 ", the one in %.150s is %016" PRIx64
			": restore the right one",
			info->output_epoch, s->output_dir, journal_epoch(s->output));
	else if (strcmp(info->node, journal_node(s->input)) != 0 || info->partitions != s->partitions)
		snprintf(text, sizeof text, "the checkpoint is of node \"%.64s\" with %u partitions",
			info->node, info->partitions);
	else if (info->step_ms != s->terms.step_ms)
		snprintf(text, sizeof text,
			"state.step was %" PRId64 " ms when this state was made and is %" PRId64
			" ms now: it cannot change; set it back",
			info->step_ms, s->terms.step_ms);
	return text[0] ? refuse(st, text, err) : 0;
}

/* The merge's places in the partial logs are checked by its readers. */
static int check_places(const struct start *st, struct err *err)
{
	const struct checkpoint_info *info = st->info;
	const struct state *s = st->state;
	uint64_t end = journal_durable_offset(s->output, st->out_partition);
	struct journal_partition_stats in;
	char text[300];

	text[0] = 0;
	if (info->output_offset > end)
		snprintf(text, sizeof text,
			"the output log ends at offset %" PRIu64 ", before the checkpoint's %" PRIu64
			": it has lost its end; restore it",
			end, info->output_offset);
	if (st->who != CHECKPOINT_MERGE && !text[0]) {
		journal_stats(s->input, st->who, &in);
		if (info->input_offset > in.durable_offset)
			snprintf(text, sizeof text,
				"the checkpoint is at offset %" PRIu64
				", beyond the input journal's end %" PRIu64
				": the journal has lost its end; restore it",
				info->input_offset, in.durable_offset);
		else if (info->input_offset < in.oldest_offset)
			snprintf(text, sizeof text,
				"the input journal keeps offsets from %" PRIu64
				" on, the checkpoint needs them from %" PRIu64
				" on (events came while the state stage was off)",
				in.oldest_offset, info->input_offset);
	}
	return text[0] ? refuse(st, text, err) : 0;
}

/* The file's format says nothing of the state in it. Refused here: a thread that finds out would stop with
 * all else running. */
static int check_version(const struct start *st, struct err *err)
{
	const uint8_t *data = st->body->data;
	size_t bytes = st->body->bytes, head;
	struct state_terms terms;
	uint32_t is, reads;
	struct err ignored;
	char text[200];
	bool newer;

	if (st->who == CHECKPOINT_MERGE)
		newer = merge_saved_newer(data, bytes, &is, &reads);
	else
		newer = part_body_terms(data, bytes, &terms, &head, &ignored) > 0 &&
			stage_saved_newer(data + head, bytes - head, &is, &reads);
	if (!newer)
		return 0;
	snprintf(text, sizeof text,
		"the checkpoint was made by a newer version (state of format %u; this one reads 1 to %u): "
		"start that version again",
		is, reads);
	return refuse(st, text, err);
}

/* Without a checkpoint: from the very beginning, if that is still there, and if nothing was before it. */
static int start_over(struct start *st, const char *why, struct err *err)
{
	const struct state *s = st->state;
	uint32_t first = st->who == CHECKPOINT_MERGE ? 0 : st->who;
	uint32_t last = st->who == CHECKPOINT_MERGE ? s->partitions - 1 : st->who;
	char text[360], name[32];

	if (journal_before(s->input) && journal_before(s->output)) {
		snprintf(text, sizeof text,
			"no checkpoint (%.200s), and its journal goes on from %016" PRIx64
			": its state does not begin empty",
			why, journal_before(s->input));
		return refuse(st, text, err);
	}
	for (uint32_t p = first; p <= last; p++) {
		struct journal_partition_stats stats;

		journal_stats(st->who == CHECKPOINT_MERGE ? s->output : s->input, p, &stats);
		if (stats.oldest_offset == 0)
			continue;
		snprintf(text, sizeof text,
			"no checkpoint (%.200s), and its %s log begins at offset %" PRIu64, why,
			st->who == CHECKPOINT_MERGE ? "partial" : "input", stats.oldest_offset);
		return refuse(st, text, err);
	}
	log_warn("state", "no checkpoint of %s (%s): replaying everything", start_name(st, name), why);
	memset(st->info, 0, sizeof *st->info);
	return 0;
}

static int start_find(struct start *st, struct err *err)
{
	struct err why = {""};
	int rc = checkpoint_read_newest(st->state->checkpoint_dir, st->who, st->info, st->body, &why);

	st->found = rc == 0;
	if (rc == -ENOENT || rc == -EBADMSG)
		return start_over(st, why.text[0] ? why.text : "there is none", err);
	if (rc != 0)
		return err_set(err, rc, "%s", why.text);
	rc = check_owner(st, err);
	if (rc == 0)
		rc = check_version(st, err);
	return rc ? rc : check_places(st, err);
}

/* ---- a new state ---- */

/* True if no row was ever written and no checkpoint holds anything. */
static bool state_is_new(struct state *s, const struct checkpoint_entry *list, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		if (!list[i].good || list[i].info.seq != STATE_SEQ_FIRST ||
			list[i].info.output_epoch != journal_epoch(s->output))
			return false;
	for (uint32_t i = 0; i <= s->partitions; i++)
		if (journal_durable_offset(s->output, i) != 0)
			return false;
	return true;
}

static int first_checkpoints(struct state *s, struct err *err)
{
	int rc = 0;

	for (uint32_t i = 0; i <= s->partitions && rc == 0; i++) {
		struct start st = start_of(s, i);
		struct state_save *v = i < s->partitions ? &s->part[i].save : &s->merge.save;
		struct err none;

		rc = checkpoint_read_newest(s->checkpoint_dir, st.who, st.info, st.body, &none);
		bytes_free(st.body);
		if (rc == 0)
			continue;
		v->next_seq = STATE_SEQ_FIRST;
		save_info(s, v, i < s->partitions ? &s->part[i].out : &s->merge.out);
		if (i < s->partitions) {
			v->info.input_offset = journal_durable_offset(s->input, i);
			part_body(&s->terms, NULL, &v->body);
		}
		v->info.body_bytes = v->body.bytes;
		rc = checkpoint_write(s->checkpoint_dir, &v->info, &v->body, err);
	}
	return rc;
}

/* ---- consumers ---- */

/* The oldest checkpoint that is kept says what must stay; savepoints hold nothing. */
static void positions_set(
	struct state *s, const struct start *st, const struct checkpoint_entry *list, uint32_t count)
{
	struct checkpoint_info oldest = *st->info;

	for (uint32_t i = 0; i < count; i++)
		if (list[i].good && list[i].info.who == st->who && list[i].info.seq < oldest.seq &&
			!list[i].info.savepoint[0])
			oldest = list[i].info;
	if (st->who == CHECKPOINT_MERGE) {
		journal_consumer_set(s->output, s->merge.out.consumer, oldest.output_offset);
		for (uint32_t p = 0; p < s->partitions; p++) /* its places are not known: everything */
			journal_consumer_set(s->output, s->merge.consumer[p], 0);
		return;
	}
	journal_consumer_set(s->input, s->part[st->who].consumer, oldest.input_offset);
	journal_consumer_set(s->output, s->part[st->who].out.consumer, oldest.output_offset);
}

static int consumer_add(struct journal *j, uint32_t partition, const char *name, int *out, struct err *err)
{
	*out = journal_consumer_add(j, partition, name, err);
	return *out < 0 ? *out : 0;
}

static int consumers_add(struct state *s, struct err *err)
{
	int rc = consumer_add(s->output, s->partitions, "state", &s->merge.out.consumer, err);

	for (uint32_t p = 0; p < s->partitions && rc == 0; p++) {
		rc = consumer_add(s->input, p, "state", &s->part[p].consumer, err);
		if (rc == 0)
			rc = consumer_add(s->output, p, "state", &s->part[p].out.consumer, err);
		if (rc == 0)
			rc = consumer_add(s->output, p, "merge", &s->merge.consumer[p], err);
	}
	return rc;
}

int recover_state(struct state *s, const struct checkpoint_entry *list, uint32_t count, struct err *err)
{
	int rc = consumers_add(s, err);

	for (uint32_t i = 0; i < count; i++) {
		uint32_t generation = list[i].good ? list[i].info.generation : 0;

		if (generation && (!s->generation_floor || generation < s->generation_floor))
			s->generation_floor = generation;
	}

	if (rc == 0 && state_is_new(s, list, count))
		rc = first_checkpoints(s, err);
	for (uint32_t i = 0; i <= s->partitions && rc == 0; i++) {
		struct state_save *v = i < s->partitions ? &s->part[i].save : &s->merge.save;
		struct start st = start_of(s, i);

		rc = start_find(&st, err);
		if (rc == 0)
			positions_set(s, &st, list, count);
		v->next_seq = st.info->seq + 1;
		atomic_store(&v->seq, st.info->seq);
		atomic_store(&v->bytes, st.info->body_bytes);
		atomic_store(&v->ms, st.info->created_ms);
		/* The merge counts what it is fed from the start on. */
		atomic_store(&v->saved, i == s->partitions ? 0 : st.info->input_offset);
		if (!st.found)
			atomic_store(&v->saved, UINT64_MAX);
	}
	return rc;
}
