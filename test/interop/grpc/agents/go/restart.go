package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	rmq "github.com/apache/rocketmq-clients/golang/v5"
)

// restart: the Go client's part in restarts; what it says on stdout is told at the head of restart.ts.
//
//	agent restart <host:port> <topic> <sends at once>
func restart() {
	endpoint = os.Args[2]
	name := os.Args[3]
	width := must(strconv.Atoi(os.Args[4]))
	config := configuration("")
	config.ConsumerGroup = name + "-g"
	producer := must(rmq.NewProducer(config, rmq.WithTopics(name)))
	check(producer.Start())
	consumer := must(rmq.NewSimpleConsumer(config, rmq.WithSimpleAwaitDuration(2*time.Second),
		rmq.WithSimpleSubscriptionExpressions(map[string]*rmq.FilterExpression{name: rmq.SUB_ALL})))
	check(consumer.Start())
	var count, busy atomic.Int64
	var stopped atomic.Bool
	var lock sync.Mutex
	say := func(format string, values ...any) {
		lock.Lock()
		defer lock.Unlock()
		fmt.Printf(format+"\n", values...)
	}
	for n := 0; n < width; n++ {
		go func() {
			for !stopped.Load() {
				body := fmt.Sprintf("m-%d", count.Add(1))
				busy.Add(1)
				_, err := producer.Send(context.Background(), &rmq.Message{Topic: name, Body: []byte(body)})
				if err == nil {
					say(`{"acked":%q}`, body)
				}
				busy.Add(-1)
				time.Sleep(200 * time.Millisecond)
			}
		}()
	}
	for n := 0; n < 2; n++ {
		go func() {
			for {
				views, err := consumer.Receive(context.Background(), 32, 10*time.Second)
				for _, view := range views {
					say(`{"got":%q}`, string(view.GetBody()))
					_ = consumer.Ack(context.Background(), view) // when it fails, it may come again
				}
				if err != nil {
					time.Sleep(200 * time.Millisecond)
				}
			}
		}()
	}
	go func() {
		_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
		stopped.Store(true)
	}()
	say(`{"started":true}`)
	for {
		time.Sleep(20 * time.Millisecond)
		say(`{"busy":%d}`, busy.Load())
	}
}
