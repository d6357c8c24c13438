package sluice.peer;

import java.util.Arrays;
import java.util.HashSet;
import org.apache.flink.api.common.functions.AggregateFunction;

/** What a window keeps: exact sums, and, when `full`, all distinct users and all values. */
public final class Acc {
    public long count, amounts, micros, values;
    public double sum, min = Double.POSITIVE_INFINITY, max = Double.NEGATIVE_INFINITY;
    public HashSet<String> users;
    public double[] all;

    void add(Event e, boolean full) {
        count++;
        if (e.micros != Long.MIN_VALUE) {
            amounts++;
            micros = Math.addExact(micros, e.micros);
        }
        if (!Double.isNaN(e.value)) {
            sum += e.value;
            min = Math.min(min, e.value);
            max = Math.max(max, e.value);
            if (full) {
                if (all == null) {
                    all = new double[8];
                } else if (all.length == values) {
                    all = Arrays.copyOf(all, all.length * 2);
                }
                all[(int) values] = e.value;
            }
            values++;
        }
        if (full && e.user != null) {
            if (users == null) {
                users = new HashSet<>();
            }
            users.add(e.user);
        }
    }

    Acc merge(Acc b) {
        if (b.all != null) {
            double[] joined = Arrays.copyOf(all == null ? new double[0] : all, (int) (values + b.values));
            System.arraycopy(b.all, 0, joined, (int) values, (int) b.values);
            all = joined;
        }
        if (b.users != null) {
            if (users == null) {
                users = new HashSet<>();
            }
            users.addAll(b.users);
        }
        count += b.count;
        amounts += b.amounts;
        micros = Math.addExact(micros, b.micros);
        values += b.values;
        sum += b.sum;
        min = Math.min(min, b.min);
        max = Math.max(max, b.max);
        return this;
    }

    /** The value of rank ceil(q * n), as DDSketch means it. */
    double quantile(double q) {
        if (values == 0) {
            return Double.NaN;
        }
        double[] sorted = Arrays.copyOf(all, (int) values);
        Arrays.sort(sorted);
        return sorted[(int) Math.floor(q * (values - 1))];
    }

    /** The aggregate function of both kinds of job. */
    public static final class Fn implements AggregateFunction<Event, Acc, Acc> {
        private final boolean full;

        Fn(boolean full) {
            this.full = full;
        }

        @Override
        public Acc createAccumulator() {
            return new Acc();
        }

        @Override
        public Acc add(Event e, Acc a) {
            a.add(e, full);
            return a;
        }

        @Override
        public Acc getResult(Acc a) {
            return a;
        }

        @Override
        public Acc merge(Acc a, Acc b) {
            return a.merge(b);
        }
    }
}
