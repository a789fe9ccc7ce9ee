import com.alibaba.fastjson2.JSON;
import com.alibaba.fastjson2.JSONArray;
import com.alibaba.fastjson2.JSONObject;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.MessageSelector;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageClientExt;
import org.apache.rocketmq.common.message.MessageExt;

/**
 * Drives the unmodified RocketMQ Java client. Reads one JSON object a line from stdin, writes one a line to stdout; the
 * client's own words go to stderr. Operations run side by side; every answer carries the `id` of its operation.
 *
 * produce {id, nameserver, tls?: true, group, topic, mode?: "sync" | "async" | "oneway" | "batch", timeout?: ms (10000),
 *          messages: [{body: base64, tag?, keys?: text, properties?: {}, delayLevel?, delayMs?, deliverAt?: ms,
 *                      shard?: text (all of a shard into one queue)}]}
 *      -> {id, results: [{msgId, offsetMsgId, status, queueId, queueOffset} | {error: class, code?, message} | {} (oneway)]},
 *         each with `took`, in ms, where it was sent alone
 *         The producer of (nameserver, group) stays for the next one.
 * consume {id, nameserver, tls?: true, group, topic, tag?: expression ("*"), from?: "first" | "last" ("last"), count?: 0 (no end),
 *          order?: true, threads?: number, broadcast?: true, fail?: times that each message is answered "later",
 *          routeMs?: how often it asks for routes (30000), sql?: expression, pop?: true (5.x), popInvisibleMs?, holdMs?: how long each message
 *          is worked on, maxTimes?: most retries, delayLevel?: of a retry,
 *          instance?: name of a client of its own,
 *          reply?: true (answers each request by "re:" and its body)}
 *      -> {id, started: true}
 *         {id, message: {topic, body: base64, tag, keys, properties, msgId, bornHost, reconsumeTimes, queueId,
 *                        queueOffset, bornTimestamp, storeTimestamp}} for each, as often as it comes
 *         {id, done: true} after `count` of them; it goes on until it is stopped
 * pull {id, nameserver, group, topic, count, ms} -> {id, results: [body as text]}: lite pull, until so many or so long
 * transact {id, nameserver, group, topic, messages: [{body, then, checked}]} -> {id, results}; `then` is what is decided at
 *          once, `checked` what is decided when asked: commit, rollback or unknown
 * checks {id, of: group} -> {id, results: [body as text, for each time that one was asked about]}
 * request {id, nameserver, group, topic, body, timeout} -> {id, results: [{reply: base64}]}
 * recall {id, nameserver, group, topic, handle} -> {id, results: [message id]} (5.5)
 * admin {id, nameserver, do, ...} -> {id, results: [...]}: see Admin.java
 * stop {id, of: id of a consume, or of a produce whose producer is to end} -> {id, stopped: true}
 * exit {id} -> stops everything, {id, bye: true}, ends the process
 *
 * Whatever goes wrong -> {id, error: class, message}
 */
public final class Agent {
    private static final PrintStream answers = System.out;
    private static final Map<String, DefaultMQProducer> producers = new ConcurrentHashMap<>();
    private static final Map<String, String> producerOf = new ConcurrentHashMap<>();
    private static final Map<String, DefaultMQPushConsumer> consumers = new ConcurrentHashMap<>();
    private static final ExecutorService pool = Executors.newCachedThreadPool();

    public static void main(String[] args) throws Exception {
        System.setOut(System.err);
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            if (line.isBlank()) continue;
            JSONObject op;
            try {
                op = JSON.parseObject(line);
            } catch (RuntimeException e) {
                say(failed(e));
                continue;
            }
            if ("exit".equals(op.getString("op"))) {
                exit(op.getString("id"));
                return;
            }
            pool.execute(() -> {
                try {
                    run(op);
                } catch (Throwable e) {
                    say(failed(e).fluentPut("id", op.getString("id")));
                }
            });
        }
        exit(null);
    }

    private static void run(JSONObject op) throws Exception {
        String kind = String.valueOf(op.getString("op"));
        switch (kind) {
            case "produce" -> produce(op);
            case "consume" -> consume(op);
            case "pull" -> say(Parts.pull(op));
            case "transact" -> say(Parts.transact(op));
            case "checks" -> say(Parts.checks(op));
            case "request" -> say(Parts.request(op, producer(op.getString("nameserver"), op.getString("group"), false)));
            case "recall" -> {
                DefaultMQProducer producer = producer(op.getString("nameserver"), op.getString("group"), false);
                Object recalled = Parts.call(producer, "recallMessage", op.getString("topic"), op.getString("handle"));
                say(new JSONObject().fluentPut("id", op.getString("id")).fluentPut("results", List.of(String.valueOf(recalled))));
            }
            case "admin" -> say(Admin.run(op));
            case "stop" -> stop(op);
            default -> throw new IllegalArgumentException("no operation " + kind);
        }
    }

    private static void say(JSONObject answer) {
        String line = answer.toJSONString();
        synchronized (answers) {
            answers.println(line);
            answers.flush();
        }
    }

    static JSONObject failed(Throwable e) {
        JSONObject said = new JSONObject().fluentPut("error", e.getClass().getSimpleName()).fluentPut("message", e.getMessage());
        if (e instanceof org.apache.rocketmq.client.exception.MQBrokerException broker) said.put("code", broker.getResponseCode());
        if (e instanceof org.apache.rocketmq.client.exception.MQClientException client) said.put("code", client.getResponseCode());
        return said;
    }

    // ── Produce ──

    private static void produce(JSONObject op) throws Exception {
        String id = op.getString("id");
        DefaultMQProducer producer = producer(op.getString("nameserver"), op.getString("group"), op.getBooleanValue("tls"));
        producerOf.put(id, op.getString("nameserver") + " " + op.getString("group") + " " + op.getBooleanValue("tls"));
        int timeout = op.getIntValue("timeout", 10_000);
        JSONArray wanted = op.getJSONArray("messages");
        List<Message> messages = new ArrayList<>();
        List<String> shards = new ArrayList<>();
        for (int i = 0; i < wanted.size(); i++) {
            messages.add(message(op.getString("topic"), wanted.getJSONObject(i)));
            shards.add(wanted.getJSONObject(i).getString("shard"));
        }
        String mode = op.getString("mode") == null ? "sync" : op.getString("mode");
        JSONObject[] results = new JSONObject[messages.size()];
        switch (mode) {
            case "batch" -> {
                JSONObject result;
                try {
                    result = result(producer.send(messages, timeout));
                } catch (Exception e) {
                    result = failed(e);
                }
                results = new JSONObject[] {result};
            }
            case "async" -> async(producer, messages, timeout, results);
            default -> {
                for (int i = 0; i < results.length; i++) results[i] = one(producer, messages.get(i), shards.get(i), mode, timeout);
            }
        }
        say(new JSONObject().fluentPut("id", id).fluentPut("results", results));
    }

    private static JSONObject one(DefaultMQProducer producer, Message message, String shard, String mode, int timeout) {
        long began = System.nanoTime();
        return sent(producer, message, shard, mode, timeout).fluentPut("took", (System.nanoTime() - began) / 1_000_000);
    }

    private static JSONObject sent(DefaultMQProducer producer, Message message, String shard, String mode, int timeout) {
        try {
            if ("oneway".equals(mode)) {
                producer.sendOneway(message);
                return new JSONObject();
            }
            if (shard == null) return result(producer.send(message, timeout));
            return result(producer.send(message, (queues, m, by) -> queues.get(Math.floorMod(by.hashCode(), queues.size())), shard, timeout));
        } catch (Exception e) {
            return failed(e);
        }
    }

    private static void async(DefaultMQProducer producer, List<Message> messages, int timeout, JSONObject[] results) throws Exception {
        CountDownLatch left = new CountDownLatch(messages.size());
        for (int i = 0; i < results.length; i++) {
            int at = i;
            producer.send(messages.get(i), new SendCallback() {
                @Override
                public void onSuccess(SendResult result) {
                    results[at] = result(result);
                    left.countDown();
                }

                @Override
                public void onException(Throwable e) {
                    results[at] = failed(e);
                    left.countDown();
                }
            }, timeout);
        }
        if (!left.await(timeout + 5_000L, TimeUnit.MILLISECONDS)) throw new IllegalStateException("no answer to " + left.getCount() + " async sends");
    }

    static JSONObject result(SendResult sent) {
        return new JSONObject()
            .fluentPut("msgId", sent.getMsgId())
            .fluentPut("offsetMsgId", sent.getOffsetMsgId())
            .fluentPut("status", sent.getSendStatus().name())
            .fluentPut("queueId", sent.getMessageQueue().getQueueId())
            .fluentPut("queueOffset", sent.getQueueOffset())
            .fluentPut("recallHandle", Parts.has(sent, "getRecallHandle") ? Parts.call(sent, "getRecallHandle") : null);
    }

    static Message message(String topic, JSONObject wanted) {
        Message message = new Message(topic, Base64.getDecoder().decode(wanted.getString("body")));
        if (wanted.getString("tag") != null) message.setTags(wanted.getString("tag"));
        if (wanted.getString("keys") != null) message.setKeys(wanted.getString("keys"));
        if (wanted.containsKey("delayLevel")) message.setDelayTimeLevel(wanted.getIntValue("delayLevel"));
        if (wanted.containsKey("delayMs")) Parts.call(message, "setDelayTimeMs", wanted.getLongValue("delayMs"));
        if (wanted.containsKey("deliverAt")) Parts.call(message, "setDeliverTimeMs", wanted.getLongValue("deliverAt"));
        JSONObject properties = wanted.getJSONObject("properties");
        if (properties != null) properties.forEach((name, value) -> message.putUserProperty(name, String.valueOf(value)));
        return message;
    }

    private static DefaultMQProducer producer(String nameserver, String group, boolean tls) throws Exception {
        String key = nameserver + " " + group + " " + tls;
        synchronized (producers) {
            DefaultMQProducer producer = producers.get(key);
            if (producer != null) return producer;
            producer = new DefaultMQProducer(group);
            producer.setNamesrvAddr(nameserver);
            producer.setUseTLS(tls);
            producer.start();
            producers.put(key, producer);
            return producer;
        }
    }

    // ── Consume ──

    private static void consume(JSONObject op) throws Exception {
        String id = op.getString("id");
        int count = op.getIntValue("count", 0);
        int fail = op.getIntValue("fail", 0);
        AtomicInteger seen = new AtomicInteger();
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(op.getString("group"));
        consumer.setNamesrvAddr(op.getString("nameserver"));
        consumer.setUseTLS(op.getBooleanValue("tls"));
        if (op.getString("instance") != null) consumer.setInstanceName(op.getString("instance") + "@" + ProcessHandle.current().pid());
        consumer.setConsumeFromWhere("first".equals(op.getString("from")) ? ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET : ConsumeFromWhere.CONSUME_FROM_LAST_OFFSET);
        if (op.getBooleanValue("broadcast")) Parts.call(consumer, "setMessageModel", "BROADCASTING");
        // What a listener has finished is counted before the end, as an application that stops with care would have it.
        consumer.setAwaitTerminationMillisWhenShutdown(2_000);
        if (op.containsKey("routeMs")) consumer.setPollNameServerInterval(op.getIntValue("routeMs"));
        if (op.containsKey("threads")) {
            consumer.setConsumeThreadMin(op.getIntValue("threads"));
            consumer.setConsumeThreadMax(op.getIntValue("threads"));
        }
        if (op.getBooleanValue("pop")) Parts.call(consumer, "setClientRebalance", false);
        if (op.containsKey("popInvisibleMs")) Parts.call(consumer, "setPopInvisibleTime", op.getLongValue("popInvisibleMs"));
        if (op.containsKey("maxTimes")) consumer.setMaxReconsumeTimes(op.getIntValue("maxTimes"));
        if (op.containsKey("sql")) consumer.subscribe(op.getString("topic"), MessageSelector.bySql(op.getString("sql")));
        else consumer.subscribe(op.getString("topic"), op.getString("tag") == null ? "*" : op.getString("tag"));
        long hold = op.getLongValue("holdMs");
        DefaultMQProducer replies = op.getBooleanValue("reply") ? producer(op.getString("nameserver"), "repliers", false) : null;
        if (op.getBooleanValue("order")) {
            consumer.registerMessageListener((MessageListenerOrderly) (messages, context) ->
                heard(id, messages, count, fail, seen) ? ConsumeOrderlyStatus.SUCCESS : ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT);
        } else {
            int level = op.getIntValue("delayLevel", 0);
            consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
                context.setDelayLevelWhenNextConsume(level);
                boolean good = heard(id, messages, count, fail, seen) && Parts.hold(hold) && Parts.reply(replies, messages);
                return good ? ConsumeConcurrentlyStatus.CONSUME_SUCCESS : ConsumeConcurrentlyStatus.RECONSUME_LATER;
            });
        }
        consumers.put(id, consumer);
        consumer.start();
        say(new JSONObject().fluentPut("id", id).fluentPut("started", true));
    }

    private static boolean heard(String id, List<MessageExt> messages, int count, int fail, AtomicInteger seen) {
        boolean good = true;
        for (MessageExt message : messages) {
            say(new JSONObject().fluentPut("id", id).fluentPut("message", told(message)));
            if (message.getReconsumeTimes() < fail) good = false;
            if (seen.incrementAndGet() == count) say(new JSONObject().fluentPut("id", id).fluentPut("done", true));
        }
        return good;
    }

    private static JSONObject told(MessageExt message) {
        return new JSONObject()
            .fluentPut("topic", message.getTopic())
            .fluentPut("body", Base64.getEncoder().encodeToString(message.getBody() == null ? new byte[0] : message.getBody()))
            .fluentPut("tag", message.getTags())
            .fluentPut("keys", message.getKeys())
            .fluentPut("properties", message.getProperties())
            .fluentPut("msgId", message.getMsgId())
            .fluentPut("offsetMsgId", message instanceof MessageClientExt client ? client.getOffsetMsgId() : null)
            .fluentPut("bornHost", message.getBornHostString())
            .fluentPut("reconsumeTimes", message.getReconsumeTimes())
            .fluentPut("queueId", message.getQueueId())
            .fluentPut("queueOffset", message.getQueueOffset())
            .fluentPut("bornTimestamp", message.getBornTimestamp())
            .fluentPut("storeTimestamp", message.getStoreTimestamp());
    }

    // ── End ──

    private static void stop(JSONObject op) {
        String of = op.getString("of");
        DefaultMQPushConsumer consumer = consumers.remove(of);
        if (consumer != null) consumer.shutdown();
        String key = producerOf.remove(of);
        DefaultMQProducer producer = key == null ? null : producers.remove(key);
        if (producer != null) producer.shutdown();
        say(new JSONObject().fluentPut("id", op.getString("id")).fluentPut("stopped", consumer != null || producer != null));
    }

    private static void exit(String id) {
        List<Thread> stopping = new ArrayList<>();
        consumers.values().forEach(consumer -> stopping.add(new Thread(consumer::shutdown)));
        producers.values().forEach(producer -> stopping.add(new Thread(producer::shutdown)));
        stopping.forEach(Thread::start);
        for (Thread thread : stopping) {
            try {
                thread.join(10_000);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        }
        say(new JSONObject().fluentPut("id", id).fluentPut("bye", true));
        System.exit(0);
    }
}
