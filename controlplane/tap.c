/* `tap open|read|close`: a capture of frames for a client, which `sluicectl capture` asks for. Job threads,
 * and the server thread's tick; one capture at a time. A client that has gone leaves nothing behind: a tap
 * that nobody reads is closed. */
#include "capture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "daemon.h"
#include "log.h"

#define TAP_SECONDS_MAX 3600u
#define TAP_IDLE_NS 10000000000ull /* unread for so long: closed */
#define TAP_READ_BYTES (1u << 20)
#define TAP_READ_NS 500000000ull /* how long a read waits for a frame */
#define TAP_PAUSE_NS 20000000

static int port_find(const struct config *cfg, const char *name, uint32_t *out, struct err *err)
{
	*out = CAPTURE_ANY;
	if (!strcmp(name, "all"))
		return 0;
	for (uint32_t i = 0; i < cfg->ports_count; i++)
		if (!strcmp(cfg->ports[i].name, name)) {
			*out = i;
			return 0;
		}
	return err_set(err, -ENOENT, "there is no port '%.60s': expected one of ports.name, or all", name);
}

static int listener_find(const struct config *cfg, const char *name, uint32_t *out, struct err *err)
{
	*out = CAPTURE_ANY;
	if (!name)
		return 0;
	for (uint32_t i = 0; i < cfg->listeners_count; i++)
		if (!strcmp(cfg->listeners[i].name, name)) {
			*out = (uint32_t)cfg->listeners[i].udp_port;
			return 0;
		}
	return err_set(err, -ENOENT, "there is no listener '%.60s'", name);
}

static int filter_make(
	const struct config *cfg, const struct request *rq, struct capture_filter *out, struct err *err)
{
	int rc;

	memset(out, 0, sizeof *out);
	rc = port_find(cfg, request_text(rq, "port", "all"), &out->port, err);
	if (rc == 0)
		rc = listener_find(cfg, request_text(rq, "listener", NULL), &out->udp_port, err);
	out->drops = command_drops(request_text(rq, "drop", ""));
	if (rc == 0)
		rc = ip_list_from_text(&out->source, request_text(rq, "source", ""), err);
	return rc;
}

/* Under the tap's lock. */
static void tap_end(struct daemon *d, const char *why)
{
	struct tap *tap = &d->tap;
	struct capture_counts counts;

	if (!tap->capture)
		return;
	dataplane_capture_halt(d->dp);
	counts = capture_counts(tap->capture);
	capture_free(tap->capture);
	tap->capture = NULL;
	log_info("control", "capture %llu ends: %s; frames=%llu not_copied=%llu", (unsigned long long)tap->id,
		why, (unsigned long long)counts.matched, (unsigned long long)counts.lost);
}

void tap_tick(struct daemon *d)
{
	uint64_t now = clock_mono_ns();

	pthread_mutex_lock(&d->tap.lock);
	if (d->tap.capture && now > d->tap.read_ns + TAP_IDLE_NS)
		tap_end(d, "nobody reads it");
	pthread_mutex_unlock(&d->tap.lock);
}

void tap_down(struct daemon *d)
{
	pthread_mutex_lock(&d->tap.lock);
	tap_end(d, "the daemon ends");
	pthread_mutex_unlock(&d->tap.lock);
}

json_t *run_tap_open(void *arg, const struct peer *peer, const struct request *rq, struct err *err)
{
	struct daemon *d = arg;
	struct tap *tap = &d->tap;
	uint64_t seconds = request_uint(rq, "seconds", 60);
	struct capture_filter filter;
	json_t *result = NULL;

	if (filter_make(&d->cfg, rq, &filter, err))
		return NULL;
	if (!seconds || seconds > TAP_SECONDS_MAX) {
		err_set(err, -EINVAL, "seconds: expected 1 to %u", TAP_SECONDS_MAX);
		return NULL;
	}
	pthread_mutex_lock(&tap->lock);
	if (atomic_load(&d->phase) != PHASE_RUNNING) {
		err_set(err, -ESHUTDOWN, "the daemon is not running");
	} else if (dataplane_capture_start(d->dp, &filter, &tap->capture, err) == 0) {
		tap->id++;
		tap->read_ns = clock_mono_ns();
		tap->end_ns = tap->read_ns + seconds * 1000000000u;
		log_info("control", "capture %llu by uid=%u pid=%d: port=%s seconds=%llu",
			(unsigned long long)tap->id, (unsigned)peer->uid, (int)peer->pid,
			request_text(rq, "port", "all"), (unsigned long long)seconds);
		result = json_pack("{s:I}", "id", (json_int_t)tap->id);
	}
	pthread_mutex_unlock(&tap->lock);
	return result;
}

/* Under the tap's lock: the tap that the request names. */
static bool tap_is(const struct daemon *d, const struct request *rq, struct err *err)
{
	if (d->tap.capture && d->tap.id == request_uint(rq, "id", 0))
		return true;
	err_set(err, -ENOENT, "the capture has ended");
	return false;
}

static json_t *hex_json(const uint8_t *data, size_t bytes)
{
	static const char digit[] = "0123456789abcdef";
	char *text = malloc(2 * bytes + 1);
	json_t *v;

	if (!text)
		return NULL;
	for (size_t i = 0; i < bytes; i++) {
		text[2 * i] = digit[data[i] >> 4];
		text[2 * i + 1] = digit[data[i] & 15];
	}
	v = json_stringn_nocheck(text, 2 * bytes);
	free(text);
	return v;
}

json_t *run_tap_read(void *arg, const struct peer *peer, const struct request *rq, struct err *err)
{
	uint64_t until_ns = clock_mono_ns() + TAP_READ_NS;
	uint8_t *data = malloc(TAP_READ_BYTES);
	struct capture_counts counts = {0};
	struct daemon *d = arg;
	bool there = data, ended = false;
	size_t bytes = 0;
	json_t *result = NULL;

	(void)peer;
	if (!there)
		err_set(err, -ENOMEM, "no memory");
	while (there && !bytes && !ended) {
		pthread_mutex_lock(&d->tap.lock);
		there = tap_is(d, rq, err);
		if (there) {
			d->tap.read_ns = clock_mono_ns();
			/* Before the look into the rings: what came until the end is read. */
			ended = d->tap.read_ns >= d->tap.end_ns || atomic_load(&d->phase) != PHASE_RUNNING;
			bytes = capture_read(d->tap.capture, data, TAP_READ_BYTES);
			counts = capture_counts(d->tap.capture);
		}
		pthread_mutex_unlock(&d->tap.lock);
		if (there && !bytes && !ended && clock_mono_ns() >= until_ns)
			break;
		if (there && !bytes && !ended)
			nanosleep(&(struct timespec){.tv_nsec = TAP_PAUSE_NS}, NULL);
	}
	if (there)
		result = json_pack("{s:o, s:o, s:o, s:b}", "hex", hex_json(data, bytes), "matched",
			json_u64(counts.matched), "not_copied", json_u64(counts.lost), "ended",
			ended && !bytes);
	if (there && !result)
		err_set(err, -ENOMEM, "no memory");
	free(data);
	return result;
}

json_t *run_tap_close(void *arg, const struct peer *peer, const struct request *rq, struct err *err)
{
	struct daemon *d = arg;
	struct capture_counts counts;
	json_t *result = NULL;

	(void)peer;
	pthread_mutex_lock(&d->tap.lock);
	if (tap_is(d, rq, err)) {
		counts = capture_counts(d->tap.capture);
		tap_end(d, "closed");
		result = json_pack("{s:o, s:o}", "matched", json_u64(counts.matched), "not_copied",
			json_u64(counts.lost));
	}
	pthread_mutex_unlock(&d->tap.lock);
	return result;
}
