package sluice.peer;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.time.Duration;
import java.util.Map;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.AggregateFunction;
import org.apache.flink.api.common.serialization.AbstractDeserializationSchema;
import org.apache.flink.api.common.serialization.SimpleStringSchema;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.java.functions.KeySelector;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.windowing.ProcessWindowFunction;
import org.apache.flink.streaming.api.windowing.assigners.TumblingEventTimeWindows;
import org.apache.flink.streaming.api.windowing.windows.TimeWindow;
import org.apache.flink.util.Collector;

/**
 * The usual pipeline: JSON clicks from a Kafka topic, counted in tumbling windows by page and country, rows as JSON to another.
 * The job runs once over the topic `warm`, so that code is compiled, and then over `in`; only the second is measured, from its first
 * record on. Arguments are key=value: brokers, warm, in, out (topics; the warm-up writes to `out`.warm), size and bound (ms), par, parser
 * (stream: as far as the last field that is needed; whole: all of the text, so that malformed events are seen; object: as an object of
 * all fields), exactly_once (interval of checkpoints in ms; 0: none, at least once), dir (of the checkpoints).
 * Prints a line of key=value: events, rows, cpu_ns of the process, wall_ns.
 */
public final class Pipeline {
    static final AtomicLong FIRST_CPU = new AtomicLong(), FIRST_NS = new AtomicLong(), EVENTS = new AtomicLong(), ROWS = new AtomicLong();

    /** An event as a job has it that keeps what is in the JSON. */
    public static final class Click {
        public String type, event_id, user_id, session_id, page, element, referrer, country, device;
        public double value;
        public long ts;
    }

    /** What the windows need. */
    public static final class Visit {
        public String page, country;
        public long ts;
    }

    /** JSON to what the windows need. */
    public static final class Parser extends AbstractDeserializationSchema<Visit> {
        private final String kind;
        private transient JsonFactory factory;
        private transient ObjectReader reader;

        Parser(String kind) {
            super(TypeInformation.of(Visit.class));
            this.kind = kind;
        }

        @Override
        public void open(InitializationContext c) {
            factory = new JsonFactory();
            reader = new ObjectMapper().configure(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES, false).readerFor(Click.class);
        }

        @Override
        public Visit deserialize(byte[] b) throws IOException {
            if (FIRST_NS.get() == 0 && FIRST_NS.compareAndSet(0, System.nanoTime())) {
                FIRST_CPU.set(Windows.cpu());
            }
            Visit v = new Visit();
            if (kind.equals("object")) {
                Click c = reader.readValue(b);
                v.page = c.page;
                v.country = c.country;
                v.ts = c.ts;
            } else {
                stream(b, v, kind.equals("stream"));
            }
            return v;
        }

        private void stream(byte[] b, Visit v, boolean stop) throws IOException {
            try (JsonParser p = factory.createParser(b)) {
                int found = 0;
                p.nextToken();
                while ((found < 3 || !stop) && p.nextToken() == JsonToken.FIELD_NAME) {
                    String name = p.currentName();
                    p.nextToken();
                    switch (name) {
                        case "ts": v.ts = p.getLongValue(); found++; break;
                        case "page": v.page = p.getText(); found++; break;
                        case "country": v.country = p.getText(); found++; break;
                        default: p.skipChildren();
                    }
                }
            }
        }
    }

    /** A count; the rows count themselves, for the check that no event is missing. */
    public static final class Count implements AggregateFunction<Tuple2<String, String>, Long, Long> {
        @Override
        public Long createAccumulator() {
            return 0L;
        }

        @Override
        public Long add(Tuple2<String, String> v, Long n) {
            return n + 1;
        }

        @Override
        public Long getResult(Long n) {
            return n;
        }

        @Override
        public Long merge(Long a, Long b) {
            return a + b;
        }
    }

    /** A window's row as JSON. Pages and countries of the benchmark need no escapes. */
    public static final class Row extends ProcessWindowFunction<Long, String, Tuple2<String, String>, TimeWindow> {
        @Override
        public void process(Tuple2<String, String> key, Context c, Iterable<Long> in, Collector<String> out) {
            long n = in.iterator().next();
            ROWS.incrementAndGet();
            EVENTS.addAndGet(n);
            out.collect("{\"start_ms\":" + c.window().getStart() + ",\"end_ms\":" + c.window().getEnd() + ",\"page\":\"" + key.f0
                + "\",\"country\":\"" + key.f1 + "\",\"count\":" + n + "}");
        }
    }

    private static void run(Map<String, String> a, String in, String out) throws Exception {
        StreamExecutionEnvironment env = Job.environment(a);
        TypeInformation<Visit> type = Types.POJO(Visit.class);
        WatermarkStrategy<Visit> marks = WatermarkStrategy.<Visit>forBoundedOutOfOrderness(Duration.ofMillis(Long.parseLong(a.get("bound"))))
            .withTimestampAssigner((v, t) -> v.ts);
        KafkaRecordSerializationSchema<String> rows = KafkaRecordSerializationSchema.<String>builder().setTopic(out)
            .setValueSerializationSchema(new SimpleStringSchema()).build();
        env.fromSource(Job.source(a, in, new Parser(a.get("parser"))), marks, "clicks", type)
            .map(v -> Tuple2.of(v.page, v.country)).returns(Types.TUPLE(Types.STRING, Types.STRING))
            .keyBy((KeySelector<Tuple2<String, String>, Tuple2<String, String>>) v -> v, Types.TUPLE(Types.STRING, Types.STRING))
            .window(TumblingEventTimeWindows.of(Duration.ofMillis(Long.parseLong(a.get("size"))))).aggregate(new Count(), new Row())
            .sinkTo(Job.sink(a, out, rows));
        env.execute("pipeline");
    }

    public static void main(String[] argv) throws Exception {
        Map<String, String> a = Job.arguments(argv);
        run(a, a.get("warm"), a.get("out") + ".warm");
        EVENTS.set(0);
        ROWS.set(0);
        FIRST_NS.set(0);
        run(a, a.get("in"), a.get("out"));
        System.out.printf("events=%d rows=%d cpu_ns=%d wall_ns=%d%n", EVENTS.get(), ROWS.get(), Windows.cpu() - FIRST_CPU.get(),
            System.nanoTime() - FIRST_NS.get());
    }

    private Pipeline() { }
}
