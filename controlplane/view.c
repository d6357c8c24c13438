/* Sums over a view. Pure. */
#include "view.h"

#include <stdlib.h>
#include <string.h>

const char *const daemon_phase_name[] = {"starting", "running", "draining", "stopped"};

void view_free(struct view *v)
{
	free(v->worker);
	free(v->port);
	free(v->partition);
	free(v->base);
	free(v->output);
	free(v->rule);
	free(v->rule_state);
	free(v->state_part);
	free(v->output_base);
	for (int log = 0; log < SINK_LOG_COUNT; log++)
		free(v->before[log]);
	for (uint32_t i = 0; i < v->sinks; i++)
		free(v->sink[i].part);
	memset(v, 0, sizeof *v);
}

void view_listener_sum(const struct view *v, uint32_t listener, struct listener_stats *sum)
{
	memset(sum, 0, sizeof *sum);
	for (uint32_t w = 0; w < v->workers; w++) {
		const struct listener_stats *l = &v->worker[w].listener[listener];

		sum->datagrams += l->datagrams;
		sum->datagrams_read += l->datagrams_read;
		sum->datagrams_waiting += l->datagrams_waiting;
		sum->bytes += l->bytes;
		sum->events += l->events;
		sum->accepted += l->accepted;
		sum->refused_kept += l->refused_kept;
		for (int i = 0; i < DROP_ID_MAX; i++) {
			sum->refused[i] += l->refused[i];
			sum->dropped[i] += l->dropped[i];
		}
	}
}

uint64_t view_records(const struct view *v, uint32_t partition, unsigned kind)
{
	return v->partition[partition].records[kind] - v->base[partition].records[kind];
}

void view_totals(const struct view *v, struct view_totals *sum)
{
	memset(sum, 0, sizeof *sum);
	for (uint32_t w = 0; w < v->workers; w++) {
		sum->frames += v->worker[w].frames;
		sum->frame_bytes += v->worker[w].frame_bytes;
		sum->shadows += v->worker[w].shadows;
		sum->busy_cycles += v->worker[w].busy_cycles;
		sum->idle_cycles += v->worker[w].idle_cycles;
	}
	for (uint32_t i = 0; i < v->cfg->listeners_count; i++) {
		struct listener_stats l;

		view_listener_sum(v, i, &l);
		sum->datagrams += l.datagrams;
		sum->events += l.events;
		sum->accepted += l.accepted;
		sum->refused_kept += l.refused_kept;
		for (int k = 0; k < DROP_ID_MAX; k++) {
			sum->refused += l.refused[k];
			sum->dropped += l.dropped[k];
		}
	}
	for (uint32_t p = 0; p < v->partitions; p++) {
		sum->journaled += view_records(v, p, RECORD_EVENT);
		sum->duplicates += v->partition[p].duplicates;
	}
}

bool view_drop_is_journal(enum drop_reason reason)
{
	return reason == DROP_journal_failed || reason == DROP_journal_full || reason == DROP_duplicate ||
	       reason == DROP_shadow_duplicate || reason == DROP_shadow_lost;
}

uint64_t view_drop(const struct view *v, enum drop_reason reason)
{
	uint64_t sum = 0;

	for (uint32_t w = 0; w < v->workers && !view_drop_is_journal(reason); w++)
		sum += v->worker[w].drops[reason];
	for (uint32_t p = 0; p < v->partitions && view_drop_is_journal(reason); p++)
		sum += v->partition[p].drops[reason] - v->base[p].drops[reason];
	return sum;
}
