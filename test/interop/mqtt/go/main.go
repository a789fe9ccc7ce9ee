// The agent that drives the unmodified autopaho client: commands and events as in suite.ts.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/autopaho/queue/memory"
	"github.com/eclipse/paho.golang/paho"
)

type command struct {
	Do, Client, ID, Topic string
	Fresh                 bool
	Qos                   byte
	From, To              int
}

type client struct {
	manager *autopaho.ConnectionManager
	cancel  context.CancelFunc
}

var lock sync.Mutex

func say(fields map[string]any) {
	line, _ := json.Marshal(fields)
	lock.Lock()
	defer lock.Unlock()
	fmt.Println(string(line))
}

func open(server *url.URL, c command) *client {
	ctx, cancel := context.WithCancel(context.Background())
	expiry := uint32(3600)
	if c.Fresh {
		expiry = 0
	}
	manager, err := autopaho.NewConnection(ctx, autopaho.ClientConfig{
		ServerUrls:                    []*url.URL{server},
		KeepAlive:                     20,
		CleanStartOnInitialConnection: c.Fresh,
		SessionExpiryInterval:         expiry,
		ReconnectBackoff:              autopaho.NewConstantBackoff(100 * time.Millisecond),
		ConnectTimeout:                5 * time.Second,
		Queue:                         memory.New(),
		OnConnectionUp: func(_ *autopaho.ConnectionManager, connack *paho.Connack) {
			say(map[string]any{"event": "open", "client": c.Client, "present": connack.SessionPresent})
		},
		ClientConfig: paho.ClientConfig{
			ClientID: c.ID,
			OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(received paho.PublishReceived) (bool, error) {
				packet := received.Packet
				say(map[string]any{"event": "message", "client": c.Client, "topic": packet.Topic, "qos": packet.QoS, "body": string(packet.Payload)})
				return true, nil
			}},
		},
	})
	if err != nil {
		panic(err)
	}
	return &client{manager, cancel}
}

func main() {
	server, err := url.Parse("mqtt://127.0.0.1:" + os.Args[1])
	if err != nil {
		panic(err)
	}
	clients := map[string]*client{}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var c command
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			panic(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		switch c.Do {
		case "open":
			clients[c.Client] = open(server, c)
		case "subscribe":
			if _, err := clients[c.Client].manager.Subscribe(ctx, &paho.Subscribe{
				Subscriptions: []paho.SubscribeOptions{{Topic: c.Topic, QoS: c.Qos}},
			}); err != nil {
				panic(err)
			}
			say(map[string]any{"event": "subscribed", "client": c.Client})
		case "publish":
			for n := c.From; n < c.To; n++ {
				if err := clients[c.Client].manager.PublishViaQueue(ctx, &autopaho.QueuePublish{
					Publish: &paho.Publish{Topic: c.Topic, QoS: c.Qos, Payload: []byte(strconv.Itoa(n))},
				}); err != nil {
					panic(err)
				}
			}
			say(map[string]any{"event": "published", "client": c.Client})
		case "close":
			_ = clients[c.Client].manager.Disconnect(ctx)
			clients[c.Client].cancel()
			delete(clients, c.Client)
			say(map[string]any{"event": "closed", "client": c.Client})
		}
		cancel()
	}
}
