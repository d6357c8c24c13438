package sluice.peer;

import java.io.Serializable;
import java.util.Arrays;
import java.util.HashSet;
import org.apache.flink.api.common.functions.AggregateFunction;

/** What a window keeps: exact sums, and, as far as wanted, all distinct texts and all values, and what came first and last. */
public final class Acc {
    /** What is wanted beside count and sums; null: not that. */
    public static final class Wants implements Serializable {
        final boolean full, users;
        final String distinct, edges, counted;

        /** full: all values, and all texts of the field `distinct`; edges: a field; counted: a type of events. */
        Wants(boolean full, String distinct, String edges, String counted) {
            this.full = full;
            this.distinct = distinct;
            this.users = distinct.equals("user_id");
            this.edges = edges;
            this.counted = counted;
        }
    }

    /** The field's value in the earliest and in the latest event that has it, by time, then offset; events of the type `counted`. */
    public static final class Edges {
        long counted, firstTs, firstOffset, lastTs, lastOffset;
        String first, last;

        void add(long ts, long offset, String v) {
            if (v == null) {
                return;
            }
            if (first == null || ts < firstTs || ts == firstTs && offset < firstOffset) {
                firstTs = ts;
                firstOffset = offset;
                first = v;
            }
            if (last == null || ts > lastTs || ts == lastTs && offset > lastOffset) {
                lastTs = ts;
                lastOffset = offset;
                last = v;
            }
        }
    }

    public long count, amounts, micros, values;
    public double sum, min = Double.POSITIVE_INFINITY, max = Double.NEGATIVE_INFINITY;
    public HashSet<String> texts;
    public double[] all;
    public Edges edges;

    void add(Event e, Wants w) {
        boolean full = w.full;
        count++;
        if (w.edges != null) {
            if (edges == null) {
                edges = new Edges();
            }
            edges.counted += e.type.equals(w.counted) ? 1 : 0;
            edges.add(e.ts, e.offset, e.text(w.edges));
        }
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
        String text = !full ? null : w.users ? e.user : e.text(w.distinct);
        if (text != null) {
            if (texts == null) {
                texts = new HashSet<>();
            }
            texts.add(text);
        }
    }

    Acc merge(Acc b) {
        if (b.all != null) {
            double[] joined = Arrays.copyOf(all == null ? new double[0] : all, (int) (values + b.values));
            System.arraycopy(b.all, 0, joined, (int) values, (int) b.values);
            all = joined;
        }
        if (b.texts != null) {
            if (texts == null) {
                texts = new HashSet<>();
            }
            texts.addAll(b.texts);
        }
        if (b.edges != null) {
            if (edges == null) {
                edges = new Edges();
            }
            edges.counted += b.edges.counted;
            edges.add(b.edges.firstTs, b.edges.firstOffset, b.edges.first);
            edges.add(b.edges.lastTs, b.edges.lastOffset, b.edges.last);
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
        private final Wants wants;

        Fn(Wants wants) {
            this.wants = wants;
        }

        @Override
        public Acc createAccumulator() {
            return new Acc();
        }

        @Override
        public Acc add(Event e, Acc a) {
            a.add(e, wants);
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
