package sluice.peer;

import java.io.Serializable;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.flink.cep.pattern.conditions.SimpleCondition;

/**
 * An event as a rule sees it, and what a step asks of it. Events stand in lines of tab-separated text: time in ms, id, then a
 * field in each column; the columns' names are given when the lines are read. An empty column is a field that is not there.
 */
public final class Pick {
    /** Time, id, and the fields that were there. A POJO to Flink. */
    public static final class Ev {
        public long ts;
        public String id;
        public Map<String, String> field = new HashMap<>();

        static Ev of(String line, String[] names) {
            String[] c = line.split("\t", -1);
            Ev e = new Ev();
            e.ts = Long.parseLong(c[0]);
            e.id = c[1];
            for (int i = 0; i < names.length; i++) {
                if (!c[i + 2].isEmpty()) {
                    e.field.put(names[i], c[i + 2]);
                }
            }
            return e;
        }

        /** The fields' values; null if one is missing. */
        String key(String[] by) {
            StringBuilder b = new StringBuilder();
            for (String name : by) {
                String v = field.get(name);
                if (v == null) {
                    return null;
                }
                b.append(b.length() > 0 ? "," : "").append(name).append('=').append(v);
            }
            return b.toString();
        }
    }

    /** One test: field, operator, values. */
    private static final class One implements Serializable {
        private final String name;
        private final char how;
        private final List<String> values;

        One(String text) {
            int at = 0;
            while ("=^<>".indexOf(text.charAt(at)) < 0) {
                at++;
            }
            name = text.substring(0, at);
            how = text.charAt(at);
            values = List.of(text.substring(at + 1).split(","));
        }

        boolean passes(Ev e) {
            String v = e.field.get(name);
            if (v == null) {
                return false;
            }
            switch (how) {
                case '=': return values.contains(v);
                case '^': return v.startsWith(values.get(0));
                case '<': return Double.parseDouble(v) < Double.parseDouble(values.get(0));
                default: return Double.parseDouble(v) > Double.parseDouble(values.get(0));
            }
        }
    }

    /** All tests of a text as `field=a,b&field^prefix&field<1&field>1`. */
    public static final class All extends SimpleCondition<Ev> {
        private final ArrayList<One> one = new ArrayList<>();

        All(String text) {
            for (String part : text.split("&")) {
                one.add(new One(part));
            }
        }

        @Override
        public boolean filter(Ev e) {
            for (One o : one) {
                if (!o.passes(e)) {
                    return false;
                }
            }
            return true;
        }
    }

    private Pick() { }
}
