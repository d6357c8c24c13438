package sluice.peer;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
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
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.datagen.source.DataGeneratorSource;
import org.apache.flink.connector.datagen.source.GeneratorFunction;
import org.apache.flink.streaming.api.datastream.SingleOutputStreamOperator;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.sink.v2.DiscardingSink;
import org.apache.flink.util.Collector;
import org.apache.flink.util.OutputTag;

/**
 * Sequences of Flink's CEP library over lines of events, all patterns in one job. Arguments are key=value: in (events, see Pick),
 * fields (their columns, comma-separated), rules (file, a pattern a line), out (prefix: matches as rule, key and ids of its events in
 * their order), late (prefix: rule and id of events that were too late), bound (ms), par (slots; one of them reads).
 *
 * A pattern is tab-separated: name, key fields (comma-separated), within (ms), skip (past_last, none), tests that pick what the pattern
 * sees (several, separated by blanks: one of them), then a column a step: follow:least:most:tests. follow: next, followed_by, not_next,
 * not_followed_by; most 0: no bound; tests: Pick.
 */
public final class Cep {
    static final AtomicLong MATCHES = new AtomicLong();
    static final OutputTag<Pick.Ev> LATE = new OutputTag<>("late", TypeInformation.of(Pick.Ev.class)) { };

    /** The event of a line. */
    private static final class Source implements GeneratorFunction<Long, Pick.Ev> {
        private final String path;
        private final String[] names;
        private transient List<String> lines;

        Source(String path, String[] names) {
            this.path = path;
            this.names = names;
        }

        @Override
        public Pick.Ev map(Long i) throws Exception {
            if (lines == null) {
                lines = Files.readAllLines(Path.of(path), StandardCharsets.UTF_8);
            }
            return Pick.Ev.of(lines.get(i.intValue()), names);
        }
    }

    /** A match as a line. */
    private static final class Line extends PatternProcessFunction<Pick.Ev, String> {
        private final String name;
        private final String[] by;

        Line(String name, String[] by) {
            this.name = name;
            this.by = by;
        }

        @Override
        public void processMatch(Map<String, List<Pick.Ev>> match, Context c, Collector<String> out) {
            StringBuilder b = new StringBuilder(name);
            String separator = null;
            for (List<Pick.Ev> step : match.values()) {
                for (Pick.Ev e : step) {
                    if (separator == null) {
                        b.append('\t').append(e.key(by)).append('\t');
                        separator = " ";
                    } else {
                        b.append(separator);
                    }
                    b.append(e.id);
                }
            }
            MATCHES.incrementAndGet();
            out.collect(b.toString());
        }
    }

    private static Pattern<Pick.Ev, Pick.Ev> step(Pattern<Pick.Ev, Pick.Ev> p, String text, String name, AfterMatchSkipStrategy skip) {
        String[] part = text.split(":", 4);
        int least = Integer.parseInt(part[1]), most = Integer.parseInt(part[2]);
        Pattern<Pick.Ev, Pick.Ev> next;
        if (p == null) {
            next = Pattern.begin(name, skip);
        } else {
            switch (part[0]) {
                case "next": next = p.next(name); break;
                case "followed_by": next = p.followedBy(name); break;
                case "not_next": next = p.notNext(name); break;
                case "not_followed_by": next = p.notFollowedBy(name); break;
                default: throw new IllegalArgumentException(part[0]);
            }
        }
        next = next.where(new Pick.All(part[3]));
        if (least == 1 && most == 1) {
            return next;
        }
        return most == 0 ? next.timesOrMore(least) : least == most ? next.times(least) : next.times(least, most);
    }

    private static Pattern<Pick.Ev, Pick.Ev> pattern(String[] rule) {
        AfterMatchSkipStrategy skip = rule[3].equals("none") ? AfterMatchSkipStrategy.noSkip() : AfterMatchSkipStrategy.skipPastLastEvent();
        Pattern<Pick.Ev, Pick.Ev> p = null;
        for (int i = 5; i < rule.length; i++) {
            p = step(p, rule[i], "s" + i, skip);
        }
        return p.within(Duration.ofMillis(Long.parseLong(rule[2])));
    }

    private static void rule(String[] rule, SingleOutputStreamOperator<Pick.Ev> events, Map<String, String> a) {
        String[] by = rule[1].split(",");
        ArrayList<Pick.All> any = new ArrayList<>();
        for (String tests : rule[4].split(" ")) {
            any.add(new Pick.All(tests));
        }
        SingleOutputStreamOperator<String> matches = CEP.pattern(
            events.filter(e -> e.key(by) != null && any.stream().anyMatch(t -> t.filter(e))).setParallelism(1).keyBy(e -> e.key(by), Types.STRING),
            pattern(rule)).inEventTime().sideOutputLateData(LATE).process(new Line(rule[0], by), Types.STRING);
        matches.map(new Windows.Lines(a.get("out") + "." + rule[0])).sinkTo(new DiscardingSink<>());
        String name = rule[0];
        matches.getSideOutput(LATE).map(e -> name + "\t" + e.id).returns(Types.STRING)
            .map(new Windows.Lines(a.get("late") + "." + rule[0])).sinkTo(new DiscardingSink<>());
    }

    public static void main(String[] argv) throws Exception {
        Map<String, String> a = Job.arguments(argv);
        Configuration conf = new Configuration();
        conf.setString("pipeline.object-reuse", "true");
        conf.setString("pekko.ask.timeout", "10 min"); // a busy machine is no dead one
        conf.setString("heartbeat.timeout", "600000");
        conf.setString("heartbeat.interval", "60000");
        conf.setString("taskmanager.memory.network.max", "128mb");
        conf.setString("taskmanager.memory.network.min", "128mb");
        StreamExecutionEnvironment env = StreamExecutionEnvironment.createLocalEnvironment(Integer.parseInt(a.getOrDefault("par", "1")), conf);
        long n;
        try (java.util.stream.Stream<String> lines = Files.lines(Path.of(a.get("in")))) {
            n = lines.count();
        }
        long bound = Long.parseLong(a.get("bound"));
        SingleOutputStreamOperator<Pick.Ev> events = env.fromSource(
            new DataGeneratorSource<>(new Source(a.get("in"), a.get("fields").split(",")), n, RateLimiterStrategy.noOp(), TypeInformation.of(Pick.Ev.class)),
            WatermarkStrategy.noWatermarks(), "events").setParallelism(1).assignTimestampsAndWatermarks(
            WatermarkStrategy.<Pick.Ev>forGenerator(c -> new Windows.PerRecord<>(bound)).withTimestampAssigner((e, t) -> e.ts)).setParallelism(1);
        for (String line : Files.readAllLines(Path.of(a.get("rules")))) {
            rule(line.split("\t"), events, a);
        }
        env.execute("cep");
        System.out.printf("events=%d matches=%d%n", n, MATCHES.get());
    }

    private Cep() { }
}
