/* sluice-gen: makes events, packs them into datagrams, sends them at a given rate, writes down what must
 * become of each. One thread. Set-up is done by main; everything below lives until the end of the process. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "gen_event.h"
#include "gen_lines.h"
#include "gen_opts.h"
#include "gen_out.h"
#include "gen_scene.h"
#include "version.h"

#define LINES_WAIT_MS 100

struct gen {
	struct gen_opts o;
	struct gen_maker *maker;
	struct gen_lines *lines; /* NULL: events are made */
	bool lines_ended;
	struct gen_udp *udp;
	struct gen_pcap *pcap;
	FILE *file, *truth, *clock, *scenario_truth;
	uint32_t payload_max;
	struct gen_datagram burst[GEN_BURST];
	uint32_t burst_count;
	uint32_t datagram_events; /* in the datagram that is being filled */
	uint64_t events, datagrams, bytes, by_reason[DROP_ID_MAX], ruled, without_id;
	uint64_t start_ns, shown_ns, shown_events;
	double tokens;
	uint64_t tokens_ns;
};

static volatile sig_atomic_t stopping;

static void on_signal(int signal)
{
	(void)signal;
	stopping = 1;
}

static FILE *open_text(const char *path, struct err *err)
{
	FILE *f = strcmp(path, "-") ? fopen(path, "w") : stdout;

	if (!f)
		err_set(err, -errno, "%s: %s", path, strerror(errno));
	return f;
}

/* Before anything is opened for writing: a wrong name must not cost a file that is there. */
static int open_lines(struct gen *g, struct err *err)
{
	const char *const out[] = {g->o.pcap, g->o.file, g->o.clock};
	int rc = gen_lines_open(&g->lines, g->o.lines, err);

	for (size_t i = 0; !rc && i < sizeof out / sizeof *out; i++)
		if (out[i] && gen_lines_are_of(g->lines, out[i]))
			rc = err_set(
				err, -EINVAL, "%s is the file of --lines: it would be overwritten", out[i]);
	return rc;
}

static int gen_open(struct gen *g, struct err *err)
{
	const struct gen_opts *o = &g->o;
	struct gen_pcap_where where = {o->src, o->dst, o->src_mac, o->dst_mac, o->flows};
	uint32_t overhead = 48;
	int rc = o->lines ? open_lines(g, err) : gen_maker_new(&g->maker, o, err);

	if (!rc && o->udp) {
		rc = gen_udp_open(&g->udp, o->udp, o->flows, err);
		overhead = rc ? 0 : gen_udp_overhead(g->udp);
	}
	if (!rc && o->pcap) {
		rc = gen_pcap_open(&g->pcap, o->pcap, &where, err);
		overhead = rc || (o->udp && overhead > gen_pcap_overhead(g->pcap))
				   ? overhead
				   : gen_pcap_overhead(g->pcap);
	}
	if (!rc && o->file && !(g->file = open_text(o->file, err)))
		rc = -EIO;
	if (!rc && o->truth && !(g->truth = open_text(o->truth, err)))
		rc = -EIO;
	if (!rc && o->clock && !(g->clock = open_text(o->clock, err)))
		rc = -EIO;
	if (!rc && o->scenario_truth && !(g->scenario_truth = open_text(o->scenario_truth, err)))
		rc = -EIO;
	if (!rc && o->scenarios)
		gen_scenes_truth(gen_maker_scenes(g->maker), g->scenario_truth);
	g->payload_max = o->mtu - overhead;
	return rc;
}

static int flush(struct gen *g, int64_t now_ms, struct err *err)
{
	uint32_t count = g->burst_count + (g->burst_count < GEN_BURST && g->burst[g->burst_count].bytes > 0);
	int64_t before_ms = g->clock ? clock_wall_ms() : 0;
	int rc = 0;

	if (count && g->udp)
		rc = gen_udp_send(g->udp, g->burst, count, err);
	for (uint32_t i = 0; !rc && g->pcap && i < count; i++)
		rc = gen_pcap_write(g->pcap, &g->burst[i], now_ms, err);
	for (uint32_t i = 0; i < count; i++)
		g->bytes += g->burst[i].bytes;
	g->datagrams += count;
	if (!rc && count && g->clock &&
		fprintf(g->clock, "%" PRIu64 " %" PRId64 " %" PRId64 "\n", g->events, before_ms,
			clock_wall_ms()) < 0)
		rc = err_set(err, -EIO, "%s: %s", g->o.clock, strerror(errno));
	g->burst_count = g->datagram_events = 0;
	g->burst[0].bytes = 0;
	return rc;
}

/* Appends the line to the open datagram; starts the next one when it is full. */
static int pack(struct gen *g, const char *text, uint32_t bytes, int64_t now_ms, struct err *err)
{
	struct gen_datagram *dg = &g->burst[g->burst_count];
	int rc;

	if (dg->bytes &&
		(g->datagram_events == g->o.events_per_datagram || dg->bytes + 1 + bytes > g->payload_max)) {
		g->datagram_events = 0;
		if (++g->burst_count == GEN_BURST && (rc = flush(g, now_ms, err)))
			return rc;
		dg = &g->burst[g->burst_count];
		dg->bytes = 0;
	}
	if (dg->bytes)
		dg->data[dg->bytes++] = '\n';
	memcpy(dg->data + dg->bytes, text, bytes);
	dg->bytes += bytes;
	g->datagram_events++;
	return 0;
}

static int write_down(struct gen *g, const struct gen_event *ev, struct err *err)
{
	const char *fate = ev->reason == DROP_NONE	  ? "accepted"
			   : ev->reason == DROP_duplicate ? "duplicate"
							  : "refused:";
	const char *why = *fate == 'r' ? drop_table[ev->reason].name : "";

	g->by_reason[ev->reason]++;
	g->ruled += ev->rule != NULL;
	g->without_id += !ev->has_id;
	if (g->truth && fprintf(g->truth, "%s %s %s%s %s\n", ev->id, type_table[ev->type].name, fate, why,
				ev->rule ? ev->rule : "-") < 0)
		return err_set(err, -EIO, "%s: %s", g->o.truth, strerror(errno));
	return 0;
}

/* The line goes into a datagram and into the file of events. */
static int put(struct gen *g, const char *text, uint32_t bytes, int64_t now_ms, struct err *err)
{
	int rc = pack(g, text, bytes, now_ms, err);

	g->events++;
	if (!rc && g->file && (fwrite(text, bytes, 1, g->file) != 1 || fputc('\n', g->file) == EOF))
		rc = err_set(err, -EIO, "%s: %s", g->o.file, strerror(errno));
	return rc;
}

static int put_made(struct gen *g, int64_t now_ms, struct err *err)
{
	const struct gen_event *ev = gen_maker_next(g->maker, now_ms);
	int rc = put(g, ev->raw, ev->bytes, now_ms, err);

	return rc ? rc : write_down(g, ev, err);
}

/* What has come is with the reader before more is waited for. */
static int wait_for_lines(struct gen *g, int64_t now_ms, struct err *err)
{
	int rc = flush(g, now_ms, err);

	if (!rc && g->pcap)
		rc = gen_pcap_flush(g->pcap, err);
	if (!rc && g->file && fflush(g->file))
		rc = err_set(err, -EIO, "%s: %s", g->o.file, strerror(errno));
	if (!rc)
		gen_lines_wait(g->lines, LINES_WAIT_MS);
	return rc ? rc : -EAGAIN;
}

/* What was before a line that cannot be sent goes out. */
static int put_line(struct gen *g, int64_t now_ms, struct err *err)
{
	struct err flushed;
	const char *text;
	uint32_t bytes;
	int rc;

	do
		rc = gen_lines_next(g->lines, g->payload_max, &text, &bytes, err);
	while (rc > 0 && !bytes && !stopping);
	g->lines_ended = rc == 0;
	if (rc > 0)
		return bytes ? put(g, text, bytes, now_ms, err) : 0;
	if (rc == -EAGAIN)
		return wait_for_lines(g, now_ms, err);
	if (rc < 0 && flush(g, now_ms, &flushed))
		*err = flushed;
	return rc;
}

/* Events that may go now by the token bucket; waits until there is one. */
static uint64_t due(struct gen *g)
{
	double rate = (double)g->o.rate, burst = rate / 50 < 1 ? 1 : rate / 50;
	double want = g->o.events_per_datagram < rate / 20 ? g->o.events_per_datagram : 1;

	if (!g->o.rate)
		return GEN_BURST;
	if (burst < want)
		burst = want;
	for (;;) {
		uint64_t now = clock_mono_ns();

		g->tokens += (double)(now - g->tokens_ns) * rate / 1e9;
		g->tokens_ns = now;
		if (g->tokens > burst)
			g->tokens = burst; /* what could not be sent in time is not caught up with */
		if (g->tokens >= want || stopping) {
			uint64_t n = (uint64_t)g->tokens;

			g->tokens -= (double)n;
			return n;
		}
		uint64_t wait_ns = (uint64_t)((want - g->tokens) * 1e9 / rate);
		struct timespec ts = {0, (long)(wait_ns < 500000       ? 500000
						 : wait_ns > 100000000 ? 100000000
								       : wait_ns)};

		nanosleep(&ts, NULL);
	}
}

static void show_progress(struct gen *g, uint64_t now_ns)
{
	double seconds = (double)(now_ns - g->shown_ns) / 1e9;

	if (!g->o.progress || seconds < 1)
		return;
	fprintf(stderr, "sluice-gen: %" PRIu64 " events, %.0f a second, %" PRIu64 " datagrams\n", g->events,
		(double)(g->events - g->shown_events) / seconds, g->datagrams);
	g->shown_ns = now_ns;
	g->shown_events = g->events;
}

static int run(struct gen *g, struct err *err)
{
	uint64_t now_ns = clock_mono_ns();
	int rc = 0;

	g->start_ns = g->shown_ns = g->tokens_ns = now_ns;
	while (!rc && !stopping) {
		uint64_t n = due(g);
		int64_t now_ms = clock_wall_ms();

		now_ns = clock_mono_ns();
		if (g->o.duration_ms && now_ns - g->start_ns >= g->o.duration_ms * 1000000)
			break;
		if (g->o.count && g->o.count - g->events < n)
			n = g->o.count - g->events;
		for (uint64_t i = 0; !rc && i < n && !g->lines_ended && !stopping; i++)
			rc = g->lines ? put_line(g, now_ms, err) : put_made(g, now_ms, err);
		if (rc == -EAGAIN)
			rc = 0;
		if (!rc && g->o.rate)
			rc = flush(g, now_ms, err);
		show_progress(g, now_ns);
		if (g->lines_ended || (g->o.count && g->events >= g->o.count))
			break;
	}
	rc = rc ? rc : flush(g, clock_wall_ms(), err);
	if (!rc && g->o.scenarios && gen_scenes_end(gen_maker_scenes(g->maker)))
		rc = err_set(err, -EIO, "%s: %s", g->o.scenario_truth, strerror(errno));
	return rc;
}

static int close_text(FILE *f, const char *path, struct err *err)
{
	if (!f || !fclose(f))
		return 0;
	return err_set(err, -EIO, "%s: %s", path, strerror(errno));
}

static void summary_made(const struct gen *g, FILE *to)
{
	uint64_t refused = g->events - g->by_reason[DROP_NONE] - g->by_reason[DROP_duplicate];

	fprintf(to, " accepted=%" PRIu64 " duplicate=%" PRIu64 " refused=%" PRIu64, g->by_reason[DROP_NONE],
		g->by_reason[DROP_duplicate], refused);
	for (int i = 1; i < DROP_ID_MAX; i++)
		if (g->by_reason[i] && i != DROP_duplicate)
			fprintf(to, " refused_%s=%" PRIu64, drop_table[i].name, g->by_reason[i]);
	fprintf(to, " with_rule=%" PRIu64 " without_id=%" PRIu64, g->ruled, g->without_id);
}

static void summary(const struct gen *g)
{
	double seconds = (double)(clock_mono_ns() - g->start_ns) / 1e9;
	FILE *to = g->o.file && !strcmp(g->o.file, "-") ? stderr : stdout;

	fprintf(to, "events=%" PRIu64, g->events);
	if (!g->lines)
		summary_made(g, to);
	fprintf(to, " datagrams=%" PRIu64 " bytes=%" PRIu64, g->datagrams, g->bytes);
	if (g->o.scenarios)
		fprintf(to, " scenarios=%" PRIu64, gen_scenes_done(gen_maker_scenes(g->maker)));
	fprintf(to, " retries=%" PRIu64 " seconds=%.3f rate=%.0f\n", g->udp ? gen_udp_retries(g->udp) : 0,
		seconds, seconds > 0 ? (double)g->events / seconds : 0);
}

int main(int argc, char **argv)
{
	static struct gen g;
	struct sigaction sa = {.sa_handler = on_signal};
	struct err err = {""};
	int rc;

	switch (gen_opts_parse(&g.o, argc, argv, &err)) {
	case GEN_OPTS_HELP:
		gen_opts_help();
		return 0;
	case GEN_OPTS_VERSION:
		version_print("sluice-gen");
		return 0;
	case GEN_OPTS_WRONG:
		fprintf(stderr, "sluice-gen: %s\n", err.text);
		return 2;
	case GEN_OPTS_RUN:
		break;
	}
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	rc = gen_open(&g, &err);
	if (!rc)
		rc = run(&g, &err);
	if (!rc)
		summary(&g);
	if (g.pcap && gen_pcap_close(g.pcap, rc ? NULL : &err))
		rc = -EIO;
	if (close_text(g.truth, g.o.truth, rc ? NULL : &err))
		rc = -EIO;
	if (close_text(g.clock, g.o.clock, rc ? NULL : &err))
		rc = -EIO;
	if (close_text(g.scenario_truth, g.o.scenario_truth, rc ? NULL : &err))
		rc = -EIO;
	if (g.file != stdout && close_text(g.file, g.o.file, rc ? NULL : &err))
		rc = -EIO;
	gen_udp_close(g.udp);
	gen_lines_close(g.lines);
	gen_maker_free(g.maker);
	if (rc)
		fprintf(stderr, "sluice-gen: %s\n", err.text);
	return rc ? 1 : 0;
}
