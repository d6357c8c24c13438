package sluice.peer;

import java.util.HashMap;
import java.util.Map;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;

/**
 * What the jobs from Kafka to Kafka share. Of the arguments: brokers, par, exactly_once (interval of checkpoints in ms; 0: none, at
 * least once), dir (of the checkpoints).
 */
final class Job {
    /** Words of key=value. */
    static Map<String, String> arguments(String[] argv) {
        Map<String, String> a = new HashMap<>();
        for (String s : argv) {
            int e = s.indexOf('=');
            a.put(s.substring(0, e), s.substring(e + 1));
        }
        return a;
    }

    static boolean exactlyOnce(Map<String, String> a) {
        return !a.get("exactly_once").equals("0");
    }

    static StreamExecutionEnvironment environment(Map<String, String> a) {
        Configuration conf = new Configuration();
        conf.setString("pipeline.object-reuse", "true");
        conf.setString("taskmanager.memory.network.max", "128mb");
        conf.setString("taskmanager.memory.network.min", "128mb");
        if (exactlyOnce(a)) {
            conf.setString("execution.checkpointing.interval", a.get("exactly_once") + "ms");
            conf.setString("execution.checkpointing.dir", "file://" + a.get("dir"));
        }
        return StreamExecutionEnvironment.createLocalEnvironment(Integer.parseInt(a.get("par")), conf);
    }

    /** All that is in the topic now. */
    static <T> KafkaSource<T> source(Map<String, String> a, String topic, DeserializationSchema<T> parser) {
        return KafkaSource.<T>builder().setBootstrapServers(a.get("brokers")).setTopics(topic).setGroupId("peer")
            .setStartingOffsets(OffsetsInitializer.earliest()).setBounded(OffsetsInitializer.latest()).setValueOnlyDeserializer(parser)
            .setProperty("isolation.level", "read_committed").setProperty("fetch.max.bytes", "8388608")
            .setProperty("max.partition.fetch.bytes", "2097152").setProperty("max.poll.records", "5000").build();
    }

    static <T> KafkaSink<T> sink(Map<String, String> a, String topic, KafkaRecordSerializationSchema<T> serializer) {
        var sink = KafkaSink.<T>builder().setBootstrapServers(a.get("brokers")).setRecordSerializer(serializer)
            .setProperty("linger.ms", "5").setProperty("compression.type", "lz4").setProperty("batch.size", "262144")
            .setProperty("transaction.timeout.ms", "600000");
        if (exactlyOnce(a)) {
            sink.setDeliveryGuarantee(DeliveryGuarantee.EXACTLY_ONCE).setTransactionalIdPrefix("peer-" + topic);
        } else {
            sink.setDeliveryGuarantee(DeliveryGuarantee.AT_LEAST_ONCE);
        }
        return sink.build();
    }

    private Job() { }
}
