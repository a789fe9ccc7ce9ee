import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.apache.rocketmq.client.apis.ClientConfiguration;
import org.apache.rocketmq.client.apis.ClientServiceProvider;
import org.apache.rocketmq.client.apis.consumer.ConsumeResult;
import org.apache.rocketmq.client.apis.consumer.FilterExpression;
import org.apache.rocketmq.client.apis.consumer.PushConsumer;
import org.apache.rocketmq.client.apis.consumer.SimpleConsumer;
import org.apache.rocketmq.client.apis.message.Message;
import org.apache.rocketmq.client.apis.message.MessageView;
import org.apache.rocketmq.client.apis.producer.Producer;
import org.apache.rocketmq.client.apis.producer.SendReceipt;

/**
 * The Java client's part; what it says on stdout is told at the head of suite.ts.
 * java Agent &lt;host:port&gt; &lt;topic&gt; &lt;push topic&gt; &lt;group&gt; &lt;push group&gt; &lt;tls: true or false&gt;
 */
public class Agent {
  static final ClientServiceProvider provider = ClientServiceProvider.loadService();

  public static void main(String[] args) throws Exception {
    String topic = args[1], pushTopic = args[2], group = args[3], pushGroup = args[4];
    ClientConfiguration configuration = ClientConfiguration.newBuilder()
        .setEndpoints(args[0]).enableSsl(Boolean.parseBoolean(args[5])).build();
    Map<String, FilterExpression> all = Map.of(topic, FilterExpression.SUB_ALL);
    Producer producer =
        provider.newProducerBuilder().setClientConfiguration(configuration).setTopics(topic, pushTopic).build();
    SimpleConsumer consumer = provider.newSimpleConsumerBuilder().setClientConfiguration(configuration)
        .setConsumerGroup(group).setAwaitDuration(Duration.ofSeconds(2)).setSubscriptionExpressions(all).build();
    say("\"step\":\"started\"");

    Message hello = provider.newMessageBuilder().setTopic(topic).setTag("blue").setKeys("k1", "k2")
        .addProperty("colour", "red").setBody("hello".getBytes(StandardCharsets.UTF_8)).build();
    SendReceipt receipt = producer.send(hello);
    say("\"step\":\"sent\",\"id\":" + text(receipt.getMessageId().toString()));
    MessageView view = one(consumer);
    say("\"step\":\"received\"," + told(view));
    consumer.changeInvisibleDuration(view, Duration.ofSeconds(3));
    consumer.ack(view);
    Thread.sleep(3_500);
    say("\"step\":\"after\",\"messages\":" + consumer.receive(1, Duration.ofSeconds(10)).size());

    producer.send(plain(topic, "again"));
    consumer.changeInvisibleDuration(one(consumer), Duration.ofSeconds(1));
    MessageView again = one(consumer);
    say("\"step\":\"again\"," + told(again));
    consumer.ack(again);

    for (int n = 0; n < 200; n++) producer.send(plain(topic, "message-" + n));
    List<String> received = new ArrayList<>();
    // A poll that a drain wakes is empty too: it ends with one that is empty after all have come.
    for (long until = System.currentTimeMillis() + 60_000;;) {
      List<MessageView> views = consumer.receive(32, Duration.ofSeconds(10));
      for (MessageView each : views) {
        consumer.ack(each);
        received.add(body(each));
      }
      if (views.isEmpty() && (received.size() >= 200 || System.currentTimeMillis() > until)) break;
    }
    say("\"step\":\"many\",\"received\":" + list(received));

    List<String> pushed = Collections.synchronizedList(new ArrayList<>());
    PushConsumer push = provider.newPushConsumerBuilder().setClientConfiguration(configuration)
        .setConsumerGroup(pushGroup).setSubscriptionExpressions(Map.of(pushTopic, FilterExpression.SUB_ALL))
        .setMessageListener(message -> {
          pushed.add(body(message));
          return ConsumeResult.SUCCESS;
        }).build();
    for (int n = 0; n < 20; n++) producer.send(plain(pushTopic, "push-" + n));
    for (int turn = 0; turn < 600 && pushed.size() < 20; turn++) Thread.sleep(100);
    Thread.sleep(500);
    say("\"step\":\"pushed\",\"received\":" + list(new ArrayList<>(pushed)));

    consumer.close();
    producer.close();
    say("\"step\":\"bye\"");
    // A push consumer's close waits for its polls, up to 23 s: it goes with the process.
    Runtime.getRuntime().halt(0);
  }

  static Message plain(String topic, String body) {
    return provider.newMessageBuilder().setTopic(topic).setBody(body.getBytes(StandardCharsets.UTF_8)).build();
  }

  static MessageView one(SimpleConsumer consumer) throws Exception {
    while (true) {
      List<MessageView> views = consumer.receive(1, Duration.ofSeconds(10));
      if (!views.isEmpty()) return views.get(0);
    }
  }

  static String body(MessageView view) {
    ByteBuffer bytes = view.getBody();
    return StandardCharsets.UTF_8.decode(bytes).toString();
  }

  static String told(MessageView view) {
    String properties = view.getProperties().entrySet().stream()
        .map(one -> text(one.getKey()) + ":" + text(one.getValue())).collect(Collectors.joining(",", "{", "}"));
    return "\"body\":" + text(body(view)) + ",\"tag\":" + view.getTag().map(Agent::text).orElse("null")
        + ",\"keys\":" + list(new TreeSet<>(view.getKeys())) + ",\"properties\":" + properties
        + ",\"id\":" + text(view.getMessageId().toString()) + ",\"attempt\":" + view.getDeliveryAttempt();
  }

  static String list(Collection<String> texts) {
    return texts.stream().map(Agent::text).collect(Collectors.joining(",", "[", "]"));
  }

  static String text(String text) {
    return "\"" + text.replace("\\", "\\\\").replace("\"", "\\\"") + "\"";
  }

  static void say(String fields) {
    System.out.println("{" + fields + "}");
  }
}
