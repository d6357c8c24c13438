/* A stranger on the positions topic: opens a transaction there and keeps it open, so that read-committed
 * readers get nothing behind its record. kafka_hold BROKERS TOPIC TIMEOUT_MS Prints "holding", then waits to
 * be killed: the broker ends the transaction after TIMEOUT_MS. */
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int check(rd_kafka_error_t *e, const char *what)
{
	if (!e)
		return 0;
	fprintf(stderr, "kafka_hold: %s: %s\n", what, rd_kafka_error_string(e));
	rd_kafka_error_destroy(e);
	return 1;
}

int main(int argc, char **argv)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	char text[256];
	rd_kafka_t *rk;

	if (argc != 4)
		return 2;
	rd_kafka_conf_set(conf, "bootstrap.servers", argv[1], text, sizeof text);
	rd_kafka_conf_set(conf, "transactional.id", "a stranger", text, sizeof text);
	if (rd_kafka_conf_set(conf, "transaction.timeout.ms", argv[3], text, sizeof text))
		fprintf(stderr, "%s\n", text);
	rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
	if (!rk || check(rd_kafka_init_transactions(rk, 30000), "init") ||
		check(rd_kafka_begin_transaction(rk), "begin"))
		return 1;
	if (rd_kafka_producev(rk, RD_KAFKA_V_TOPIC(argv[2]), RD_KAFKA_V_PARTITION(0),
		    RD_KAFKA_V_KEY("stranger", 8), RD_KAFKA_V_VALUE("x", 1), RD_KAFKA_V_END) ||
		rd_kafka_flush(rk, 30000))
		return 1;
	printf("holding\n");
	fflush(stdout);
	sleep(120);
	return 0;
}
