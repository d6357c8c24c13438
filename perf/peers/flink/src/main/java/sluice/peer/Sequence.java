package sluice.peer;

import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.connector.source.util.ratelimit.RateLimiterStrategy;
import org.apache.flink.cep.CEP;
import org.apache.flink.cep.functions.PatternProcessFunction;
import org.apache.flink.cep.nfa.aftermatch.AfterMatchSkipStrategy;
import org.apache.flink.cep.pattern.Pattern;
import org.apache.flink.cep.pattern.conditions.SimpleCondition;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.datagen.source.DataGeneratorSource;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.sink.v2.DiscardingSink;
import org.apache.flink.util.Collector;

/**
 * The sequence of perf/peer_cep.py by Flink's CEP library: pages /a, /b, /c of a user, each followed by the next, within 60 s, past the
 * last event. Arguments are key=value: in (file of events), bound (ms). All objects are made before the job starts. Prints a line of
 * key=value at the end: events, matches, checksum (sum of a mix of first time, last time and user of each match), cpu_ns of the process
 * from the first event on.
 */
public final class Sequence {
    static final AtomicLong MATCHES = new AtomicLong(), SUM = new AtomicLong();

    /** An event of this page. */
    private static final class Page extends SimpleCondition<Event> {
        private final char letter;

        Page(char letter) {
            this.letter = letter;
        }

        @Override
        public boolean filter(Event e) {
            return e.page.charAt(1) == letter;
        }
    }

    /** Counts and sums; what goes on is the time of the last event. */
    private static final class Count extends PatternProcessFunction<Event, Long> {
        @Override
        public void processMatch(Map<String, List<Event>> match, Context c, Collector<Long> out) {
            Event first = match.get("a").get(0), last = match.get("c").get(0);
            long h = Windows.mix(Windows.mix(first.ts, last.ts), Long.parseLong(first.user.substring(1)));
            SUM.setPlain(SUM.getPlain() + h);
            MATCHES.setPlain(MATCHES.getPlain() + 1);
            out.collect(last.ts);
        }
    }

    public static void main(String[] argv) throws Exception {
        Map<String, String> a = Job.arguments(argv);
        Configuration conf = new Configuration();
        conf.setString("pipeline.object-reuse", "true");
        conf.setString("pekko.ask.timeout", "10 min"); // a busy machine is no dead one
        conf.setString("heartbeat.timeout", "600000");
        conf.setString("heartbeat.interval", "60000");
        StreamExecutionEnvironment env = StreamExecutionEnvironment.createLocalEnvironment(1, conf);
        int n = Event.load(a.get("in")).count();
        Event.load(a.get("in")).make();
        Pattern<Event, Event> pattern = Pattern.<Event>begin("a", AfterMatchSkipStrategy.skipPastLastEvent()).where(new Page('a'))
            .followedBy("b").where(new Page('b')).followedBy("c").where(new Page('c')).within(Duration.ofSeconds(60));
        CEP.pattern(
            env.fromSource(new DataGeneratorSource<>(new Windows.Source(a.get("in")), n, RateLimiterStrategy.noOp(), TypeInformation.of(Event.class)),
                WatermarkStrategy.<Event>forBoundedOutOfOrderness(Duration.ofMillis(Long.parseLong(a.get("bound"))))
                    .withTimestampAssigner((e, t) -> e.ts), "events").keyBy(e -> e.user, Types.STRING), pattern)
            .inEventTime().process(new Count(), Types.LONG).sinkTo(new DiscardingSink<>());
        env.execute("sequence");
        System.out.printf("events=%d matches=%d checksum=%016x cpu_ns=%d%n", n, MATCHES.get(), SUM.get(), Windows.cpu() - Windows.FIRST_CPU.get());
    }

    private Sequence() { }
}
