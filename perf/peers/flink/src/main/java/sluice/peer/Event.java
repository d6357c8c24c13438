package sluice.peer;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;

/**
 * One event of an exported journal. The file is little endian, events back to back: i64 time in ms, i64 offset, i64 amount in
 * millionths (Long.MIN_VALUE: none), f64 value (NaN: none), then user, page, country, source, type each as u16 length
 * (0xffff: none) and bytes.
 */
public final class Event {
    public long ts, offset, micros;
    public double value;
    public String user, page, country, source, type;

    /** A text by its field's name. */
    String text(String field) {
        switch (field) {
            case "user_id": return user;
            case "page": return page;
            case "country": return country;
            case "source": return source;
            default: throw new IllegalArgumentException(field);
        }
    }

    /** The whole file, mapped; events are found by their index. */
    public static final class Events {
        private final List<MappedByteBuffer> part = new ArrayList<>();
        private final int[] partOf;
        private final int[] at;

        Events(String path) throws IOException {
            int capacity = 1 << 20, n = 0;
            int[] parts = new int[capacity], places = new int[capacity];
            try (FileChannel f = FileChannel.open(Path.of(path), StandardOpenOption.READ)) {
                long from = 0, size = f.size();
                while (from < size) {
                    MappedByteBuffer b = f.map(FileChannel.MapMode.READ_ONLY, from, Math.min(size - from, 1L << 30));
                    b.order(ByteOrder.LITTLE_ENDIAN);
                    int place = 0, end;
                    while ((end = endOf(b, place)) > 0) {
                        if (n == capacity) {
                            capacity *= 2;
                            parts = java.util.Arrays.copyOf(parts, capacity);
                            places = java.util.Arrays.copyOf(places, capacity);
                        }
                        parts[n] = part.size();
                        places[n++] = place;
                        place = end;
                    }
                    if (place == 0) {
                        throw new IOException(path + ": cut off");
                    }
                    part.add(b);
                    from += place;
                }
            }
            partOf = java.util.Arrays.copyOf(parts, n);
            at = java.util.Arrays.copyOf(places, n);
        }

        /** End of the event at this place; 0 if it is not all there. */
        private static int endOf(ByteBuffer b, int place) {
            int p = place + 32;
            for (int i = 0; i < 5; i++) {
                if (p + 2 > b.limit()) {
                    return 0;
                }
                int len = b.getShort(p) & 0xffff;
                p += 2 + (len == 0xffff ? 0 : len);
            }
            return p <= b.limit() ? p : 0;
        }

        private Event[] made;

        /** Makes every object now, so that a benchmark measures windows and no decoding. Texts are shared. */
        void make() {
            java.util.HashMap<String, String> texts = new java.util.HashMap<>();
            Event[] list = new Event[at.length];
            for (int i = 0; i < list.length; i++) {
                Event e = get(i);
                e.user = e.user == null ? null : texts.computeIfAbsent(e.user, t -> t);
                e.page = e.page == null ? null : texts.computeIfAbsent(e.page, t -> t);
                e.country = e.country == null ? null : texts.computeIfAbsent(e.country, t -> t);
                e.source = e.source == null ? null : texts.computeIfAbsent(e.source, t -> t);
                e.type = e.type == null ? null : texts.computeIfAbsent(e.type, t -> t);
                list[i] = e;
            }
            made = list;
        }

        int count() {
            return at.length;
        }

        Event get(int i) {
            if (made != null) {
                return made[i];
            }
            MappedByteBuffer b = part.get(partOf[i]);
            int p = at[i];
            Event e = new Event();
            e.ts = b.getLong(p);
            e.offset = b.getLong(p + 8);
            e.micros = b.getLong(p + 16);
            e.value = b.getDouble(p + 24);
            p += 32;
            String[] text = new String[5];
            for (int k = 0; k < 5; k++) {
                int len = b.getShort(p) & 0xffff;
                p += 2;
                if (len != 0xffff) {
                    byte[] raw = new byte[len];
                    b.get(p, raw);
                    text[k] = new String(raw, StandardCharsets.UTF_8);
                    p += len;
                }
            }
            e.user = text[0];
            e.page = text[1];
            e.country = text[2];
            e.source = text[3];
            e.type = text[4];
            return e;
        }
    }

    private static Events all;

    /** The process's one copy. */
    static synchronized Events load(String path) {
        try {
            if (all == null) {
                all = new Events(path);
            }
            return all;
        } catch (IOException e) {
            throw new java.io.UncheckedIOException(e);
        }
    }
}
