import com.alibaba.fastjson2.JSONArray;
import com.alibaba.fastjson2.JSONObject;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.client.utils.MessageUtil;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** What the agent does beside sending and push consumers. What only one of the releases has is called by its name. */
final class Parts {
    private static final Map<String, TransactionMQProducer> producers = new ConcurrentHashMap<>();
    private static final Map<String, List<String>> asked = new ConcurrentHashMap<>();

    static boolean has(Object target, String name) {
        return Arrays.stream(target.getClass().getMethods()).anyMatch(method -> method.getName().equals(name));
    }

    /** A text for a parameter that is an enum is one of its names. */
    @SuppressWarnings({"unchecked", "rawtypes"})
    static Object call(Object target, String name, Object... arguments) {
        Method found = Arrays.stream(target.getClass().getMethods())
            .filter(method -> method.getName().equals(name) && method.getParameterCount() == arguments.length)
            .filter(method -> fits(method.getParameterTypes(), arguments))
            .findFirst()
            .orElseThrow(() -> new UnsupportedOperationException(target.getClass().getSimpleName() + " has no " + name));
        Object[] given = arguments.clone();
        for (int i = 0; i < given.length; i++) {
            Class<?> type = found.getParameterTypes()[i];
            if (type.isEnum() && given[i] instanceof String word) given[i] = Enum.valueOf((Class) type, word);
        }
        try {
            return found.invoke(target, given);
        } catch (InvocationTargetException e) {
            throw new Failed(e.getCause());
        } catch (IllegalAccessException e) {
            throw new IllegalStateException(e);
        }
    }

    static final class Failed extends RuntimeException {
        Failed(Throwable cause) {
            super(cause.getClass().getSimpleName() + ": " + cause.getMessage(), cause);
        }
    }

    private static boolean fits(Class<?>[] types, Object[] arguments) {
        for (int i = 0; i < types.length; i++) {
            Object given = arguments[i];
            boolean fits = given == null || types[i].isInstance(given) || types[i].isEnum() && given instanceof String
                || types[i] == boolean.class && given instanceof Boolean || types[i] == int.class && given instanceof Integer
                || types[i] == long.class && given instanceof Long;
            if (!fits) return false;
        }
        return true;
    }

    private static String textOf(byte[] body) {
        return new String(body, StandardCharsets.UTF_8);
    }

    private static JSONObject results(JSONObject op, Object results) {
        return new JSONObject().fluentPut("id", op.getString("id")).fluentPut("results", results);
    }

    static boolean hold(long ms) {
        if (ms <= 0) return true;
        try {
            Thread.sleep(ms);
            return true;
        } catch (InterruptedException e) {
            return false;
        }
    }

    static boolean reply(DefaultMQProducer producer, List<MessageExt> messages) {
        if (producer == null) return true;
        for (MessageExt message : messages) {
            try {
                byte[] body = ("re:" + textOf(message.getBody())).getBytes(StandardCharsets.UTF_8);
                producer.send(MessageUtil.createReplyMessage(message, body), 3_000);
            } catch (Exception e) {
                System.err.println("reply failed: " + e);
                return false;
            }
        }
        return true;
    }

    static JSONObject request(JSONObject op, DefaultMQProducer producer) throws Exception {
        Message message = new Message(op.getString("topic"), Base64.getDecoder().decode(op.getString("body")));
        Message reply = producer.request(message, op.getLongValue("timeout"));
        String body = Base64.getEncoder().encodeToString(reply.getBody());
        return results(op, List.of(new JSONObject().fluentPut("reply", body)));
    }

    static JSONObject pull(JSONObject op) throws Exception {
        DefaultLitePullConsumer consumer = new DefaultLitePullConsumer(op.getString("group"));
        consumer.setNamesrvAddr(op.getString("nameserver"));
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(op.getString("topic"), "*");
        consumer.start();
        List<String> bodies = new ArrayList<>();
        long until = System.currentTimeMillis() + op.getLongValue("ms");
        try {
            while (bodies.size() < op.getIntValue("count") && System.currentTimeMillis() < until)
                for (MessageExt message : consumer.poll(500)) bodies.add(textOf(message.getBody()));
        } finally {
            consumer.shutdown();
        }
        return results(op, bodies);
    }

    private static LocalTransactionState decision(String word) {
        return switch (String.valueOf(word)) {
            case "commit" -> LocalTransactionState.COMMIT_MESSAGE;
            case "rollback" -> LocalTransactionState.ROLLBACK_MESSAGE;
            default -> LocalTransactionState.UNKNOW;
        };
    }

    static JSONObject transact(JSONObject op) throws Exception {
        String group = op.getString("group");
        TransactionMQProducer producer = new TransactionMQProducer(group);
        List<String> checks = asked.computeIfAbsent(group, name -> new CopyOnWriteArrayList<>());
        producer.setNamesrvAddr(op.getString("nameserver"));
        producer.setTransactionListener(new TransactionListener() {
            @Override
            public LocalTransactionState executeLocalTransaction(Message message, Object then) {
                return decision((String) then);
            }

            @Override
            public LocalTransactionState checkLocalTransaction(MessageExt message) {
                checks.add(textOf(message.getBody()));
                return decision(message.getUserProperty("checked"));
            }
        });
        producer.start();
        producers.put(group, producer);
        List<JSONObject> sent = new ArrayList<>();
        JSONArray messages = op.getJSONArray("messages");
        for (int i = 0; i < messages.size(); i++) {
            JSONObject wanted = messages.getJSONObject(i);
            Message message = Agent.message(op.getString("topic"), wanted);
            if (wanted.getString("checked") != null) message.putUserProperty("checked", wanted.getString("checked"));
            try {
                sent.add(Agent.result(producer.sendMessageInTransaction(message, wanted.getString("then"))));
            } catch (Exception e) {
                sent.add(Agent.failed(e));
            }
        }
        return results(op, sent);
    }

    static JSONObject checks(JSONObject op) {
        return results(op, asked.getOrDefault(op.getString("of"), List.of()));
    }
}
