/* The embedded broker: one combined KRaft node on the loopback interface. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "sup_server.h"

#define STARTED "Kafka Server started"
#define FORMAT_MS 60000

static const char properties[] =
	"process.roles=broker,controller\nnode.id=1\ncontroller.listener.names=CONTROLLER\n"
	"listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n"
	"num.partitions=12\nauto.create.topics.enable=false\n"
	"offsets.topic.replication.factor=1\noffsets.topic.num.partitions=4\n"
	"transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n"
	"transaction.state.log.num.partitions=4\nshare.coordinator.state.topic.replication.factor=1\n"
	"share.coordinator.state.topic.min.isr=1\ngroup.initial.rebalance.delay.ms=0\n"
	"num.network.threads=2\nnum.io.threads=2\nbackground.threads=2\n"
	"log.cleaner.dedupe.buffer.size=4194304\nlog.index.size.max.bytes=1048576\n"
	"broker.session.timeout.ms=6000\nbroker.heartbeat.interval.ms=1000\n"
	"log.segment.bytes=134217728\ntransaction.max.timeout.ms=900000\n";

static const char log_properties[] = "status=error\nappender.o.type=Console\nappender.o.name=O\n"
				     "appender.o.layout.type=PatternLayout\n"
				     "appender.o.layout.pattern=%d %p %c{1}: %m%n\n"
				     "rootLogger.level=info\nrootLogger.appenderRef.o.ref=O\n";

static int write_files(const char *dir, const struct sup_ports *p, struct err *err)
{
	char path[320];
	FILE *f;
	int bad;

	snprintf(path, sizeof path, "%s/log4j2.properties", dir);
	f = fopen(path, "w");
	bad = !f || fputs(log_properties, f) < 0;
	bad |= f && fclose(f);
	if (bad)
		return err_set(err, -EIO, "%s: %s", path, strerror(errno));
	snprintf(path, sizeof path, "%s/server.properties", dir);
	f = fopen(path, "w");
	bad = !f || fputs(properties, f) < 0 ||
	      fprintf(f,
		      "controller.quorum.voters=1@127.0.0.1:%u\n"
		      "listeners=PLAINTEXT://127.0.0.1:%u,CONTROLLER://127.0.0.1:%u\n"
		      "advertised.listeners=PLAINTEXT://127.0.0.1:%u\nlog.dirs=%s/log\n",
		      p->kafka_controller, p->kafka, p->kafka_controller, p->kafka, dir) < 0;
	bad |= f && fclose(f);
	return bad ? err_set(err, -EIO, "%s: %s", path, strerror(errno)) : 0;
}

static void java_args(struct sup_child *c, const struct sup_opts *o, const char *dir, const char *heap)
{
	sup_child_arg(c, "java");
	sup_child_arg(c, "-Xmx%s", heap);
	sup_child_arg(c, "-XX:+UseSerialGC");
	sup_child_arg(c, "-XX:TieredStopAtLevel=1");
	sup_child_arg(c, "-Xss512k");
	sup_child_arg(c, "-Dlog4j2.configurationFile=%s/log4j2.properties", dir);
	sup_child_arg(c, "-cp");
	sup_child_arg(c, "%s/*", o->kafka_libs);
}

/* Kafka wants its storage formatted once. */
static int format(const struct sup_opts *o, const char *dir, struct err *err)
{
	struct sup_child c = {.name = "kafka-format"};
	char meta[320], end[32];
	int rc;

	snprintf(meta, sizeof meta, "%s/log/meta.properties", dir);
	if (access(meta, F_OK) == 0)
		return 0;
	snprintf(c.log_path, sizeof c.log_path, "%s/format.log", dir);
	java_args(&c, o, dir, "128m");
	sup_child_arg(&c, "kafka.tools.StorageTool");
	sup_child_arg(&c, "format");
	sup_child_arg(&c, "-t");
	sup_child_arg(&c, "c2x1aWNlLXRyaWFsLWtmaw");
	sup_child_arg(&c, "-c");
	sup_child_arg(&c, "%s/server.properties", dir);
	rc = sup_child_start(&c, 0, err);
	if (!rc && !sup_child_wait(&c, FORMAT_MS))
		rc = err_set(
			err, -ETIMEDOUT, "formatting Kafka's storage takes too long: see %s", c.log_path);
	if (!rc && (c.status || access(meta, F_OK)))
		rc = err_set(err, -EIO, "formatting Kafka's storage failed (%s): see %s",
			sup_child_end_text(&c, end, sizeof end), c.log_path);
	sup_child_free(&c);
	return rc;
}

static bool kafka_ready(const struct sup_child *c)
{
	return sup_child_logged(c, STARTED);
}

int sup_kafka_prepare(
	struct sup_child *c, const struct sup_opts *o, const struct sup_ports *p, struct err *err)
{
	char dir[256];
	int rc;

	if (access(o->kafka_libs, R_OK))
		return err_set(
			err, -ENOENT, "%s: Kafka is not there; './run deps' fetches it", o->kafka_libs);
	snprintf(dir, sizeof dir, "%s/kafka", o->data);
	rc = sup_make_dir(dir, err);
	if (!rc)
		rc = write_files(dir, p, err);
	if (!rc)
		rc = format(o, dir, err);
	if (rc)
		return rc;
	c->name = "kafka";
	c->restart = true;
	c->ready = kafka_ready;
	snprintf(c->log_path, sizeof c->log_path, "%s/kafka.log", o->data);
	java_args(c, o, dir, o->kafka_heap);
	sup_child_arg(c, "kafka.Kafka");
	sup_child_arg(c, "%s/server.properties", dir);
	return 0;
}
