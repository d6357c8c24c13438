package sluice.peer;

import java.io.BufferedWriter;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.Map;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.flink.api.common.eventtime.Watermark;
import org.apache.flink.api.common.eventtime.WatermarkGenerator;
import org.apache.flink.api.common.eventtime.WatermarkOutput;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.functions.RichMapFunction;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.connector.source.util.ratelimit.RateLimiterStrategy;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.datagen.source.DataGeneratorSource;
import org.apache.flink.connector.datagen.source.GeneratorFunction;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.datastream.SingleOutputStreamOperator;
import org.apache.flink.streaming.api.datastream.WindowedStream;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.sink.v2.DiscardingSink;
import org.apache.flink.streaming.api.functions.windowing.ProcessWindowFunction;
import org.apache.flink.streaming.api.windowing.assigners.EventTimeSessionWindows;
import org.apache.flink.streaming.api.windowing.assigners.SlidingEventTimeWindows;
import org.apache.flink.streaming.api.windowing.assigners.TumblingEventTimeWindows;
import org.apache.flink.streaming.api.windowing.assigners.WindowAssigner;
import org.apache.flink.streaming.api.windowing.windows.TimeWindow;
import org.apache.flink.util.Collector;
import org.apache.flink.util.OutputTag;

/**
 * One window over an exported journal, in its order, from memory. Arguments are key=value:
 * in (file), kind (tumbling, hopping, session), size, slide, gap (ms), by (fields, comma-separated), types (comma-separated, all if
 * not given), bound (ms), lateness (ms), full (distinct users, or those of the field `distinct`, and quantiles, exact), edges (a field: its
 * first and last value, and how many events were of the type `counted`), watermark (record: after each event; periodic: as
 * most jobs have it), made (1: all objects are made before the job starts), out (rows as tab-separated lines), late (offsets of late events, one a line), par,
 * held (1: accumulators have nothing that the window does not need, and the heap is collected and measured when the first row is made,
 * which is after the last event where all lie in one window).
 * Several windows over one file: the arguments of each, with -- between them; one after the other.
 * Prints a line of key=value at the end of each: events, rows, checksum (sum of a mix of start, end, key, count and sum of amounts of each row),
 * cpu_ns of the process from the first event on, wall_ns, held (bytes of the heap; 0: not asked for). Without `out` a row is no text: what
 * goes to the sink is its key, so that no time is spent on what nobody reads.
 */
public final class Windows {
    static final AtomicLong FIRST_CPU = new AtomicLong(), ROWS = new AtomicLong(), SUM = new AtomicLong(), HELD = new AtomicLong();
    static final OutputTag<Event> LATE = new OutputTag<>("late", TypeInformation.of(Event.class)) { };

    static long cpu() {
        return ((com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean()).getProcessCpuTime();
    }

    /** The heap, collected, when the first row is made. */
    static void heldTake() {
        if (HELD.compareAndSet(-1, 0)) {
            System.gc();
            HELD.set(ManagementFactory.getMemoryMXBean().getHeapMemoryUsage().getUsed());
        }
    }

    static long mix(long h, long v) {
        long z = (h ^ v) + 0x9e3779b97f4a7c15L;
        z = (z ^ z >>> 30) * 0xbf58476d1ce4e5b9L;
        z = (z ^ z >>> 27) * 0x94d049bb133111ebL;
        return z ^ z >>> 31;
    }

    static void rowCount(TimeWindow w, String key, long count, long micros) {
        long h = mix(mix(w.getStart() * 31 + w.getEnd(), key.hashCode()), count * 0x9e3779b97f4a7c15L + micros);

        SUM.setPlain(SUM.getPlain() + h);
        ROWS.setPlain(ROWS.getPlain() + 1);
    }

    /** The event of an index. */
    public static final class Source implements GeneratorFunction<Long, Event> {
        private final String path;
        private transient Event.Events all;

        Source(String path) {
            this.path = path;
        }

        @Override
        public Event map(Long i) {
            if (all == null) {
                all = Event.load(path);
                FIRST_CPU.compareAndSet(0, cpu());
            }
            return all.get(i.intValue());
        }
    }

    /** Highest time - bound - 1 ms, after each event. */
    public static final class PerRecord<T> implements WatermarkGenerator<T> {
        private final long bound;
        private long max = Long.MIN_VALUE;

        PerRecord(long bound) {
            this.bound = bound;
        }

        @Override
        public void onEvent(T e, long t, WatermarkOutput out) {
            if (t > max) {
                max = t;
                out.emitWatermark(new Watermark(max - bound - 1));
            }
        }

        @Override
        public void onPeriodicEmit(WatermarkOutput out) { }
    }

    /** Window and accumulator to a line. */
    public static final class Row extends ProcessWindowFunction<Acc, String, String, TimeWindow> {
        private final boolean full, edges, text;

        Row(Acc.Wants wants, boolean text) {
            this.full = wants.full;
            this.edges = wants.edges != null;
            this.text = text;
        }

        /** A step of splitmix64. */
        @Override
        public void process(String key, Context c, Iterable<Acc> in, Collector<String> out) {
            Acc a = in.iterator().next();
            rowCount(c.window(), key, a.count, a.micros);
            if (!text) {
                out.collect(key);
                return;
            }
            String line = c.window().getStart() + "\t" + c.window().getEnd() + "\t" + key + "\t" + a.count + "\t" + a.micros + "\t" + a.amounts + "\t" + a.values + "\t" + a.sum + "\t" + a.min + "\t" + a.max;
            if (full) {
                line += "\t" + (a.texts == null ? 0 : a.texts.size()) + "\t" + a.quantile(0.5) + "\t" + a.quantile(0.95) + "\t" + a.quantile(0.99);
            }
            if (edges) {
                line += "\t" + a.edges.counted + "\t" + orAbsent(a.edges.first) + "\t" + orAbsent(a.edges.last);
            }
            out.collect(line);
        }
    }

    /** Lines to a file. */
    public static final class Lines extends RichMapFunction<String, String> {
        private final String path;
        private transient BufferedWriter w;

        Lines(String path) {
            this.path = path;
        }

        @Override
        public void open(OpenContext c) throws IOException {
            w = Files.newBufferedWriter(Path.of(path + "." + getRuntimeContext().getTaskInfo().getIndexOfThisSubtask()));
        }

        @Override
        public String map(String s) throws IOException {
            w.write(s);
            w.write('\n');
            return s;
        }

        @Override
        public void close() throws IOException {
            if (w != null) {
                w.close();
            }
        }
    }

    static String orAbsent(String v) {
        return v == null ? "\u001e" : v;
    }

    static String keyOf(Event e, String[] by) {
        StringBuilder b = new StringBuilder();
        for (int i = 0; i < by.length; i++) {
            if (i > 0) {
                b.append('\u001f');
            }
            b.append(orAbsent(e.text(by[i])));
        }
        return b.toString();
    }

    static WindowAssigner<Object, TimeWindow> assigner(Map<String, String> a) {
        switch (a.get("kind")) {
            case "tumbling": return TumblingEventTimeWindows.of(ms(a, "size"));
            case "hopping": return SlidingEventTimeWindows.of(ms(a, "size"), ms(a, "slide"));
            case "session": {
                @SuppressWarnings({"unchecked", "rawtypes"})
                WindowAssigner<Object, TimeWindow> w = (WindowAssigner) EventTimeSessionWindows.withGap(ms(a, "gap"));
                return w;
            }
            default: throw new IllegalArgumentException(a.get("kind"));
        }
    }

    static Duration ms(Map<String, String> a, String k) {
        return Duration.ofMillis(Long.parseLong(a.getOrDefault(k, "0")));
    }

    public static void main(String[] argv) throws Exception {
        int from = 0;
        for (int i = 0; i <= argv.length; i++) {
            if (i == argv.length || argv[i].equals("--")) {
                job(Job.arguments(Arrays.copyOfRange(argv, from, i)));
                from = i + 1;
            }
        }
    }

    static void job(Map<String, String> a) throws Exception {
        FIRST_CPU.set(0);
        ROWS.set(0);
        SUM.set(0);
        Configuration conf = new Configuration();
        conf.setString("pipeline.object-reuse", "true");
        conf.setString("taskmanager.memory.network.max", "64mb");
        conf.setString("taskmanager.memory.network.min", "64mb");
        StreamExecutionEnvironment env = StreamExecutionEnvironment.createLocalEnvironment(Integer.parseInt(a.getOrDefault("par", "1")), conf);
        int n = Event.load(a.get("in")).count();
        if (a.getOrDefault("made", "0").equals("1")) {
            Event.load(a.get("in")).make();
        }
        Acc.Wants wants = new Acc.Wants(a.getOrDefault("full", "0").equals("1"), a.getOrDefault("distinct", "user_id"), a.get("edges"), a.get("counted"));
        long bound = ms(a, "bound").toMillis();
        String[] by = a.get("by").split(",");
        WatermarkStrategy<Event> marks = a.getOrDefault("watermark", "record").equals("record")
            ? WatermarkStrategy.<Event>forGenerator(c -> new PerRecord<>(bound)) : WatermarkStrategy.forBoundedOutOfOrderness(Duration.ofMillis(bound));
        DataStream<Event> events = env.fromSource(new DataGeneratorSource<>(new Source(a.get("in")), n, RateLimiterStrategy.noOp(), TypeInformation.of(Event.class)),
            WatermarkStrategy.noWatermarks(), "journal");
        if (a.containsKey("types")) {
            java.util.Set<String> types = java.util.Set.of(a.get("types").split(","));
            events = events.assignTimestampsAndWatermarks(marks.withTimestampAssigner((e, t) -> e.ts)).filter(e -> types.contains(e.type));
        } else {
            events = events.assignTimestampsAndWatermarks(marks.withTimestampAssigner((e, t) -> e.ts));
        }
        if (a.get("kind").equals("session")) {
            events = events.filter(e -> keyOf(e, by).indexOf('\u001e') < 0);
        }
        boolean held = a.getOrDefault("held", "0").equals("1");
        WindowedStream<Event, String, TimeWindow> windows = events.keyBy(e -> keyOf(e, by), Types.STRING).window(assigner(a))
            .allowedLateness(ms(a, "lateness")).sideOutputLateData(LATE);
        SingleOutputStreamOperator<String> rows = held
            ? windows.aggregate(new Lean.Fn(wants.full), new Lean.Row(), TypeInformation.of(Lean.class), TypeInformation.of(Lean.class), Types.STRING)
            : windows.aggregate(new Acc.Fn(wants), new Row(wants, a.containsKey("out")), TypeInformation.of(Acc.class), TypeInformation.of(Acc.class), Types.STRING);
        (a.containsKey("out") ? rows.map(new Lines(a.get("out"))) : rows).sinkTo(new DiscardingSink<>());
        if (a.containsKey("late")) {
            rows.getSideOutput(LATE).map(e -> Long.toString(e.offset)).returns(Types.STRING).map(new Lines(a.get("late"))).sinkTo(new DiscardingSink<>());
        }
        HELD.set(held ? -1 : 0);
        long t0 = System.nanoTime();
        env.execute("windows");
        System.out.printf("events=%d rows=%d checksum=%016x cpu_ns=%d wall_ns=%d held=%d%n", n, ROWS.get(), SUM.get(), cpu() - FIRST_CPU.get(), System.nanoTime() - t0,
            HELD.get());
    }

    private Windows() { }
}
