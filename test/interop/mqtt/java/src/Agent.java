import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.hivemq.client.mqtt.datatypes.MqttQos;
import com.hivemq.client.mqtt.mqtt5.Mqtt5AsyncClient;
import com.hivemq.client.mqtt.MqttClient;
import com.hivemq.client.mqtt.mqtt5.message.connect.Mqtt5Connect;
import com.hivemq.client.mqtt.mqtt5.message.connect.connack.Mqtt5ConnAck;
import com.hivemq.client.mqtt.lifecycle.MqttClientConnectedContext;
import com.hivemq.client.mqtt.mqtt5.lifecycle.Mqtt5ClientConnectedContext;
import com.hivemq.client.mqtt.MqttGlobalPublishFilter;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

/** Drives the unmodified HiveMQ client: commands and events as in suite.ts. */
public final class Agent {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final Map<String, Mqtt5AsyncClient> CLIENTS = new HashMap<>();

  private static synchronized void say(Map<String, Object> fields) {
    try {
      System.out.println(JSON.writeValueAsString(fields));
      System.out.flush();
    } catch (Exception error) {
      throw new IllegalStateException(error);
    }
  }

  private static void open(int port, JsonNode command) {
    String name = command.get("client").asText();
    boolean fresh = command.get("fresh").asBoolean();
    Mqtt5AsyncClient client = MqttClient.builder()
        .useMqttVersion5()
        .identifier(command.get("id").asText())
        .serverHost("127.0.0.1")
        .serverPort(port)
        .automaticReconnect()
        .initialDelay(100, TimeUnit.MILLISECONDS)
        .maxDelay(500, TimeUnit.MILLISECONDS)
        .applyAutomaticReconnect()
        .addConnectedListener(context -> {
          Mqtt5ConnAck connack = ((Mqtt5ClientConnectedContext) context).getConnAck();
          say(Map.of("event", "open", "client", name, "present", connack.isSessionPresent()));
        })
        .buildAsync();
    client.publishes(MqttGlobalPublishFilter.ALL, publish -> say(Map.of(
        "event", "message", "client", name, "topic", publish.getTopic().toString(), "qos", publish.getQos().getCode(),
        "body", new String(publish.getPayloadAsBytes(), StandardCharsets.UTF_8))));
    CLIENTS.put(name, client);
    client.connect(Mqtt5Connect.builder().cleanStart(fresh).sessionExpiryInterval(fresh ? 0 : 3600).keepAlive(20).build());
  }

  private static void publish(JsonNode command) {
    String name = command.get("client").asText();
    List<CompletableFuture<?>> sent = new ArrayList<>();
    for (int n = command.get("from").asInt(); n < command.get("to").asInt(); n++) {
      sent.add(CLIENTS.get(name).publishWith().topic(command.get("topic").asText())
          .qos(MqttQos.fromCode(command.get("qos").asInt())).payload(Integer.toString(n).getBytes(StandardCharsets.UTF_8)).send());
    }
    CompletableFuture.allOf(sent.toArray(new CompletableFuture<?>[0]))
        .whenComplete((done, error) -> {
          if (error != null) error.printStackTrace();
          say(Map.of("event", "published", "client", name));
        });
  }

  public static void main(String[] arguments) {
    try {
      obey(arguments);
      System.exit(0);
    } catch (Exception error) {
      error.printStackTrace();
      System.exit(1);
    }
  }

  private static void obey(String[] arguments) throws Exception {
    int port = Integer.parseInt(arguments[0]);
    BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = lines.readLine(); line != null; line = lines.readLine()) {
      JsonNode command = JSON.readTree(line);
      String name = command.get("client").asText();
      switch (command.get("do").asText()) {
        case "open" -> open(port, command);
        case "subscribe" -> CLIENTS.get(name).subscribeWith().topicFilter(command.get("topic").asText())
            .qos(MqttQos.fromCode(command.get("qos").asInt())).send()
            .thenRun(() -> say(Map.of("event", "subscribed", "client", name)));
        case "publish" -> publish(command);
        case "close" -> {
          CLIENTS.remove(name).disconnect().join();
          say(Map.of("event", "closed", "client", name));
        }
        default -> throw new IllegalArgumentException(line);
      }
    }
  }
}
