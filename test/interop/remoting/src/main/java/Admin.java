import com.alibaba.fastjson2.JSONObject;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/**
 * admin {do: "topic" {topic, queues} · "deleteTopic" {topic} · "topics" · "cluster" · "route" {topic} · "stats" {topic} ·
 *        "group" {group, retries} · "groups" · "deleteGroup" {group} · "consumeStats" {group} · "consumers" {group} ·
 *        "producers" {group, topic} · "who" {topic} · "reset" {group, topic, timestamp} · "byId" {topic, msgId} ·
 *        "byKey" {topic, key} · "mode" {topic, group, mode, share} (5.x) · "recall" {topic, handle} (5.x) · "running" {group, client} ·
 *        "direct" {group, client, topic, msgId}}
 *     -> {results}: what a check needs to see of each
 */
final class Admin {
    static JSONObject run(JSONObject op) throws Exception {
        DefaultMQAdminExt admin = new DefaultMQAdminExt();
        admin.setNamesrvAddr(op.getString("nameserver"));
        admin.setInstanceName("admin-" + op.getString("id"));
        admin.start();
        try {
            Object said = act(admin, op, String.valueOf(op.getString("do")));
            return new JSONObject().fluentPut("id", op.getString("id")).fluentPut("results", said instanceof List ? said : List.of(said));
        } finally {
            admin.shutdown();
        }
    }

    private static Object act(DefaultMQAdminExt admin, JSONObject op, String what) throws Exception {
        String topic = op.getString("topic");
        String group = op.getString("group");
        String broker = op.getString("nameserver");
        switch (what) {
            case "topic" -> {
                TopicConfig config = new TopicConfig(topic);
                config.setReadQueueNums(op.getIntValue("queues"));
                config.setWriteQueueNums(op.getIntValue("queues"));
                admin.createAndUpdateTopicConfig(broker, config);
                return true;
            }
            case "deleteTopic" -> {
                admin.deleteTopicInBroker(java.util.Set.of(broker), topic);
                deleteRoute(admin, broker, topic);
                return true;
            }
            case "topics" -> {
                return new ArrayList<>(admin.fetchAllTopicList().getTopicList());
            }
            case "cluster" -> {
                return new ArrayList<>(admin.examineBrokerClusterInfo().getBrokerAddrTable().keySet());
            }
            case "route" -> {
                return admin.examineTopicRouteInfo(topic).getQueueDatas().get(0).getReadQueueNums();
            }
            case "stats" -> {
                Map<String, Object> queues = new TreeMap<>();
                admin.examineTopicStats(topic).getOffsetTable().forEach((queue, offset) ->
                    queues.put(String.valueOf(queue.getQueueId()), offset.getMaxOffset() - offset.getMinOffset()));
                return new JSONObject(queues);
            }
            case "group" -> {
                Object config = groupConfig();
                Parts.call(config, "setGroupName", group);
                Parts.call(config, "setRetryMaxTimes", op.getIntValue("retries"));
                Parts.call(admin, "createAndUpdateSubscriptionGroupConfig", broker, config);
                return true;
            }
            case "groups" -> {
                Object wrapper = admin.getAllSubscriptionGroup(broker, 5_000);
                Map<?, ?> table = (Map<?, ?>) Parts.call(wrapper, "getSubscriptionGroupTable");
                return new ArrayList<>(table.keySet());
            }
            case "deleteGroup" -> {
                Parts.call(admin, "deleteSubscriptionGroup", broker, group);
                return true;
            }
            case "consumeStats" -> {
                return admin.examineConsumeStats(group).computeTotalDiff();
            }
            case "consumers" -> {
                List<String> clients = new ArrayList<>();
                admin.examineConsumerConnectionInfo(group).getConnectionSet().forEach(one -> clients.add(one.getClientId()));
                return clients;
            }
            case "producers" -> {
                List<String> clients = new ArrayList<>();
                admin.examineProducerConnectionInfo(group, topic).getConnectionSet().forEach(one -> clients.add(one.getClientId()));
                return clients;
            }
            case "who" -> {
                return new ArrayList<>(admin.queryTopicConsumeByWho(topic).getGroupList());
            }
            case "reset" -> {
                Map<MessageQueue, Long> offsets = admin.resetOffsetByTimestamp(topic, group, op.getLongValue("timestamp"), true);
                long sum = 0;
                for (long offset : offsets.values()) sum += offset;
                return sum;
            }
            case "byId" -> {
                return text(admin.viewMessage(topic, op.getString("msgId")));
            }
            case "byKey" -> {
                List<String> bodies = new ArrayList<>();
                for (MessageExt one : admin.queryMessage(topic, op.getString("key"), 32, 0, System.currentTimeMillis() + 60_000).getMessageList())
                    bodies.add(text(one));
                return bodies;
            }
            case "mode" -> {
                Parts.call(admin, "setMessageRequestMode", broker, topic, group, op.getString("mode"), op.getIntValue("share"), 5_000L);
                return true;
            }
            case "running" -> {
                Object info = Parts.call(admin, "getConsumerRunningInfo", group, op.getString("client"), true);
                return ((java.util.Set<?>) Parts.call(info, "getSubscriptionSet")).size();
            }
            case "direct" -> {
                Object result = Parts.call(admin, "consumeMessageDirectly", group, op.getString("client"), topic, op.getString("msgId"));
                return String.valueOf(Parts.call(result, "getConsumeResult"));
            }
            default -> throw new IllegalArgumentException("no admin operation " + what);
        }
    }

    private static void deleteRoute(DefaultMQAdminExt admin, String nameserver, String topic) {
        try {
            Parts.call(admin, "deleteTopicInNameServer", java.util.Set.of(nameserver), topic);
        } catch (UnsupportedOperationException e) {
            Parts.call(admin, "deleteTopicInNameServer", java.util.Set.of(nameserver), "sluice", topic);
        }
    }

    private static String text(MessageExt message) {
        return new String(message.getBody(), java.nio.charset.StandardCharsets.UTF_8);
    }

    private static Object groupConfig() throws Exception {
        for (String name : List.of("org.apache.rocketmq.remoting.protocol.subscription.SubscriptionGroupConfig", "org.apache.rocketmq.common.subscription.SubscriptionGroupConfig")) {
            try {
                return Class.forName(name).getConstructor().newInstance();
            } catch (ClassNotFoundException e) {
                continue;
            }
        }
        throw new UnsupportedOperationException("no SubscriptionGroupConfig");
    }
}
