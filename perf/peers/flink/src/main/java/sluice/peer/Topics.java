package sluice.peer;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;

/** Makes topics of one replica. Arguments: brokers, then NAME=PARTITIONS each. */
public final class Topics {
    public static void main(String[] a) throws Exception {
        List<NewTopic> topics = new ArrayList<>();
        for (int i = 1; i < a.length; i++) {
            int e = a[i].indexOf('=');
            topics.add(new NewTopic(a[i].substring(0, e), Integer.parseInt(a[i].substring(e + 1)), (short) 1));
        }
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", a[0]))) {
            admin.createTopics(topics).all().get();
        }
    }

    private Topics() { }
}
