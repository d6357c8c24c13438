/* Topics: created where missing, checked where they exist. One sink thread at a time, before any producer is
 * made; every wait is short and ends at the stop deadline. */
#include "kafka_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "log.h"

#define TOPICS_LIMIT_MS 15000u
#define TOPICS_MAX (KAFKA_TOPIC_COUNT + WINDOWS_MAX)

struct topic_want {
	config_str name;
	const char *key; /* of the config */
	uint64_t partitions;
	uint64_t kept_ms; /* 0: the brokers' default */
	bool positions;
	bool missing;
};

struct topic_work {
	const struct config_kafka *cfg;
	rd_kafka_t *rk;
	uint64_t until_ns;
	uint32_t count;
	int brokers;
	bool told; /* that nobody answers */
	char broker_error[KAFKA_BROKER_ERROR_BYTES];
	struct topic_want want[TOPICS_MAX];
};

/* The key of the config that gives a topic its name. */
static const char *topic_key(const struct config_kafka *cfg, int topic, const char *name)
{
	switch (topic) {
	case KAFKA_TOPIC_ALERTS:
		return "topic_alerts";
	case KAFKA_TOPIC_DEAD:
		return "topic_dead";
	case KAFKA_TOPIC_LATE:
		return "topic_late";
	case KAFKA_TOPIC_POSITIONS:
		return "topic_positions";
	case KAFKA_TOPIC_ENRICHED:
		return "topic_enriched";
	default:
		return name == cfg->topic_click	     ? "topic_click"
		       : name == cfg->topic_platform ? "topic_platform"
						     : "topics";
	}
}

/* Adds a topic, or joins it with one of the same name, which then gets the larger number of partitions. */
static struct topic_want *want_add(
	struct topic_work *w, const char *key, const char *name, uint64_t partitions)
{
	struct topic_want *want = w->want;

	for (; want < w->want + w->count; want++)
		if (!strcmp(want->name, name)) {
			want->partitions = partitions > want->partitions ? partitions : want->partitions;
			return want;
		}
	w->count++;
	*want = (struct topic_want){.key = key, .partitions = partitions};
	snprintf(want->name, sizeof want->name, "%s", name);
	return want;
}

static int want_foreign(const struct topic_work *w, const char *key, const char *name, struct err *err)
{
	if (strcmp(name, w->cfg->topic_positions) != 0)
		return 0;
	return err_set(err, -EINVAL,
		"kafka.topic_positions: '%s' is kafka.%s as well: it needs a topic of its own", name, key);
}

static int topics_wanted(struct topic_work *w, enum kafka_lane lane, enum sink_log log, struct err *err)
{
	struct kafka_names names;
	int rc = kafka_topic_names(&names, w->cfg, err);

	for (int i = 0; i < KAFKA_TOPIC_COUNT && !rc; i++) {
		const char *name = names.name[i], *key = topic_key(w->cfg, i, name);
		bool event = i >= KAFKA_TOPIC_EVENT || i == KAFKA_TOPIC_ENRICHED;

		if (!name || !kafka_topic_of(i, lane, log))
			continue;
		if (i == KAFKA_TOPIC_POSITIONS) {
			want_add(w, key, name, 1)->positions = true;
			continue;
		}
		rc = want_foreign(w, key, name, err);
		if (rc == 0) /* events want more partitions than the others */
			want_add(w, key, name, event ? w->cfg->partitions : w->cfg->partitions_other);
	}
	return rc;
}

int kafka_window_check(const struct config_kafka *cfg, const struct window_def *def, struct err *err)
{
	struct event_topics events;
	config_str name;
	const char *other;
	int rc = event_config_topics(&events, cfg, err);

	if (rc)
		return rc;
	kafka_window_topic(name, sizeof name, cfg, def);
	other = config_topic_other(cfg, name, CONFIG_TOPIC_WINDOW);
	for (int i = 1; i < EVENT_TYPE_MAX && !other; i++)
		if (events.name[i] && !strcmp(events.name[i], name))
			other = "topics";
	if (!other)
		return 0;
	return err_set(err, -EINVAL,
		"kafka.topic_aggregates: '%s' of window %s is kafka.%s too: what they hold would be mixed",
		name, def->name, other);
}

static int window_wanted(struct topic_work *w, const struct window_def *def, struct err *err)
{
	config_str name;
	int rc = kafka_window_check(w->cfg, def, err);

	kafka_window_topic(name, sizeof name, w->cfg, def);
	if (rc == 0)
		want_add(w, "topic_aggregates", name, w->cfg->partitions_other)->kept_ms =
			w->cfg->aggregates_kept;
	return rc;
}

static int windows_wanted(struct topic_work *w, const struct window_plan *plan, struct err *err)
{
	int rc = 0;

	for (uint32_t i = 0; plan && i < plan->count && !rc; i++)
		if (plan->def[i]->to_kafka)
			rc = window_wanted(w, plan->def[i], err);
	return rc;
}

/* From rd_kafka_poll(). */
static void topics_error(rd_kafka_t *rk, int code, const char *reason, void *opaque)
{
	struct topic_work *w = opaque;

	(void)rk;
	kafka_broker_error(w->broker_error, code, reason);
}

/* Between two tries. What a broker says is shown at once: the limit is far away for who looks. */
static int topics_wait(struct topic_work *w, const char *what, struct err *err)
{
	const char *last = "; last broker error: ";
	struct err note;

	rd_kafka_poll(w->rk, 0);
	if (!*w->broker_error)
		last = "";
	if (sink_gives_up())
		return err_set(err, -ECANCELED, "stopped while waiting for %s", what);
	if (clock_mono_ns() > w->until_ns)
		return err_set(err, -EAGAIN, "kafka.brokers %s: no answer (%s)%s%s", w->cfg->brokers, what,
			last, w->broker_error);
	if (*last && !w->told) {
		err_set(&note, 0, "kafka.brokers %s: still no answer (%s)%s%s", w->cfg->brokers, what, last,
			w->broker_error);
		sink_waits(note.text);
		w->told = true;
	}
	return 0;
}

static void topic_check_replicas(
	const struct topic_work *w, const struct topic_want *want, const struct rd_kafka_metadata_topic *md)
{
	for (int p = 0; p < md->partition_cnt; p++)
		if ((uint64_t)md->partitions[p].replica_cnt < w->cfg->replication) {
			log_warn("kafka", "topic %s has only %d replicas, kafka.replication is %lu",
				want->name, md->partitions[p].replica_cnt, w->cfg->replication);
			return;
		}
}

/* 1: the topic is there, and each partition has a leader; 0: it is not, or not yet; or an error. */
static int topic_there(struct topic_work *w, struct topic_want *want, struct err *err)
{
	rd_kafka_topic_t *topic = rd_kafka_topic_new(w->rk, want->name, NULL);
	const struct rd_kafka_metadata *md = NULL;
	rd_kafka_resp_err_t code;
	int rc = 0;

	if (!topic)
		return err_set(err, -EINVAL, "kafka.%s: '%s' is no topic name", want->key, want->name);
	while ((code = rd_kafka_metadata(w->rk, 0, topic, &md, KAFKA_SLICE_MS * 3)) != 0) {
		rc = topics_wait(w, rd_kafka_err2str(code), err);
		if (rc)
			break;
	}
	rd_kafka_topic_destroy(topic);
	if (rc)
		return rc;
	w->brokers = md->broker_cnt;
	code = md->topic_cnt ? md->topics[0].err : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
	if (code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED ||
		code == RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION) {
		rc = err_set(err, -EINVAL, "kafka.%s: topic %s: %s", want->key, want->name,
			rd_kafka_err2str(code));
	} else {
		want->missing = code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
		rc = code == 0 && md->topics[0].partition_cnt > 0;
		for (int p = 0; rc && p < md->topics[0].partition_cnt; p++)
			rc = md->topics[0].partitions[p].leader >= 0;
		if (code == 0)
			topic_check_replicas(w, want, &md->topics[0]);
	}
	rd_kafka_metadata_destroy(md);
	return rc;
}

static rd_kafka_NewTopic_t *topic_new(
	const struct topic_work *w, const struct topic_want *want, struct err *err)
{
	char text[256], isr[24], kept[24];
	rd_kafka_NewTopic_t *t = rd_kafka_NewTopic_new(
		want->name, (int)want->partitions, (int)w->cfg->replication, text, sizeof text);

	if (!t) {
		err_set(err, -EINVAL, "kafka.%s: %s", want->key, text);
		return NULL;
	}
	snprintf(isr, sizeof isr, "%lu", w->cfg->min_isr);
	rd_kafka_NewTopic_set_config(t, "min.insync.replicas", isr);
	if (want->kept_ms) {
		snprintf(kept, sizeof kept, "%lu", want->kept_ms);
		rd_kafka_NewTopic_set_config(t, "retention.ms", kept);
	}
	if (want->positions) {
		/* A restart reads this topic: small segments, since the newest one is never compacted. */
		rd_kafka_NewTopic_set_config(t, "cleanup.policy", "compact");
		rd_kafka_NewTopic_set_config(t, "segment.bytes", "16777216");
		rd_kafka_NewTopic_set_config(t, "min.cleanable.dirty.ratio", "0.1");
	}
	return t;
}

static int topics_created(const struct topic_work *w, rd_kafka_event_t *ev, struct err *err)
{
	const rd_kafka_topic_result_t **result;
	size_t n;

	if (rd_kafka_event_error(ev))
		return err_set(err, -EAGAIN, "creating topics: %s", rd_kafka_event_error_string(ev));
	result = rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(ev), &n);
	for (size_t i = 0; i < n; i++) {
		rd_kafka_resp_err_t code = rd_kafka_topic_result_error(result[i]);
		const char *name = rd_kafka_topic_result_name(result[i]);

		if (code == RD_KAFKA_RESP_ERR_NO_ERROR || code == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)
			continue;
		err_set(err, 0,
			"topic %s cannot be created with kafka.replication %lu, kafka.min_isr %lu: %s", name,
			w->cfg->replication, w->cfg->min_isr, rd_kafka_topic_result_error_string(result[i]));
		/* What only an operator can change is a refusal; the rest may pass. */
		return code == RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT || code == RD_KAFKA_RESP_ERR_NOT_CONTROLLER
			       ? -EAGAIN
			       : -EINVAL;
	}
	return 0;
}

/* The answer to an admin request, in slices. NULL with err and *rc. */
static rd_kafka_event_t *topics_answer(
	struct topic_work *w, rd_kafka_queue_t *queue, const char *what, int *rc, struct err *err)
{
	rd_kafka_event_t *ev;

	while (!(ev = rd_kafka_queue_poll(queue, KAFKA_SLICE_MS))) {
		*rc = topics_wait(w, what, err);
		if (*rc)
			return NULL;
	}
	return ev;
}

static int topics_create(struct topic_work *w, struct err *err)
{
	rd_kafka_NewTopic_t *list[TOPICS_MAX];
	rd_kafka_queue_t *queue;
	rd_kafka_event_t *ev;
	size_t n = 0;
	int rc = 0;

	for (uint32_t i = 0; i < w->count && rc == 0; i++) {
		if (!w->want[i].missing)
			continue;
		if ((uint64_t)w->brokers < w->cfg->replication) {
			rc = err_set(err, -EINVAL,
				"topic %s is missing and kafka.replication is %lu, but the cluster has only "
				"%d live "
				"broker%s: set kafka.replication (and kafka.min_isr) lower, or create the "
				"topic",
				w->want[i].name, w->cfg->replication, w->brokers, w->brokers == 1 ? "" : "s");
			break;
		}
		list[n] = topic_new(w, &w->want[i], err);
		if (list[n])
			n++;
		else
			rc = -EINVAL;
	}
	queue = rd_kafka_queue_new(w->rk);
	if (rc == 0 && n) {
		rd_kafka_CreateTopics(w->rk, list, n, NULL, queue);
		ev = topics_answer(w, queue, "creating topics", &rc, err);
		if (ev) {
			rc = topics_created(w, ev, err);
			rd_kafka_event_destroy(ev);
		}
	}
	rd_kafka_queue_destroy(queue);
	if (n)
		rd_kafka_NewTopic_destroy_array(list, n);
	return rc;
}

/* cleanup.policy decides whether records stay: events must not be compacted away, positions must not expire.
 */
static int topic_check_policy(
	const struct topic_work *w, const rd_kafka_ConfigResource_t *resource, struct err *err)
{
	const char *name = rd_kafka_ConfigResource_name(resource);
	size_t n;
	const rd_kafka_ConfigEntry_t **entry = rd_kafka_ConfigResource_configs(resource, &n);
	bool positions = !strcmp(name, w->cfg->topic_positions);

	if (rd_kafka_ConfigResource_error(resource)) {
		log_warn("kafka", "topic %s: configuration not readable, not checked: %s", name,
			rd_kafka_ConfigResource_error_string(resource));
		return 0;
	}
	for (size_t i = 0; i < n; i++) {
		const char *value = rd_kafka_ConfigEntry_value(entry[i]);

		if (!value || strcmp(rd_kafka_ConfigEntry_name(entry[i]), "cleanup.policy"))
			continue;
		if (positions && strcmp(value, "compact"))
			return err_set(err, -EINVAL,
				"kafka.topic_positions: topic %s has cleanup.policy=%s, under which "
				"positions expire: set it to compact",
				name, value);
		if (!positions && strstr(value, "compact"))
			return err_set(err, -EINVAL,
				"topic %s has cleanup.policy=%s, which removes all but the newest "
				"record of a key: set it to delete",
				name, value);
	}
	return 0;
}

static int topics_check_policies(struct topic_work *w, struct err *err)
{
	rd_kafka_ConfigResource_t *list[TOPICS_MAX];
	const rd_kafka_ConfigResource_t **result;
	rd_kafka_queue_t *queue = rd_kafka_queue_new(w->rk);
	rd_kafka_event_t *ev;
	size_t n = 0;
	int rc = 0;

	for (uint32_t i = 0; i < w->count; i++)
		list[i] = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, w->want[i].name);
	rd_kafka_DescribeConfigs(w->rk, list, w->count, NULL, queue);
	ev = topics_answer(w, queue, "reading topic configurations", &rc, err);
	if (ev && rd_kafka_event_error(ev)) {
		rc = err_set(
			err, -EAGAIN, "reading topic configurations: %s", rd_kafka_event_error_string(ev));
	} else if (ev) {
		result = rd_kafka_DescribeConfigs_result_resources(
			rd_kafka_event_DescribeConfigs_result(ev), &n);
		for (size_t i = 0; i < n && rc == 0; i++)
			rc = topic_check_policy(w, result[i], err);
	}
	if (ev)
		rd_kafka_event_destroy(ev);
	rd_kafka_ConfigResource_destroy_array(list, w->count);
	rd_kafka_queue_destroy(queue);
	return rc;
}

static int topics_work(struct topic_work *w, struct err *err)
{
	int rc = 0, missing = 0;

	for (uint32_t i = 0; i < w->count && rc >= 0; i++) {
		rc = topic_there(w, &w->want[i], err);
		missing += w->want[i].missing;
	}
	if (rc >= 0 && missing)
		rc = topics_create(w, err);
	for (uint32_t i = 0; i < w->count && rc >= 0; i++)
		while ((rc = topic_there(w, &w->want[i], err)) == 0) {
			rc = topics_wait(w, "leaders of topics", err);
			if (rc)
				break;
			rd_kafka_poll(w->rk, 100);
		}
	return rc < 0 ? rc : topics_check_policies(w, err);
}

/* With a client of its own. */
static int topics_do(struct topic_work *w, struct err *err)
{
	rd_kafka_conf_t *conf = kafka_conf_new(w->cfg, err);
	int rc;

	if (!conf)
		return -EINVAL;
	/* A consumer, since asking for a topic's metadata as a producer can create it with the brokers'
	 * defaults. */
	rd_kafka_conf_set_opaque(conf, w);
	rd_kafka_conf_set_error_cb(conf, topics_error);
	w->rk = kafka_client_new(RD_KAFKA_CONSUMER, conf, err);
	if (!w->rk)
		return -EINVAL;
	w->until_ns = clock_mono_ns() + TOPICS_LIMIT_MS * 1000000ull;
	rc = topics_work(w, err);
	rd_kafka_destroy(w->rk);
	return rc;
}

static struct topic_work *work_new(const struct config_kafka *cfg, struct err *err)
{
	struct topic_work *w = calloc(1, sizeof *w);

	if (w)
		w->cfg = cfg;
	else
		err_set(err, -ENOMEM, "kafka: no memory");
	return w;
}

int kafka_topics_prepare(const struct sink_env *env, enum kafka_lane lane, enum sink_log log, struct err *err)
{
	struct topic_work *w;
	int rc;

	if (env->cfg->kafka.min_isr > env->cfg->kafka.replication)
		return err_set(err, -EINVAL, "kafka.min_isr is %lu, above kafka.replication %lu",
			env->cfg->kafka.min_isr, env->cfg->kafka.replication);
	w = work_new(&env->cfg->kafka, err);
	if (!w)
		return -ENOMEM;
	rc = topics_wanted(w, lane, log, err);
	if (rc == 0 && log == SINK_LOG_OUTPUT && lane == KAFKA_LANE_MAIN)
		rc = windows_wanted(w, env->plan, err);
	if (rc == 0)
		rc = topics_do(w, err);
	free(w);
	return rc;
}

int kafka_topic_make(const struct config_kafka *cfg, const struct window_def *def, struct err *err)
{
	struct topic_work *w = work_new(cfg, err);
	int rc = w ? window_wanted(w, def, err) : -ENOMEM;

	if (rc == 0)
		rc = topics_do(w, err);
	free(w);
	return rc;
}

int kafka_topic_make_route(const struct config_kafka *cfg, const char *name, struct err *err)
{
	static const char key[] = "topic of a rule's route";
	struct topic_work *w = work_new(cfg, err);
	int rc = w ? want_foreign(w, key, name, err) : -ENOMEM;

	if (rc == 0) {
		want_add(w, key, name, cfg->partitions);
		rc = topics_do(w, err);
	}
	free(w);
	return rc;
}
