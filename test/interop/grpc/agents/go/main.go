// The Go client's part in the table; what it says on stdout is told at the head of behaviours.ts.
//
//	agent <host:port> <prefix> <behaviours, by commas>
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	rmq "github.com/apache/rocketmq-clients/golang/v5"
	"github.com/apache/rocketmq-clients/golang/v5/credentials"
)

var endpoint, prefix string
var producer rmq.Producer

// missing: the client has no word for it.
type missing string

func (name missing) Error() string { return string(name) }

func topic(behaviour string) string { return prefix + "-" + behaviour }

func configuration(behaviour string) *rmq.Config {
	return &rmq.Config{Endpoint: endpoint, ConsumerGroup: topic(behaviour) + "-g", Credentials: &credentials.SessionCredentials{}}
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func message(behaviour, body string) *rmq.Message {
	return &rmq.Message{Topic: topic(behaviour), Body: []byte(body)}
}

func send(message *rmq.Message) { must(producer.Send(context.Background(), message)) }

func with(behaviour string, filter *rmq.FilterExpression, work func(rmq.SimpleConsumer) []string) []string {
	consumer := must(rmq.NewSimpleConsumer(configuration(behaviour), rmq.WithSimpleAwaitDuration(time.Second),
		rmq.WithSimpleSubscriptionExpressions(map[string]*rmq.FilterExpression{topic(behaviour): filter})))
	check(consumer.Start())
	defer consumer.GracefulStop()
	return work(consumer)
}

// receive: an empty answer is an error of this client.
func receive(consumer rmq.SimpleConsumer, count int32) []*rmq.MessageView {
	views, err := consumer.Receive(context.Background(), count, 10*time.Second)
	if err != nil && !strings.Contains(err.Error(), "MESSAGE_NOT_FOUND") {
		panic(err)
	}
	return views
}

// take takes and acknowledges until there are so many, or the time is over.
func take(consumer rmq.SimpleConsumer, count int, within time.Duration) []*rmq.MessageView {
	var taken []*rmq.MessageView
	for until := time.Now().Add(within); len(taken) < count && time.Now().Before(until); {
		for _, view := range receive(consumer, 16) {
			check(consumer.Ack(context.Background(), view))
			taken = append(taken, view)
		}
	}
	return taken
}

func bodies(views []*rmq.MessageView) []string {
	texts := []string{}
	for _, view := range views {
		texts = append(texts, string(view.GetBody()))
	}
	return texts
}

func sorted(texts []string) []string {
	sort.Slice(texts, func(a, b int) bool {
		one, other := texts[a], texts[b]
		if n, err := strconv.Atoi(one); err == nil {
			m, _ := strconv.Atoi(other)
			return n < m
		}
		return one < other
	})
	return texts
}

func pushed(behaviour string, consume func(*rmq.MessageView, *[]string) bool, publish func(), enough int) []string {
	var lock sync.Mutex
	seen := []string{}
	push := must(rmq.NewPushConsumer(configuration(behaviour), rmq.WithPushAwaitDuration(5*time.Second),
		rmq.WithPushSubscriptionExpressions(map[string]*rmq.FilterExpression{topic(behaviour): rmq.SUB_ALL}),
		rmq.WithPushMessageListener(&rmq.FuncMessageListener{Consume: func(view *rmq.MessageView) rmq.ConsumerResult {
			lock.Lock()
			defer lock.Unlock()
			if consume(view, &seen) {
				return rmq.SUCCESS
			}
			return rmq.FAILURE
		}}),
		rmq.WithPushConsumptionThreadCount(8), rmq.WithPushMaxCacheMessageCount(64)))
	check(push.Start())
	publish()
	for turn := 0; turn < 600; turn++ {
		lock.Lock()
		done := len(seen) >= enough
		lock.Unlock()
		if done {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	time.Sleep(500 * time.Millisecond)
	lock.Lock()
	defer lock.Unlock()
	return append([]string{}, seen...)
}

var behaviours = map[string]func() []string{
	"normal": func() []string {
		return with("normal", rmq.SUB_ALL, func(consumer rmq.SimpleConsumer) []string {
			hello := message("normal", "hello")
			hello.SetTag("blue")
			hello.SetKeys("k1")
			hello.AddProperty("colour", "red")
			send(hello)
			view := take(consumer, 1, time.Minute)[0]
			return []string{string(view.GetBody()), *view.GetTag(), view.GetKeys()[0], view.GetProperties()["colour"],
				fmt.Sprint(view.GetDeliveryAttempt())}
		})
	},
	"fifo": func() []string {
		return with("fifo", rmq.SUB_ALL, func(consumer rmq.SimpleConsumer) []string {
			ordered("fifo")
			return bodies(take(consumer, 6, time.Minute))
		})
	},
	"delay": func() []string {
		return with("delay", rmq.SUB_ALL, func(consumer rmq.SimpleConsumer) []string {
			began := time.Now()
			later := message("delay", "later")
			later.SetDelayTimestamp(began.Add(2500 * time.Millisecond))
			send(later)
			take(consumer, 1, time.Minute)
			if time.Since(began) >= 2400*time.Millisecond {
				return []string{"in time"}
			}
			return []string{"early"}
		})
	},
	"recall":   func() []string { panic(missing("RecallMessage")) },
	"priority": func() []string { panic(missing("SetPriority")) },
	"transaction": func() []string {
		return with("transaction", rmq.SUB_ALL, func(consumer rmq.SimpleConsumer) []string {
			first := producer.BeginTransaction()
			must(producer.SendWithTransaction(context.Background(), message("transaction", "rollback"), first))
			check(first.RollBack())
			second := producer.BeginTransaction()
			must(producer.SendWithTransaction(context.Background(), message("transaction", "commit"), second))
			check(second.Commit())
			return bodies(take(consumer, 2, 3*time.Second))
		})
	},
	"checkBack": func() []string {
		return with("checkBack", rmq.SUB_ALL, func(consumer rmq.SimpleConsumer) []string {
			open := producer.BeginTransaction()
			must(producer.SendWithTransaction(context.Background(), message("checkBack", "checked"), open))
			return bodies(take(consumer, 1, 30*time.Second))
		})
	},
	"tagFilter": func() []string {
		return with("tagFilter", rmq.NewFilterExpression("blue || green"), func(consumer rmq.SimpleConsumer) []string {
			for _, tag := range []string{"red", "blue", "green"} {
				tagged := message("tagFilter", tag)
				tagged.SetTag(tag)
				send(tagged)
			}
			return sorted(bodies(take(consumer, 2, time.Minute)))
		})
	},
	"sqlFilter": func() []string {
		filter := rmq.NewFilterExpressionWithType("n > 2", rmq.SQL92)
		return with("sqlFilter", filter, func(consumer rmq.SimpleConsumer) []string {
			for _, n := range []string{"1", "2", "3", "4"} {
				numbered := message("sqlFilter", n)
				numbered.AddProperty("n", n)
				send(numbered)
			}
			return sorted(bodies(take(consumer, 2, time.Minute)))
		})
	},
	"changeInvisible": func() []string {
		return with("changeInvisible", rmq.SUB_ALL, func(consumer rmq.SimpleConsumer) []string {
			send(message("changeInvisible", "again"))
			var got []*rmq.MessageView
			for len(got) == 0 {
				got = receive(consumer, 1)
			}
			first := got[0].GetDeliveryAttempt()
			check(consumer.ChangeInvisibleDuration(got[0], time.Second))
			second := take(consumer, 1, time.Minute)[0].GetDeliveryAttempt()
			return []string{fmt.Sprint(first), fmt.Sprint(second)}
		})
	},
	"push": func() []string {
		return sorted(pushed("push", seeBody(0), func() {
			for n := 0; n < 20; n++ {
				send(message("push", fmt.Sprint(n)))
			}
		}, 20))
	},
	"pushFifo": func() []string { return pushed("pushFifo", seeBody(3), func() { ordered("pushFifo") }, 7) },
	"deadLetter": func() []string {
		return pushed("deadLetter", func(view *rmq.MessageView, seen *[]string) bool {
			*seen = append(*seen, fmt.Sprint(view.GetDeliveryAttempt()))
			return false
		}, func() { send(message("deadLetter", "hopeless")) }, 2)
	},
}

func ordered(behaviour string) {
	for n := 0; n < 6; n++ {
		one := message(behaviour, fmt.Sprint(n))
		one.SetMessageGroup("one")
		send(one)
	}
}

// seeBody takes each message but the one that is seen as this one.
func seeBody(but int) func(*rmq.MessageView, *[]string) bool {
	return func(view *rmq.MessageView, seen *[]string) bool {
		*seen = append(*seen, string(view.GetBody()))
		return len(*seen) != but
	}
}

func play(step string) (line map[string]any) {
	defer func() {
		switch problem := recover().(type) {
		case nil:
		case missing:
			line = map[string]any{"step": step, "missing": string(problem)}
		default:
			line = map[string]any{"step": step, "error": fmt.Sprint(problem)}
		}
	}()
	return map[string]any{"step": step, "result": behaviours[step]()}
}

func main() {
	rmq.EnableSsl = false
	rmq.ResetLogger()
	if os.Args[1] == "restart" {
		restart()
	}
	endpoint, prefix = os.Args[1], os.Args[2]
	names := strings.Split(os.Args[3], ",")
	topics := []string{}
	for _, name := range names {
		topics = append(topics, topic(name))
	}
	checker := &rmq.TransactionChecker{Check: func(*rmq.MessageView) rmq.TransactionResolution { return rmq.COMMIT }}
	producer = must(rmq.NewProducer(configuration("producer"), rmq.WithTopics(topics...), rmq.WithTransactionChecker(checker)))
	check(producer.Start())
	for _, name := range names {
		fmt.Println(string(must(json.Marshal(play(name)))))
	}
	os.Exit(0) // consumers wait for their polls
}
