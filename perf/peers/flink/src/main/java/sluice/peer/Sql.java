package sluice.peer;

import java.util.Map;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.table.api.bridge.java.StreamTableEnvironment;

/**
 * The same job as Pipeline in SQL, as most write it: tables over topics, Flink's JSON format, a windowing table function. The job runs
 * twice over the topic `warm`, first so that code is compiled, then to see what its start, planning and end cost; and then over `in`.
 * What is measured is the CPU time of the last less that of the second, for the events that it has more. Arguments are those of Pipeline
 * but for `parser`, and `events` and `fewer`: how many there are in `in` and in `warm`.
 * Prints a line of key=value: events, cpu_ns (of the process, for so many events).
 */
public final class Sql {
    private static final String KAFKA = "'connector' = 'kafka', 'properties.bootstrap.servers' = '%s', 'topic' = '%s', 'format' = 'json'";

    private static String clicks(Map<String, String> a, String topic) {
        return "CREATE TEMPORARY TABLE clicks (`type` STRING, event_id STRING, user_id STRING, session_id STRING, page STRING, `element` STRING,"
            + " referrer STRING, country STRING, device STRING, `value` DOUBLE, ts BIGINT, rowtime AS TO_TIMESTAMP_LTZ(ts, 3),"
            + " WATERMARK FOR rowtime AS rowtime - INTERVAL '" + Long.parseLong(a.get("bound")) / 1000 + "' SECOND) WITH ("
            + String.format(KAFKA, a.get("brokers"), topic) + ", 'properties.group.id' = 'peer', 'scan.startup.mode' = 'earliest-offset',"
            + " 'scan.bounded.mode' = 'latest-offset', 'properties.isolation.level' = 'read_committed',"
            + " 'properties.fetch.max.bytes' = '8388608', 'properties.max.partition.fetch.bytes' = '2097152',"
            + " 'properties.max.poll.records' = '5000')";
    }

    private static String rows(Map<String, String> a, String topic) {
        return "CREATE TEMPORARY TABLE window_rows (start_ms TIMESTAMP(3), end_ms TIMESTAMP(3), page STRING, country STRING, `count` BIGINT)"
            + " WITH (" + String.format(KAFKA, a.get("brokers"), topic) + ", 'json.timestamp-format.standard' = 'ISO-8601',"
            + " 'properties.linger.ms' = '5', 'properties.compression.type' = 'lz4', 'properties.batch.size' = '262144',"
            + " 'properties.transaction.timeout.ms' = '600000'" + (Job.exactlyOnce(a) ? ", 'sink.delivery-guarantee' = 'exactly-once',"
            + " 'sink.transactional-id-prefix' = 'peer-" + topic + "'" : ", 'sink.delivery-guarantee' = 'at-least-once'") + ")";
    }

    /** Returns the CPU time that the process took for it. */
    private static long run(Map<String, String> a, String in, String out) throws Exception {
        long before = Windows.cpu();
        StreamExecutionEnvironment env = Job.environment(a);
        StreamTableEnvironment tables = StreamTableEnvironment.create(env);
        tables.getConfig().set("table.local-time-zone", "UTC");
        tables.executeSql(clicks(a, in));
        tables.executeSql(rows(a, out));
        tables.executeSql("INSERT INTO window_rows SELECT window_start, window_end, page, country, COUNT(*) FROM TABLE("
            + "TUMBLE(TABLE clicks, DESCRIPTOR(rowtime), INTERVAL '" + Long.parseLong(a.get("size")) / 1000 + "' SECOND(3)))"
            + " GROUP BY window_start, window_end, page, country").await();
        return Windows.cpu() - before;
    }

    public static void main(String[] argv) throws Exception {
        Map<String, String> a = Job.arguments(argv);
        long events = Long.parseLong(a.get("events")), fewer = Long.parseLong(a.get("fewer"));
        run(a, a.get("warm"), a.get("out") + ".warm");
        long small = run(a, a.get("warm"), a.get("out") + ".warm"), large = run(a, a.get("in"), a.get("out"));
        System.out.printf("events=%d cpu_ns=%.0f%n", events, (double) (large - small) / (events - fewer) * events);
    }

    private Sql() { }
}
