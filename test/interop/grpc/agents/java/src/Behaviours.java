import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.function.BiPredicate;
import java.util.function.Predicate;
import java.util.stream.Collectors;
import org.apache.rocketmq.client.apis.ClientConfiguration;
import org.apache.rocketmq.client.apis.ClientServiceProvider;
import org.apache.rocketmq.client.apis.consumer.ConsumeResult;
import org.apache.rocketmq.client.apis.consumer.FilterExpression;
import org.apache.rocketmq.client.apis.consumer.FilterExpressionType;
import org.apache.rocketmq.client.apis.consumer.SimpleConsumer;
import org.apache.rocketmq.client.apis.message.MessageBuilder;
import org.apache.rocketmq.client.apis.message.MessageView;
import org.apache.rocketmq.client.apis.producer.Producer;
import org.apache.rocketmq.client.apis.producer.SendReceipt;
import org.apache.rocketmq.client.apis.producer.Transaction;
import org.apache.rocketmq.client.apis.producer.TransactionResolution;

/**
 * The Java client's part in the table; what it says on stdout is told at the head of behaviours.ts. Compiled once for the
 * newest release; what an older one has not is told as missing.
 * java Behaviours &lt;host:port&gt; &lt;prefix&gt; &lt;behaviours, by commas&gt;
 */
public class Behaviours {
  static final ClientServiceProvider provider = ClientServiceProvider.loadService();
  static ClientConfiguration configuration;
  static String prefix;
  static Producer producer;

  interface Work<T> {
    T with(SimpleConsumer consumer) throws Exception;
  }

  interface Publish {
    void run() throws Exception;
  }

  public static void main(String[] args) throws Exception {
    configuration = ClientConfiguration.newBuilder().setEndpoints(args[0]).enableSsl(false).build();
    prefix = args[1];
    String[] names = args[2].split(",");
    String[] topics = new String[names.length];
    for (int at = 0; at < names.length; at++) topics[at] = topic(names[at]);
    producer = provider.newProducerBuilder().setClientConfiguration(configuration).setTopics(topics)
        .setTransactionChecker(view -> TransactionResolution.COMMIT).build();
    Map<String, Callable<List<Object>>> behaviours = behaviours();
    for (String step : names) {
      String line;
      try {
        line = "\"result\":" + behaviours.get(step).call().stream().map(one -> text(String.valueOf(one)))
            .collect(Collectors.joining(",", "[", "]"));
      } catch (NoSuchMethodError missing) {
        line = "\"missing\":" + text(missing.getMessage().replaceAll(".*\\.(\\w+)\\(.*", "$1"));
      } catch (Throwable error) {
        line = "\"error\":" + text(String.valueOf(error));
      }
      System.out.println("{\"step\":" + text(step) + "," + line + "}");
    }
    // A push consumer's close waits for its polls, up to 23 s: it goes with the process.
    Runtime.getRuntime().halt(0);
  }

  static Map<String, Callable<List<Object>>> behaviours() {
    Map<String, Callable<List<Object>>> all = new LinkedHashMap<>();
    all.put("normal", () -> with("normal", FilterExpression.SUB_ALL, consumer -> {
      producer.send(message("normal", "hello").setTag("blue").setKeys("k1").addProperty("colour", "red").build());
      MessageView view = take(consumer, 1, 60).get(0);
      return List.of(body(view), view.getTag().get(), view.getKeys().iterator().next(),
          view.getProperties().get("colour"), view.getDeliveryAttempt());
    }));
    all.put("fifo", () -> with("fifo", FilterExpression.SUB_ALL, consumer -> {
      for (int n = 0; n < 6; n++) producer.send(message("fifo", "" + n).setMessageGroup("one").build());
      return bodies(take(consumer, 6, 60));
    }));
    all.put("delay", () -> with("delay", FilterExpression.SUB_ALL, consumer -> {
      long began = System.currentTimeMillis();
      producer.send(message("delay", "later").setDeliveryTimestamp(began + 2_500).build());
      take(consumer, 1, 60);
      return List.of(System.currentTimeMillis() - began >= 2_400 ? "in time" : "early");
    }));
    all.put("recall", () -> with("recall", FilterExpression.SUB_ALL, consumer -> {
      long at = System.currentTimeMillis() + 5_000;
      SendReceipt sent = producer.send(message("recall", "never").setDeliveryTimestamp(at).build());
      Object recalled = producer.recallMessage(topic("recall"), sent.getRecallHandle()).getMessageId();
      return List.of(recalled.toString().equals(sent.getMessageId().toString()), take(consumer, 1, 6).size());
    }));
    all.put("priority", () -> with("priority", FilterExpression.SUB_ALL, consumer -> {
      producer.send(message("priority", "urgent").setPriority(3).build());
      MessageView view = take(consumer, 1, 60).get(0);
      return List.of(body(view), view.getPriority().get());
    }));
    all.put("transaction", () -> with("transaction", FilterExpression.SUB_ALL, consumer -> {
      Transaction first = producer.beginTransaction();
      producer.send(message("transaction", "rollback").build(), first);
      first.rollback();
      Transaction second = producer.beginTransaction();
      producer.send(message("transaction", "commit").build(), second);
      second.commit();
      return bodies(take(consumer, 2, 3));
    }));
    all.put("checkBack", () -> with("checkBack", FilterExpression.SUB_ALL, consumer -> {
      producer.send(message("checkBack", "checked").build(), producer.beginTransaction());
      return bodies(take(consumer, 1, 30));
    }));
    all.put("tagFilter", () -> with("tagFilter", new FilterExpression("blue || green"), consumer -> {
      for (String tag : List.of("red", "blue", "green")) producer.send(message("tagFilter", tag).setTag(tag).build());
      return sorted(bodies(take(consumer, 2, 60)));
    }));
    FilterExpression sql = new FilterExpression("n > 2", FilterExpressionType.SQL92);
    all.put("sqlFilter", () -> with("sqlFilter", sql, consumer -> {
      for (String n : List.of("1", "2", "3", "4")) producer.send(message("sqlFilter", n).addProperty("n", n).build());
      return sorted(bodies(take(consumer, 2, 60)));
    }));
    all.put("changeInvisible", () -> with("changeInvisible", FilterExpression.SUB_ALL, consumer -> {
      producer.send(message("changeInvisible", "again").build());
      List<MessageView> got = List.of();
      while (got.isEmpty()) got = consumer.receive(1, Duration.ofSeconds(10));
      consumer.changeInvisibleDuration(got.get(0), Duration.ofSeconds(1));
      return List.of(got.get(0).getDeliveryAttempt(), take(consumer, 1, 60).get(0).getDeliveryAttempt());
    }));
    all.put("push", () -> sorted(pushed("push", (view, seen) -> seen.add(body(view)), () -> {
      for (int n = 0; n < 20; n++) producer.send(message("push", "" + n).build());
    }, seen -> seen.size() >= 20)));
    all.put("pushFifo", () -> pushed("pushFifo", (view, seen) -> seen.add(body(view)) && seen.size() != 3, () -> {
      for (int n = 0; n < 6; n++) producer.send(message("pushFifo", "" + n).setMessageGroup("one").build());
    }, seen -> seen.size() >= 7));
    all.put("deadLetter", () -> pushed("deadLetter",
        (view, seen) -> !seen.add("" + view.getDeliveryAttempt()),
        () -> producer.send(message("deadLetter", "hopeless").build()), seen -> seen.size() >= 2));
    return all;
  }

  static <T> T with(String behaviour, FilterExpression filter, Work<T> work) throws Exception {
    try (SimpleConsumer consumer = provider.newSimpleConsumerBuilder().setClientConfiguration(configuration)
        .setConsumerGroup(topic(behaviour) + "-g").setAwaitDuration(Duration.ofSeconds(1))
        .setSubscriptionExpressions(Map.of(topic(behaviour), filter)).build()) {
      return work.with(consumer);
    }
  }

  static List<Object> pushed(String behaviour, BiPredicate<MessageView, List<Object>> consume, Publish publish,
      Predicate<List<Object>> done) throws Exception {
    List<Object> seen = Collections.synchronizedList(new ArrayList<>());
    provider.newPushConsumerBuilder().setClientConfiguration(configuration).setConsumerGroup(topic(behaviour) + "-g")
        .setSubscriptionExpressions(Map.of(topic(behaviour), FilterExpression.SUB_ALL))
        .setMessageListener(view -> {
          synchronized (seen) {
            return consume.test(view, seen) ? ConsumeResult.SUCCESS : ConsumeResult.FAILURE;
          }
        }).build();
    publish.run();
    for (int turn = 0; turn < 600 && !done.test(seen); turn++) Thread.sleep(100);
    Thread.sleep(500);
    return new ArrayList<>(seen);
  }

  /** Takes and acknowledges until there are so many, or the time is over. */
  static List<MessageView> take(SimpleConsumer consumer, int count, int seconds) throws Exception {
    List<MessageView> taken = new ArrayList<>();
    long until = System.currentTimeMillis() + seconds * 1_000L;
    while (taken.size() < count && System.currentTimeMillis() < until) {
      for (MessageView view : consumer.receive(16, Duration.ofSeconds(10))) {
        consumer.ack(view);
        taken.add(view);
      }
    }
    return taken;
  }

  static String topic(String behaviour) {
    return prefix + "-" + behaviour;
  }

  static MessageBuilder message(String behaviour, String body) {
    return provider.newMessageBuilder().setTopic(topic(behaviour)).setBody(body.getBytes(StandardCharsets.UTF_8));
  }

  static String body(MessageView view) {
    return StandardCharsets.UTF_8.decode(view.getBody()).toString();
  }

  static List<Object> bodies(List<MessageView> views) {
    return views.stream().map(view -> (Object) body(view)).collect(Collectors.toList());
  }

  static List<Object> sorted(Collection<Object> texts) {
    return texts.stream().sorted((one, two) -> {
      int byLength = one.toString().length() - two.toString().length();
      boolean numbers = one.toString().matches("\\d+");
      return numbers && byLength != 0 ? byLength : one.toString().compareTo(two.toString());
    }).collect(Collectors.toList());
  }

  static String text(String text) {
    return "\"" + text.replace("\\", "\\\\").replace("\"", "\\\"").replaceAll("\\s", " ") + "\"";
  }
}
