// Speaks as Agent.java does, with the unmodified Go client: produce, consume, transact, checks, request, admin topics.
package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/admin"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
	"github.com/apache/rocketmq-client-go/v2/rlog"
)

type wanted struct {
	Body       string            `json:"body"`
	Tag        string            `json:"tag"`
	Keys       string            `json:"keys"`
	Properties map[string]string `json:"properties"`
	DelayLevel int               `json:"delayLevel"`
	Shard      string            `json:"shard"`
	Then       string            `json:"then"`
	Checked    string            `json:"checked"`
}

type op struct {
	Op, Id, Nameserver, Group, Topic, Mode, Of, Tag, Sql, From, Instance, Do, Body string
	Messages                                                                       []wanted
	Order, Broadcast, Reply                                                        bool
	Fail, MaxTimes, DelayLevel, Queues, Count                                      int
	Timeout, Ms                                                                    int64
}

var (
	lock      sync.Mutex
	producers = map[string]rocketmq.Producer{}
	consumers = map[string]rocketmq.PushConsumer{}
	deciders  = map[string]*decider{}
	out       = bufio.NewWriter(os.Stdout)
)

func say(id string, fields map[string]interface{}) {
	fields["id"] = id
	line, _ := json.Marshal(fields)
	lock.Lock()
	defer lock.Unlock()
	out.Write(line)
	out.WriteByte('\n')
	out.Flush()
}

func failed(err error) map[string]interface{} {
	return map[string]interface{}{"error": "Error", "message": err.Error()}
}

func resolver(nameserver string) primitive.NsResolver {
	return primitive.NewPassthroughResolver([]string{nameserver})
}

func producerOf(o op) (rocketmq.Producer, error) {
	key := o.Nameserver + " " + o.Group
	lock.Lock()
	defer lock.Unlock()
	if known := producers[key]; known != nil {
		return known, nil
	}
	made, err := rocketmq.NewProducer(producer.WithNsResolver(resolver(o.Nameserver)), producer.WithGroupName(o.Group),
		producer.WithInstanceName(o.Group), producer.WithSendMsgTimeout(10*time.Second), producer.WithQueueSelector(byShard{producer.NewHashQueueSelector(), producer.NewRoundRobinQueueSelector()}))
	if err == nil {
		err = made.Start()
	}
	if err == nil {
		producers[key] = made
	}
	return made, err
}

// All of a shard into one queue, the others in turn.
type byShard struct{ shards, others producer.QueueSelector }

func (b byShard) Select(message *primitive.Message, queues []*primitive.MessageQueue, lastBrokerName string) *primitive.MessageQueue {
	if message.GetShardingKey() != "" {
		return b.shards.Select(message, queues, lastBrokerName)
	}
	return b.others.Select(message, queues, lastBrokerName)
}

func messageOf(topic string, w wanted) *primitive.Message {
	body, _ := base64.StdEncoding.DecodeString(w.Body)
	message := primitive.NewMessage(topic, body)
	if w.Tag != "" {
		message.WithTag(w.Tag)
	}
	if w.Keys != "" {
		message.WithProperty("KEYS", w.Keys)
	}
	if w.DelayLevel > 0 {
		message.WithDelayTimeLevel(w.DelayLevel)
	}
	if w.Shard != "" {
		message.WithShardingKey(w.Shard)
	}
	for name, value := range w.Properties {
		message.WithProperty(name, value)
	}
	return message
}

func resultOf(r *primitive.SendResult) map[string]interface{} {
	statuses := []string{"SEND_OK", "FLUSH_DISK_TIMEOUT", "FLUSH_SLAVE_TIMEOUT", "SLAVE_NOT_AVAILABLE"}
	status := "UNKNOWN"
	if int(r.Status) < len(statuses) {
		status = statuses[r.Status]
	}
	return map[string]interface{}{"msgId": r.MsgID, "offsetMsgId": r.OffsetMsgID, "status": status, "queueId": r.MessageQueue.QueueId, "queueOffset": r.QueueOffset}
}

func produce(o op) (interface{}, error) {
	p, err := producerOf(o)
	if err != nil {
		return nil, err
	}
	var messages []*primitive.Message
	for _, w := range o.Messages {
		messages = append(messages, messageOf(o.Topic, w))
	}
	results := make([]map[string]interface{}, len(messages))
	switch o.Mode {
	case "batch":
		result, err := p.SendSync(context.Background(), messages...)
		if err != nil {
			return nil, err
		}
		return []interface{}{resultOf(result)}, nil
	case "async":
		var left sync.WaitGroup
		for i, message := range messages {
			i := i
			left.Add(1)
			err := p.SendAsync(context.Background(), func(_ context.Context, r *primitive.SendResult, err error) {
				if err != nil {
					results[i] = failed(err)
				} else {
					results[i] = resultOf(r)
				}
				left.Done()
			}, message)
			if err != nil {
				results[i] = failed(err)
				left.Done()
			}
		}
		left.Wait()
	default:
		for i, message := range messages {
			began := time.Now()
			if o.Mode == "oneway" {
				err = p.SendOneWay(context.Background(), message)
				results[i] = map[string]interface{}{}
			} else {
				var r *primitive.SendResult
				if r, err = p.SendSync(context.Background(), message); err == nil {
					results[i] = resultOf(r)
				}
			}
			if err != nil {
				results[i] = failed(err)
			}
			results[i]["took"] = time.Since(began).Milliseconds()
		}
	}
	return results, nil
}

func told(m *primitive.MessageExt) map[string]interface{} {
	return map[string]interface{}{"topic": m.Topic, "body": base64.StdEncoding.EncodeToString(m.Body), "tag": m.GetTags(), "keys": m.GetKeys(),
		"properties": m.GetProperties(), "msgId": m.MsgId, "offsetMsgId": m.OffsetMsgId, "bornHost": hostOf(m.BornHost), "reconsumeTimes": m.ReconsumeTimes,
		"queueId": m.Queue.QueueId, "queueOffset": m.QueueOffset, "bornTimestamp": m.BornTimestamp, "storeTimestamp": m.StoreTimestamp}
}

func hostOf(address string) string {
	for i := len(address) - 1; i >= 0; i-- {
		if address[i] == ':' {
			return address[:i]
		}
	}
	return address
}

func consume(o op) error {
	from := consumer.ConsumeFromLastOffset
	if o.From == "first" {
		from = consumer.ConsumeFromFirstOffset
	}
	instance := o.Instance
	if instance == "" {
		instance = o.Id
	}
	options := []consumer.Option{consumer.WithNsResolver(resolver(o.Nameserver)), consumer.WithGroupName(o.Group), consumer.WithConsumeFromWhere(from),
		consumer.WithInstance(fmt.Sprintf("%s-%d", instance, os.Getpid())), consumer.WithConsumerOrder(o.Order)}
	if o.Broadcast {
		options = append(options, consumer.WithConsumerModel(consumer.BroadCasting))
	}
	if o.MaxTimes > 0 {
		options = append(options, consumer.WithMaxReconsumeTimes(int32(o.MaxTimes)))
	}
	c, err := rocketmq.NewPushConsumer(options...)
	if err != nil {
		return err
	}
	selector := consumer.MessageSelector{Type: consumer.TAG, Expression: "*"}
	if o.Tag != "" {
		selector.Expression = o.Tag
	}
	if o.Sql != "" {
		selector = consumer.MessageSelector{Type: consumer.SQL92, Expression: o.Sql}
	}
	err = c.Subscribe(o.Topic, selector, func(ctx context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		good := true
		for _, m := range messages {
			say(o.Id, map[string]interface{}{"message": told(m)})
			if int(m.ReconsumeTimes) < o.Fail {
				good = false
			}
			if o.Reply {
				good = reply(o, m) && good
			}
		}
		if good {
			return consumer.ConsumeSuccess, nil
		}
		if concurrent, ok := primitive.GetConcurrentlyCtx(ctx); ok {
			concurrent.DelayLevelWhenNextConsume = o.DelayLevel
		}
		return consumer.ConsumeRetryLater, nil
	})
	if err == nil {
		err = c.Start()
	}
	if err == nil {
		lock.Lock()
		consumers[o.Id] = c
		lock.Unlock()
	}
	return err
}

func pull(o op) (interface{}, error) {
	c, err := rocketmq.NewPullConsumer(consumer.WithNsResolver(resolver(o.Nameserver)), consumer.WithGroupName(o.Group),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset), consumer.WithInstance(fmt.Sprintf("%s-%d", o.Id, os.Getpid())))
	if err != nil {
		return nil, err
	}
	if err = c.Subscribe(o.Topic, consumer.MessageSelector{Type: consumer.TAG, Expression: "*"}); err == nil {
		err = c.Start()
	}
	if err != nil {
		return nil, err
	}
	defer c.Shutdown()
	got := []string{}
	for end := time.Now().Add(time.Duration(o.Ms) * time.Millisecond); len(got) < o.Count && time.Now().Before(end); {
		polled, err := c.Poll(context.Background(), time.Second)
		if consumer.IsNoNewMsgError(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, m := range polled.GetMsgList() {
			got = append(got, string(m.Body))
		}
		c.ACK(context.Background(), polled, consumer.ConsumeSuccess)
	}
	return got, nil
}

func reply(o op, m *primitive.MessageExt) bool {
	p, err := producerOf(op{Nameserver: o.Nameserver, Group: "repliers"})
	if err != nil {
		return false
	}
	answer, err := consumer.CreateReplyMessage(m, append([]byte("re:"), m.Body...))
	if err == nil {
		answer.Body = append([]byte("re:"), m.Body...) // 2.1.2 leaves it out
		_, err = p.SendSync(context.Background(), answer)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "reply failed:", err)
	}
	return err == nil
}

type decider struct {
	then  sync.Map
	lock  sync.Mutex
	asked []string
}

func decision(word string) primitive.LocalTransactionState {
	switch word {
	case "commit":
		return primitive.CommitMessageState
	case "rollback":
		return primitive.RollbackMessageState
	}
	return primitive.UnknowState
}

func (d *decider) ExecuteLocalTransaction(m *primitive.Message) primitive.LocalTransactionState {
	return decision(m.GetProperty("then"))
}

func (d *decider) CheckLocalTransaction(m *primitive.MessageExt) primitive.LocalTransactionState {
	d.lock.Lock()
	d.asked = append(d.asked, string(m.Body))
	d.lock.Unlock()
	return decision(m.GetProperty("checked"))
}

func transact(o op) (interface{}, error) {
	d := &decider{}
	p, err := rocketmq.NewTransactionProducer(d, producer.WithNsResolver(resolver(o.Nameserver)), producer.WithGroupName(o.Group), producer.WithInstanceName(o.Group))
	if err == nil {
		err = p.Start()
	}
	if err != nil {
		return nil, err
	}
	deciders[o.Group] = d
	results := make([]map[string]interface{}, len(o.Messages))
	for i, w := range o.Messages {
		m := messageOf(o.Topic, w)
		m.WithProperty("then", w.Then)
		if w.Checked != "" {
			m.WithProperty("checked", w.Checked)
		}
		r, err := p.SendMessageInTransaction(context.Background(), m)
		if err != nil {
			results[i] = failed(err)
		} else {
			results[i] = resultOf(r.SendResult)
		}
	}
	return results, nil
}

func request(o op) (interface{}, error) {
	p, err := producerOf(o)
	if err != nil {
		return nil, err
	}
	body, _ := base64.StdEncoding.DecodeString(o.Body)
	answer, err := p.Request(context.Background(), time.Duration(o.Timeout)*time.Millisecond, primitive.NewMessage(o.Topic, body))
	if err != nil {
		return nil, err
	}
	return []interface{}{map[string]string{"reply": base64.StdEncoding.EncodeToString(answer.Body)}}, nil
}

func administer(o op) (interface{}, error) {
	a, err := admin.NewAdmin(admin.WithResolver(resolver(o.Nameserver)))
	if err != nil {
		return nil, err
	}
	defer a.Close()
	switch o.Do {
	case "topic":
		err = a.CreateTopic(context.Background(), admin.WithTopicCreate(o.Topic), admin.WithBrokerAddrCreate(o.Nameserver), admin.WithReadQueueNums(o.Queues), admin.WithWriteQueueNums(o.Queues))
	case "deleteTopic":
		err = a.DeleteTopic(context.Background(), admin.WithTopicDelete(o.Topic), admin.WithBrokerAddrDelete(o.Nameserver), admin.WithNameSrvAddr([]string{o.Nameserver}))
	case "route":
		queues, err := a.FetchPublishMessageQueues(context.Background(), o.Topic)
		if err != nil {
			return nil, err
		}
		return []int{len(queues)}, nil
	case "topics":
		list, err := a.FetchAllTopicList(context.Background())
		if err != nil {
			return nil, err
		}
		return list.TopicList, nil
	default:
		err = fmt.Errorf("no admin operation %s", o.Do)
	}
	return []bool{true}, err
}

func run(o op) {
	var results interface{}
	var err error
	switch o.Op {
	case "produce":
		results, err = produce(o)
	case "transact":
		results, err = transact(o)
	case "pull":
		results, err = pull(o)
	case "request":
		results, err = request(o)
	case "admin":
		results, err = administer(o)
	case "checks":
		asked := []string{}
		if d := deciders[o.Of]; d != nil {
			d.lock.Lock()
			asked = append(asked, d.asked...)
			d.lock.Unlock()
		}
		results = asked
	case "consume":
		if err = consume(o); err == nil {
			say(o.Id, map[string]interface{}{"started": true})
			return
		}
	case "stop":
		lock.Lock()
		c := consumers[o.Of]
		delete(consumers, o.Of)
		lock.Unlock()
		if c != nil {
			err = c.Shutdown()
		}
		if err == nil {
			say(o.Id, map[string]interface{}{"stopped": c != nil})
			return
		}
	default:
		err = fmt.Errorf("no operation %s", o.Op)
	}
	if err != nil {
		say(o.Id, failed(err))
	} else {
		say(o.Id, map[string]interface{}{"results": results})
	}
}

func main() {
	rlog.SetLogLevel("warn")
	rlog.SetOutputPath("rocketmq.log")
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(make([]byte, 1<<20), 1<<26)
	for lines.Scan() {
		var o op
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			fmt.Fprintln(os.Stderr, err)
			continue
		}
		if o.Op == "exit" {
			break
		}
		go run(o)
	}
	for _, c := range consumers {
		c.Shutdown()
	}
	for _, p := range producers {
		p.Shutdown()
	}
	os.Exit(0)
}
