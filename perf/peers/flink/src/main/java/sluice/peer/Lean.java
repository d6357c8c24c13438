package sluice.peer;

import java.util.Arrays;
import java.util.HashSet;
import org.apache.flink.api.common.functions.AggregateFunction;
import org.apache.flink.streaming.api.functions.windowing.ProcessWindowFunction;
import org.apache.flink.streaming.api.windowing.windows.TimeWindow;
import org.apache.flink.util.Collector;

/**
 * An accumulator of what count and sum(amount) need and nothing else, as one would write it to save memory: what Acc holds beside
 * would be counted against Flink where bytes a key are compared.
 */
public class Lean {
    public long count, amounts, micros;

    void add(Event e) {
        count++;
        if (e.micros != Long.MIN_VALUE) {
            amounts++;
            micros = Math.addExact(micros, e.micros);
        }
    }

    /** With all distinct users and all values; the list of values has no room to spare for the first four. */
    public static final class Full extends Lean {
        public int values;
        public double[] all;
        public HashSet<String> users;

        @Override
        void add(Event e) {
            super.add(e);
            if (!Double.isNaN(e.value)) {
                if (all == null) {
                    all = new double[4];
                } else if (all.length == values) {
                    all = Arrays.copyOf(all, all.length * 2);
                }
                all[values++] = e.value;
            }
            if (e.user != null) {
                if (users == null) {
                    users = new HashSet<>();
                }
                users.add(e.user);
            }
        }
    }

    /** Windows that merge are not measured. */
    public static final class Fn implements AggregateFunction<Event, Lean, Lean> {
        private final boolean full;

        Fn(boolean full) {
            this.full = full;
        }

        @Override
        public Lean createAccumulator() {
            return full ? new Full() : new Lean();
        }

        @Override
        public Lean add(Event e, Lean a) {
            a.add(e);
            return a;
        }

        @Override
        public Lean getResult(Lean a) {
            return a;
        }

        @Override
        public Lean merge(Lean a, Lean b) {
            throw new UnsupportedOperationException();
        }
    }

    /** Measures the heap at the first window; counts rows and their checksum. */
    public static final class Row extends ProcessWindowFunction<Lean, String, String, TimeWindow> {
        @Override
        public void process(String key, Context c, Iterable<Lean> in, Collector<String> out) {
            Windows.heldTake();
            Lean a = in.iterator().next();
            Windows.rowCount(c.window(), key, a.count, a.micros);
            out.collect(key);
        }
    }
}
