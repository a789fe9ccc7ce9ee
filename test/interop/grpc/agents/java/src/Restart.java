import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Map;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.client.apis.ClientConfiguration;
import org.apache.rocketmq.client.apis.ClientServiceProvider;
import org.apache.rocketmq.client.apis.consumer.FilterExpression;
import org.apache.rocketmq.client.apis.consumer.SimpleConsumer;
import org.apache.rocketmq.client.apis.message.MessageView;
import org.apache.rocketmq.client.apis.producer.Producer;

/**
 * The Java client's part in restarts; what it says on stdout is told at the head of restart.ts.
 * java Restart &lt;host:port&gt; &lt;topic&gt; &lt;sends at once&gt;
 */
public class Restart {
  static volatile boolean stopped;

  interface Work {
    void run() throws Exception;
  }

  public static void main(String[] args) throws Exception {
    ClientServiceProvider provider = ClientServiceProvider.loadService();
    ClientConfiguration configuration =
        ClientConfiguration.newBuilder().setEndpoints(args[0]).enableSsl(false).build();
    String topic = args[1];
    Producer producer = provider.newProducerBuilder().setClientConfiguration(configuration).setTopics(topic).build();
    SimpleConsumer consumer = provider.newSimpleConsumerBuilder().setClientConfiguration(configuration)
        .setConsumerGroup(topic + "-g").setAwaitDuration(Duration.ofSeconds(2))
        .setSubscriptionExpressions(Map.of(topic, FilterExpression.SUB_ALL)).build();
    AtomicInteger count = new AtomicInteger();
    AtomicInteger busy = new AtomicInteger();
    for (int n = 0; n < Integer.parseInt(args[2]); n++) {
      forever(() -> {
        String body = "m-" + count.incrementAndGet();
        busy.incrementAndGet();
        try {
          producer.send(provider.newMessageBuilder().setTopic(topic).setBody(body.getBytes(StandardCharsets.UTF_8)).build());
          say("\"acked\":\"" + body + "\"");
        } finally {
          busy.decrementAndGet();
        }
        Thread.sleep(200);
      }, true);
    }
    for (int n = 0; n < 2; n++) {
      forever(() -> {
        for (MessageView view : consumer.receive(32, Duration.ofSeconds(10))) {
          say("\"got\":\"" + StandardCharsets.UTF_8.decode(view.getBody()) + "\"");
          consumer.ackAsync(view);
        }
      }, false);
    }
    forever(() -> {
      System.in.read();
      stopped = true;
    }, true);
    say("\"started\":true");
    while (true) {
      Thread.sleep(20);
      say("\"busy\":" + busy.get());
    }
  }

  /** A thread that does it again and again, whatever goes wrong; until sending stops, or for ever. */
  static void forever(Work work, boolean untilStopped) {
    Thread thread = new Thread(() -> {
      while (!untilStopped || !stopped) {
        try {
          work.run();
        } catch (Throwable error) {
          pause();
        }
      }
    });
    thread.setDaemon(true);
    thread.start();
  }

  static void pause() {
    try {
      Thread.sleep(100);
    } catch (InterruptedException error) {
      Thread.currentThread().interrupt();
    }
  }

  static synchronized void say(String fields) {
    System.out.println("{" + fields + "}");
  }
}
