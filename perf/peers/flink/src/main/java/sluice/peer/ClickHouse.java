package sluice.peer;

import java.io.IOException;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Arrays;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import org.apache.flink.api.common.operators.ProcessingTimeService;
import org.apache.flink.api.connector.sink2.Sink;
import org.apache.flink.api.connector.sink2.SinkWriter;
import org.apache.flink.api.connector.sink2.WriterInitContext;

/**
 * A sink of rows to ClickHouse by HTTP, as well-kept connectors are: batches by number of rows and by age, one under way while the next is
 * filled, all of them answered before a checkpoint is complete, each with a deduplication token. Rows come ready as RowBinary.
 *
 * Arguments: clickhouse (URL), table (DATABASE.TABLE), rows (of a batch), age (ms).
 */
public final class ClickHouse implements Sink<Deliver.Click> {
    static final String COLUMNS = "event_id, user_id, ts, page, referrer, country, device";
    private final String url, table;
    private final int rowsMax;
    private final long ageMs;

    ClickHouse(Map<String, String> a) {
        url = a.get("clickhouse");
        table = a.get("table");
        rowsMax = Integer.parseInt(a.get("rows"));
        ageMs = Long.parseLong(a.get("age"));
    }

    @Override
    public SinkWriter<Deliver.Click> createWriter(WriterInitContext c) {
        return new Writer(c);
    }

    /** One thread: the task's, timers included. */
    private final class Writer implements SinkWriter<Deliver.Click> {
        private final HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
        private final ProcessingTimeService time;
        private final String token;
        private byte[] batch = new byte[1 << 20];
        private int bytes, rows;
        private long batches;
        private CompletableFuture<HttpResponse<String>> underWay;

        Writer(WriterInitContext c) {
            time = c.getProcessingTimeService();
            token = table + "-" + c.getTaskInfo().getIndexOfThisSubtask() + "-" + c.getTaskInfo().getAttemptNumber() + "-";
        }

        @Override
        public void write(Deliver.Click e, Context c) throws IOException, InterruptedException {
            byte[] row = e.f4;
            if (bytes + row.length > batch.length) {
                batch = Arrays.copyOf(batch, Math.max(2 * batch.length, bytes + row.length));
            }
            System.arraycopy(row, 0, batch, bytes, row.length);
            bytes += row.length;
            if (rows++ == 0) {
                long begun = batches;
                time.registerTimer(time.getCurrentProcessingTime() + ageMs, t -> {
                    if (batches == begun) {
                        send();
                    }
                });
            }
            if (rows >= rowsMax) {
                send();
            }
        }

        private void send() throws IOException, InterruptedException {
            if (rows == 0) {
                return;
            }
            await();
            String query = "INSERT INTO " + table + " (" + COLUMNS + ") FORMAT RowBinary";
            URI to = URI.create(url + "/?insert_deduplication_token=" + text(token + batches) + "&query=" + text(query));
            HttpRequest request = HttpRequest.newBuilder(to).timeout(Duration.ofSeconds(60))
                .POST(HttpRequest.BodyPublishers.ofByteArray(Arrays.copyOf(batch, bytes))).build();
            underWay = client.sendAsync(request, HttpResponse.BodyHandlers.ofString());
            batches++;
            bytes = 0;
            rows = 0;
        }

        private String text(String s) {
            return URLEncoder.encode(s, StandardCharsets.UTF_8);
        }

        private void await() throws IOException, InterruptedException {
            if (underWay == null) {
                return;
            }
            try {
                HttpResponse<String> answer = underWay.get();
                if (answer.statusCode() != 200) {
                    throw new IOException("ClickHouse: " + answer.statusCode() + " " + answer.body());
                }
            } catch (ExecutionException e) {
                throw new IOException("ClickHouse", e);
            }
            underWay = null;
        }

        @Override
        public void flush(boolean end) throws IOException, InterruptedException {
            send();
            await();
        }

        @Override
        public void close() { }
    }
}
