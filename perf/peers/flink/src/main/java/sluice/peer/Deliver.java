package sluice.peer;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.serialization.AbstractDeserializationSchema;
import org.apache.flink.api.common.state.StateTtlConfig;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.java.functions.KeySelector;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.api.java.tuple.Tuple5;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.util.Collector;
import org.apache.kafka.clients.producer.ProducerRecord;

/**
 * The usual path of every event: JSON clicks from a Kafka topic, all of the text parsed; those whose id was seen within the TTL are
 * dropped; each of the others goes with the bytes that it came with to another topic, and as a row to ClickHouse. The state is on the heap.
 *
 * Arguments: those of Job, in, out (topics), events (of `in`), ttl (ms), and those of ClickHouse. It prints `warm` when a fifth of the
 * events has been read, `read` when all have been, and, when all is committed, a line of key=value: events and wall_ns from the one to
 * the other. What is on its way at these moments is about the same.
 */
public final class Deliver {
    static final AtomicLong READ = new AtomicLong(), WARM_NS = new AtomicLong(), END_NS = new AtomicLong();

    /** An event between the operators: its id in two halves, the user, its JSON, its row in RowBinary. Quicker than an object of all fields. */
    @SuppressWarnings("unchecked") // Tuple5.copy()
    public static final class Click extends Tuple5<Long, Long, byte[], byte[], byte[]> { }

    static final TypeInformation<Click> TYPE = Types.TUPLE(Click.class);

    /** JSON to a click. What it must not lack is looked for, as nobody wants to find out behind the sinks. */
    public static final class Parser extends AbstractDeserializationSchema<Click> {
        private final long warm, events;
        private transient JsonFactory factory;
        private transient Row row;

        Parser(long warm, long events) {
            super(TYPE);
            this.warm = warm;
            this.events = events;
        }

        @Override
        public void open(InitializationContext c) {
            factory = new JsonFactory();
            row = new Row();
        }

        @Override
        public Click deserialize(byte[] b) throws IOException {
            long n = READ.incrementAndGet();
            if (n == warm || n == events) {
                (n == warm ? WARM_NS : END_NS).set(System.nanoTime());
                System.out.println(n == warm ? "warm" : "read");
            }
            String id = null, user = null, page = null, referrer = "", country = "", device = "";
            long ts = -1;
            try (JsonParser p = factory.createParser(b)) {
                if (p.nextToken() != JsonToken.START_OBJECT) {
                    throw new IOException("not an object");
                }
                while (p.nextToken() == JsonToken.FIELD_NAME) {
                    String name = p.currentName();
                    p.nextToken();
                    switch (name) {
                        case "event_id": id = p.getText(); break;
                        case "user_id": user = p.getText(); break;
                        case "ts": ts = p.getLongValue(); break;
                        case "page": page = p.getText(); break;
                        case "referrer": referrer = p.getText(); break;
                        case "country": country = p.getText(); break;
                        case "device": device = p.getText(); break;
                        default: p.skipChildren();
                    }
                }
            }
            if (id == null || user == null || page == null || ts < 0) {
                throw new IOException("a required key is missing: " + new String(b, StandardCharsets.UTF_8));
            }
            UUID u = UUID.fromString(id);
            row.reset();
            row.number(u.getMostSignificantBits());
            row.number(u.getLeastSignificantBits());
            byte[] key = row.text(user);
            row.number(ts);
            row.text(page);
            row.text(referrer);
            row.text(country);
            row.text(device);
            Click e = new Click();
            e.setFields(u.getMostSignificantBits(), u.getLeastSignificantBits(), key, b, row.toByteArray());
            return e;
        }
    }

    /** A row as ClickHouse's RowBinary, its columns in the order of ClickHouse.COLUMNS. */
    static final class Row extends ByteArrayOutputStream {
        void number(long v) {
            for (int i = 0; i < 8; i++) {
                write((int) (v >>> 8 * i));
            }
        }

        byte[] text(String s) {
            byte[] b = s.getBytes(StandardCharsets.UTF_8);
            int n = b.length;
            for (; n >= 0x80; n >>>= 7) {
                write(n | 0x80);
            }
            write(n);
            write(b, 0, b.length);
            return b;
        }
    }

    /** Lets an id through once within the TTL. */
    public static final class Dedup extends KeyedProcessFunction<Tuple2<Long, Long>, Click, Click> {
        private final long ttl;
        private transient ValueState<Boolean> seen;

        Dedup(long ttl) {
            this.ttl = ttl;
        }

        @Override
        public void open(OpenContext c) {
            ValueStateDescriptor<Boolean> d = new ValueStateDescriptor<>("seen", Types.BOOLEAN);
            d.enableTimeToLive(StateTtlConfig.newBuilder(Duration.ofMillis(ttl)).build());
            seen = getRuntimeContext().getState(d);
        }

        @Override
        public void processElement(Click e, Context c, Collector<Click> out) throws Exception {
            if (seen.value() == null) {
                seen.update(true);
                out.collect(e);
            }
        }
    }

    /** The message as it came, by user. */
    public static final class Message implements KafkaRecordSerializationSchema<Click> {
        private final String topic;

        Message(String topic) {
            this.topic = topic;
        }

        @Override
        public ProducerRecord<byte[], byte[]> serialize(Click e, KafkaSinkContext c, Long time) {
            return new ProducerRecord<>(topic, e.f2, e.f3);
        }
    }

    public static void main(String[] argv) throws Exception {
        Map<String, String> a = Job.arguments(argv);
        StreamExecutionEnvironment env = Job.environment(a);
        long events = Long.parseLong(a.get("events")), warm = Math.max(1, events / 5);
        DataStream<Click> fresh = env
            .fromSource(Job.source(a, a.get("in"), new Parser(warm, events)), WatermarkStrategy.noWatermarks(), "clicks", TYPE)
            .keyBy((KeySelector<Click, Tuple2<Long, Long>>) e -> Tuple2.of(e.f0, e.f1), Types.TUPLE(Types.LONG, Types.LONG))
            .process(new Dedup(Long.parseLong(a.get("ttl")))).returns(TYPE);
        fresh.sinkTo(Job.sink(a, a.get("out"), new Message(a.get("out")))).name("kafka");
        fresh.sinkTo(new ClickHouse(a)).name("clickhouse");
        env.execute("deliver");
        System.out.printf("events=%d wall_ns=%d%n", READ.get() - warm, END_NS.get() - WARM_NS.get());
    }

    private Deliver() { }
}
